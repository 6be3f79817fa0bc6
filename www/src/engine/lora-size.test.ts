import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { loraParameters, parseShape } from './lora-size';

const ALL = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

it('counts as the reference does: rank 4 on the first try’s model has 40,960 parameters', () => {
  const shape = { hidden_size: 128, intermediate_size: 384, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 4, head_dim: 32 };
  expect(loraParameters(shape, 4, ALL)).toBe(40_960);
});

it('knows that key and value heads are fewer', () => {
  const shape = { hidden_size: 64, intermediate_size: 200, num_hidden_layers: 1, num_attention_heads: 4, num_key_value_heads: 1, head_dim: 16 };
  expect(loraParameters(shape, 1, ['q_proj'])).toBe(64 + 64);
  expect(loraParameters(shape, 1, ['v_proj'])).toBe(64 + 16);
});

it('reads the demo model’s config, and refuses one without sizes', () => {
  expect(parseShape(readFileSync(new URL('../../models/demo/config.json', import.meta.url), 'utf8'))).not.toBeNull();
  expect(parseShape('{"model_type":"gemma"}')).toBeNull();
});
