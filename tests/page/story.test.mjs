// The whole story with the real engine on the built page in dist/: on the CPU device until it has learnt, in a few
// small steps on WebGPU (a software adapter here), and what happens where there is no WebGPU at all.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { root } from '../../tools/process.mjs';
import { ask, host, modelLoaded, open } from './page.mjs';
import { play, sampleRows } from './story.mjs';

const MINUTE = 60_000;
const dist = path.join(root, 'dist');
let site;

before(async () => {
  site = await host(dist);
});

after(() => site?.close());

test('the whole story on the CPU, until it has learnt', { timeout: 25 * MINUTE }, async (t) => {
  const measured = await play(site, {
    device: 'cpu',
    name: 'story-cpu',
    rows: sampleRows(),
    // A quarter of the demo's plan: held-out loss falls most in the first steps. The demo model's own measurements,
    // with what the adapters give away, take all of them.
    plan: { steps: 75 },
    pauseAt: 5,
    stepsWithoutPrivacy: 10,
    learns: true,
    patience: 15 * MINUTE,
  });
  t.diagnostic(JSON.stringify(measured));
});

test('the whole story on WebGPU, in a few small steps', { timeout: 15 * MINUTE }, async (t) => {
  const measured = await play(site, {
    device: 'gpu',
    name: 'story-gpu',
    rows: sampleRows(20),
    plan: { 'logical-batch': 2, steps: 3, 'micro-batch': 2, rank: 2, 'evaluate-every': 0, 'checkpoint-every': 1 },
    pauseAt: 1,
    stepsWithoutPrivacy: 1,
    learns: false,
    patience: 8 * MINUTE,
  });
  t.diagnostic(JSON.stringify(measured));
});

test('without WebGPU the page takes the CPU by itself, and says why the GPU cannot be had', { timeout: 3 * MINUTE }, async () => {
  const without = await host(dist, { webgpu: false });
  try {
    const { page, close } = await open(without, { timeout: MINUTE });
    assert.equal(await page.getByTestId('device-kind').innerText(), 'CPU');
    assert.ok((await page.getByTestId('device-reason').innerText()).length > 20);
    await page.getByTestId('device-gpu').check();
    const error = page.getByTestId('error-model');
    await error.waitFor({ timeout: MINUTE });
    assert.equal(await error.getAttribute('data-code'), 'noGpu');
    await page.getByRole('button', { name: 'Go on with the CPU' }).click();
    await modelLoaded(page, MINUTE);
    assert.ok((await ask(page, 'What is it?', MINUTE)).length > 0);
    await close();
  } finally {
    await without.close();
  }
});
