use burn_wgpu::CubeTensor;

use super::launch::{Kernel, contiguous, dims, dispatch, elements, empty, grid, kernels};

kernels! {
    norms_kernel => Kernel::plain("squared_norms", include_str!("../../../../shaders/squared_norms.wgsl"), 256),
    accumulate_kernel => Kernel::plain(
        "clip_accumulate",
        include_str!("../../../../shaders/clip_accumulate.wgsl"),
        256,
    ),
}

/// Squared L2 norm of each example's gradient; g `[examples, length]`, result `[examples]`.
pub(crate) fn squared_norms(g: CubeTensor) -> CubeTensor {
    let g = contiguous(g);
    let [examples, length] = dims::<2>(&g, "per-example gradients");
    let out = empty(&g, [examples]);
    dispatch(
        norms_kernel(),
        grid(examples),
        &[&g, &out],
        &[examples as u32, length as u32],
    );
    out
}

/// `sum[first..first + length] += Σ_b factors[b] · g[b]`, in `sum`'s own buffer; g `[examples, length]`.
///
/// A factor of 0 leaves its example out even where its gradient is not finite.
pub(crate) fn clip_accumulate(
    sum: CubeTensor,
    g: CubeTensor,
    factors: CubeTensor,
    first: usize,
) -> CubeTensor {
    let (g, factors) = (contiguous(g), contiguous(factors));
    let [examples, length] = dims::<2>(&g, "per-example gradients");
    assert!(first + length <= elements(&sum) && elements(&factors) == examples);
    let params = [examples as u32, length as u32, first as u32];
    dispatch(
        accumulate_kernel(),
        grid(length.div_ceil(256)),
        &[&sum, &g, &factors],
        &params,
    );
    sum
}
