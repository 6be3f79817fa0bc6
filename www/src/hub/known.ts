// The Gemmas this page knows by name. Sizes are of the repositories as they were described, and only guide the choice: a
// download shows what the hub itself lists.

import type { ModelShape } from './estimate';

export interface KnownModel {
  repo: string;
  name: string;
  /** Bytes to download. */
  download: number;
  /** True where the hub wants an account that accepted the Gemma licence. */
  gated: boolean;
  /** One line on what it is for. */
  about: string;
  shape: ModelShape;
}

const GEMMA_3_270M: ModelShape = { parameters: 268_098_176, vocab: 262_144, hidden: 640, layers: 18, heads: 4, kvHeads: 1, headDim: 256, intermediate: 2048, tables: 1 };
const GEMMA_3_1B: ModelShape = { parameters: 999_885_952, vocab: 262_144, hidden: 1152, layers: 26, heads: 4, kvHeads: 1, headDim: 256, intermediate: 6912, tables: 1 };
const VAULTGEMMA_1B: ModelShape = { parameters: 1_038_741_120, vocab: 256_000, hidden: 1152, layers: 26, heads: 4, kvHeads: 4, headDim: 256, intermediate: 6912, tables: 1 };
const GEMMA_2B: ModelShape = { parameters: 2_506_172_416, vocab: 256_000, hidden: 2048, layers: 18, heads: 8, kvHeads: 1, headDim: 256, intermediate: 16_384, tables: 1 };
const GEMMA_2_2B: ModelShape = { parameters: 2_614_341_888, vocab: 256_000, hidden: 2304, layers: 26, heads: 8, kvHeads: 4, headDim: 256, intermediate: 9216, tables: 1 };
const T5_S: ModelShape = { parameters: 312_517_632, vocab: 256_000, hidden: 512, layers: 16, heads: 8, kvHeads: 8, headDim: 64, intermediate: 1024, tables: 2 };
const T5_B: ModelShape = { parameters: 591_490_560, vocab: 256_000, hidden: 768, layers: 24, heads: 12, kvHeads: 12, headDim: 64, intermediate: 2048, tables: 2 };

export const KNOWN: KnownModel[] = [
  { repo: 'unsloth/gemma-3-270m-it', name: 'Gemma 3 270M, instructed', download: 570e6, gated: false, about: 'Smallest that talks; a copy without the gate.', shape: GEMMA_3_270M },
  { repo: 'unsloth/gemma-3-270m', name: 'Gemma 3 270M', download: 570e6, gated: false, about: 'Base model; a copy without the gate.', shape: GEMMA_3_270M },
  { repo: 'google/gemma-3-270m-it', name: 'Gemma 3 270M, instructed', download: 570e6, gated: true, about: 'The original.', shape: GEMMA_3_270M },
  { repo: 'google/gemma-3-1b-it', name: 'Gemma 3 1B, instructed', download: 2.03e9, gated: true, about: 'Better answers.', shape: GEMMA_3_1B },
  { repo: 'google/vaultgemma-1b', name: 'VaultGemma 1B', download: 2.1e9, gated: true, about: 'Pre-trained under differential privacy itself.', shape: VAULTGEMMA_1B },
  { repo: 'google/gemma-2b-it', name: 'Gemma 2B, instructed', download: 5.03e9, gated: true, about: 'The first Gemma.', shape: GEMMA_2B },
  { repo: 'google/gemma-2-2b-it', name: 'Gemma 2 2B, instructed', download: 5.26e9, gated: true, about: 'The largest here.', shape: GEMMA_2_2B },
  { repo: 'google/t5gemma-s-s-prefixlm', name: 'T5Gemma S', download: 0.66e9, gated: true, about: 'Encoder and decoder, for translation.', shape: T5_S },
  { repo: 'google/t5gemma-b-b-prefixlm', name: 'T5Gemma B', download: 1.22e9, gated: true, about: 'Encoder and decoder, for translation.', shape: T5_B },
];
