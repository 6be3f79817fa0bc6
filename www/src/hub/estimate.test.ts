import { expect, it } from 'vitest';
import type { DeviceReport } from '../protocol';
import { estimate, shapeOf, verdict } from './estimate';
import { KNOWN } from './known';
import { Speed } from './speed';

const shape = (name: string) => KNOWN.find((known) => known.repo.endsWith(name))!.shape;

it('counts the parameters of the released models to a hundredth of a percent from their config.json', () => {
  const configs = {
    'gemma-3-270m': { vocab_size: 262144, hidden_size: 640, num_hidden_layers: 18, intermediate_size: 2048, num_attention_heads: 4, num_key_value_heads: 1, head_dim: 256 },
    'vaultgemma-1b': { vocab_size: 256000, hidden_size: 1152, num_hidden_layers: 26, intermediate_size: 6912, num_attention_heads: 4, num_key_value_heads: 4, head_dim: 256 },
    'gemma-2b-it': { vocab_size: 256000, hidden_size: 2048, num_hidden_layers: 18, intermediate_size: 16384, num_attention_heads: 8, num_key_value_heads: 1, head_dim: 256 },
  };
  for (const [name, config] of Object.entries(configs)) {
    const found = shapeOf(JSON.stringify(config))!;
    expect(Math.abs(found.parameters / shape(name).parameters - 1), name).toBeLessThan(3e-4);
  }
  const stack = { vocab_size: 256000, hidden_size: 512, num_hidden_layers: 8, intermediate_size: 1024, num_attention_heads: 8, num_key_value_heads: 8, head_dim: 64 };
  const pair = shapeOf(JSON.stringify({ encoder: stack, decoder: stack }))!;
  expect(Math.abs(pair.parameters / shape('t5gemma-s-s-prefixlm').parameters - 1)).toBeLessThan(3e-4);
  expect(pair.tables).toBe(2);
  expect(shapeOf('{}')).toBeNull();
  expect(shapeOf('not json')).toBeNull();
});

it('holds matrices in 4.127 bits and embeddings in f32, and needs more to train than to talk', () => {
  const one = shape('vaultgemma-1b');
  const table = one.vocab * one.hidden;
  const { weights, chat, training } = estimate(one, { weights: 'nf4', length: 256, batch: 1 });
  expect(((weights - 4 * table) * 8) / (one.parameters - table)).toBeCloseTo(4.127, 3);
  expect(estimate(one, { weights: 'f32', length: 256, batch: 1 }).weights).toBe(4 * one.parameters);
  expect(chat).toBeGreaterThan(weights);
  expect(training).toBeGreaterThan(chat);
});

it('judges by what the device grants', () => {
  const device: DeviceReport = { kind: 'gpu', name: 'x', software: false, reason: '', maxBindingBytes: 2 ** 30, maxBufferBytes: 2 ** 30 };
  expect(verdict(1e9, 5e8, device, 8).fit).toBe('fits');
  expect(verdict(1e9, 2e9, device, 8)).toMatchObject({ fit: 'no', reason: expect.stringContaining('2.0 GB') });
  expect(verdict(3e9, 5e8, device, 2).fit).toBe('no');
  expect(verdict(3e9, 5e8, device, 4).fit).toBe('tight');
  expect(verdict(3e9, 5e8, device, null).fit).toBe('unknown');
  expect(verdict(9e9, 5e8, { ...device, kind: 'cpu' }, 8).fit).toBe('no');
  expect(verdict(1e9, 5e8, null, 8).fit).toBe('unknown');
});

it('expects the end from the last seconds, and takes bytes that were there for no speed', () => {
  let now = 0;
  const seen: (number | null)[] = [];
  const speed = new Speed(10_000, ({ etaSeconds }) => seen.push(etaSeconds), () => now);
  for (const [at, done] of [[0, 5000], [1000, 6000], [1050, 6100], [2000, 7000], [3000, 10_000]] as const) {
    now = at;
    speed.at('x', done);
  }
  expect(seen).toEqual([null, 4, 3, 0]);
});
