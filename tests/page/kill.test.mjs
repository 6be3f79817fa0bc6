// Killing the tab in mid-step never lowers the ε on record. The real engine trains on the CPU device; the tab's
// process, or the whole browser's, is killed at random moments, and the page comes back on the same profile.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';

import { root } from '../../tools/process.mjs';
import { KilledRuns } from './kill.mjs';
import { buildPageWith } from './page.mjs';

const MINUTE = 60_000;

/** All pairs of what is killed and how long writing takes. */
const WAYS = ['tab', 'browser'].flatMap((kill) => [false, true].map((slowDisk) => ({ kill, slowDisk })));

/** The moments of the last run can be had again: `KILL_SEED=… node --test tests/page/kill.test.mjs`. */
const seed = Number(process.env.KILL_SEED ?? Math.floor(Math.random() * 2 ** 32));

test('killing the tab in mid-step, at ten random moments, never lowers the ε on record', { timeout: 8 * MINUTE }, async (t) => {
  t.diagnostic(`KILL_SEED=${seed}`);
  const runs = await KilledRuns.begin(path.join(root, 'dist'), seed);
  try {
    for (let round = 0; round < 10; round++) t.diagnostic(await runs.round(WAYS[round % WAYS.length]));
    t.diagnostic(JSON.stringify(await runs.finish()));
    t.diagnostic(await runs.shareRows());
  } finally {
    await runs.end();
  }
});

test('the same kills show up a storage that calls a charge kept before it is', { timeout: 4 * MINUTE }, async (t) => {
  const runs = await KilledRuns.begin(buildPageWith('late-charge'), seed);
  try {
    await assert.rejects(async () => {
      for (let round = 0; round < 6; round++) t.diagnostic(await runs.round({ kill: 'tab', slowDisk: false }));
    }, /was shown, and the ledger has|were shown after/);
  } finally {
    await runs.end();
  }
});
