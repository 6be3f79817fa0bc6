//! Names and shapes of a checkpoint's tensors, derived from the configuration.

use super::{Family, ModelConfig, T5GemmaConfig};

/// The linear projections of one layer, in forward order; the names LoRA targets go by.
pub const PROJECTIONS: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// RMSNorms around attention and MLP, by the tensor names the checkpoints use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormLayout {
    /// VaultGemma: `input_layernorm` before attention, `pre_feedforward_layernorm` before the MLP.
    PreOnly,
    /// Gemma 1: the same places, but the second is stored as `post_attention_layernorm`.
    PreOnlyGemma1,
    /// Gemma 2 and 3: before and after both attention and MLP.
    PreAndPost,
    /// T5Gemma: before and after each sub-layer, under names of their own.
    PreAndPostT5,
}

impl NormLayout {
    pub(super) fn of(family: Family) -> Self {
        match family {
            Family::VaultGemma => Self::PreOnly,
            Family::Gemma => Self::PreOnlyGemma1,
            Family::Gemma2 | Family::Gemma3 => Self::PreAndPost,
            Family::T5Gemma => Self::PreAndPostT5,
        }
    }

    /// Norm on the residual stream before self-attention.
    pub fn pre_attention(self) -> &'static str {
        match self {
            Self::PreAndPostT5 => "pre_self_attn_layernorm",
            _ => "input_layernorm",
        }
    }

    /// Norm on the output of self-attention, before it joins the residual stream.
    pub fn post_attention(self) -> Option<&'static str> {
        match self {
            Self::PreOnly | Self::PreOnlyGemma1 => None,
            Self::PreAndPost => Some("post_attention_layernorm"),
            Self::PreAndPostT5 => Some("post_self_attn_layernorm"),
        }
    }

    /// Norm on the residual stream before the MLP.
    pub fn pre_mlp(self) -> &'static str {
        match self {
            Self::PreOnlyGemma1 => "post_attention_layernorm",
            _ => "pre_feedforward_layernorm",
        }
    }

    /// Norm on the output of the MLP, before it joins the residual stream.
    pub fn post_mlp(self) -> Option<&'static str> {
        match self {
            Self::PreOnly | Self::PreOnlyGemma1 => None,
            Self::PreAndPost | Self::PreAndPostT5 => Some("post_feedforward_layernorm"),
        }
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            Some(self.pre_attention()),
            self.post_attention(),
            Some(self.pre_mlp()),
            self.post_mlp(),
        ];
        all.into_iter().flatten()
    }
}

/// A tensor the checkpoint must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Full name, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Row-major shape; linear weights are `[out, in]`.
    pub shape: Vec<usize>,
}

/// A linear layer LoRA can adapt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearModule {
    /// Module path, e.g. `model.layers.0.self_attn.q_proj`; the weight is at `{path}.weight`.
    pub path: String,
    /// Input width.
    pub inputs: usize,
    /// Output width.
    pub outputs: usize,
}

impl ModelConfig {
    /// The linear layers of every block, in forward order (see [`PROJECTIONS`]).
    pub fn linear_modules(&self) -> Vec<LinearModule> {
        self.stack_modules("model", None)
    }

    /// Every tensor of a decoder-only checkpoint.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut all = self.stack_tensors("model", None);
        if !self.tied_embeddings {
            all.push(self.output_table("lm_head.weight"));
        }
        all
    }

    /// Parameters of a decoder-only checkpoint.
    pub fn parameters(&self) -> u64 {
        values(&self.tensors())
    }

    /// The linear layers of one stack. `memory` is the width of what cross-attention reads; a stack
    /// with it has cross-attention after self-attention in every layer.
    fn stack_modules(&self, stack: &str, memory: Option<usize>) -> Vec<LinearModule> {
        let queries = self.num_heads * self.head_dim;
        let keys = self.num_kv_heads * self.head_dim;
        let (d, ff) = (self.hidden_size, self.intermediate_size);
        let attention = |name: &'static str, from: usize| {
            [
                (name, "q_proj", d, queries),
                (name, "k_proj", from, keys),
                (name, "v_proj", from, keys),
                (name, "o_proj", queries, d),
            ]
        };
        let mut per_layer = attention("self_attn", d).to_vec();
        per_layer.extend(memory.into_iter().flat_map(|m| attention("cross_attn", m)));
        per_layer.extend([
            ("mlp", "gate_proj", d, ff),
            ("mlp", "up_proj", d, ff),
            ("mlp", "down_proj", ff, d),
        ]);
        let module = |layer: usize, &(part, name, inputs, outputs): &(_, _, usize, usize)| {
            let part: &str = part;
            let name: &str = name;
            LinearModule {
                path: format!("{stack}.layers.{layer}.{part}.{name}"),
                inputs,
                outputs,
            }
        };
        (0..self.num_layers())
            .flat_map(|layer| per_layer.iter().map(move |entry| module(layer, entry)))
            .collect()
    }

    /// Every tensor of one stack but the output table.
    fn stack_tensors(&self, stack: &str, memory: Option<usize>) -> Vec<TensorSpec> {
        let spec = |name: String, shape: Vec<usize>| TensorSpec { name, shape };
        let d = self.hidden_size;
        let mut all = vec![self.output_table(&format!("{stack}.embed_tokens.weight"))];
        let cross = memory.map(|_| ["pre_cross_attn_layernorm", "post_cross_attn_layernorm"]);
        for layer in 0..self.num_layers() {
            let prefix = format!("{stack}.layers.{layer}");
            all.extend(
                self.norms
                    .names()
                    .chain(cross.into_iter().flatten())
                    .map(|n| spec(format!("{prefix}.{n}.weight"), vec![d])),
            );
            if self.qk_norm {
                for name in ["q_norm", "k_norm"] {
                    all.push(spec(
                        format!("{prefix}.self_attn.{name}.weight"),
                        vec![self.head_dim],
                    ));
                }
            }
        }
        all.extend(
            self.stack_modules(stack, memory)
                .into_iter()
                .map(|m| spec(format!("{}.weight", m.path), vec![m.outputs, m.inputs])),
        );
        all.push(spec(format!("{stack}.norm.weight"), vec![d]));
        all
    }

    /// A table with a row per token: embeddings or output.
    fn output_table(&self, name: &str) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            shape: vec![self.vocab_size, self.hidden_size],
        }
    }
}

impl T5GemmaConfig {
    /// The linear layers of both stacks in forward order, the encoder's first; every decoder layer has
    /// `cross_attn` between `self_attn` and `mlp`, its keys and values as wide as the encoder.
    pub fn linear_modules(&self) -> Vec<LinearModule> {
        let mut all = self.encoder.stack_modules("model.encoder", None);
        let memory = Some(self.encoder.hidden_size);
        all.extend(self.decoder.stack_modules("model.decoder", memory));
        all
    }

    /// Every tensor of a T5Gemma checkpoint. The decoder's embeddings are the output table if tied.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut all = self.encoder.stack_tensors("model.encoder", None);
        let memory = Some(self.encoder.hidden_size);
        all.extend(self.decoder.stack_tensors("model.decoder", memory));
        if !self.decoder.tied_embeddings {
            all.push(self.decoder.output_table("lm_head.out_proj.weight"));
        }
        all
    }

    /// Parameters of a T5Gemma checkpoint.
    pub fn parameters(&self) -> u64 {
        values(&self.tensors())
    }
}

fn values(tensors: &[TensorSpec]) -> u64 {
    let size = |t: &TensorSpec| t.shape.iter().map(|&n| n as u64).product::<u64>();
    tensors.iter().map(size).sum()
}
