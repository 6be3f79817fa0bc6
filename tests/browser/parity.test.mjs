// The engine in Chromium against transformers, PEFT and torch on the golden data, on WebGPU and on the CPU device:
// the checks of tests/parity, which run natively too, here through wasm and the browser's own WebGPU.
// `cargo run -p xtask -- wasm parity` builds the module.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launchChromium } from './chromium.mjs';
import { root } from '../../tools/process.mjs';
import { serve } from '../../tools/serve.mjs';

// On Chromium's software adapter every dispatch is slow.
const TIMEOUT = 10 * 60 * 1000;

let browser;
let server;

before(async () => {
  server = await serve({ root, port: 0 });
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** Runs every check on a device, on a page of its own; also returns what the browser complained about. */
async function runParity(device, families) {
  const page = await browser.newPage();
  page.setDefaultTimeout(TIMEOUT);
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(new URL('tests/browser/blank.html', server.url).href);
  const report = await page.evaluate(async ({ device, families }) => {
    const parity = await import('/target/parity/parity.js');
    await parity.default();
    return parity.runParity(device, families, async (name) => {
      const response = await fetch(`/tests/golden/${name}`);
      if (!response.ok) throw new Error(`${name}: ${response.status}`);
      return new Uint8Array(await response.arrayBuffer());
    });
  }, { device, families });
  await page.close();
  return { ...report, complaints };
}

// On the software adapter one family takes minutes; natively, on Vulkan, all of them run on the same kernels.
const FAMILIES = { cpu: ['vaultgemma', 'gemma1', 'gemma2', 'gemma3', 't5gemma'], gpu: ['vaultgemma'] };

for (const [kind, families] of Object.entries(FAMILIES)) {
  test(`the engine agrees with its references on the ${kind} device`, { timeout: TIMEOUT }, async (t) => {
    const { device, checks, complaints } = await runParity(kind, families);
    t.diagnostic(`${device.name}, ${checks.length} checks`);
    assert.equal(device.kind, kind);
    assert.deepEqual(complaints, []);
    assert.ok(checks.length > 20 * families.length, `only ${checks.length} checks ran`);
    for (const { name, error, allowed } of checks) {
      // NaN, for a value that is not finite, comes as null and must not pass.
      await t.test(name, () => assert.ok(error !== null && error <= allowed, `${error} is more than ${allowed}`));
    }
  });
}
