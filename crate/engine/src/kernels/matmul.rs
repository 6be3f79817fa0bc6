use std::sync::LazyLock;

use burn_wgpu::CubeTensor;

use super::launch::{Kernel, contiguous, dispatch, elements, empty, grid};

/// How the operands of a [`matmul`] lie in memory, `out[g, m, n] = Σ_k a[g, m, k] · b[g, k, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatmulLayout {
    /// a is stored `[g, k, m]`.
    pub a_transposed: bool,
    /// b is stored `[g, n, k]`, as a linear layer's weight.
    pub b_transposed: bool,
}

/// A matrix packed as 4-bit NormalFloat with double quantisation.
pub(crate) struct Nf4Parts {
    /// Eight weights a word, row-major, the first in the high nibble of the lowest byte; i32.
    pub packed: CubeTensor,
    /// Four absolute-maximum codes a word, one per 64 weights; i32.
    pub absmax_codes: CubeTensor,
    /// 256 levels, the offset, then one maximum per 256 codes.
    pub nested: CubeTensor,
}

/// Where the right-hand side comes from.
pub(crate) enum WeightSource {
    F32(CubeTensor),
    Nf4(Nf4Parts),
}

#[derive(Clone, Copy)]
enum Loader {
    F32,
    Nf4,
}

impl Loader {
    fn text(self) -> &'static str {
        match self {
            Self::F32 => include_str!("../../../../shaders/weights_f32.wgsl"),
            Self::Nf4 => include_str!("../../../../shaders/weights_nf4.wgsl"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Nf4 => "nf4",
        }
    }

    /// Binding after the loader's own.
    fn next_binding(self) -> u32 {
        match self {
            Self::F32 => 2,
            Self::Nf4 => 4,
        }
    }
}

impl WeightSource {
    fn into_contiguous(self) -> Self {
        match self {
            Self::F32(weights) => Self::F32(contiguous(weights)),
            Self::Nf4(parts) => Self::Nf4(Nf4Parts {
                packed: contiguous(parts.packed),
                absmax_codes: contiguous(parts.absmax_codes),
                nested: contiguous(parts.nested),
            }),
        }
    }

    fn loader(&self) -> Loader {
        match self {
            Self::F32(_) => Loader::F32,
            Self::Nf4(_) => Loader::Nf4,
        }
    }

    fn tensors(&self) -> Vec<&CubeTensor> {
        match self {
            Self::F32(weights) => vec![weights],
            Self::Nf4(parts) => vec![&parts.packed, &parts.absmax_codes, &parts.nested],
        }
    }
}

fn matmul_kernel(loader: Loader, layout: MatmulLayout, side: u32) -> Kernel {
    let tile = 4 * side;
    // Consecutive invocations read consecutive addresses, whichever index runs fastest in memory.
    let fastest = |transposed: bool| {
        if transposed {
            (format!("i % {tile}u"), format!("i / {tile}u"))
        } else {
            ("i / 16u".to_owned(), "i % 16u".to_owned())
        }
    };
    let (a_tile_m, a_tile_k) = fastest(layout.a_transposed);
    let (b_tile_n, b_tile_k) = fastest(!layout.b_transposed);
    let a_index = if layout.a_transposed {
        "(k0 + ak) * m + m0 + am"
    } else {
        "(m0 + am) * k + k0 + ak"
    };
    let b_index = if layout.b_transposed {
        "(n0 + bn) * k + k0 + bk"
    } else {
        "(k0 + bk) * n + n0 + bn"
    };
    Kernel::new(
        format!(
            "matmul_{}_{}{}_{side}",
            loader.name(),
            if layout.a_transposed { "t" } else { "n" },
            if layout.b_transposed { "t" } else { "n" },
        ),
        &[
            include_str!("../../../../shaders/matmul.wgsl"),
            loader.text(),
        ],
        [side, side],
        &[
            ("side", side.to_string()),
            ("out_binding", loader.next_binding().to_string()),
            ("params_binding", (loader.next_binding() + 1).to_string()),
            ("a_tile_m", a_tile_m),
            ("a_tile_k", a_tile_k),
            ("b_tile_n", b_tile_n),
            ("b_tile_k", b_tile_k),
            ("a_index", a_index.to_owned()),
            ("b_index", b_index.to_owned()),
        ],
    )
}

fn matvec_kernel(loader: Loader) -> Kernel {
    Kernel::new(
        format!("matvec_{}", loader.name()),
        &[
            include_str!("../../../../shaders/matvec.wgsl"),
            loader.text(),
        ],
        [64, 1],
        &[
            ("out_binding", loader.next_binding().to_string()),
            ("params_binding", (loader.next_binding() + 1).to_string()),
        ],
    )
}

/// Sides of the workgroups there are variants for.
const SIDES: [u32; 2] = [8, 16];

static MATMULS: LazyLock<Vec<Kernel>> = LazyLock::new(|| {
    let mut kernels = Vec::new();
    for loader in [Loader::F32, Loader::Nf4] {
        for a_transposed in [false, true] {
            for b_transposed in [false, true] {
                let layout = MatmulLayout {
                    a_transposed,
                    b_transposed,
                };
                kernels.extend(SIDES.map(|side| matmul_kernel(loader, layout, side)));
            }
        }
    }
    kernels
});

static MATVECS: LazyLock<[Kernel; 2]> =
    LazyLock::new(|| [Loader::F32, Loader::Nf4].map(matvec_kernel));

pub(super) fn variants() -> Vec<Kernel> {
    MATMULS.iter().chain(MATVECS.iter()).cloned().collect()
}

/// Batched product `scale · a · b`, result `[batch, m, n]`.
///
/// a holds `batch · m · k` values. b holds `batch · k · n`, or `k · n` shared by the whole batch; a quantised b is
/// always shared.
pub(crate) fn matmul(
    a: CubeTensor,
    b: WeightSource,
    layout: MatmulLayout,
    [batch, m, n, k]: [usize; 4],
    scale: f32,
) -> CubeTensor {
    let (a, b) = (contiguous(a), b.into_contiguous());
    assert_eq!(elements(&a), batch * m * k, "matmul's left operand");
    let b_stride = match &b {
        WeightSource::F32(weights) if elements(weights) == batch * k * n => k * n,
        WeightSource::F32(weights) => {
            assert_eq!(elements(weights), k * n, "matmul's right operand");
            0
        }
        WeightSource::Nf4(parts) => {
            assert!(
                elements(&parts.packed) * 8 >= k * n,
                "matmul's quantised operand"
            );
            0
        }
    };
    let out = empty(&a, [batch, m, n]);
    let side = if m.min(n) <= 32 { SIDES[0] } else { SIDES[1] };
    let tile = 4 * side as usize;
    let groups = [
        n.div_ceil(tile) as u32,
        m.div_ceil(tile) as u32,
        batch as u32,
    ];
    let variant = (b.loader() as usize * 2 + usize::from(layout.a_transposed)) * 2
        + usize::from(layout.b_transposed);
    let kernel = &MATMULS[variant * SIDES.len() + usize::from(side == SIDES[1])];
    let params = [m, n, k, m * k, b_stride].map(|value| value as u32);
    let params = [&params[..], &[scale.to_bits()]].concat();
    let mut tensors = vec![&a];
    tensors.extend(b.tensors());
    tensors.push(&out);
    dispatch(kernel, groups, &tensors, &params);
    out
}

/// `x · wᵀ` for the few rows of a decode step: x `[m, k]`, w `[n, k]`, result `[m, n]`.
pub(crate) fn matvec(x: CubeTensor, w: WeightSource, [m, n, k]: [usize; 3]) -> CubeTensor {
    let (x, w) = (contiguous(x), w.into_contiguous());
    assert_eq!(elements(&x), m * k, "matvec's vector");
    let out = empty(&x, [m, n]);
    let params = [m, n, k].map(|value| value as u32);
    let mut tensors = vec![&x];
    tensors.extend(w.tensors());
    tensors.push(&out);
    dispatch(
        &MATVECS[w.loader() as usize],
        grid(n.div_ceil(8)),
        &tensors,
        &params,
    );
    out
}
