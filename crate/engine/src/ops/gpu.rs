//! Burn's backend extension: the WGSL kernels as operations that burn's autodiff knows the gradients of.
//!
//! Two traits, because only the first takes part in differentiation. On the CPU device the operations are the
//! compositions of [`super::portable`], which burn differentiates by itself.

use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Backend, TensorMetadata, backend_extension,
    ops::FloatTensorOps,
    tensor::{FloatTensor, IntTensor},
    wgpu::CubeBackend,
};
use burn_wgpu::CubeTensor;

use crate::kernels::{self, AttentionShape, MatmulLayout, Nf4Parts, WeightSource};

/// Operations that burn's autodiff may record. Weights (`w`, tables) are frozen: they get no gradient.
#[backend_extension(Cube, Autodiff)]
pub trait DifferentiableOps: Backend {
    /// See [`super::rms_norm`].
    fn op_rms_norm(x: FloatTensor<Self>, w: FloatTensor<Self>, eps: f32) -> FloatTensor<Self>;
    /// See [`super::rope`].
    fn op_rope(
        x: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        position: usize,
    ) -> FloatTensor<Self>;
    /// See [`super::attention`].
    fn op_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> FloatTensor<Self>;
    /// See [`super::gelu_gate`].
    fn op_gelu_gate(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// x `[rows, k]`, w `[n, k]`, result `[rows, n]`.
    fn op_linear(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self>;
    /// As `op_linear` with w `[n, k]` packed as NF4.
    fn op_linear_nf4(
        x: FloatTensor<Self>,
        packed: IntTensor<Self>,
        absmax_codes: IntTensor<Self>,
        nested: FloatTensor<Self>,
        n: usize,
    ) -> FloatTensor<Self>;
    /// See [`super::lora`].
    fn op_lora(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self>;
    /// See [`super::dropout`].
    fn op_dropout(
        x: FloatTensor<Self>,
        seeds: IntTensor<Self>,
        salt: u32,
        threshold: u32,
        scale: f32,
    ) -> FloatTensor<Self>;
}

/// Operations outside differentiation.
#[backend_extension(Cube)]
pub trait PlainOps: Backend {
    /// See [`super::gather_rows`].
    fn op_gather_rows(
        table: FloatTensor<Self>,
        ids: IntTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self>;
    /// See [`super::cross_entropy`]: one chunk, in place; returns (gradient of the logits, losses).
    fn op_cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        row_weights: FloatTensor<Self>,
        losses: FloatTensor<Self>,
        first: usize,
        soft_cap: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// a `[m, k]` times b `[k, n]`.
    fn op_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`super::squared_norms`].
    fn op_squared_norms(g: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`super::clip_accumulate`].
    fn op_clip_accumulate(
        sum: FloatTensor<Self>,
        g: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        first: usize,
    ) -> FloatTensor<Self>;
}

const LINEAR: MatmulLayout = MatmulLayout {
    a_transposed: false,
    b_transposed: true,
};
const PLAIN: MatmulLayout = MatmulLayout {
    a_transposed: false,
    b_transposed: false,
};
const OUTER: MatmulLayout = MatmulLayout {
    a_transposed: true,
    b_transposed: false,
};

fn last_dim(tensor: &CubeTensor) -> usize {
    let shape = tensor.shape();
    shape[shape.num_dims() - 1]
}

fn reshaped(tensor: CubeTensor, dims: &[usize]) -> CubeTensor {
    CubeBackend::float_reshape(tensor, dims.to_vec().into())
}

/// `x · wᵀ`: a decode step's few rows go through the kernel without tiles.
fn linear(x: CubeTensor, w: WeightSource, n: usize) -> CubeTensor {
    let k = last_dim(&x);
    let rows = x.shape().num_elements() / k;
    if rows <= 4 {
        return kernels::matvec(x, w, [rows, n, k]);
    }
    let out = kernels::matmul(x, w, LINEAR, [1, rows, n, k], 1.0);
    reshaped(out, &[rows, n])
}

/// Gradient of [`linear`] with respect to x, `g · w`.
fn linear_backward(g: CubeTensor, w: WeightSource, k: usize) -> CubeTensor {
    let n = last_dim(&g);
    let rows = g.shape().num_elements() / n;
    let dx = kernels::matmul(g, w, PLAIN, [1, rows, k, n], 1.0);
    reshaped(dx, &[rows, k])
}

/// `[g, m, in]`, `[g, r, in]`, `[g, out, r]` as `[g, m, in, r, out]`.
fn lora_sizes(x: &CubeTensor, a: &CubeTensor, b: &CubeTensor) -> [usize; 5] {
    let (x, a, b) = (x.shape(), a.shape(), b.shape());
    assert!(
        a[0] == x[0] && b[0] == x[0] && a[2] == x[2] && b[2] == a[1],
        "LoRA's factors do not fit"
    );
    [x[0], x[1], x[2], a[1], b[1]]
}

impl DifferentiableOps for CubeBackend {
    fn op_rms_norm(x: CubeTensor, w: CubeTensor, eps: f32) -> CubeTensor {
        kernels::rms_norm(x, w, eps)
    }

    fn op_rope(
        x: CubeTensor,
        cosines: CubeTensor,
        sines: CubeTensor,
        position: usize,
    ) -> CubeTensor {
        kernels::rope(x, cosines, sines, position, 1.0)
    }

    fn op_attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        shape: AttentionShape,
    ) -> CubeTensor {
        kernels::attention(q, k, v, shape).0
    }

    fn op_gelu_gate(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        kernels::gelu_gate(gate, up)
    }

    fn op_linear(x: CubeTensor, w: CubeTensor) -> CubeTensor {
        let n = w.shape()[0];
        linear(x, WeightSource::F32(w), n)
    }

    fn op_linear_nf4(
        x: CubeTensor,
        packed: CubeTensor,
        absmax_codes: CubeTensor,
        nested: CubeTensor,
        n: usize,
    ) -> CubeTensor {
        linear(
            x,
            WeightSource::Nf4(Nf4Parts {
                packed,
                absmax_codes,
                nested,
            }),
            n,
        )
    }

    fn op_lora(x: CubeTensor, a: CubeTensor, b: CubeTensor, scale: f32) -> CubeTensor {
        let [g, m, width, r, out] = lora_sizes(&x, &a, &b);
        let u = kernels::matmul(x, WeightSource::F32(a), LINEAR, [g, m, r, width], 1.0);
        kernels::matmul(u, WeightSource::F32(b), LINEAR, [g, m, out, r], scale)
    }

    fn op_dropout(
        x: CubeTensor,
        seeds: CubeTensor,
        salt: u32,
        threshold: u32,
        scale: f32,
    ) -> CubeTensor {
        kernels::dropout(x, seeds, salt, threshold, scale)
    }
}

impl PlainOps for CubeBackend {
    fn op_gather_rows(table: CubeTensor, ids: CubeTensor, scale: f32) -> CubeTensor {
        kernels::gather_rows(table, ids, scale)
    }

    fn op_cross_entropy(
        logits: CubeTensor,
        targets: CubeTensor,
        row_weights: CubeTensor,
        losses: CubeTensor,
        first: usize,
        soft_cap: f32,
    ) -> (CubeTensor, CubeTensor) {
        kernels::cross_entropy_in_place(logits, targets, row_weights, losses, first, soft_cap)
    }

    fn op_matmul(a: CubeTensor, b: CubeTensor) -> CubeTensor {
        let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
        let out = kernels::matmul(a, WeightSource::F32(b), PLAIN, [1, m, n, k], 1.0);
        reshaped(out, &[m, n])
    }

    fn op_squared_norms(g: CubeTensor) -> CubeTensor {
        kernels::squared_norms(g)
    }

    fn op_clip_accumulate(
        sum: CubeTensor,
        g: CubeTensor,
        factors: CubeTensor,
        first: usize,
    ) -> CubeTensor {
        kernels::clip_accumulate(sum, g, factors, first)
    }
}

/// Declares the backward step of an operation: its saved state, and what it registers for each parent.
macro_rules! backward_step {
    ($name:ident, $parents:literal, $state:ty, |$saved:pat_param, $g:ident, $parent:ident, $grads:ident| $body:block) => {
        #[derive(Debug)]
        struct $name;
        impl Backward<CubeBackend, $parents> for $name {
            type State = $state;
            fn backward(
                self,
                ops: Ops<Self::State, $parents>,
                $grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let $g = $grads.consume::<CubeBackend>(&ops.node);
                let $saved = ops.state;
                let $parent = &ops.parents;
                $body
            }
        }
    };
}

type Grad<C> = Autodiff<CubeBackend, C>;

impl<C: CheckpointStrategy> DifferentiableOps for Autodiff<CubeBackend, C> {
    fn op_rms_norm(
        x: FloatTensor<Grad<C>>,
        w: FloatTensor<Grad<C>>,
        eps: f32,
    ) -> FloatTensor<Grad<C>> {
        backward_step!(
            Step,
            1,
            (CubeTensor, CubeTensor, f32),
            |(x, w, eps), g, parents, grads| {
                if let [Some(parent)] = parents {
                    grads.register::<CubeBackend>(
                        parent.id,
                        kernels::rms_norm_backward(x, w, g, eps),
                    );
                }
            }
        );
        let prep = Step.prepare::<C>([x.node()]).compute_bound().stateful();
        let (x, w) = (x.into_primitive(), w.into_primitive());
        let y = kernels::rms_norm(x.clone(), w.clone(), eps);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((x, w, eps), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn op_rope(
        x: FloatTensor<Grad<C>>,
        cosines: FloatTensor<Grad<C>>,
        sines: FloatTensor<Grad<C>>,
        position: usize,
    ) -> FloatTensor<Grad<C>> {
        backward_step!(
            Step,
            1,
            (CubeTensor, CubeTensor, usize),
            |(cos, sin, position), g, parents, grads| {
                if let [Some(parent)] = parents {
                    grads.register::<CubeBackend>(
                        parent.id,
                        kernels::rope(g, cos, sin, position, -1.0),
                    );
                }
            }
        );
        let prep = Step.prepare::<C>([x.node()]).compute_bound().stateful();
        let (cos, sin) = (cosines.into_primitive(), sines.into_primitive());
        let y = kernels::rope(x.into_primitive(), cos.clone(), sin.clone(), position, 1.0);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((cos, sin, position), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn op_attention(
        q: FloatTensor<Grad<C>>,
        k: FloatTensor<Grad<C>>,
        v: FloatTensor<Grad<C>>,
        shape: AttentionShape,
    ) -> FloatTensor<Grad<C>> {
        type Saved = ([CubeTensor; 5], AttentionShape);
        backward_step!(
            Step,
            3,
            Saved,
            |([q, k, v, out, log_sums], shape), g, parents, grads| {
                let (dq, dk, dv) = kernels::attention_backward(q, k, v, out, log_sums, g, shape);
                for (parent, gradient) in parents.iter().zip([dq, dk, dv]) {
                    if let Some(parent) = parent {
                        grads.register::<CubeBackend>(parent.id, gradient);
                    }
                }
            }
        );
        let prep = Step
            .prepare::<C>([q.node(), k.node(), v.node()])
            .compute_bound()
            .stateful();
        let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
        let (out, log_sums) = kernels::attention(q.clone(), k.clone(), v.clone(), shape);
        match prep {
            OpsKind::Tracked(prep) => prep.finish(([q, k, v, out.clone(), log_sums], shape), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn op_gelu_gate(gate: FloatTensor<Grad<C>>, up: FloatTensor<Grad<C>>) -> FloatTensor<Grad<C>> {
        backward_step!(
            Step,
            2,
            (CubeTensor, CubeTensor),
            |(gate, up), g, parents, grads| {
                let (d_gate, d_up) = kernels::gelu_gate_backward(gate, up, g);
                for (parent, gradient) in parents.iter().zip([d_gate, d_up]) {
                    if let Some(parent) = parent {
                        grads.register::<CubeBackend>(parent.id, gradient);
                    }
                }
            }
        );
        let prep = Step
            .prepare::<C>([gate.node(), up.node()])
            .compute_bound()
            .stateful();
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        let y = kernels::gelu_gate(gate.clone(), up.clone());
        match prep {
            OpsKind::Tracked(prep) => prep.finish((gate, up), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn op_linear(x: FloatTensor<Grad<C>>, w: FloatTensor<Grad<C>>) -> FloatTensor<Grad<C>> {
        backward_step!(Step, 1, CubeTensor, |w, g, parents, grads| {
            if let [Some(parent)] = parents {
                let k = last_dim(&w);
                grads.register::<CubeBackend>(
                    parent.id,
                    linear_backward(g, WeightSource::F32(w), k),
                );
            }
        });
        let prep = Step.prepare::<C>([x.node()]).compute_bound().stateful();
        let w = w.into_primitive();
        let y = CubeBackend::op_linear(x.into_primitive(), w.clone());
        match prep {
            OpsKind::Tracked(prep) => prep.finish(w, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn op_linear_nf4(
        x: FloatTensor<Grad<C>>,
        packed: IntTensor<Grad<C>>,
        absmax_codes: IntTensor<Grad<C>>,
        nested: FloatTensor<Grad<C>>,
        n: usize,
    ) -> FloatTensor<Grad<C>> {
        backward_step!(
            Step,
            1,
            ([CubeTensor; 3], usize),
            |([packed, absmax_codes, nested], k), g, parents, grads| {
                if let [Some(parent)] = parents {
                    let w = WeightSource::Nf4(Nf4Parts {
                        packed,
                        absmax_codes,
                        nested,
                    });
                    grads.register::<CubeBackend>(parent.id, linear_backward(g, w, k));
                }
            }
        );
        let prep = Step.prepare::<C>([x.node()]).compute_bound().stateful();
        let (x, nested) = (x.into_primitive(), nested.into_primitive());
        let k = last_dim(&x);
        let saved = [packed.clone(), absmax_codes.clone(), nested.clone()];
        let y = CubeBackend::op_linear_nf4(x, packed, absmax_codes, nested, n);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((saved, k), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn op_lora(
        x: FloatTensor<Grad<C>>,
        a: FloatTensor<Grad<C>>,
        b: FloatTensor<Grad<C>>,
        scale: f32,
    ) -> FloatTensor<Grad<C>> {
        // With u = x Aᵀ and y = s u Bᵀ: dB = s gᵀ u, du = s g B, dA = duᵀ x, dx = du A.
        backward_step!(
            Step,
            3,
            ([CubeTensor; 4], f32),
            |([x, a, b, u], scale), g, parents, grads| {
                let [groups, m, width, r, out] = lora_sizes(&x, &a, &b);
                let [parent_x, parent_a, parent_b] = parents;
                if let Some(parent) = parent_b {
                    let db = kernels::matmul(
                        g.clone(),
                        WeightSource::F32(u),
                        OUTER,
                        [groups, out, r, m],
                        scale,
                    );
                    grads.register::<CubeBackend>(parent.id, db);
                }
                if parent_x.is_none() && parent_a.is_none() {
                    return;
                }
                let du =
                    kernels::matmul(g, WeightSource::F32(b), PLAIN, [groups, m, r, out], scale);
                if let Some(parent) = parent_a {
                    let da = kernels::matmul(
                        du.clone(),
                        WeightSource::F32(x),
                        OUTER,
                        [groups, r, width, m],
                        1.0,
                    );
                    grads.register::<CubeBackend>(parent.id, da);
                }
                if let Some(parent) = parent_x {
                    let dx = kernels::matmul(
                        du,
                        WeightSource::F32(a),
                        PLAIN,
                        [groups, m, width, r],
                        1.0,
                    );
                    grads.register::<CubeBackend>(parent.id, dx);
                }
            }
        );
        let prep = Step
            .prepare::<C>([x.node(), a.node(), b.node()])
            .compute_bound()
            .stateful();
        let (x, a, b) = (x.into_primitive(), a.into_primitive(), b.into_primitive());
        let [g, m, width, r, out] = lora_sizes(&x, &a, &b);
        let u = kernels::matmul(
            x.clone(),
            WeightSource::F32(a.clone()),
            LINEAR,
            [g, m, r, width],
            1.0,
        );
        let y = kernels::matmul(
            u.clone(),
            WeightSource::F32(b.clone()),
            LINEAR,
            [g, m, out, r],
            scale,
        );
        match prep {
            OpsKind::Tracked(prep) => prep.finish(([x, a, b, u], scale), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn op_dropout(
        x: FloatTensor<Grad<C>>,
        seeds: IntTensor<Grad<C>>,
        salt: u32,
        threshold: u32,
        scale: f32,
    ) -> FloatTensor<Grad<C>> {
        type Saved = (CubeTensor, u32, u32, f32);
        backward_step!(
            Step,
            1,
            Saved,
            |(seeds, salt, threshold, scale), g, parents, grads| {
                if let [Some(parent)] = parents {
                    let dx = kernels::dropout(g, seeds, salt, threshold, scale);
                    grads.register::<CubeBackend>(parent.id, dx);
                }
            }
        );
        let prep = Step.prepare::<C>([x.node()]).compute_bound().stateful();
        let y = kernels::dropout(x.into_primitive(), seeds.clone(), salt, threshold, scale);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((seeds, salt, threshold, scale), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}
