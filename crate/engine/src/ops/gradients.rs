//! The backward passes of [`DifferentiableOps`] on the GPU: what each operation saves, and which kernels give its
//! gradients.

use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    tensor::{FloatTensor, IntTensor},
    wgpu::CubeBackend,
};
use burn_wgpu::CubeTensor;

use super::gpu::{DifferentiableOps, LINEAR, OUTER, PLAIN, last_dim, linear_backward, lora_sizes};
use crate::kernels::{self, AttentionShape, PackedParts, Packing, WeightSource};

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
        let (out, log_sums) = kernels::attention(q.clone(), k.clone(), v.clone(), shape.clone());
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

    fn op_linear_packed(
        x: FloatTensor<Grad<C>>,
        words: IntTensor<Grad<C>>,
        codes: IntTensor<Grad<C>>,
        scales: FloatTensor<Grad<C>>,
        packing: Packing,
        n: usize,
    ) -> FloatTensor<Grad<C>> {
        backward_step!(
            Step,
            1,
            (PackedParts, usize),
            |(parts, k), g, parents, grads| {
                if let [Some(parent)] = parents {
                    let w = WeightSource::Packed(parts);
                    grads.register::<CubeBackend>(parent.id, linear_backward(g, w, k));
                }
            }
        );
        let prep = Step.prepare::<C>([x.node()]).compute_bound().stateful();
        let (x, scales) = (x.into_primitive(), scales.into_primitive());
        let k = last_dim(&x);
        let parts = PackedParts {
            packing,
            words: words.clone(),
            codes: codes.clone(),
            scales: scales.clone(),
        };
        let y = CubeBackend::op_linear_packed(x, words, codes, scales, packing, n);
        match prep {
            OpsKind::Tracked(prep) => prep.finish((parts, k), y),
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
