//! How a WGSL text becomes a dispatch on burn's queue.

use std::sync::Arc;

use burn::backend::{DType, Shape, TensorMetadata};
use burn_wgpu::{CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous};
use cubecl::prelude::*;
use cubecl::server::KernelArguments;

/// WebGPU's guaranteed number of workgroups per dimension; longer grids fold into y.
pub(crate) const GRID_WIDTH: u32 = 65535;

/// One variant of a kernel: a shader text with its placeholders filled in.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// Names the variant; the pipeline cache's key, so it must cover every placeholder.
    pub name: Arc<str>,
    /// Complete WGSL.
    pub source: Arc<str>,
    /// Invocations per workgroup, as the text declares them.
    pub workgroup: [u32; 2],
}

impl Kernel {
    /// Fills `{{ key }}` in `parts` (joined) from `values`; `grid_width` is always known.
    ///
    /// # Panics
    /// If a placeholder is left over: a defect in this crate that the shader test finds.
    pub fn new(
        name: impl Into<String>,
        parts: &[&str],
        workgroup: [u32; 2],
        values: &[(&str, String)],
    ) -> Self {
        let name: String = name.into();
        let mut source = parts.concat();
        for (key, value) in values {
            source = source.replace(&format!("{{{{ {key} }}}}"), value);
        }
        source = source.replace("{{ grid_width }}", &GRID_WIDTH.to_string());
        assert!(!source.contains("{{"), "{name}: a placeholder has no value");
        Self {
            name: name.into(),
            source: source.into(),
            workgroup,
        }
    }

    /// A kernel of one-dimensional workgroups without further placeholders.
    pub fn plain(name: &str, text: &str, threads: u32) -> Self {
        Self::new(name, &[text], [threads, 1], &[])
    }
}

impl KernelSource for Kernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(&*self.source)
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.name.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Defines functions that give a kernel, its text put together once.
macro_rules! kernels {
    ($($function:ident => $kernel:expr),+ $(,)?) => {
        $(fn $function() -> &'static Kernel {
            static KERNEL: std::sync::LazyLock<Kernel> = std::sync::LazyLock::new(|| $kernel);
            &KERNEL
        })+

        /// Every kernel of this module.
        pub(super) fn variants() -> Vec<Kernel> {
            vec![$($function().clone()),+]
        }
    };
}
pub(super) use kernels;

/// A grid of at least `groups` workgroups; kernels recover the index as `x + y * GRID_WIDTH`.
pub(crate) fn grid(groups: usize) -> [u32; 3] {
    let groups = u32::try_from(groups.max(1)).expect("a grid has fewer than 2^32 workgroups");
    [groups.min(GRID_WIDTH), groups.div_ceil(GRID_WIDTH), 1]
}

/// Binds `tensors` in order, then `params`, and dispatches.
///
/// Tensors must be contiguous, and no two of them the same buffer: every binding is `read_write`.
pub(crate) fn dispatch(kernel: &Kernel, groups: [u32; 3], tensors: &[&CubeTensor], params: &[u32]) {
    let client = &tensors[0].client;
    let params = client.create_from_slice(bytemuck::cast_slice(params));
    let mut buffers: Vec<_> = tensors
        .iter()
        .map(|tensor| tensor.handle.clone().binding())
        .collect();
    buffers.push(params.binding());
    let [x, y] = kernel.workgroup;
    client.launch(
        Box::new(SourceKernel::new(kernel.clone(), CubeDim::new_2d(x, y))),
        CubeCount::Static(groups[0], groups[1], groups[2]),
        KernelArguments::new().with_buffers(buffers),
    );
}

/// An uninitialised contiguous f32 tensor on `like`'s device.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    let shape = shape.into();
    let bytes = shape.num_elements() * size_of::<f32>();
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        like.client.empty(bytes),
        DType::F32,
    )
}

/// `tensor` in row-major order from the start of its own buffer.
pub(crate) fn contiguous(tensor: CubeTensor) -> CubeTensor {
    debug_assert!(
        matches!(tensor.dtype, DType::F32 | DType::I32),
        "kernels take f32 and i32"
    );
    into_contiguous(tensor)
}

/// Elements of `tensor`.
pub(crate) fn elements(tensor: &CubeTensor) -> usize {
    tensor.shape().num_elements()
}

/// The dimensions of `tensor`, which must be `N`.
pub(crate) fn dims<const N: usize>(tensor: &CubeTensor, what: &str) -> [usize; N] {
    let shape = tensor.shape();
    let dims: Vec<usize> = (0..shape.num_dims()).map(|i| shape[i]).collect();
    dims.try_into()
        .unwrap_or_else(|dims| panic!("{what} has {N} dimensions, got {dims:?}"))
}
