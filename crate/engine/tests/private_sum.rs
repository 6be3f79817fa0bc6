//! Clipping, summing and noising on the device, against f64, exact integers and the host's noise.

mod common;

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{assert_close, devices};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vaultlab_engine::ops;
use vaultlab_engine::train::{Accumulator, GridSum, read};
use vaultlab_privacy::grid::Grid;
use vaultlab_privacy::noise::StepNoise;
use vaultlab_privacy::session::{ClippedSum, PrivacyPlan};

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.5f32..1.5)).collect()
}

fn tensor(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::from(values), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    pollster::block_on(read(tensor)).expect("reads")
}

fn grid(noise_multiplier: f64, clip_norm: f64) -> Grid {
    Grid::of_plan(&PrivacyPlan {
        rows: 100,
        expected_batch: 10,
        noise_multiplier,
        clip_norm,
        steps: 1,
        delta: 1e-5,
        budget_epsilon: 8.0,
        batch_cap: None,
    })
}

/// What the examples add to the private sum, exactly: noise of a known key taken off again. Gradients come in two
/// factors, as from two LoRA matrices.
fn private_integers(grid: Grid, rows: &[Vec<f32>], device: &Device) -> (Vec<i32>, Vec<f64>) {
    let length = rows[0].len();
    let cut = length / 3;
    let factor = |range: std::ops::Range<usize>| {
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|row| row[range.clone()].to_vec())
            .collect();
        tensor(&values, device).reshape([rows.len(), range.len()])
    };
    let mut sum = GridSum::new(grid, length, device);
    let gradients = vec![(0, factor(0..cut)), (cut, factor(cut..length))];
    let norms = pollster::block_on(sum.add(gradients, rows.len())).expect("adds");
    let noise = StepNoise::of_known_key([9; 8], grid.noise_bits());
    let noised = pollster::block_on(sum.noised(noise.clone())).expect("reads");
    let integers = (0..)
        .zip(noised)
        .map(|(coordinate, value)| value.wrapping_sub(noise.integer(coordinate)))
        .collect();
    (integers, norms)
}

/// Norms and sums in f32 against f64 formulas. Not finite, or 2^50 and more on the GPU, is told by the norm.
#[test]
fn norms_and_clipped_sums_leave_out_what_is_not_finite() {
    let (examples, length) = (5, 300);
    let mut g = random(examples * length, 23);
    g[length + 7] = f32::INFINITY;
    g[3 * length] = f32::NAN;
    let factors = [1.0, 0.0, 0.25, 0.0, 0.5];
    let before = random(length + 10, 24);
    let mut expected: Vec<f64> = before.iter().copied().map(f64::from).collect();
    for (row, factor) in factors.iter().enumerate().filter(|(_, f)| **f != 0.0) {
        for i in 0..length {
            expected[4 + i] += factor * f64::from(g[row * length + i]);
        }
    }
    for open in devices() {
        let device = &open.device;
        let gradients = tensor(&g, device).reshape([examples, length]);
        let norms = values(ops::squared_norms(gradients.clone()));
        for (row, norm) in norms.iter().enumerate() {
            let exact: f64 = g[row * length..(row + 1) * length]
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum();
            if exact.is_finite() {
                assert!((f64::from(*norm) - exact).abs() < 1e-5 * exact, "row {row}");
            } else {
                assert!(!norm.is_finite(), "row {row} on {}", open.report.name);
            }
        }
        let factors: Vec<f32> = factors.iter().map(|&f| f as f32).collect();
        let sum = ops::clip_accumulate(
            tensor(&before, device),
            gradients,
            tensor(&factors, device),
            4,
        );
        let expected: Vec<f32> = expected.iter().map(|&value| value as f32).collect();
        assert_close("clip_accumulate", &values(sum), &expected, 1e-6);
    }
}

/// One adversarial gradient at a time: the integers' norm, computed without rounding, never passes the radius, on
/// either device; what is not finite or too large adds nothing.
#[test]
fn no_gradient_passes_the_radius() {
    let large = f32::from_bits(0x587f_ffff); // just below 2^50
    let cases: Vec<(&str, Vec<f32>)> = vec![
        ("just above C", vec![0.5_f32.next_up(), 0.0, 0.0]),
        ("large", vec![large; 700]),
        (
            "one large among small",
            [vec![1e-3; 699], vec![large]].concat(),
        ),
        ("largest f32", vec![f32::MAX; 3]),
        ("denormal", vec![f32::from_bits(1); 700]),
        ("squares below f32", vec![1e-25; 700]),
        ("infinite", vec![0.1, 0.2, f32::NEG_INFINITY]),
        ("NaN", vec![0.1, 0.2, f32::NAN]),
        ("random", random(70_000, 5)),
    ];
    for open in devices() {
        for clip_norm in [1e-24, 0.5, 1e6] {
            let grid = grid(0.7, clip_norm);
            for (name, gradient) in &cases {
                let (integers, norms) =
                    private_integers(grid, std::slice::from_ref(gradient), &open.device);
                let square: u128 = integers
                    .iter()
                    .map(|&value| u128::from(value.unsigned_abs()).pow(2))
                    .sum();
                let what = format!("{name}, C {clip_norm}, on {}", open.report.name);
                assert!(square as f64 <= grid.radius().powi(2), "{what}");
                if gradient.iter().any(|value| !(value.abs() <= large)) {
                    assert!(square == 0 && !norms[0].is_finite(), "{what}");
                }
            }
        }
    }
}

/// Ten million equal entries, whose squares a plain f32 sum would lose (it stops growing at 2^24 terms, 23 % short of
/// the norm): what is added has the clipping norm, but for the bound on f32 sums of so many squares (0.23 % here), and
/// for the part of a grid unit, of 1657, that rounding toward zero takes off each. The reading is an f32 sum by burn.
#[test]
fn ten_million_equal_entries_have_the_clipping_norm() {
    let gradient = vec![0.1_f32; 10_000_000];
    for open in devices() {
        let grid = grid(0.2, 1.0);
        let mut sum = GridSum::new(grid, gradient.len(), &open.device);
        let row = tensor(&gradient, &open.device).reshape([1, gradient.len()]);
        let norms = pollster::block_on(sum.add(vec![(0, row)], 1)).expect("adds");
        let norm = pollster::block_on(sum.norm()).expect("reads");
        assert!(
            norm < 1.0 + 1e-4 && norm > 1.0 - 4e-3,
            "{norm} on {}",
            open.report.name
        );
        assert!((norms[0] / (0.1 * 1e7_f64.sqrt()) - 1.0).abs() < 1e-4);
    }
}

/// Sums of several rows against f64: each row's coordinate loses less than a grid unit to rounding toward zero, and
/// one part in 10⁵ to the head-room. Rows past a grid's edge go to their own coordinates.
#[test]
fn private_sums_are_the_clipped_sums() {
    let (rows, length) = (5, 301);
    let mut gradients: Vec<Vec<f32>> = (0..rows).map(|row| random(length, 40 + row)).collect();
    gradients[2][7] = f32::NAN;
    let grid = grid(1.3, 4.0);
    let mut expected = vec![0.0; length];
    for row in gradients
        .iter()
        .filter(|row| row.iter().all(|value| value.is_finite()))
    {
        let norm = row
            .iter()
            .map(|&v| f64::from(v).powi(2))
            .sum::<f64>()
            .sqrt();
        for (sum, &value) in expected.iter_mut().zip(row) {
            *sum += f64::from(value) * (4.0 / norm).min(1.0) / grid.spacing();
        }
    }
    for open in devices() {
        let (integers, _) = private_integers(grid, &gradients, &open.device);
        for (found, &exact) in integers.iter().zip(&expected) {
            let allowed = rows as f64 + 1e-5 * grid.radius() * rows as f64;
            assert!(
                (f64::from(*found) - exact).abs() < allowed,
                "{found} {exact}"
            );
        }
    }
}

/// Noise of the GPU for so many zeros, the key's first word numbering the draw.
fn gpu_noise(count: usize, key: u32, bits: u32, device: &Device) -> Vec<i32> {
    let zeros = Tensor::<1, Int>::zeros([count], device);
    let noised = ops::grid_noise(zeros, [key, 2, 3, 4, 5, 6, 7, 8], bits);
    let data = pollster::block_on(noised.into_data_async()).expect("reads");
    data.try_into_vec::<i32>().expect("integers")
}

/// The GPU draws the host's integers, for every size of grid, bit for bit. So what is proven and tested of the
/// host's sampler holds on the GPU.
#[test]
fn the_gpu_draws_the_hosts_noise() {
    for open in devices()
        .into_iter()
        .filter(|open| ops::is_gpu(&open.device))
    {
        for bits in [0, 1, 8, 20, 24] {
            let noise = StepNoise::of_known_key([77, 2, 3, 4, 5, 6, 7, 8], bits);
            let expected: Vec<i32> = (0..100_000).map(|i| noise.integer(i)).collect();
            let found = gpu_noise(100_000, 77, bits, &open.device);
            assert!(found == expected, "k = {bits} on {}", open.report.name);
        }
    }
}

/// Ten million draws on the GPU against the exact probability of every integer (k = 4): χ² strays from its degrees
/// of freedom by at most 5 standard deviations, and so do mean and variance. Keys are fixed.
#[test]
fn ten_million_gpu_draws_have_the_exact_law() {
    for open in devices()
        .into_iter()
        .filter(|open| ops::is_gpu(&open.device))
    {
        let (parts, each) = (5, 2_000_000);
        let mut counts = std::collections::BTreeMap::<i32, f64>::new();
        let (mut sum, mut squares) = (0.0, 0.0);
        for part in 0..parts {
            for value in gpu_noise(each, part, 4, &open.device) {
                *counts.entry(value).or_default() += 1.0;
                let z = (f64::from(value) + 0.5) / 16.0;
                sum += z;
                squares += z * z;
            }
        }
        let n = (parts as usize * each) as f64;
        // Half a unit's rounding spreads the law by 1/12 unit² (Sheppard).
        let variance = 1.0 + 1.0 / 12.0 / 256.0;
        assert!((sum / n.sqrt()).abs() < 5.0);
        assert!(((squares / n - variance) * (n / 2.0).sqrt()).abs() < 5.0);
        let (mut chi, mut cells) = (0.0, 0);
        for value in -80..80 {
            let low = normal_cdf(f64::from(value) / 16.0);
            let expected = n * (normal_cdf(f64::from(value + 1) / 16.0) - low);
            if expected >= 20.0 {
                let found = counts.get(&value).copied().unwrap_or_default();
                chi += (found - expected).powi(2) / expected;
                cells += 1;
            }
        }
        let stray = (chi - f64::from(cells)) / f64::from(2 * cells).sqrt();
        assert!(stray.abs() < 5.0, "{stray} on {}", open.report.name);
    }
}

/// Φ(x) by the series of positive terms φ(x)(x + x³/3 + x⁵/15 + …) + 1/2 (Abramowitz, Stegun 26.2.11).
fn normal_cdf(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
