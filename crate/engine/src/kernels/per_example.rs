use burn::backend::DType;
use burn_wgpu::CubeTensor;

use super::launch::{Kernel, contiguous, dims, dispatch, elements, empty, grid, kernels};

kernels! {
    norms_kernel => Kernel::plain("squared_norms", include_str!("../../../../shaders/squared_norms.wgsl"), 256),
    accumulate_kernel => Kernel::plain(
        "clip_accumulate",
        include_str!("../../../../shaders/clip_accumulate.wgsl"),
        256,
    ),
    clip_to_grid_kernel => Kernel::plain(
        "clip_to_grid",
        include_str!("../../../../shaders/clip_to_grid.wgsl"),
        256,
    ),
    grid_noise_kernel => Kernel::plain("grid_noise", include_str!("../../../../shaders/grid_noise.wgsl"), 64),
}

/// Squared L2 norm of each example's gradient; g `[examples, length]`, result `[examples]`, infinite where a value
/// is not finite or not below 2^50.
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

/// `sum[first..first + length] += Σ_b trunc(multipliers[b] · g[b])` in integers, in `sum`'s own buffer.
pub(crate) fn clip_to_grid(
    sum: CubeTensor,
    g: CubeTensor,
    multipliers: CubeTensor,
    first: usize,
) -> CubeTensor {
    let (g, multipliers) = (contiguous(g), contiguous(multipliers));
    let [examples, length] = dims::<2>(&g, "per-example gradients");
    assert!(first + length <= elements(&sum) && elements(&multipliers) == examples);
    assert_eq!(sum.dtype, DType::I32, "the grid is of 32-bit integers");
    let params = [examples as u32, length as u32, first as u32];
    dispatch(
        clip_to_grid_kernel(),
        grid(length.div_ceil(256)),
        &[&sum, &g, &multipliers],
        &params,
    );
    sum
}

/// Adds ⌊2^bits·Z⌋ to each integer, in `sum`'s own buffer, drawn from ChaCha20 with this key.
pub(crate) fn grid_noise(sum: CubeTensor, key: &[u32; 8], bits: u32) -> CubeTensor {
    assert_eq!(sum.dtype, DType::I32, "the grid is of 32-bit integers");
    let length = u32::try_from(elements(&sum)).expect("coordinates are numbered in 32 bits");
    let mut params = [length, bits, 0, 0, 0, 0, 0, 0, 0, 0];
    params[2..].copy_from_slice(key);
    dispatch(
        grid_noise_kernel(),
        grid(elements(&sum).div_ceil(64)),
        &[&sum],
        &params,
    );
    sum
}
