use burn_wgpu::CubeTensor;

use super::launch::{Kernel, contiguous, dims, dispatch, grid, kernels};

kernels! {
    kernel => Kernel::plain("cross_entropy", include_str!("../../../../shaders/cross_entropy.wgsl"), 256),
}

/// Cross-entropy of one chunk of rows; returns the logits' gradient in the logits' own buffer and writes
/// `losses[first..first + rows]`.
///
/// logits `[rows, vocabulary]`; targets i32, row_weights and losses f32 `[all rows]`; a negative target masks its row.
pub(crate) fn cross_entropy_in_place(
    logits: CubeTensor,
    targets: CubeTensor,
    row_weights: CubeTensor,
    losses: CubeTensor,
    first: usize,
    soft_cap: f32,
) -> (CubeTensor, CubeTensor) {
    let (logits, targets, row_weights) = (
        contiguous(logits),
        contiguous(targets),
        contiguous(row_weights),
    );
    let [rows, vocabulary] = dims::<2>(&logits, "logits");
    let params = [
        rows as u32,
        vocabulary as u32,
        soft_cap.to_bits(),
        first as u32,
    ];
    dispatch(
        kernel(),
        grid(rows),
        &[&logits, &targets, &row_weights, &losses],
        &params,
    );
    (logits, losses)
}
