// The summary of `npm test` is only as honest as its reading of the runners' output; these are their real lines.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

import { countCargo, countNode, countRoundTrip, countVitest } from '../../tools/counts.mjs';

test('sums all test binaries of cargo test', () => {
  const output = [
    'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s',
    'test result: FAILED. 5 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.20s',
  ].join('\n');
  assert.deepEqual(countCargo(output), { passed: 7, failed: 3, skipped: 1 });
  assert.deepEqual(countCargo('error: could not compile'), { passed: 0, failed: 0, skipped: 0 });
});

test('reads what this Node prints, with both reporters', () => {
  const script =
    "const { test } = require('node:test'); test('a', () => {}); test('b', () => { throw 1; }); test('c', { skip: true }, () => {});";
  for (const reporter of ['spec', 'tap']) {
    const { stdout } = spawnSync(process.execPath, [`--test-reporter=${reporter}`, '-e', script], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH },
    });
    assert.deepEqual(countNode(stdout), { passed: 1, failed: 1, skipped: 1 }, reporter);
  }
});

test("reads Vitest's line", () => {
  assert.deepEqual(countVitest('      Tests  1 failed | 2 skipped | 11 passed (14)\n'), {
    passed: 11,
    failed: 1,
    skipped: 2,
  });
  assert.deepEqual(countVitest('\u001b[2m      Tests \u001b[22m \u001b[32m12 passed\u001b[39m (12)\n'), {
    passed: 12,
    failed: 0,
    skipped: 0,
  });
});

test('counts the comparisons of the PEFT round trip', () => {
  const output =
    'ok base model, cpu: relative difference 1.0e-07\nFAILED base model, gpu: relative difference 1.0e-01\n';
  assert.deepEqual(countRoundTrip(output), { passed: 1, failed: 1, skipped: 0 });
});
