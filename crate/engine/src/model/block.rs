use std::sync::Arc;

use burn::tensor::Tensor;
use vaultlab_formats::config::{AttentionKind, ModelConfig, StackRole};

use super::{CrossAttention, Encoded, LayerCache, Matrix, RopeTables};
use crate::lora::{BlockLora, Dropout};
use crate::ops::{self, AttentionShape};

/// The projections of a block are numbered as in [`vaultlab_formats::config::LinearModule::projection`].
pub const Q: usize = 0;
/// Key projection.
pub const K: usize = 1;
/// Value projection.
pub const V: usize = 2;
/// Output projection of attention.
pub const O: usize = 3;
/// Gate of the MLP.
pub const GATE: usize = 4;
/// Up projection of the MLP.
pub const UP: usize = 5;
/// Down projection of the MLP.
pub const DOWN: usize = 6;
/// Query projection of cross-attention; its key, value and output projections follow.
pub const CROSS: usize = 7;
/// Projections a block can have.
pub const MOST_PROJECTIONS: usize = 11;

/// RMSNorm weights of a block; which of them exist is the family's layout.
#[derive(Clone, Debug)]
pub struct BlockNorms {
    /// Before attention.
    pub pre_attention: Tensor<1>,
    /// On attention's output, before it joins the residual stream.
    pub post_attention: Option<Tensor<1>>,
    /// Before the MLP.
    pub pre_mlp: Tensor<1>,
    /// On the MLP's output, before it joins the residual stream.
    pub post_mlp: Option<Tensor<1>>,
    /// Per head on the queries, before RoPE.
    pub query: Option<Tensor<1>>,
    /// Per head on the keys, before RoPE.
    pub key: Option<Tensor<1>>,
}

/// Sizes and constants of a block, from the configuration.
#[derive(Clone, Debug)]
pub struct BlockShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// True if a query sees no later key; false in an encoder.
    pub causal: bool,
    /// A query sees the keys less than this away from it; 0 for all.
    pub window: usize,
    /// Factor on the attention scores.
    pub scale: f32,
    /// Soft-cap on the attention scores; 0 for none.
    pub soft_cap: f32,
    /// RMSNorm's epsilon.
    pub eps: f32,
}

impl BlockShape {
    /// The shape of layer `layer` of a stack.
    pub fn new(config: &ModelConfig, role: StackRole, layer: usize) -> Self {
        Self {
            causal: role != StackRole::Encoder,
            heads: config.num_heads,
            kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            window: match config.layers[layer].attention {
                AttentionKind::Full => 0,
                AttentionKind::Sliding { window } => window,
            },
            scale: config.query_scale as f32,
            soft_cap: config.attention_softcap.unwrap_or(0.0) as f32,
            eps: config.rms_norm_eps as f32,
        }
    }
}

/// One transformer block: attention, in T5Gemma's decoder cross-attention, and gated MLP, each on a normalised copy of
/// the residual stream.
#[derive(Clone, Debug)]
pub struct Block {
    /// Sizes and constants.
    pub shape: BlockShape,
    /// Norm weights.
    pub norms: BlockNorms,
    /// Projections, indexed by [`Q`] to [`DOWN`].
    pub projections: [Matrix; 7],
    /// Attention to an encoder's states.
    pub cross: Option<CrossAttention>,
    /// Rotary tables of this layer.
    pub rope: RopeTables,
}

/// What surrounds a forward pass besides the weights.
#[derive(Default)]
pub struct BlockContext<'a> {
    /// The block's adapter.
    pub lora: Option<&'a BlockLora>,
    /// Dropout on the adapter's input; training only.
    pub dropout: Option<Dropout>,
    /// Keys and values of earlier positions; the block appends its own.
    pub cache: Option<&'a mut LayerCache>,
    /// What the encoder made of the source; needed by blocks with cross-attention.
    pub encoded: Option<&'a Encoded>,
    /// Positions of each row before its padding, where queries could see past it: in an encoder.
    pub lengths: Option<Arc<[u32]>>,
}

impl Block {
    /// Residual stream in, residual stream out; `[batch, time, hidden]`.
    pub fn forward(&self, x: Tensor<3>, mut context: BlockContext<'_>) -> Tensor<3> {
        let dims @ [batch, time, hidden] = x.dims();
        let x = x.reshape([batch * time, hidden]);
        let norms = &self.norms;
        let mut x = self.sublayer(
            x,
            &norms.pre_attention,
            norms.post_attention.as_ref(),
            |x| self.attention(x, batch, time, &mut context),
        );
        if let Some(cross) = &self.cross {
            x = self.sublayer(x, &cross.pre_norm, Some(&cross.post_norm), |x| {
                self.cross_attention(x, batch, time, &mut context)
            });
        }
        self.sublayer(x, &norms.pre_mlp, norms.post_mlp.as_ref(), |x| {
            self.mlp(x, batch, &context)
        })
        .reshape(dims)
    }

    /// The residual stream after `f` of its normalised copy, itself normalised or not, has joined it.
    fn sublayer(
        &self,
        x: Tensor<2>,
        pre: &Tensor<1>,
        post: Option<&Tensor<1>>,
        f: impl FnOnce(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let eps = self.shape.eps;
        let mut y = f(ops::rms_norm(x.clone(), pre.clone(), eps));
        if let Some(post) = post {
            y = ops::rms_norm(y, post.clone(), eps);
        }
        x + y
    }

    fn attention(
        &self,
        x: Tensor<2>,
        batch: usize,
        time: usize,
        context: &mut BlockContext<'_>,
    ) -> Tensor<2> {
        let BlockShape {
            heads,
            kv_heads,
            head_dim,
            causal,
            window,
            scale,
            soft_cap,
            eps,
        } = self.shape;
        let mut q = self
            .project(Q, x.clone(), batch, context)
            .reshape([batch, time, heads, head_dim]);
        let mut k = self
            .project(K, x.clone(), batch, context)
            .reshape([batch, time, kv_heads, head_dim]);
        let v = self
            .project(V, x, batch, context)
            .reshape([batch, time, kv_heads, head_dim]);
        if let (Some(query), Some(key)) = (&self.norms.query, &self.norms.key) {
            q = ops::rms_norm(q, query.clone(), eps);
            k = ops::rms_norm(k, key.clone(), eps);
        }
        let offset = context.cache.as_ref().map_or(0, |cache| cache.filled());
        let rope = |x| {
            ops::rope(
                x,
                self.rope.cosines.clone(),
                self.rope.sines.clone(),
                offset,
            )
        };
        let (q, k) = (rope(q), rope(k));
        let (k, v) = match &mut context.cache {
            Some(cache) => cache.append(k, v),
            None => (k, v),
        };
        let shape = AttentionShape {
            batch,
            time,
            heads,
            kv_heads,
            dim: head_dim,
            capacity: k.dims()[1],
            filled: offset + time,
            offset,
            causal,
            window,
            key_lengths: context.lengths.clone(),
            scale,
            soft_cap,
        };
        let out = ops::attention(q, k, v, shape).reshape([batch * time, heads * head_dim]);
        self.project(O, out, batch, context)
    }

    fn mlp(&self, x: Tensor<2>, batch: usize, context: &BlockContext<'_>) -> Tensor<2> {
        let gate = self.project(GATE, x.clone(), batch, context);
        let up = self.project(UP, x, batch, context);
        self.project(DOWN, ops::gelu_gate(gate, up), batch, context)
    }

    /// Projection `index` of x `[batch · rows, in]`, with its adapter if it has one.
    pub(super) fn project(
        &self,
        index: usize,
        x: Tensor<2>,
        batch: usize,
        context: &BlockContext<'_>,
    ) -> Tensor<2> {
        let matrix = match &self.cross {
            Some(cross) if index >= CROSS => &cross.projections[index - CROSS],
            _ => &self.projections[index],
        };
        let base = matrix.forward(x.clone());
        let Some(pair) = context.lora.and_then(|lora| lora.pairs[index].as_ref()) else {
            return base;
        };
        let dropout = context
            .dropout
            .as_ref()
            .map(|dropout| dropout.of_projection(index));
        base + pair.forward(x, batch, dropout)
    }
}
