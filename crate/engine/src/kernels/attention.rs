use std::sync::Arc;

use burn::backend::TensorMetadata;
use burn_wgpu::CubeTensor;

use super::launch::{Kernel, contiguous, dims, dispatch, elements, empty, grid, kernels};

/// Sizes and rules of one attention call.
///
/// q `[batch, time, heads, dim]`, k and v `[batch, capacity, kv_heads, dim]` of which `filled` keys count.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionShape {
    /// Rows of the batch.
    pub batch: usize,
    /// Queries per row.
    pub time: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head, at most 256.
    pub dim: usize,
    /// Keys stored per row.
    pub capacity: usize,
    /// Keys filled.
    pub filled: usize,
    /// Position of the first query among the keys.
    pub offset: usize,
    /// True if a query at position p sees the keys up to p only; false for an encoder and for cross-attention.
    pub causal: bool,
    /// A query at position p sees the keys j with |p - j| < window; 0 for all.
    pub window: usize,
    /// Keys of each batch row before its padding, if rows are padded; at most `filled`. A query that sees no key gives 0.
    pub key_lengths: Option<Arc<[u32]>>,
    /// Factor on the scores.
    pub scale: f32,
    /// Soft-cap on the scores; 0 for none.
    pub soft_cap: f32,
}

impl AttentionShape {
    fn params(&self) -> Vec<u32> {
        let mut params = vec![
            self.batch as u32,
            self.time as u32,
            self.heads as u32,
            self.kv_heads as u32,
            self.dim as u32,
            self.capacity as u32,
            self.filled as u32,
            self.offset as u32,
            self.window as u32,
            self.scale.to_bits(),
            self.soft_cap.to_bits(),
            u32::from(self.causal),
            u32::from(self.key_lengths.is_some()),
        ];
        params.extend(self.key_lengths.iter().flat_map(|lengths| lengths.iter()));
        params
    }

    fn check(&self, q: &CubeTensor, k: &CubeTensor, v: &CubeTensor) {
        assert_eq!(
            dims::<4>(q, "q"),
            [self.batch, self.time, self.heads, self.dim]
        );
        assert_eq!(
            dims::<4>(k, "k"),
            [self.batch, self.capacity, self.kv_heads, self.dim]
        );
        assert_eq!(
            dims::<4>(v, "v"),
            [self.batch, self.capacity, self.kv_heads, self.dim]
        );
        assert!(
            self.dim <= 256,
            "the attention kernels hold heads of at most 256 dimensions"
        );
        assert!(self.heads.is_multiple_of(self.kv_heads) && self.filled <= self.capacity);
        assert!(
            !self.causal || self.offset + self.time <= self.filled,
            "every query must see itself"
        );
        if let Some(lengths) = &self.key_lengths {
            assert_eq!(lengths.len(), self.batch, "one number of keys per row");
        }
    }
}

fn kernel(name: &str, text: &str) -> Kernel {
    let visibility = include_str!("../../../../shaders/attention_visibility.wgsl");
    Kernel::new(
        name,
        &[text],
        [64, 1],
        &[("visibility", visibility.to_owned())],
    )
}

kernels! {
    forward_kernel => kernel("attention", include_str!("../../../../shaders/attention.wgsl")),
    stats_kernel => Kernel::plain("attention_stats", include_str!("../../../../shaders/attention_stats.wgsl"), 64),
    query_kernel => kernel(
        "attention_backward_query",
        include_str!("../../../../shaders/attention_backward_query.wgsl"),
    ),
    key_kernel => kernel(
        "attention_backward_key",
        include_str!("../../../../shaders/attention_backward_key.wgsl"),
    ),
}

/// Attention and the logarithms of its softmax denominators `[batch, time, heads]`.
pub(crate) fn attention(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    shape: AttentionShape,
) -> (CubeTensor, CubeTensor) {
    let (q, k, v) = (contiguous(q), contiguous(k), contiguous(v));
    shape.check(&q, &k, &v);
    let out = empty(&q, q.shape());
    let log_sums = empty(&q, [shape.batch, shape.time, shape.heads]);
    let rows = elements(&log_sums);
    dispatch(
        forward_kernel(),
        grid(rows),
        &[&q, &k, &v, &out, &log_sums],
        &shape.params(),
    );
    (out, log_sums)
}

/// Gradients of [`attention`] with respect to q, k and v.
#[allow(
    clippy::too_many_arguments,
    reason = "the saved state of the forward pass"
)]
pub(crate) fn attention_backward(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    out: CubeTensor,
    log_sums: CubeTensor,
    d_out: CubeTensor,
    shape: AttentionShape,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (q, k, v, d_out) = (
        contiguous(q),
        contiguous(k),
        contiguous(v),
        contiguous(d_out),
    );
    shape.check(&q, &k, &v);
    let rows = elements(&log_sums);
    let stats = empty(&q, [rows, 2]);
    dispatch(
        stats_kernel(),
        grid(rows.div_ceil(64)),
        &[&out, &d_out, &log_sums, &stats],
        &[rows as u32, shape.dim as u32],
    );
    let dq = empty(&q, q.shape());
    let params = shape.params();
    dispatch(
        query_kernel(),
        grid(rows),
        &[&q, &k, &v, &d_out, &stats, &dq],
        &params,
    );
    let (dk, dv) = (empty(&k, k.shape()), empty(&v, v.shape()));
    let key_rows = shape.batch * shape.capacity * shape.kv_heads;
    dispatch(
        key_kernel(),
        grid(key_rows),
        &[&q, &k, &v, &d_out, &stats, &dk, &dv],
        &params,
    );
    (dq, dk, dv)
}
