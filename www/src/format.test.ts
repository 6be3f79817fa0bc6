import { describe, expect, it } from 'vitest';
import { bound, bytes, duration, epsilon, parameters, plural, scientific } from './format';

describe('epsilon', () => {
  it('never shows less than was spent', () => {
    for (const value of [0.001, 0.314, 1.999, 7.9901, 8, 9.999, 12.34, 123.456]) {
      expect(Number(epsilon(value))).toBeGreaterThanOrEqual(value - 1e-9);
      expect(Number(epsilon(value))).toBeLessThan(value + 0.11);
    }
  });

  it('does not round a clean value up for the noise in its last bit', () => {
    expect(epsilon(8.000000000000002)).toBe('8.00');
    expect(epsilon(0)).toBe('0.00');
  });
});

it('writes bytes in decimal units', () => {
  expect([0, 999, 1000, 4_900_000, 999_600_000].map(bytes)).toEqual(['0 B', '999 B', '1.0 kB', '4.9 MB', '1.0 GB']);
});

it('writes durations as people say them', () => {
  expect([0.4, 59, 61, 3700].map(duration)).toEqual(['0 s', '59 s', '1 min 1 s', '1 h 1 min']);
});

it('writes parameters and small numbers shortly', () => {
  expect([950, 41_000, 1_300_000, 268_000_000, 2_600_000_000].map(parameters)).toEqual(['950', '41 k', '1.3 M', '268 M', '2.6 B']);
  expect([1e-5, 0.005, 1].map(scientific)).toEqual(['1e-5', '5e-3', '1']);
});

it('counts in words', () => {
  expect([0, 1, 1200].map((value) => plural(value, 'step'))).toEqual(['0 steps', '1 step', '1,200 steps']);
});

it('never writes an error bound smaller than it is', () => {
  expect([0, 0.000276, 0.0003, 0.95, 2, Infinity].map(bound)).toEqual(['0', '0.0003', '0.0003', '1', '2', '∞']);
});
