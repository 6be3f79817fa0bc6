// Reads from a test runner's output how many tests passed and failed.

import { stripVTControlCharacters } from 'node:util';

/** Sums `test result:` lines of `cargo test`, one for each test binary and each crate's doc tests. */
export function countCargo(output) {
  return sum(output, /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm, ([passed, failed, skipped]) => ({ passed, failed, skipped }));
}

/** Sums the `pass`, `fail`, `cancelled` and `skipped` lines of `node --test`, with its spec or its tap reporter. */
export function countNode(output) {
  const total = (word) => sum(output, new RegExp(`^(?:ℹ|#) ${word} (\\d+)$`, 'gm'), ([count]) => ({ [word]: count }))[word] ?? 0;
  return { passed: total('pass'), failed: total('fail') + total('cancelled'), skipped: total('skipped') + total('todo') };
}

/** Reads Vitest's `Tests  1 failed | 2 skipped | 11 passed (14)`. */
export function countVitest(output) {
  const line = /^\s*Tests\s+(.*\(\d+\))\s*$/m.exec(stripVTControlCharacters(output))?.[1] ?? '';
  const number = (word) => Number(new RegExp(`(\\d+) ${word}`).exec(line)?.[1] ?? 0);
  return { passed: number('passed'), failed: number('failed'), skipped: number('skipped') + number('todo') };
}

function sum(output, pattern, read) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const match of stripVTControlCharacters(output).matchAll(pattern)) {
    for (const [key, value] of Object.entries(read(match.slice(1).map(Number)))) total[key] = (total[key] ?? 0) + value;
  }
  return total;
}
