// The whole story with the real engine on the built page in dist/: at full length on the CPU device, with
// small batches on WebGPU (a software adapter here), and what happens where there is no WebGPU at all.

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

test('the whole story on the CPU, at full length', { timeout: 25 * MINUTE }, async (t) => {
  const measured = await play(site, {
    device: 'cpu',
    name: 'story-cpu',
    rows: sampleRows(),
    plan: {},
    pauseAt: 5,
    // Enough to see it work; what it gives away is measured with the demo model.
    stepsWithoutPrivacy: 30,
    learns: true,
    patience: 15 * MINUTE,
  });
  t.diagnostic(JSON.stringify(measured));
});

test('the whole story on WebGPU, with small batches', { timeout: 15 * MINUTE }, async (t) => {
  const measured = await play(site, {
    device: 'gpu',
    name: 'story-gpu',
    rows: sampleRows(40),
    plan: { 'logical-batch': 4, steps: 3, 'micro-batch': 4, rank: 2, 'evaluate-every': 0, 'checkpoint-every': 1 },
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
