//! Names and shapes of a checkpoint's tensors, derived from the configuration.

use super::{Family, ModelConfig, T5GemmaConfig};

/// The linear projections of one layer, in forward order; the names LoRA targets go by. Cross-attention's are
/// [`CROSS_PROJECTIONS`].
pub const PROJECTIONS: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// The four projections of a block's cross-attention; they follow [`PROJECTIONS`] in the numbering of a block's
/// projections, and LoRA targets them by the same names as self-attention's.
pub const CROSS_PROJECTIONS: [&str; 4] = ["q_proj", "k_proj", "v_proj", "o_proj"];

/// Where the blocks of a model stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackRole {
    /// The only stack of a decoder-only model.
    Only,
    /// T5Gemma's encoder.
    Encoder,
    /// T5Gemma's decoder, whose blocks also attend to the encoder.
    Decoder,
}

impl StackRole {
    /// What the stack's tensor names begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Only => "model",
            Self::Encoder => "model.encoder",
            Self::Decoder => "model.decoder",
        }
    }
}

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

    /// Norms before and after cross-attention.
    pub const CROSS_ATTENTION: [&'static str; 2] =
        ["pre_cross_attn_layernorm", "post_cross_attn_layernorm"];

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
    /// Block it belongs to, the encoder's blocks before the decoder's.
    pub block: usize,
    /// Its number in the block: [`PROJECTIONS`], then [`CROSS_PROJECTIONS`].
    pub projection: usize,
    /// Input width.
    pub inputs: usize,
    /// Output width.
    pub outputs: usize,
}

impl LinearModule {
    /// The projection's name, e.g. `q_proj`: what LoRA targets go by.
    pub fn name(&self) -> &'static str {
        PROJECTIONS
            .get(self.projection)
            .unwrap_or_else(|| &CROSS_PROJECTIONS[self.projection - PROJECTIONS.len()])
    }
}

impl ModelConfig {
    /// The model's stacks in the order they run, each with its configuration.
    pub fn stacks(&self) -> Vec<(StackRole, &Self)> {
        match &self.encoder {
            None => vec![(StackRole::Only, self)],
            Some(encoder) => vec![(StackRole::Encoder, encoder), (StackRole::Decoder, self)],
        }
    }

    /// Blocks of all stacks.
    pub fn num_blocks(&self) -> usize {
        self.stacks()
            .iter()
            .map(|(_, stack)| stack.num_layers())
            .sum()
    }

    /// The linear layers of every block, in forward order; the encoder's first.
    pub fn linear_modules(&self) -> Vec<LinearModule> {
        let mut first = 0;
        let mut all = Vec::new();
        for (stack, config) in self.stacks() {
            let per_layer = self.layer_modules(stack, config);
            for layer in 0..config.num_layers() {
                all.extend(
                    per_layer
                        .iter()
                        .map(|&(name, projection, inputs, outputs)| LinearModule {
                            path: format!("{}.layers.{layer}.{name}", stack.prefix()),
                            block: first + layer,
                            projection,
                            inputs,
                            outputs,
                        }),
                );
            }
            first += config.num_layers();
        }
        all
    }

    /// (name, number, input width, output width) of a layer's linear modules, in forward order.
    fn layer_modules(
        &self,
        stack: StackRole,
        config: &Self,
    ) -> Vec<(&'static str, usize, usize, usize)> {
        let queries = config.num_heads * config.head_dim;
        let keys = config.num_kv_heads * config.head_dim;
        let (d, ff) = (config.hidden_size, config.intermediate_size);
        let mut modules = vec![
            ("self_attn.q_proj", 0, d, queries),
            ("self_attn.k_proj", 1, d, keys),
            ("self_attn.v_proj", 2, d, keys),
            ("self_attn.o_proj", 3, queries, d),
        ];
        if let (StackRole::Decoder, Some(encoder)) = (stack, &self.encoder) {
            let source = encoder.hidden_size;
            modules.extend([
                ("cross_attn.q_proj", 7, d, queries),
                ("cross_attn.k_proj", 8, source, keys),
                ("cross_attn.v_proj", 9, source, keys),
                ("cross_attn.o_proj", 10, queries, d),
            ]);
        }
        modules.extend([
            ("mlp.gate_proj", 4, d, ff),
            ("mlp.up_proj", 5, d, ff),
            ("mlp.down_proj", 6, ff, d),
        ]);
        modules
    }

    /// Every tensor of the model's checkpoint.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut all = Vec::new();
        for (stack, config) in self.stacks() {
            config.stack_norms_and_table(stack, &mut all);
        }
        all.extend(self.linear_modules().into_iter().map(|m| TensorSpec {
            name: format!("{}.weight", m.path),
            shape: vec![m.outputs, m.inputs],
        }));
        if !self.tied_embeddings {
            all.push(TensorSpec {
                name: self.output_name().to_owned(),
                shape: vec![self.vocab_size, self.hidden_size],
            });
        }
        all
    }

    /// Name of the output matrix where it is not the embedding table.
    pub fn output_name(&self) -> &'static str {
        match self.encoder {
            None => "lm_head.weight",
            Some(_) => "lm_head.out_proj.weight",
        }
    }

    fn stack_norms_and_table(&self, stack: StackRole, all: &mut Vec<TensorSpec>) {
        let d = self.hidden_size;
        let mut spec = |name: String, shape: Vec<usize>| all.push(TensorSpec { name, shape });
        let prefix = stack.prefix();
        spec(
            format!("{prefix}.embed_tokens.weight"),
            vec![self.vocab_size, d],
        );
        for layer in 0..self.num_layers() {
            let crossing = match stack {
                StackRole::Decoder => &NormLayout::CROSS_ATTENTION[..],
                StackRole::Only | StackRole::Encoder => &[],
            };
            for name in self.norms.names().chain(crossing.iter().copied()) {
                spec(format!("{prefix}.layers.{layer}.{name}.weight"), vec![d]);
            }
            if self.qk_norm {
                for name in ["q_norm", "k_norm"] {
                    spec(
                        format!("{prefix}.layers.{layer}.self_attn.{name}.weight"),
                        vec![self.head_dim],
                    );
                }
            }
        }
        spec(format!("{prefix}.norm.weight"), vec![d]);
    }

    /// Parameters of the model's checkpoint.
    pub fn parameters(&self) -> u64 {
        values(&self.tensors())
    }
}

impl T5GemmaConfig {
    /// As [`ModelConfig::linear_modules`] of the two stacks as one model.
    pub fn linear_modules(&self) -> Vec<LinearModule> {
        self.clone().into_model().linear_modules()
    }

    /// As [`ModelConfig::tensors`] of the two stacks as one model.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.clone().into_model().tensors()
    }

    /// As [`ModelConfig::parameters`] of the two stacks as one model.
    pub fn parameters(&self) -> u64 {
        values(&self.tensors())
    }
}

fn values(tensors: &[TensorSpec]) -> u64 {
    let size = |t: &TensorSpec| t.shape.iter().map(|&n| n as u64).product::<u64>();
    tensors.iter().map(size).sum()
}
