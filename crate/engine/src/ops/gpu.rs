//! Burn's backend extension: the WGSL kernels as operations that burn's autodiff knows the gradients of.
//!
//! Two traits, because only the first takes part in differentiation; [`super::gradients`] has its backward passes. On the CPU device the operations are the
//! compositions of [`super::portable`], which burn differentiates by itself.

use burn::backend::{
    Backend, TensorMetadata, backend_extension,
    ops::FloatTensorOps,
    tensor::{FloatTensor, IntTensor},
    wgpu::CubeBackend,
};
use burn_wgpu::CubeTensor;

use crate::kernels::{self, AttentionShape, MatmulLayout, PackedParts, Packing, WeightSource};

/// Operations that burn's autodiff may record. Weights (`w`, tables) are frozen: they get no gradient.
#[backend_extension(Cube, Autodiff)]
pub trait DifferentiableOps: Backend {
    /// See [`super::rms_norm`].
    fn op_rms_norm(x: FloatTensor<Self>, w: FloatTensor<Self>, eps: f32) -> FloatTensor<Self>;
    /// See [`super::rope`].
    fn op_rope(
        x: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        position: usize,
    ) -> FloatTensor<Self>;
    /// See [`super::attention`].
    fn op_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> FloatTensor<Self>;
    /// See [`super::gelu_gate`].
    fn op_gelu_gate(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// x `[rows, k]`, w `[n, k]`, result `[rows, n]`.
    fn op_linear(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self>;
    /// As `op_linear` with w `[n, k]` packed; see [`super::linear_packed`].
    fn op_linear_packed(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        packing: Packing,
        n: usize,
    ) -> FloatTensor<Self>;
    /// See [`super::lora`].
    fn op_lora(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self>;
    /// See [`super::dropout`].
    fn op_dropout(
        x: FloatTensor<Self>,
        seeds: IntTensor<Self>,
        salt: u32,
        threshold: u32,
        scale: f32,
    ) -> FloatTensor<Self>;
}

/// Operations outside differentiation.
#[backend_extension(Cube)]
pub trait PlainOps: Backend {
    /// See [`super::gather_rows`].
    fn op_gather_rows(
        table: FloatTensor<Self>,
        ids: IntTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self>;
    /// See [`super::cross_entropy`]: one chunk, in place; returns (gradient of the logits, losses).
    fn op_cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        row_weights: FloatTensor<Self>,
        losses: FloatTensor<Self>,
        first: usize,
        soft_cap: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// a `[m, k]` times b `[k, n]`.
    fn op_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`super::squared_norms`].
    fn op_squared_norms(g: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`super::clip_accumulate`].
    fn op_clip_accumulate(
        sum: FloatTensor<Self>,
        g: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        first: usize,
    ) -> FloatTensor<Self>;
    /// See [`super::clip_to_grid`].
    fn op_clip_to_grid(
        sum: IntTensor<Self>,
        g: FloatTensor<Self>,
        multipliers: FloatTensor<Self>,
        first: usize,
    ) -> IntTensor<Self>;
    /// See [`super::grid_noise`].
    fn op_grid_noise(sum: IntTensor<Self>, key: [u32; 8], bits: u32) -> IntTensor<Self>;
}

pub(super) const LINEAR: MatmulLayout = MatmulLayout {
    a_transposed: false,
    b_transposed: true,
};
pub(super) const PLAIN: MatmulLayout = MatmulLayout {
    a_transposed: false,
    b_transposed: false,
};
pub(super) const OUTER: MatmulLayout = MatmulLayout {
    a_transposed: true,
    b_transposed: false,
};

pub(super) fn last_dim(tensor: &CubeTensor) -> usize {
    let shape = tensor.shape();
    shape[shape.num_dims() - 1]
}

fn reshaped(tensor: CubeTensor, dims: &[usize]) -> CubeTensor {
    CubeBackend::float_reshape(tensor, dims.to_vec().into())
}

/// `x · wᵀ`: a decode step's few rows go through the kernel without tiles.
fn linear(x: CubeTensor, w: WeightSource, n: usize) -> CubeTensor {
    let k = last_dim(&x);
    let rows = x.shape().num_elements() / k;
    if rows <= 4 {
        return kernels::matvec(x, w, [rows, n, k]);
    }
    let out = kernels::matmul(x, w, LINEAR, [1, rows, n, k], 1.0);
    reshaped(out, &[rows, n])
}

/// Gradient of [`linear`] with respect to x, `g · w`.
pub(super) fn linear_backward(g: CubeTensor, w: WeightSource, k: usize) -> CubeTensor {
    let n = last_dim(&g);
    let rows = g.shape().num_elements() / n;
    let dx = kernels::matmul(g, w, PLAIN, [1, rows, k, n], 1.0);
    reshaped(dx, &[rows, k])
}

/// `[g, m, in]`, `[g, r, in]`, `[g, out, r]` as `[g, m, in, r, out]`.
pub(super) fn lora_sizes(x: &CubeTensor, a: &CubeTensor, b: &CubeTensor) -> [usize; 5] {
    let (x, a, b) = (x.shape(), a.shape(), b.shape());
    assert!(
        a[0] == x[0] && b[0] == x[0] && a[2] == x[2] && b[2] == a[1],
        "LoRA's factors do not fit"
    );
    [x[0], x[1], x[2], a[1], b[1]]
}

impl DifferentiableOps for CubeBackend {
    fn op_rms_norm(x: CubeTensor, w: CubeTensor, eps: f32) -> CubeTensor {
        kernels::rms_norm(x, w, eps)
    }

    fn op_rope(
        x: CubeTensor,
        cosines: CubeTensor,
        sines: CubeTensor,
        position: usize,
    ) -> CubeTensor {
        kernels::rope(x, cosines, sines, position, 1.0)
    }

    fn op_attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        shape: AttentionShape,
    ) -> CubeTensor {
        kernels::attention(q, k, v, shape).0
    }

    fn op_gelu_gate(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        kernels::gelu_gate(gate, up)
    }

    fn op_linear(x: CubeTensor, w: CubeTensor) -> CubeTensor {
        let n = w.shape()[0];
        linear(x, WeightSource::F32(w), n)
    }

    fn op_linear_packed(
        x: CubeTensor,
        words: CubeTensor,
        codes: CubeTensor,
        scales: CubeTensor,
        packing: Packing,
        n: usize,
    ) -> CubeTensor {
        let parts = PackedParts {
            packing,
            words,
            codes,
            scales,
        };
        linear(x, WeightSource::Packed(parts), n)
    }

    fn op_lora(x: CubeTensor, a: CubeTensor, b: CubeTensor, scale: f32) -> CubeTensor {
        let [g, m, width, r, out] = lora_sizes(&x, &a, &b);
        let u = kernels::matmul(x, WeightSource::F32(a), LINEAR, [g, m, r, width], 1.0);
        kernels::matmul(u, WeightSource::F32(b), LINEAR, [g, m, out, r], scale)
    }

    fn op_dropout(
        x: CubeTensor,
        seeds: CubeTensor,
        salt: u32,
        threshold: u32,
        scale: f32,
    ) -> CubeTensor {
        kernels::dropout(x, seeds, salt, threshold, scale)
    }
}

impl PlainOps for CubeBackend {
    fn op_gather_rows(table: CubeTensor, ids: CubeTensor, scale: f32) -> CubeTensor {
        kernels::gather_rows(table, ids, scale)
    }

    fn op_cross_entropy(
        logits: CubeTensor,
        targets: CubeTensor,
        row_weights: CubeTensor,
        losses: CubeTensor,
        first: usize,
        soft_cap: f32,
    ) -> (CubeTensor, CubeTensor) {
        kernels::cross_entropy_in_place(logits, targets, row_weights, losses, first, soft_cap)
    }

    fn op_matmul(a: CubeTensor, b: CubeTensor) -> CubeTensor {
        let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
        let out = kernels::matmul(a, WeightSource::F32(b), PLAIN, [1, m, n, k], 1.0);
        reshaped(out, &[m, n])
    }

    fn op_squared_norms(g: CubeTensor) -> CubeTensor {
        kernels::squared_norms(g)
    }

    fn op_clip_accumulate(
        sum: CubeTensor,
        g: CubeTensor,
        factors: CubeTensor,
        first: usize,
    ) -> CubeTensor {
        kernels::clip_accumulate(sum, g, factors, first)
    }

    fn op_clip_to_grid(
        sum: CubeTensor,
        g: CubeTensor,
        multipliers: CubeTensor,
        first: usize,
    ) -> CubeTensor {
        kernels::clip_to_grid(sum, g, multipliers, first)
    }

    fn op_grid_noise(sum: CubeTensor, key: [u32; 8], bits: u32) -> CubeTensor {
        kernels::grid_noise(sum, &key, bits)
    }
}
