// How much memory a model will take, before any of it is downloaded. A rough sum over the parts that matter; once the
// engine states its own numbers, they replace `estimate` and nothing else changes.

import type { DeviceReport, WeightFormat } from '../protocol';

/** The sizes that memory depends on. */
export interface ModelShape {
  parameters: number;
  vocab: number;
  hidden: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  intermediate: number;
  /** Embedding tables of vocab × hidden: two for an encoder-decoder, or for an output that is not tied. */
  tables: number;
}

export interface Use {
  weights: WeightFormat;
  /** Tokens in a sequence. */
  length: number;
  /** Sequences computed at once in training. */
  batch: number;
}

/** Bytes on the device. */
export interface Estimate {
  weights: number;
  chat: number;
  training: number;
  /** Largest single tensor. */
  largest: number;
}

const F32 = 4;
/** Four bits a weight, and 8-bit scales with their own scales: blocks of 64, in blocks of 256. */
const NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8;

export function estimate(shape: ModelShape, use: Use): Estimate {
  const table = shape.vocab * shape.hidden;
  // Embeddings and norms stay in f32, as bitsandbytes leaves them; norms are too few to count.
  const matrices = shape.parameters - table * shape.tables;
  const weights = table * shape.tables * F32 + matrices * (use.weights === 'nf4' ? NF4 : F32);
  const cache = 2 * shape.layers * shape.kvHeads * shape.headDim * use.length * F32;
  // One token's logits and one block's activations.
  const chat = weights + cache + (shape.vocab + 8 * shape.hidden + 3 * shape.intermediate) * F32;
  // Training keeps each block's input and recomputes one block inside; then logits and their gradient.
  const tokens = use.length * use.batch;
  const kept = shape.layers * shape.hidden * tokens * F32;
  const block = (12 * shape.hidden + 6 * shape.intermediate + 2 * shape.heads * use.length) * tokens * F32;
  const logits = 2 * shape.vocab * tokens * F32;
  return { weights, chat, training: weights + kept + block + logits, largest: table * F32 };
}

/** Sizes out of config.json; null where it has none of the kind. */
export function shapeOf(config: string): ModelShape | null {
  let parsed: Record<string, unknown>;
  try {
    parsed = JSON.parse(config) as Record<string, unknown>;
  } catch {
    return null;
  }
  const stacks = [parsed['encoder'], parsed['decoder']].filter((stack): stack is Record<string, unknown> => typeof stack === 'object' && stack !== null);
  const parts = stacks.length === 2 ? stacks : [parsed];
  const shapes: ModelShape[] = [];
  for (const part of parts) {
    const number = (key: string, otherwise?: number): number => (typeof part[key] === 'number' ? part[key] : typeof parsed[key] === 'number' ? parsed[key] : (otherwise ?? Number.NaN)) as number;
    const hidden = number('hidden_size');
    const heads = number('num_attention_heads');
    const kvHeads = number('num_key_value_heads', heads);
    const headDim = number('head_dim', hidden / heads);
    const intermediate = number('intermediate_size');
    const layers = number('num_hidden_layers');
    const vocab = number('vocab_size');
    // The decoder of a pair attends twice.
    const attentions = part === stacks[1] ? 2 : 1;
    const layer = attentions * hidden * headDim * (2 * heads + 2 * kvHeads) + 3 * hidden * intermediate;
    const parameters = vocab * hidden + layers * layer;
    if (!Number.isFinite(parameters)) return null;
    shapes.push({ parameters, vocab, hidden, layers, heads, kvHeads, headDim, intermediate, tables: 1 });
  }
  const [first, second] = shapes;
  if (first === undefined || second === undefined) return first ?? null;
  return { ...first, parameters: first.parameters + second.parameters, layers: first.layers + second.layers, tables: 2 };
}

export type Fit = 'fits' | 'tight' | 'no' | 'unknown';

export interface Verdict {
  fit: Fit;
  /** One sentence with the number it is judged by. */
  reason: string;
}

const GIB = 2 ** 30;
/** A wasm module can address 4 GiB; its code, the rows and fragmentation take some. */
const WASM_ROOM = 3.5 * GIB;

/** Whether so many bytes go on the device. Browsers do not tell a GPU's memory: the computer's is the hint there is. */
export function verdict(bytes: number, largest: number, device: DeviceReport | null, computerGib: number | null): Verdict {
  const size = (count: number): string => `${(count / 1e9).toFixed(1)} GB`;
  if (device === null) return { fit: 'unknown', reason: 'No device is open yet.' };
  if (device.kind === 'cpu') {
    const reason = `On the CPU ${size(WASM_ROOM)} can be used.`;
    return { fit: bytes > WASM_ROOM ? 'no' : bytes > 0.8 * WASM_ROOM ? 'tight' : 'fits', reason };
  }
  if (largest > device.maxBufferBytes) return { fit: 'no', reason: `Its largest tensor takes ${size(largest)}; this GPU gives buffers of ${size(device.maxBufferBytes)}.` };
  if (largest > device.maxBindingBytes) return { fit: 'no', reason: `Its largest tensor takes ${size(largest)}; this GPU binds ${size(device.maxBindingBytes)} at once.` };
  if (computerGib === null) return { fit: 'unknown', reason: 'This browser does not tell how much memory there is.' };
  const memory = computerGib * GIB;
  // Browsers report at most 8 GiB, so above that nothing is known.
  if (bytes > memory) return { fit: computerGib >= 8 ? 'unknown' : 'no', reason: `The computer has ${computerGib >= 8 ? 'at least ' : ''}${size(memory)} of memory.` };
  return { fit: bytes > 0.6 * memory ? 'tight' : 'fits', reason: `The computer has ${computerGib >= 8 ? 'at least ' : ''}${size(memory)} of memory; a GPU of its own may have less.` };
}
