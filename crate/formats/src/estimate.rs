//! What a model will need in memory, computed from shapes before anything is fetched.
//!
//! Weights, adapters, optimizer state and the key-value cache are exact. Activations are those a plain
//! implementation holds at once (scores materialised, one block recomputed at a time in training);
//! allocators round up, so callers add a margin of their own.

use serde::Serialize;

use crate::config::{AnyConfig, LinearModule, ModelConfig, TensorSpec};
use crate::{int8, nf4};

const F32: u64 = 4;

/// How weights are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Representation {
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value.
    F16,
    /// 1 byte a value, and 4 per 64 values.
    Int8,
    /// Half a byte a value, 1 byte per 64 values, 4 per 16,384, and 4 for the tensor.
    Nf4,
}

impl Representation {
    /// Every one, the largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Nf4];

    /// Bytes of one tensor of `values` values.
    pub fn bytes(self, values: u64) -> u64 {
        match self {
            Self::F32 => values * F32,
            Self::F16 => values * 2,
            Self::Int8 => values + values.div_ceil(int8::BLOCK as u64) * F32,
            Self::Nf4 => {
                let blocks = values.div_ceil(nf4::BLOCK as u64);
                values.div_ceil(2) + blocks + blocks.div_ceil(nf4::NESTED_BLOCK as u64) * F32 + F32
            }
        }
    }
}

/// How the parts of a model are held. Norms are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WeightPlan {
    /// The linear layers of the blocks.
    pub linear: Representation,
    /// Embeddings, and the output table if it is one of its own.
    pub embeddings: Representation,
}

impl WeightPlan {
    /// Everything in one representation.
    pub fn uniform(representation: Representation) -> Self {
        Self {
            linear: representation,
            embeddings: representation,
        }
    }

    /// Bytes of a tensor by its role: one dimension is a norm, `embed_tokens` and `lm_head` are tables.
    pub fn tensor_bytes(self, tensor: &TensorSpec) -> u64 {
        let values = tensor.shape.iter().map(|&n| n as u64).product();
        let table = tensor.name.contains("embed_tokens") || tensor.name.starts_with("lm_head");
        match tensor.shape.len() {
            0 | 1 => Representation::F32.bytes(values),
            _ if table => self.embeddings.bytes(values),
            _ => self.linear.bytes(values),
        }
    }

    /// Bytes of all weights of a model: the sum over its tensors, exact.
    pub fn weight_bytes(self, config: &AnyConfig) -> u64 {
        config.tensors().iter().map(|t| self.tensor_bytes(t)).sum()
    }

    /// Bytes of the largest single tensor, to compare with an adapter's binding limit.
    pub fn largest_tensor(self, config: &AnyConfig) -> u64 {
        let bytes = config.tensors().iter().map(|t| self.tensor_bytes(t)).max();
        bytes.unwrap_or(0)
    }
}

/// Sequences to be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Sequences at once: 1 for chat, the micro-batch in training.
    pub batch: u64,
    /// Tokens a sequence may have, prompt and answer together (T5Gemma: of each stack).
    pub length: u64,
    /// Positions run through the model at once: the prefill chunk, or `length`.
    pub chunk: u64,
    /// Positions whose logits are held at once: 1 in chat, a chunk of the loss in training.
    pub logit_rows: u64,
}

/// Bytes needed to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChatBytes {
    /// All weights.
    pub weights: u64,
    /// Keys and values of every position, f32.
    pub cache: u64,
    /// The most one block holds during prefill.
    pub activations: u64,
    /// Logits, f32.
    pub logits: u64,
}

impl ChatBytes {
    /// All together.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.activations + self.logits
    }
}

/// Bytes needed to fine-tune with LoRA under differential privacy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrainingBytes {
    /// All weights, frozen.
    pub weights: u64,
    /// Adapters with their gradient sum and AdamW's two moments.
    pub adapters: u64,
    /// A gradient per example of the micro-batch.
    pub example_gradients: u64,
    /// The residual stream before every block, kept for recomputation.
    pub block_inputs: u64,
    /// One block's activations and their gradients.
    pub block: u64,
    /// Logits and their gradient.
    pub logits: u64,
}

impl TrainingBytes {
    /// All together.
    pub fn total(&self) -> u64 {
        self.weights
            + self.adapters
            + self.example_gradients
            + self.block_inputs
            + self.block
            + self.logits
    }
}

/// Bytes to answer with a model.
///
/// With b = batch, n = length, c = chunk, per decoder layer of k key heads of width h:
/// - cache = Σ layers 2 b n k h 4, and for T5Gemma the same again for cross-attention;
/// - activations = [`block_bytes`] of the widest stack at c queries and n keys;
/// - logits = b rows V 4.
pub fn chat_bytes(config: &AnyConfig, plan: WeightPlan, load: Load) -> ChatBytes {
    let decoder = config.decoder();
    let caches = 1 + u64::from(config.encoder().is_some());
    // An encoder reads its whole prompt at once.
    let encoder = config
        .encoder()
        .map_or(0, |e| block_bytes(e, load.batch, load.length, load.length));
    ChatBytes {
        weights: plan.weight_bytes(config),
        cache: caches * cache_bytes(decoder, load.batch, load.length),
        activations: block_bytes(decoder, load.batch, load.chunk, load.length).max(encoder),
        logits: load.batch * load.logit_rows * decoder.vocab_size as u64 * F32,
    }
}

/// Bytes to take a private LoRA step, blocks recomputed one at a time (Chen et al. 2016).
///
/// With b = micro-batch, n = length, d = width, L layers, P adapter parameters:
/// - adapters = 16 P: value, gradient sum, two moments, 4 bytes each;
/// - example gradients = 4 b P;
/// - block inputs = 4 (L + 1) b n d, for T5Gemma of both stacks, and the encoder's output once more;
/// - block = 2 × [`block_bytes`] of the widest stack at n queries and n keys: values and gradients;
/// - logits = 2 b rows V 4.
pub fn training_bytes(
    config: &AnyConfig,
    plan: WeightPlan,
    load: Load,
    adapter_parameters: u64,
) -> TrainingBytes {
    let stacks = [Some(config.decoder()), config.encoder()];
    let stacks = || stacks.into_iter().flatten();
    let residual = |stack: &ModelConfig| load.batch * load.length * stack.hidden_size as u64 * F32;
    let inputs = |stack: &ModelConfig| (stack.num_layers() as u64 + 1) * residual(stack);
    let block = |stack| block_bytes(stack, load.batch, load.length, load.length);
    TrainingBytes {
        weights: plan.weight_bytes(config),
        adapters: adapter_parameters * 4 * F32,
        example_gradients: load.batch * adapter_parameters * F32,
        block_inputs: stacks().map(inputs).sum::<u64>() + config.encoder().map_or(0, residual),
        block: 2 * stacks().map(block).max().unwrap_or(0),
        logits: 2 * load.batch * load.logit_rows * config.decoder().vocab_size as u64 * F32,
    }
}

/// Parameters of a LoRA adapter of this rank on some layers: `Σ r (in + out)` (Hu et al. 2021).
pub fn adapter_parameters<'a>(
    modules: impl IntoIterator<Item = &'a LinearModule>,
    rank: u64,
) -> u64 {
    let widths = |m: &LinearModule| rank * (m.inputs + m.outputs) as u64;
    modules.into_iter().map(widths).sum()
}

/// Keys and values of every layer for `length` positions, f32; sliding layers hold all of them too.
pub fn cache_bytes(stack: &ModelConfig, batch: u64, length: u64) -> u64 {
    let width = (stack.num_kv_heads * stack.head_dim) as u64;
    stack.num_layers() as u64 * 2 * batch * length * width * F32
}

/// The most one block holds at once with `queries` new positions over `keys` in all, f32: the larger of
/// attention, `b q (3 d + 2 H h + 2 K h) + 2 b H q k` (residual, normed, output; queries and heads'
/// result; keys and values; scores and their softmax), and MLP, `b q (3 d + 3 f)`. H and K count the
/// query and key heads of width h, f is the MLP's width.
pub fn block_bytes(stack: &ModelConfig, batch: u64, queries: u64, keys: u64) -> u64 {
    let d = stack.hidden_size as u64;
    let heads = stack.num_heads as u64;
    let width = stack.head_dim as u64;
    let kv = stack.num_kv_heads as u64 * width;
    let attention = queries * (3 * d + 2 * heads * width + 2 * kv) + 2 * heads * queries * keys;
    let mlp = queries * (3 * d + 3 * stack.intermediate_size as u64);
    batch * attention.max(mlp) * F32
}
