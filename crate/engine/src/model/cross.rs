use std::sync::Arc;

use burn::tensor::Tensor;

use super::block::CROSS;
use super::{Block, BlockContext, Matrix};
use crate::ops::{self, AttentionShape};

/// What a decoder's block needs to attend to the encoder: queries from the residual stream, keys and values from the
/// encoder's states, whose width may differ. No RoPE and no window.
#[derive(Clone, Debug)]
pub struct CrossAttention {
    /// RMSNorm before it.
    pub pre_norm: Tensor<1>,
    /// RMSNorm on its output, before that joins the residual stream.
    pub post_norm: Tensor<1>,
    /// Query, key, value and output projection.
    pub projections: [Matrix; 4],
}

/// What an encoder made of a batch of sources.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Its normalised states, `[batch, source, hidden]`.
    pub states: Tensor<3>,
    /// Positions of each row before its padding; `None` if no row has any.
    pub lengths: Option<Arc<[u32]>>,
}

impl Block {
    /// Cross-attention of x `[batch · time, hidden]`; keys and values are taken from the cache where it has them.
    ///
    /// # Panics
    /// Without encoder states in the context.
    pub(super) fn cross_attention(
        &self,
        x: Tensor<2>,
        batch: usize,
        time: usize,
        context: &mut BlockContext<'_>,
    ) -> Tensor<2> {
        let shape = &self.shape;
        let (heads, kv_heads, dim) = (shape.heads, shape.kv_heads, shape.head_dim);
        let q = self
            .project(CROSS, x, batch, context)
            .reshape([batch, time, heads, dim]);
        let encoded = context
            .encoded
            .expect("a model with cross-attention is given its encoder's states");
        let cached = context.cache.as_ref().and_then(|cache| cache.crossing());
        let (k, v) = cached.unwrap_or_else(|| {
            let [rows, source, width] = encoded.states.dims();
            let states = encoded.states.clone().reshape([rows * source, width]);
            let project = |index| {
                self.project(index, states.clone(), rows, context)
                    .reshape([rows, source, kv_heads, dim])
            };
            (project(CROSS + 1), project(CROSS + 2))
        });
        if let Some(cache) = &mut context.cache {
            cache.keep_crossing(&k, &v);
        }
        let source = k.dims()[1];
        let attention = AttentionShape {
            batch,
            time,
            heads,
            kv_heads,
            dim,
            capacity: source,
            filled: source,
            offset: 0,
            causal: false,
            window: 0,
            key_lengths: encoded.lengths.clone(),
            scale: shape.scale,
            soft_cap: shape.soft_cap,
        };
        let out = ops::attention(q, k, v, attention).reshape([batch * time, heads * dim]);
        self.project(CROSS + 3, out, batch, context)
    }
}
