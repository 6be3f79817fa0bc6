//! The portable definitions, in burn tensor operations: what runs on the CPU device, differentiated by burn itself,
//! and the reference the kernels' values and hand-written gradients are tested against.

use burn::backend::autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{Bool, Int, Tensor, TensorData, activation::softmax};

use crate::kernels::AttentionShape;

/// Matrix multiplication for the CPU backend alone. `Tensor::matmul` reaches every backend, and would bring burn's
/// own GPU matmul kernels into the page, a third of the module, for nothing.
#[backend_extension(Flex, Autodiff)]
pub trait CpuOps: Backend {
    /// a `[.., m, k]` times b `[.., k, n]`.
    fn op_cpu_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl CpuOps for Flex {
    fn op_cpu_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(a, b)
    }
}

impl<C: CheckpointStrategy> CpuOps for Autodiff<Flex, C> {
    fn op_cpu_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(a, b)
    }
}

/// a `[.., m, k]` times b `[.., k, n]`, on the CPU device.
pub(super) fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::op_cpu_matmul(
        a.into_dispatch(),
        b.into_dispatch(),
    ))
}

pub(super) fn rms_norm<const D: usize>(x: Tensor<D>, w: Tensor<1>, eps: f32) -> Tensor<D> {
    let mean = (x.clone() * x.clone()).mean_dim(D - 1);
    let r = (mean + eps).sqrt().recip();
    x * r * (w + 1.0).unsqueeze::<D>()
}

pub(super) fn rope(
    x: Tensor<4>,
    cosines: Tensor<2>,
    sines: Tensor<2>,
    position: usize,
) -> Tensor<4> {
    let [_, time, _, dim] = x.dims();
    let half = dim / 2;
    let table = |t: Tensor<2>| {
        t.slice([position..position + time])
            .reshape([1, time, 1, half])
    };
    let (cos, sin) = (table(cosines), table(sines));
    let x1 = x.clone().narrow(3, 0, half);
    let x2 = x.narrow(3, half, half);
    Tensor::cat(
        vec![
            x1.clone() * cos.clone() - x2.clone() * sin.clone(),
            x2 * cos + x1 * sin,
        ],
        3,
    )
}

/// True where a query may not see a key, `[1 or batch, time, filled]`.
fn hidden_keys(shape: &AttentionShape, like: &Tensor<4>) -> Tensor<3, Bool> {
    let (time, filled, window) = (shape.time, shape.filled, shape.window);
    let all = [filled as u32];
    let lengths = shape.key_lengths.as_deref().unwrap_or(&all);
    let hidden: Vec<bool> = lengths
        .iter()
        .flat_map(|&length| (0..time).map(move |i| (length as usize, shape.offset + i)))
        .flat_map(|(length, position)| {
            (0..filled).map(move |j| {
                j >= length
                    || (shape.causal && j > position)
                    || (window > 0 && position.abs_diff(j) >= window)
            })
        })
        .collect();
    let device = like.device().without_autodiff();
    Tensor::from_data(
        TensorData::new(hidden, [lengths.len(), time, filled]),
        &device,
    )
}

pub(super) fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    shape: AttentionShape,
) -> Tensor<4> {
    let AttentionShape {
        batch,
        time,
        heads,
        kv_heads,
        dim,
        filled,
        ..
    } = shape;
    let hidden = hidden_keys(&shape, &q);
    let (scale, soft_cap) = (shape.scale, shape.soft_cap);
    // [batch, kv_heads, heads per kv head, ...]: a kv head meets all its query heads in one product.
    let group = heads / kv_heads;
    let q = q
        .reshape([batch, time, kv_heads, group, dim])
        .permute([0, 2, 3, 1, 4])
        .reshape([batch, kv_heads, group * time, dim]);
    let k = k.narrow(1, 0, filled).swap_dims(1, 2);
    let v = v.narrow(1, 0, filled).swap_dims(1, 2);
    let mut scores = matmul(q, k.swap_dims(2, 3)) * scale;
    if soft_cap > 0.0 {
        scores = (scores / soft_cap).tanh() * soft_cap;
    }
    let rows = hidden.dims()[0];
    let mask = hidden
        .reshape([rows, 1, 1, time, filled])
        .expand([batch, kv_heads, group, time, filled]);
    let scores = scores
        .reshape([batch, kv_heads, group, time, filled])
        .mask_fill(mask.clone(), -3.4e38)
        .reshape([batch, kv_heads, group * time, filled]);
    let mut weights = softmax(scores, 3);
    if shape.key_lengths.is_some() {
        // A query among the padding may see no key; what softmax makes of that is not wanted.
        let mask = mask.reshape([batch, kv_heads, group * time, filled]);
        weights = weights.mask_fill(mask, 0.0);
    }
    matmul(weights, v)
        .reshape([batch, kv_heads, group, time, dim])
        .permute([0, 3, 1, 2, 4])
        .reshape([batch, time, heads, dim])
}

pub(super) fn gelu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let cube = gate.clone() * gate.clone() * gate.clone();
    let inner = (gate.clone() + cube * 0.044715) * 0.797_884_6;
    gate * 0.5 * (inner.tanh() + 1.0) * up
}

pub(super) fn linear(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    matmul(x, w.transpose())
}

pub(super) fn lora(x: Tensor<3>, a: Tensor<3>, b: Tensor<3>, scale: f32) -> Tensor<3> {
    matmul(matmul(x, a.swap_dims(1, 2)), b.swap_dims(1, 2)) * scale
}

/// The kernel's hash (PCG), so that both devices drop the same entries.
fn pcg(v: u32) -> u32 {
    let state = v.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

pub(super) fn dropout<const D: usize>(
    x: Tensor<D>,
    seeds: &[u32],
    salt: u32,
    threshold: u32,
    scale: f32,
) -> Tensor<D> {
    let shape = x.shape();
    let per_example = shape.num_elements() / seeds.len();
    let mask: Vec<f32> = seeds
        .iter()
        .map(|seed| pcg(seed ^ salt))
        .flat_map(|seed| (0..per_example as u32).map(move |i| pcg(i ^ seed) < threshold))
        .map(|keep| if keep { scale } else { 0.0 })
        .collect();
    let device = x.device().without_autodiff();
    x * Tensor::<D>::from_data(TensorData::new(mask, shape), &device)
}

pub(super) fn gather_rows(table: Tensor<2>, ids: Tensor<1, Int>, scale: f32) -> Tensor<2> {
    table.select(0, ids) * scale
}

/// Loss and logits' gradient of one chunk; see [`super::cross_entropy`].
pub(super) fn cross_entropy_chunk(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    row_weights: Tensor<1>,
    soft_cap: f32,
) -> (Tensor<2>, Tensor<1>) {
    let [rows, _] = logits.dims();
    let capped = if soft_cap > 0.0 {
        (logits / soft_cap).tanh() * soft_cap
    } else {
        logits
    };
    let largest = capped.clone().max_dim(1);
    let exponentials = (capped.clone() - largest.clone()).exp();
    let sums = exponentials.clone().sum_dim(1);
    let masked = targets.clone().lower_elem(0);
    let column = targets.clamp_min(0).reshape([rows, 1]);
    let log_sums = sums.clone().log() + largest;
    let losses = (log_sums - capped.clone().gather(1, column.clone()))
        .reshape([rows])
        .mask_fill(masked.clone(), 0.0);
    let minus_ones = Tensor::<2>::ones([rows, 1], &capped.device()) * -1.0;
    let mut gradient =
        (exponentials / sums).scatter(1, column, minus_ones, burn::tensor::IndexingUpdateOp::Add);
    if soft_cap > 0.0 {
        let share = capped / soft_cap;
        gradient = gradient * (share.clone() * share * -1.0 + 1.0);
    }
    let weights = row_weights.mask_fill(masked, 0.0).reshape([rows, 1]);
    (gradient * weights, losses)
}

pub(super) fn squared_norms(g: Tensor<2>) -> Tensor<1> {
    let [examples, _] = g.dims();
    (g.clone() * g).sum_dim(1).reshape([examples])
}

pub(super) fn clip_accumulate(
    sum: Tensor<1>,
    g: Tensor<2>,
    factors: Tensor<1>,
    first: usize,
) -> Tensor<1> {
    let [examples, length] = g.dims();
    let factors = factors.reshape([examples, 1]);
    let left_out = factors.clone().equal_elem(0.0).expand([examples, length]);
    let clipped = (g * factors)
        .mask_fill(left_out, 0.0)
        .sum_dim(0)
        .reshape([length]);
    let range = first..first + length;
    let total = sum.clone().slice([range.clone()]) + clipped;
    sum.slice_assign([range], total)
}
