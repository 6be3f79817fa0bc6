// Reads from a test runner's output how many tests passed and failed.

import { stripVTControlCharacters } from 'node:util';

/** Sums `test result:` lines of `cargo test`, one for each test binary and each crate's doc tests. */
export function countCargo(output) {
  const total = (word) => sum(output, new RegExp(`^test result: .*?(\\d+) ${word};`, 'gm'));
  return { passed: total('passed'), failed: total('failed'), skipped: total('ignored') };
}

/** Sums the last lines of `node --test`, with its spec or its tap reporter. */
export function countNode(output) {
  const total = (word) => sum(output, new RegExp(`^(?:ℹ|#) ${word} (\\d+)$`, 'gm'));
  return {
    passed: total('pass'),
    failed: total('fail') + total('cancelled'),
    skipped: total('skipped') + total('todo'),
  };
}

/** Reads Vitest's `Tests  1 failed | 2 skipped | 11 passed (14)`. */
export function countVitest(output) {
  const line = /^\s*Tests\s+(.*\(\d+\))\s*$/m.exec(stripVTControlCharacters(output))?.[1] ?? '';
  const number = (word) => Number(new RegExp(`(\\d+) ${word}`).exec(line)?.[1] ?? 0);
  return { passed: number('passed'), failed: number('failed'), skipped: number('skipped') + number('todo') };
}

/** Counts the `ok` and `FAILED` lines of tests/peft/roundtrip.py, one for each comparison. */
export function countRoundTrip(output) {
  const lines = (word) => output.split('\n').filter((line) => line.startsWith(`${word} `)).length;
  return { passed: lines('ok'), failed: lines('FAILED'), skipped: 0 };
}

/** Sum of the numbers that a pattern's only group finds. */
function sum(output, pattern) {
  const matches = [...stripVTControlCharacters(output).matchAll(pattern)];
  return matches.reduce((total, match) => total + Number(match[1]), 0);
}
