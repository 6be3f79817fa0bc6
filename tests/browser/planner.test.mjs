// The planner's wasm module in the browser against reference values of two other accountants
// (tests/golden/accounting.json): never below the tight PLD value, which would promise too much, and never above
// Opacus' RDP value, which our finer grid of orders must reach. The crate's native tests compare the same numbers;
// this shows that they survive wasm, its floating point, and the bindings.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { launchChromium } from './chromium.mjs';
import { root } from '../../tools/process.mjs';
import { serve } from '../../tools/serve.mjs';

const golden = JSON.parse(readFileSync(path.join(root, 'tests/golden/accounting.json'), 'utf8'));
const addRemove = ({ adjacency }) => adjacency === 'add_remove';
const single = ({ phases }) => phases === undefined || phases.length === 1;

let browser;
let server;
let page;

before(async () => {
  server = await serve({ root, port: 0 });
  browser = await launchChromium({ webgpu: false });
  page = await browser.newPage();
  await page.goto(new URL('tests/browser/blank.html', server.url).href);
  await page.evaluate(async (address) => {
    globalThis.planner = await import(address);
    await globalThis.planner.default();
  }, '/www/src/wasm/privacy/privacy.js');
});

after(async () => {
  await browser?.close();
  await server?.close();
});

test('ε lies between the PLD and the Opacus RDP values', async () => {
  const cases = [...golden.rows, ...golden.trace].filter(addRemove).filter(single);
  assert.ok(cases.length > 10);
  const epsilons = await page.evaluate(
    (cases) => cases.map(({ q, sigma, steps, delta }) => globalThis.planner.epsilon(q, sigma, steps, delta)),
    cases,
  );
  for (const [index, { name, steps, eps_pld, eps_rdp_opacus }] of cases.entries()) {
    const label = `${name}, ${steps} steps: ${epsilons[index]}`;
    assert.ok(epsilons[index] >= eps_pld, `${label} is below ${eps_pld} (PLD)`);
    if (eps_rdp_opacus !== null) {
      assert.ok(epsilons[index] <= eps_rdp_opacus * (1 + 1e-6), `${label} is above ${eps_rdp_opacus} (Opacus RDP)`);
    }
  }
});

test('a calibrated σ keeps the target, and a slightly smaller one would not', async () => {
  const cases = golden.calibration.filter(addRemove);
  const found = await page.evaluate(
    (cases) =>
      cases.map(({ target_eps, q, steps, delta }) => {
        const { calibrate, epsilon } = globalThis.planner;
        const sigma = calibrate(target_eps, q, steps, delta);
        return [sigma, epsilon(q, sigma, steps, delta), epsilon(q, sigma - 1e-4, steps, delta)];
      }),
    cases,
  );
  for (const [index, { target_eps, sigma_pld }] of cases.entries()) {
    const [sigma, epsilon, epsilonBelow] = found[index];
    assert.ok(sigma >= sigma_pld, `${sigma} is below the PLD accountant's ${sigma_pld}`);
    assert.ok(epsilon <= target_eps && epsilonBelow > target_eps, `${epsilon}, ${epsilonBelow} around ${target_eps}`);
  }
});

test('a setting out of range is an error with a sentence, not a crash', async () => {
  const message = await page.evaluate(() => {
    try {
      return `no error: ${globalThis.planner.epsilon(1.5, 1, 10, 1e-5)}`;
    } catch (error) {
      return error.message;
    }
  });
  assert.match(message, /sampling rate/i);
});

test('the module is small enough to start with the page', async () => {
  const bytes = readFileSync(path.join(root, 'www/src/wasm/privacy/privacy_bg.wasm')).length;
  assert.ok(bytes < 300_000, `${bytes} bytes`);
});
