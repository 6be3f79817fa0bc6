// The planner's wasm module in the browser against reference values (tests/golden/accounting.json): within a thousandth
// of another PLD accountant on a fine grid, never below what is known exactly, never above Opacus' RDP value. The
// crate's native tests compare the same numbers; this shows that they survive wasm, its floating point, and the bindings.

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

test('ε is the PLD value, to a thousandth, and below the RDP one', async () => {
  const cases = [...golden.rows, ...golden.trace].filter(addRemove).filter(single);
  assert.ok(cases.length > 10);
  const epsilons = await page.evaluate(
    (cases) => cases.map(({ q, sigma, steps, delta }) => globalThis.planner.epsilon(q, sigma, steps, delta)),
    cases,
  );
  for (const [index, { name, steps, eps_pld, 'eps_pld_2e-5': fine = eps_pld, eps_rdp_opacus }] of cases.entries()) {
    const label = `${name}, ${steps} steps: ${epsilons[index]}`;
    assert.ok(Math.abs(epsilons[index] / fine - 1) <= 1e-3, `${label} is not ${fine} (PLD)`);
    if (eps_rdp_opacus !== null) assert.ok(epsilons[index] <= eps_rdp_opacus, `${label} is above ${eps_rdp_opacus} (Opacus RDP)`);
  }
});

test('where every row joins every step, ε is never below its closed form', async () => {
  const cases = golden.closed_form_gaussian.filter(addRemove);
  assert.ok(cases.length > 3);
  const epsilons = await page.evaluate(
    (cases) => cases.map(({ sigma, steps, delta }) => globalThis.planner.epsilon(1, sigma, steps, delta)),
    cases,
  );
  for (const [index, { sigma, steps, eps }] of cases.entries()) {
    const found = epsilons[index];
    assert.ok(found >= eps * (1 - 1e-9) && found <= eps * (1 + 1e-3), `σ = ${sigma}, ${steps} steps: ${found} for ${eps}`);
  }
});

test('a calibrated σ keeps the target, and a slightly smaller one would not', async () => {
  const cases = golden.calibration.filter(addRemove);
  const found = await page.evaluate(
    (cases) =>
      cases.map(({ target_eps, q, steps, delta }) => {
        const { calibrate, epsilon } = globalThis.planner;
        const sigma = calibrate(target_eps, q, steps, delta);
        return [sigma, epsilon(q, sigma, steps, delta), epsilon(q, sigma * (1 - 1e-5), steps, delta)];
      }),
    cases,
  );
  for (const [index, { target_eps, sigma_pld }] of cases.entries()) {
    const [sigma, epsilon, epsilonBelow] = found[index];
    assert.ok(Math.abs(sigma / sigma_pld - 1) <= 1e-3, `${sigma} is not the PLD accountant's ${sigma_pld}`);
    assert.ok(epsilon <= target_eps && epsilonBelow > target_eps, `${epsilon}, ${epsilonBelow} around ${target_eps}`);
  }
});

/** A plan for 900 rows as the page asks for it. */
const REQUEST = {
  rows: 900,
  expectedBatch: 64,
  steps: 100,
  delta: 1e-5,
  clipNorm: 0.5,
  goal: { type: 'targetEpsilon', epsilon: 8 },
  earlier: [],
  batchCap: null,
  parameters: 4096,
};

test('a plan on partly spent rows uses what is left of the target, and no more', async (t) => {
  const earlier = [{ samplingRate: 64 / 900, noiseMultiplier: 1, steps: 100, truncation: null }];
  const [fresh, further, ms] = await page.evaluate(
    ([request, earlier]) => {
      const { plan } = globalThis.planner;
      const begun = performance.now();
      return [plan(request), plan({ ...request, earlier }), performance.now() - begun];
    },
    [REQUEST, earlier],
  );
  t.diagnostic(`two plans in ${ms.toFixed(0)} ms`);
  assert.ok(Math.abs(fresh.epsilonWithEarlier / fresh.epsilon - 1) < 1e-9, 'nothing is spent yet');
  assert.ok(further.noiseMultiplier > fresh.noiseMultiplier);
  assert.ok(further.epsilonWithEarlier <= 8 && further.epsilonWithEarlier > 7.99, String(further.epsilonWithEarlier));
  assert.ok(further.epsilon < fresh.epsilon && further.epsilonError >= 0);
});

test('a limit on the batch costs noise, the more the tighter it is', async () => {
  const sigmas = await page.evaluate(
    (request) => [null, 110, 90, 75].map((batchCap) => globalThis.planner.plan({ ...request, batchCap }).noiseMultiplier),
    REQUEST,
  );
  // A limit that no draw reaches costs nothing that shows.
  assert.ok(Math.abs(sigmas[1] / sigmas[0] - 1) < 1e-3, sigmas.join());
  assert.ok(sigmas[2] >= sigmas[1] && sigmas[3] > sigmas[2] && sigmas[3] > sigmas[0], sigmas.join());
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
