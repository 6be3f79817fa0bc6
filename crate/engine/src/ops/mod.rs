//! The operations models are built from, on both devices.
//!
//! On the GPU each is one or more WGSL kernels with its own backward pass ([`gpu`]); on the CPU device it is its
//! portable definition, differentiated by burn. Tensors are f32 and row-major. Weights and tables are frozen.

mod gpu;
mod gradients;
mod portable;

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{Device, Int, Tensor, TensorData};

pub use crate::kernels::{AttentionShape, Packing};
use gpu::{DifferentiableOps, PlainOps};

/// True for the wgpu device, inside autodiff or not.
pub fn is_gpu(device: &Device) -> bool {
    let device = device.clone().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

/// `x · rsqrt(mean(x²) + eps) · (1 + w)` over the last dimension; x `[.., width]`, w `[width]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, w: Tensor<1>, eps: f32) -> Tensor<D> {
    if is_gpu(&x.device()) {
        Tensor::from_dispatch(Dispatch::op_rms_norm(
            x.into_dispatch(),
            w.into_dispatch(),
            eps,
        ))
    } else {
        portable::rms_norm(x, w, eps)
    }
}

/// Rotary embedding (rotate-half) of x `[batch, time, heads, dim]`, whose first row stands at `position`;
/// tables `[positions, dim / 2]`.
pub fn rope(x: Tensor<4>, cosines: Tensor<2>, sines: Tensor<2>, position: usize) -> Tensor<4> {
    if is_gpu(&x.device()) {
        Tensor::from_dispatch(Dispatch::op_rope(
            x.into_dispatch(),
            cosines.into_dispatch(),
            sines.into_dispatch(),
            position,
        ))
    } else {
        portable::rope(x, cosines, sines, position)
    }
}

/// Grouped-query attention with soft-cap, causal or not, with sliding window and padding; shapes as in [`AttentionShape`].
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, shape: AttentionShape) -> Tensor<4> {
    if is_gpu(&q.device()) {
        Tensor::from_dispatch(Dispatch::op_attention(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            shape,
        ))
    } else {
        portable::attention(q, k, v, shape)
    }
}

/// `gelu_tanh(gate) · up`, element by element.
pub fn gelu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    if is_gpu(&gate.device()) {
        Tensor::from_dispatch(Dispatch::op_gelu_gate(
            gate.into_dispatch(),
            up.into_dispatch(),
        ))
    } else {
        portable::gelu_gate(gate, up)
    }
}

/// `x · wᵀ` with a frozen f32 matrix; x `[rows, k]`, w `[n, k]`, result `[rows, n]`.
pub fn linear(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    if is_gpu(&x.device()) {
        Tensor::from_dispatch(Dispatch::op_linear(x.into_dispatch(), w.into_dispatch()))
    } else {
        portable::linear(x, w)
    }
}

/// `x · wᵀ` with a packed frozen matrix, decoded inside the kernel; GPU only (the CPU device holds decoded values).
///
/// words: the weights, row-major; codes: absolute maxima, four codes a word; scales: see [`Packing`]. Parts that the
/// packing has no use for may be any tensor.
pub fn linear_packed(
    x: Tensor<2>,
    words: Tensor<1, Int>,
    codes: Tensor<1, Int>,
    scales: Tensor<1>,
    packing: Packing,
    n: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::op_linear_packed(
        x.into_dispatch(),
        words.into_dispatch(),
        codes.into_dispatch(),
        scales.into_dispatch(),
        packing,
        n,
    ))
}

/// `scale · (x · Aᵀ) · Bᵀ` for each group; x `[groups, rows, in]`, a `[groups, r, in]`, b `[groups, out, r]`.
///
/// With one group per example, the gradients of a and b are the per-example gradients.
pub fn lora(x: Tensor<3>, a: Tensor<3>, b: Tensor<3>, scale: f32) -> Tensor<3> {
    if is_gpu(&x.device()) {
        Tensor::from_dispatch(Dispatch::op_lora(
            x.into_dispatch(),
            a.into_dispatch(),
            b.into_dispatch(),
            scale,
        ))
    } else {
        portable::lora(x, a, b, scale)
    }
}

/// Inverted dropout with probability `p` of x, which divides evenly among the examples that `seeds` belong to.
///
/// An example's mask is a function of (its seed, salt, index within it): recomputing a block drops the same entries,
/// and the examples beside it change nothing, as per-example gradients require.
pub fn dropout<const D: usize>(x: Tensor<D>, seeds: &[u32], salt: u32, p: f32) -> Tensor<D> {
    if p <= 0.0 {
        return x;
    }
    let threshold = ((1.0 - f64::from(p)) * f64::from(u32::MAX)) as u32;
    let scale = 1.0 / (1.0 - p);
    if is_gpu(&x.device()) {
        let device = x.device().without_autodiff();
        let seeds: Vec<i32> = seeds.iter().map(|seed| seed.cast_signed()).collect();
        let seeds = Tensor::<1, Int>::from_data(TensorData::from(seeds.as_slice()), &device);
        Tensor::from_dispatch(Dispatch::op_dropout(
            x.into_dispatch(),
            seeds.into_dispatch(),
            salt,
            threshold,
            scale,
        ))
    } else {
        portable::dropout(x, seeds, salt, threshold, scale)
    }
}

/// `scale · table[ids]`; table `[rows, width]`, result `[ids, width]`. Not differentiable.
pub fn gather_rows(table: Tensor<2>, ids: Tensor<1, Int>, scale: f32) -> Tensor<2> {
    if is_gpu(&table.device()) {
        Tensor::from_dispatch(Dispatch::op_gather_rows(
            table.into_dispatch(),
            ids.into_dispatch(),
            scale,
        ))
    } else {
        portable::gather_rows(table, ids, scale)
    }
}

/// Logits held at once by [`cross_entropy`]: 64 MiB of f32.
const CHUNK_LOGITS: usize = 16 << 20;

/// Softmax cross-entropy over a tied output table, in chunks of rows so that the batch's logits are never all held.
///
/// hidden `[rows, width]`, table `[vocabulary, width]`, targets `[rows]` (negative: masked), row_weights `[rows]`.
/// Returns the loss of each row, unweighted (0 where masked), and, when asked, the gradient of `Σ weight · loss`
/// with respect to hidden.
pub fn cross_entropy(
    hidden: Tensor<2>,
    table: Tensor<2>,
    targets: Tensor<1, Int>,
    row_weights: Tensor<1>,
    soft_cap: f32,
    with_gradient: bool,
) -> (Tensor<1>, Option<Tensor<2>>) {
    let [rows, _] = hidden.dims();
    let [vocabulary, _] = table.dims();
    let device = hidden.device();
    let gpu = is_gpu(&device);
    let chunk = (CHUNK_LOGITS / vocabulary).clamp(1, rows);
    let mut losses = Tensor::<1>::zeros([rows], &device);
    let mut gradients = Vec::new();
    for first in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - first);
        let range = first..first + count;
        let logits = linear(hidden.clone().slice([range.clone()]), table.clone());
        let d_logits = if gpu {
            let (d_logits, written) = Dispatch::op_cross_entropy(
                logits.into_dispatch(),
                targets.clone().into_dispatch(),
                row_weights.clone().into_dispatch(),
                losses.into_dispatch(),
                first,
                soft_cap,
            );
            losses = Tensor::from_dispatch(written);
            Tensor::from_dispatch(d_logits)
        } else {
            let (d_logits, chunk_losses) = portable::cross_entropy_chunk(
                logits,
                targets.clone().slice([range.clone()]),
                row_weights.clone().slice([range.clone()]),
                soft_cap,
            );
            losses = losses.slice_assign([range], chunk_losses);
            d_logits
        };
        if with_gradient {
            gradients.push(product(d_logits, table.clone()));
        }
    }
    (losses, with_gradient.then(|| Tensor::cat(gradients, 0)))
}

/// a `[m, k]` times b `[k, n]`. Not differentiable.
fn product(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    if is_gpu(&a.device()) {
        Tensor::from_dispatch(Dispatch::op_matmul(a.into_dispatch(), b.into_dispatch()))
    } else {
        portable::matmul(a, b)
    }
}

/// Squared L2 norm of each example's gradient; g `[examples, length]`. Infinite where a value is not finite, and on
/// the GPU also where one is not below 2^50. Not differentiable.
pub fn squared_norms(g: Tensor<2>) -> Tensor<1> {
    if is_gpu(&g.device()) {
        Tensor::from_dispatch(Dispatch::op_squared_norms(g.into_dispatch()))
    } else {
        portable::squared_norms(g)
    }
}

/// `sum[first..] += Σ_b factors[b] · g[b]`; a factor of 0 leaves its example out even where it is not finite.
///
/// sum `[parameters]`, g `[examples, length]`, factors `[examples]`. On the GPU `sum`'s buffer is updated in place,
/// so no other tensor may share it. Not differentiable.
pub fn clip_accumulate(
    sum: Tensor<1>,
    g: Tensor<2>,
    factors: Tensor<1>,
    first: usize,
) -> Tensor<1> {
    if is_gpu(&sum.device()) {
        Tensor::from_dispatch(Dispatch::op_clip_accumulate(
            sum.into_dispatch(),
            g.into_dispatch(),
            factors.into_dispatch(),
            first,
        ))
    } else {
        portable::clip_accumulate(sum, g, factors, first)
    }
}

/// `sum[first..] += Σ_b trunc(multipliers[b] · g[b])` in integers modulo 2^32; a multiplier of 0 leaves its example
/// out whatever its values.
///
/// GPU only, in `sum`'s own buffer; on the CPU device the integers are summed on the host.
/// sum `[parameters]`, g `[examples, length]`, multipliers `[examples]`. Not differentiable.
pub fn clip_to_grid(
    sum: Tensor<1, Int>,
    g: Tensor<2>,
    multipliers: Tensor<1>,
    first: usize,
) -> Tensor<1, Int> {
    Tensor::from_dispatch(Dispatch::op_clip_to_grid(
        sum.into_dispatch(),
        g.into_dispatch(),
        multipliers.into_dispatch(),
        first,
    ))
}

/// Adds to coordinate i of `sum` the integer that `vaultlab_privacy::noise::StepNoise` of this key and `bits` gives
/// for it, modulo 2^32. GPU only, in `sum`'s own buffer.
pub fn grid_noise(sum: Tensor<1, Int>, key: [u32; 8], bits: u32) -> Tensor<1, Int> {
    Tensor::from_dispatch(Dispatch::op_grid_noise(sum.into_dispatch(), key, bits))
}
