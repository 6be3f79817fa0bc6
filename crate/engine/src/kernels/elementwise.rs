use burn::backend::TensorMetadata;
use burn_wgpu::CubeTensor;

use super::launch::{Kernel, contiguous, dims, dispatch, elements, empty, grid, kernels};

const THREADS: u32 = 256;

kernels! {
    rope_kernel => Kernel::plain("rope", include_str!("../../../../shaders/rope.wgsl"), THREADS),
    gelu_gate_kernel => Kernel::plain("gelu_gate", include_str!("../../../../shaders/gelu_gate.wgsl"), THREADS),
    gelu_gate_backward_kernel => Kernel::plain(
        "gelu_gate_backward",
        include_str!("../../../../shaders/gelu_gate_backward.wgsl"),
        THREADS,
    ),
    gather_rows_kernel => Kernel::plain("gather_rows", include_str!("../../../../shaders/gather_rows.wgsl"), THREADS),
    dropout_kernel => Kernel::plain("dropout", include_str!("../../../../shaders/dropout.wgsl"), THREADS),
}

fn groups(elements: usize) -> [u32; 3] {
    grid(elements.div_ceil(THREADS as usize))
}

/// Rotary embedding of x `[batch, time, heads, dim]` from `position` on; tables `[positions, dim / 2]`.
/// `sine_sign` is -1 for the backward pass.
pub(crate) fn rope(
    x: CubeTensor,
    cosines: CubeTensor,
    sines: CubeTensor,
    position: usize,
    sine_sign: f32,
) -> CubeTensor {
    let (x, cosines, sines) = (contiguous(x), contiguous(cosines), contiguous(sines));
    let [_, time, heads, dim] = dims::<4>(&x, "rope's input");
    let [positions, half_dim] = dims::<2>(&cosines, "rope's table");
    assert!(
        half_dim * 2 == dim && position + time <= positions,
        "rope's table does not fit"
    );
    let y = empty(&x, x.shape());
    let pairs = elements(&x) / 2;
    let params = [
        pairs as u32,
        time as u32,
        heads as u32,
        half_dim as u32,
        position as u32,
        sine_sign.to_bits(),
    ];
    dispatch(
        rope_kernel(),
        groups(pairs),
        &[&x, &cosines, &sines, &y],
        &params,
    );
    y
}

/// `gelu_tanh(gate) * up`, element by element.
pub(crate) fn gelu_gate(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
    let (gate, up) = (contiguous(gate), contiguous(up));
    let y = empty(&gate, gate.shape());
    let count = elements(&gate);
    dispatch(
        gelu_gate_kernel(),
        groups(count),
        &[&gate, &up, &y],
        &[count as u32],
    );
    y
}

/// Gradients of [`gelu_gate`] with respect to gate and up.
pub(crate) fn gelu_gate_backward(
    gate: CubeTensor,
    up: CubeTensor,
    g: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let (gate, up, g) = (contiguous(gate), contiguous(up), contiguous(g));
    let (d_gate, d_up) = (empty(&gate, gate.shape()), empty(&gate, gate.shape()));
    let count = elements(&gate);
    dispatch(
        gelu_gate_backward_kernel(),
        groups(count),
        &[&gate, &up, &g, &d_gate, &d_up],
        &[count as u32],
    );
    (d_gate, d_up)
}

/// `scale * table[ids]`; table `[rows, width]`, ids i32 `[n]`, result `[n, width]`.
pub(crate) fn gather_rows(table: CubeTensor, ids: CubeTensor, scale: f32) -> CubeTensor {
    let (table, ids) = (contiguous(table), contiguous(ids));
    let [rows, width] = dims::<2>(&table, "the embedding table");
    let y = empty(&table, [elements(&ids), width]);
    let count = elements(&y);
    let params = [count as u32, width as u32, rows as u32, scale.to_bits()];
    dispatch(
        gather_rows_kernel(),
        groups(count),
        &[&table, &ids, &y],
        &params,
    );
    y
}

/// Inverted dropout of x, whose mask is a function of (example's seed, salt, index within the example); the same call
/// is its own backward pass. seeds i32 `[examples]`; x divides evenly among them.
pub(crate) fn dropout(
    x: CubeTensor,
    seeds: CubeTensor,
    salt: u32,
    threshold: u32,
    scale: f32,
) -> CubeTensor {
    let (x, seeds) = (contiguous(x), contiguous(seeds));
    let y = empty(&x, x.shape());
    let count = elements(&x);
    let per_example = count / elements(&seeds);
    let params = [
        count as u32,
        per_example as u32,
        salt,
        threshold,
        scale.to_bits(),
    ];
    dispatch(dropout_kernel(), groups(count), &[&x, &seeds, &y], &params);
    y
}
