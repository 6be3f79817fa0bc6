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

/// How a frozen matrix is packed, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// 16-bit floats, two a word.
    F16,
    /// Signed bytes, four a word, with an f32 scale per 64 weights.
    Int8,
    /// 4-bit NormalFloat, eight a word, with an f32 absolute maximum per 64 weights.
    Nf4,
    /// 4-bit NormalFloat whose absolute maxima are quantised too.
    Nf4Double,
}

impl Packing {
    fn weights_a_word(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::Int8 => 4,
            Self::Nf4 | Self::Nf4Double => 8,
        }
    }
}

/// A packed matrix on the device; the parts that its packing has no use for are empty and not bound.
#[derive(Clone, Debug)]
pub(crate) struct PackedParts {
    pub packing: Packing,
    /// The weights; i32.
    pub words: CubeTensor,
    /// Four codes of absolute maxima a word, one per 64 weights; i32.
    pub codes: CubeTensor,
    /// Scales or maxima; of a doubly quantised matrix 256 levels, the offset, then one maximum per 256 codes.
    pub scales: CubeTensor,
}

/// Where the right-hand side comes from.
pub(crate) enum WeightSource {
    F32(CubeTensor),
    Packed(PackedParts),
}

/// The part of a kernel that reads the right-hand side: `None` for f32.
#[derive(Clone, Copy)]
struct Loader(Option<Packing>);

impl Loader {
    const ALL: [Self; 5] = [
        Self(None),
        Self(Some(Packing::F16)),
        Self(Some(Packing::Int8)),
        Self(Some(Packing::Nf4)),
        Self(Some(Packing::Nf4Double)),
    ];

    fn text(self) -> &'static str {
        match self.0 {
            None => include_str!("../../../../shaders/weights_f32.wgsl"),
            Some(Packing::F16) => include_str!("../../../../shaders/weights_f16.wgsl"),
            Some(Packing::Int8) => include_str!("../../../../shaders/weights_int8.wgsl"),
            Some(Packing::Nf4) => concat!(
                include_str!("../../../../shaders/nf4_level.wgsl"),
                include_str!("../../../../shaders/weights_nf4_plain.wgsl")
            ),
            Some(Packing::Nf4Double) => concat!(
                include_str!("../../../../shaders/nf4_level.wgsl"),
                include_str!("../../../../shaders/weights_nf4.wgsl")
            ),
        }
    }

    fn name(self) -> &'static str {
        match self.0 {
            None => "f32",
            Some(Packing::F16) => "f16",
            Some(Packing::Int8) => "int8",
            Some(Packing::Nf4) => "nf4_plain",
            Some(Packing::Nf4Double) => "nf4",
        }
    }

    /// Binding after the loader's own.
    fn next_binding(self) -> u32 {
        match self.0 {
            None | Some(Packing::F16) => 2,
            Some(Packing::Int8 | Packing::Nf4) => 3,
            Some(Packing::Nf4Double) => 4,
        }
    }

    /// Place among [`Self::ALL`].
    fn index(self) -> usize {
        self.0.map_or(0, |packing| packing as usize + 1)
    }
}

impl WeightSource {
    fn into_contiguous(self) -> Self {
        match self {
            Self::F32(weights) => Self::F32(contiguous(weights)),
            Self::Packed(parts) => Self::Packed(PackedParts {
                packing: parts.packing,
                words: contiguous(parts.words),
                codes: contiguous(parts.codes),
                scales: contiguous(parts.scales),
            }),
        }
    }

    fn loader(&self) -> Loader {
        match self {
            Self::F32(_) => Loader(None),
            Self::Packed(parts) => Loader(Some(parts.packing)),
        }
    }

    /// What the loader binds, in order.
    fn tensors(&self) -> Vec<&CubeTensor> {
        match self {
            Self::F32(weights) => vec![weights],
            Self::Packed(parts) => match parts.packing {
                Packing::F16 => vec![&parts.words],
                Packing::Int8 | Packing::Nf4 => vec![&parts.words, &parts.scales],
                Packing::Nf4Double => vec![&parts.words, &parts.codes, &parts.scales],
            },
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
    for loader in Loader::ALL {
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

static MATVECS: LazyLock<Vec<Kernel>> = LazyLock::new(|| Loader::ALL.map(matvec_kernel).to_vec());

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
        WeightSource::Packed(parts) => {
            assert!(
                elements(&parts.words) * parts.packing.weights_a_word() >= k * n,
                "matmul's packed operand"
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
    let variant = (b.loader().index() * 2 + usize::from(layout.a_transposed)) * 2
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
        &MATVECS[w.loader().index()],
        grid(n.div_ceil(8)),
        &tensors,
        &params,
    );
    out
}
