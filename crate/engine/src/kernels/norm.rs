use burn_wgpu::CubeTensor;

use super::launch::{Kernel, contiguous, dispatch, elements, empty, grid, kernels};
use burn::backend::TensorMetadata;

kernels! {
    forward_kernel => Kernel::plain("rms_norm", include_str!("../../../../shaders/rms_norm.wgsl"), 64),
    backward_kernel => Kernel::plain(
        "rms_norm_backward",
        include_str!("../../../../shaders/rms_norm_backward.wgsl"),
        64,
    ),
}

/// `x * rsqrt(mean(x²) + eps) * (1 + w)` over the last dimension; x `[.., width]`, w `[width]`.
pub(crate) fn rms_norm(x: CubeTensor, w: CubeTensor, eps: f32) -> CubeTensor {
    let (x, w) = (contiguous(x), contiguous(w));
    let width = elements(&w);
    let rows = elements(&x) / width;
    let y = empty(&x, x.shape());
    let params = [rows as u32, width as u32, eps.to_bits()];
    dispatch(forward_kernel(), grid(rows), &[&x, &w, &y], &params);
    y
}

/// Gradient of [`rms_norm`] with respect to x; w is frozen.
pub(crate) fn rms_norm_backward(
    x: CubeTensor,
    w: CubeTensor,
    g: CubeTensor,
    eps: f32,
) -> CubeTensor {
    let (x, w, g) = (contiguous(x), contiguous(w), contiguous(g));
    let width = elements(&w);
    let rows = elements(&x) / width;
    let dx = empty(&x, x.shape());
    let params = [rows as u32, width as u32, eps.to_bits()];
    dispatch(backward_kernel(), grid(rows), &[&x, &w, &g, &dx], &params);
    dx
}
