//! Every operation, forward and backward, on odd shapes against its f64 formula, on both devices.
//!
//! References are evaluated in f64 at the f32 inputs; their gradients are central differences (error below 1e-8 at
//! these sizes). Tolerance 2e-5 of the largest value: f32 rounding over at most a few hundred terms, and WGSL's
//! exp and tanh, are some 1e-6.

mod common;
#[path = "common/reference.rs"]
mod reference;

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{assert_close, devices};
use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vaultlab_engine::model::Matrix;
use vaultlab_engine::ops::{self, AttentionShape};
use vaultlab_engine::train::read;
use vaultlab_formats::int8::Int8Tensor;
use vaultlab_formats::nf4::{Nf4Plain, Nf4Tensor};

const TOLERANCE: f64 = 2e-5;

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.5f32..1.5)).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn tensor(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::from(values), device)
}

fn ints(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(values), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    pollster::block_on(read(tensor)).expect("reads")
}

/// Compares value and gradients (with respect to the first `differentiable` inputs) on both devices.
fn check(
    what: &str,
    inputs: &[Vec<f32>],
    differentiable: usize,
    op: &dyn Fn(Vec<Tensor<1>>) -> Tensor<1>,
    reference: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let exact: Vec<Vec<f64>> = inputs.iter().map(|input| wide(input)).collect();
    let y_reference = reference(&exact);
    let g = random(y_reference.len(), 999);
    for open in devices() {
        let what = format!("{what} on {}", open.report.name);
        let leaves: Vec<Tensor<1>> = inputs
            .iter()
            .enumerate()
            .map(|(i, input)| {
                let leaf = tensor(input, &open.device);
                if i < differentiable {
                    leaf.autodiff().require_grad()
                } else {
                    leaf
                }
            })
            .collect();
        let y = op(leaves.clone());
        assert_close(
            &what,
            &values(y.clone().without_autodiff()),
            &narrow(&y_reference),
            TOLERANCE,
        );
        // Without autodiff the same operation takes another route through burn.
        let plain = op(leaves
            .iter()
            .map(|leaf| leaf.clone().without_autodiff())
            .collect());
        assert_close(
            &format!("{what}, plain"),
            &values(plain),
            &narrow(&y_reference),
            TOLERANCE,
        );
        let grads = (y * tensor(&g, &open.device)).sum().backward();
        for (i, leaf) in leaves.iter().take(differentiable).enumerate() {
            let found = values(leaf.grad(&grads).expect("a gradient"));
            let expected = reference::gradient(reference, &exact, &wide(&g), i);
            assert_close(
                &format!("{what}, gradient {i}"),
                &found,
                &narrow(&expected),
                TOLERANCE,
            );
        }
    }
}

#[test]
fn rms_norm() {
    for (rows, width) in [(1, 1), (3, 5), (7, 64), (2, 131)] {
        check(
            &format!("rms_norm {rows}x{width}"),
            &[random(rows * width, 1), random(width, 2)],
            1,
            &|t| {
                ops::rms_norm(t[0].clone().reshape([rows, width]), t[1].clone(), 1e-6)
                    .reshape([rows * width])
            },
            &|x| reference::rms_norm(&x[0], &x[1], f64::from(1e-6f32)),
        );
    }
}

#[test]
fn rope() {
    for (dims, position) in [([1, 1, 1, 2], 0), ([2, 5, 3, 6], 4), ([1, 7, 2, 34], 1)] {
        let [batch, time, heads, dim] = dims;
        let positions = position + time + 2;
        let angles = random(positions * dim / 2, 3);
        let tables: Vec<Vec<f32>> = [f64::cos, f64::sin]
            .map(|f| angles.iter().map(|&a| f(f64::from(a)) as f32).collect())
            .to_vec();
        let count = batch * time * heads * dim;
        check(
            &format!("rope {dims:?} from {position}"),
            &[random(count, 4), tables[0].clone(), tables[1].clone()],
            1,
            &|t| {
                let table = |i: usize| t[i].clone().reshape([positions, dim / 2]);
                ops::rope(t[0].clone().reshape(dims), table(1), table(2), position).reshape([count])
            },
            &|x| reference::rope(&x[0], &wide(&angles), dims, position),
        );
    }
}

#[test]
fn gelu_gate() {
    // Values up to ±30 reach both of tanh's flat ends.
    let mut gate = random(77, 5);
    gate.iter_mut().step_by(9).for_each(|x| *x *= 20.0);
    check(
        "gelu_gate",
        &[gate, random(77, 6)],
        2,
        &|t| ops::gelu_gate(t[0].clone(), t[1].clone()),
        &|x| reference::gelu_gate(&x[0], &x[1]),
    );
}

#[test]
fn linear() {
    // Rows up to 4 take the kernel without tiles; 33 and 65 straddle its tiles' edges.
    for (m, n, k) in [
        (1, 9, 5),
        (4, 17, 70),
        (5, 3, 1),
        (33, 34, 17),
        (65, 66, 33),
    ] {
        check(
            &format!("linear {m}x{n}x{k}"),
            &[random(m * k, 7), random(n * k, 8)],
            1,
            &|t| {
                ops::linear(t[0].clone().reshape([m, k]), t[1].clone().reshape([n, k]))
                    .reshape([m * n])
            },
            &|x| reference::linear(&x[0], &x[1], k, 1.0),
        );
    }
}

/// A matrix in each packing, with the values it decodes to.
fn packed_matrices(
    weights: &[f32],
    n: usize,
    k: usize,
    device: &Device,
) -> Vec<(&'static str, Matrix, Vec<f32>)> {
    let nf4 = Nf4Tensor::quantize(&[n, k], weights).expect("quantises");
    let plain = Nf4Plain {
        shape: vec![n, k],
        packed: nf4.packed.clone(),
        absmax: nf4.block_scales(),
    };
    let int8 = Int8Tensor::quantize(&[n, k], weights).expect("quantises");
    let halves: Vec<f16> = weights.iter().map(|&w| f16::from_f32(w)).collect();
    vec![
        (
            "nf4",
            Matrix::from_nf4(&nf4, n, k, device),
            nf4.dequantize(),
        ),
        (
            "plain nf4",
            Matrix::from_nf4_plain(&plain, n, k, device),
            plain.dequantize(),
        ),
        (
            "int8",
            Matrix::from_int8(&int8, n, k, device),
            int8.dequantize(),
        ),
        (
            "f16",
            Matrix::from_f16(&halves, n, k, device),
            halves.iter().map(|half| half.to_f32()).collect(),
        ),
    ]
}

/// Every packing multiplies, forward and backward, as its own decoded values do.
#[test]
fn packed_matrices_multiply_by_the_decoded_values() {
    // 300 x 132 has a partial last block of 64 and two blocks of 256 maxima; 7 x 10 is one partial block.
    for (m, n, k) in [(1, 7, 10), (5, 7, 10), (3, 300, 132), (6, 300, 132)] {
        let weights = random(n * k, 9);
        for (open, (name, matrix, decoded)) in devices().into_iter().flat_map(|open| {
            packed_matrices(&weights, n, k, &open.device)
                .into_iter()
                .map(move |packed| (open, packed))
        }) {
            let what = format!("{name} {m}x{n}x{k} on {}", open.report.name);
            let input = random(m * k, 10);
            let x = tensor(&input, &open.device)
                .reshape([m, k])
                .autodiff()
                .require_grad();
            let y = matrix.forward(x.clone());
            let expected = reference::linear(&wide(&input), &wide(&decoded), k, 1.0);
            assert_close(
                &what,
                &values(y.clone().without_autodiff()),
                &narrow(&expected),
                TOLERANCE,
            );
            let g = random(m * n, 11);
            let grads = (y * tensor(&g, &open.device).reshape([m, n]))
                .sum()
                .backward();
            let transposed: Vec<f64> = (0..k)
                .flat_map(|i| (0..n).map(move |j| j * k + i))
                .map(|at| f64::from(decoded[at]))
                .collect();
            let expected = reference::linear(&wide(&g), &transposed, n, 1.0);
            let found = values(x.grad(&grads).expect("a gradient"));
            assert_close(
                &format!("{what}, gradient"),
                &found,
                &narrow(&expected),
                TOLERANCE,
            );
        }
    }
}

#[test]
fn lora_gives_per_example_gradients() {
    for sizes in [[1, 3, 5, 2, 4], [3, 7, 33, 4, 35], [2, 1, 6, 1, 3]] {
        let [groups, m, width, r, out] = sizes;
        check(
            &format!("lora {sizes:?}"),
            &[
                random(groups * m * width, 12),
                random(groups * r * width, 13),
                random(groups * out * r, 14),
            ],
            3,
            &|t| {
                ops::lora(
                    t[0].clone().reshape([groups, m, width]),
                    t[1].clone().reshape([groups, r, width]),
                    t[2].clone().reshape([groups, out, r]),
                    0.75,
                )
                .reshape([groups * m * out])
            },
            &|x| reference::lora(&x[0], &x[1], &x[2], sizes, 0.75),
        );
    }
}

#[test]
fn attention() {
    let base = AttentionShape {
        batch: 2,
        time: 5,
        heads: 4,
        kv_heads: 2,
        dim: 6,
        capacity: 5,
        filled: 5,
        offset: 0,
        causal: true,
        window: 0,
        key_lengths: None,
        scale: 0.7,
        soft_cap: 0.0,
    };
    let shapes = [
        base.clone(),
        AttentionShape {
            window: 2,
            ..base.clone()
        },
        AttentionShape {
            soft_cap: 1.5,
            kv_heads: 4,
            ..base.clone()
        },
        AttentionShape {
            batch: 1,
            time: 1,
            capacity: 9,
            filled: 7,
            offset: 6,
            window: 3,
            ..base.clone()
        },
        AttentionShape {
            batch: 1,
            time: 2,
            capacity: 6,
            filled: 5,
            offset: 3,
            ..base.clone()
        },
        // More than one tile of 64 keys and queries, and heads wider than a workgroup.
        AttentionShape {
            batch: 1,
            heads: 2,
            kv_heads: 1,
            time: 67,
            capacity: 67,
            filled: 67,
            dim: 4,
            ..base.clone()
        },
        AttentionShape {
            batch: 1,
            heads: 1,
            kv_heads: 1,
            time: 3,
            capacity: 3,
            filled: 3,
            dim: 70,
            ..base.clone()
        },
        // An encoder: both ways, through a window that leaves the ends out, over rows of different lengths. With a
        // length of 2 and a window of 2, the queries from the third past the padding on see no key at all.
        AttentionShape {
            causal: false,
            ..base.clone()
        },
        AttentionShape {
            causal: false,
            window: 2,
            key_lengths: Some([5, 2].into()),
            ..base.clone()
        },
        AttentionShape {
            time: 67,
            heads: 1,
            kv_heads: 1,
            capacity: 67,
            filled: 67,
            dim: 2,
            causal: false,
            window: 65,
            soft_cap: 1.5,
            key_lengths: Some([66, 67].into()),
            ..base.clone()
        },
        // Cross-attention: more keys than queries and fewer, over rows of different lengths, one of them empty.
        AttentionShape {
            batch: 3,
            capacity: 9,
            filled: 9,
            causal: false,
            soft_cap: 1.5,
            key_lengths: Some([9, 0, 4].into()),
            ..base.clone()
        },
        AttentionShape {
            time: 7,
            capacity: 3,
            filled: 3,
            causal: false,
            key_lengths: Some([3, 1].into()),
            ..base.clone()
        },
        AttentionShape {
            batch: 1,
            time: 1,
            capacity: 1,
            filled: 1,
            causal: false,
            ..base
        },
    ];
    for shape in shapes {
        let AttentionShape {
            batch,
            time,
            heads,
            kv_heads,
            dim,
            capacity,
            ..
        } = shape;
        let (queries, keys) = (
            batch * time * heads * dim,
            batch * capacity * kv_heads * dim,
        );
        let plain = reference::Attention {
            batch,
            time,
            heads,
            kv_heads,
            dim,
            capacity,
            filled: shape.filled,
            offset: shape.offset,
            causal: shape.causal,
            window: shape.window,
            key_lengths: shape.key_lengths.as_deref().map(<[u32]>::to_vec),
            scale: f64::from(shape.scale),
            soft_cap: f64::from(shape.soft_cap),
        };
        check(
            &format!("{shape:?}"),
            &[random(queries, 15), random(keys, 16), random(keys, 17)],
            3,
            &|t| {
                ops::attention(
                    t[0].clone().reshape([batch, time, heads, dim]),
                    t[1].clone().reshape([batch, capacity, kv_heads, dim]),
                    t[2].clone().reshape([batch, capacity, kv_heads, dim]),
                    shape.clone(),
                )
                .reshape([queries])
            },
            &|x| reference::attention(&x[0], &x[1], &x[2], &plain),
        );
    }
}

#[test]
fn cross_entropy() {
    for (rows, width, vocabulary, cap) in [(1, 3, 2, 0.0), (9, 7, 300, 0.0), (5, 4, 11, 2.0)] {
        let targets: Vec<i32> = (0..rows as i32)
            .map(|row| {
                if row % 3 == 1 {
                    -100
                } else {
                    row * 7 % vocabulary as i32
                }
            })
            .collect();
        let (hidden, table, weights) = (
            random(rows * width, 18),
            random(vocabulary * width, 19),
            random(rows, 20),
        );
        let f =
            |x: &[Vec<f64>]| reference::cross_entropy(&x[0], &wide(&table), &targets, width, cap);
        let exact = [wide(&hidden)];
        let losses = f(&exact);
        let gradient = reference::gradient(&f, &exact, &wide(&weights), 0);
        for open in devices() {
            let what = format!("cross_entropy {rows}x{vocabulary} on {}", open.report.name);
            let device = &open.device;
            let (found, d_hidden) = ops::cross_entropy(
                tensor(&hidden, device).reshape([rows, width]),
                tensor(&table, device).reshape([vocabulary, width]),
                ints(&targets, device),
                tensor(&weights, device),
                cap as f32,
                true,
            );
            assert_close(&what, &values(found), &narrow(&losses), TOLERANCE);
            let d_hidden = values(d_hidden.expect("asked for"));
            assert_close(
                &format!("{what}, gradient"),
                &d_hidden,
                &narrow(&gradient),
                TOLERANCE,
            );
        }
    }
}

#[test]
fn gather_rows_scales_and_repeats() {
    let table = random(5 * 3, 21);
    let ids = [4, 0, 4, 2];
    let expected: Vec<f32> = ids
        .iter()
        .flat_map(|&id| table[id as usize * 3..][..3].iter().map(|v| v * 2.5))
        .collect();
    for open in devices() {
        let device = &open.device;
        let y = ops::gather_rows(
            tensor(&table, device).reshape([5, 3]),
            ints(&ids, device),
            2.5,
        );
        assert_close("gather_rows", &values(y), &expected, 1e-7);
    }
}

#[test]
fn dropout_drops_the_same_entries_everywhere_and_keeps_the_mean() {
    let count = 20_000;
    let masks = devices().map(|open| {
        let ones = tensor(&vec![1.0; count], &open.device);
        let once = values(ops::dropout(ones.clone(), &[42, 9], 5, 0.3));
        assert_eq!(
            once,
            values(ops::dropout(ones.clone(), &[42, 9], 5, 0.3)),
            "the mask follows from the seed"
        );
        assert_ne!(
            once,
            values(ops::dropout(ones.clone(), &[43, 9], 5, 0.3)),
            "another seed, another mask"
        );
        let other = values(ops::dropout(ones, &[43, 9], 5, 0.3));
        assert_eq!(
            once[count / 2..],
            other[count / 2..],
            "an example's mask does not depend on its neighbour"
        );
        once
    });
    assert_eq!(masks[0], masks[1]);
    let kept = masks[0].iter().filter(|&&v| v > 0.0).count() as f64 / count as f64;
    // Six standard deviations of a fair mask: sqrt(0.3 * 0.7 / 20000) = 0.0032.
    assert!((kept - 0.7).abs() < 0.02, "{kept} kept");
    assert!(
        masks[0]
            .iter()
            .all(|&v| v == 0.0 || (v - 1.0 / 0.7).abs() < 1e-6)
    );
}

#[test]
fn dropouts_gradient_has_its_mask() {
    for open in devices() {
        let x = tensor(&random(501, 22), &open.device)
            .autodiff()
            .require_grad();
        let y = ops::dropout(x.clone(), &[7], 0, 0.5);
        let grads = y.clone().sum().backward();
        let gradient = values(x.grad(&grads).expect("a gradient"));
        for (y, g) in values(y.without_autodiff()).iter().zip(&gradient) {
            assert_eq!(*y == 0.0, *g == 0.0);
        }
    }
}
