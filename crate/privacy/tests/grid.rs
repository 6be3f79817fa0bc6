//! Clipping to the integer grid, with gradients that try to get past it.

use proptest::prelude::*;
use vaultlab_privacy::grid::{Grid, LARGEST_GRADIENT, norm_at_most};
use vaultlab_privacy::noise::StepNoise;
use vaultlab_privacy::session::{ClippedSum, HostSum, PrivacyPlan};

fn plan(noise_multiplier: f64, clip_norm: f64) -> PrivacyPlan {
    PrivacyPlan {
        rows: 900,
        expected_batch: 64,
        noise_multiplier,
        clip_norm,
        steps: 10,
        delta: 1e-5,
        budget_epsilon: 8.0,
        batch_cap: None,
    }
}

/// What a row adds to a sum, exactly: the noise of a known key is taken off again.
fn integers(grid: Grid, gradient: &[f32]) -> Vec<i32> {
    let mut sum = HostSum::new(grid, gradient.len());
    sum.add_row(&[(0, gradient)]);
    let noise = StepNoise::of_known_key([7; 8], grid.noise_bits());
    let noised = pollster::block_on(sum.noised(noise.clone())).unwrap();
    (0..)
        .zip(noised)
        .map(|(coordinate, value)| value.wrapping_sub(noise.integer(coordinate)))
        .collect()
}

/// Σ v² in integers: no rounding anywhere.
fn square(integers: &[i32]) -> u128 {
    integers
        .iter()
        .map(|&value| u128::from(value.unsigned_abs()).pow(2))
        .sum()
}

/// ‖v‖ ≤ R, decided in integers but for R² itself, whose f64 is rounded down.
fn is_clipped(grid: Grid, integers: &[i32]) -> bool {
    let radius_squared = (grid.radius() * grid.radius()).next_down().next_down();
    square(integers) <= radius_squared as u128
}

/// The gradients the text of the guarantee must survive: huge, tiny, denormal, infinite, NaN, and mixtures.
#[test]
fn adversarial_gradients_stay_within_the_radius() {
    let huge = LARGEST_GRADIENT.next_down();
    let cases: [(&str, Vec<f32>); 12] = [
        ("zero", vec![0.0; 100]),
        ("just above C", vec![0.5_f32.next_up()]),
        ("C", vec![0.5]),
        ("huge", vec![huge; 1000]),
        (
            "one huge among small",
            [vec![1e-3; 999], vec![huge]].concat(),
        ),
        ("largest f32", vec![f32::MAX; 3]),
        ("smallest denormal", vec![f32::from_bits(1); 1000]),
        ("smallest normal", vec![f32::MIN_POSITIVE; 1000]),
        ("infinite", vec![0.1, f32::INFINITY]),
        ("minus infinite", vec![0.1, f32::NEG_INFINITY]),
        ("NaN", vec![0.1, f32::NAN]),
        (
            "all signs",
            (0..1000)
                .map(|i| if i % 2 == 0 { 3.0 } else { -3.0 })
                .collect(),
        ),
    ];
    for noise_multiplier in [1e-3, 0.3, 1.0, 7.3, 1e4] {
        for clip_norm in [1e-30, 1e-6, 0.5, 1e10, 1e30] {
            let grid = Grid::of_plan(&plan(noise_multiplier, clip_norm));
            for (name, gradient) in &cases {
                let found = integers(grid, gradient);
                assert!(
                    is_clipped(grid, &found),
                    "{name}, sigma {noise_multiplier}, C {clip_norm}"
                );
                let finite = gradient.iter().all(|value| value.abs() < LARGEST_GRADIENT);
                assert!(finite || found.iter().all(|&value| value == 0), "{name}");
            }
        }
    }
}

/// Ten million equal entries, whose squares an f32 sum would lose (it stops growing at 2^24 terms): the bound
/// on the norm holds, and the integers stay within the radius, decided without rounding.
#[test]
fn ten_million_equal_entries_stay_within_the_radius() {
    let gradient = vec![0.1_f32; 10_000_000];
    let exact = f64::from(0.1_f32) * 1e7_f64.sqrt();
    let bound = norm_at_most([gradient.as_slice()]);
    assert!(bound >= exact && bound < exact * (1.0 + 1e-8));
    let grid = Grid::of_plan(&plan(0.7, 1.0));
    let mut sum = HostSum::new(grid, gradient.len());
    sum.add_row(&[(0, &gradient)]);
    let multiplier = grid.multiplier(bound);
    let each = Grid::round(0.1, multiplier);
    let square = 10_000_000_u128 * u128::from(each.unsigned_abs()).pow(2);
    assert!(each > 0 && square <= (grid.radius() * grid.radius()) as u128);
    // Not much is lost either: rounding toward zero shortens each entry by less than one unit.
    assert!(f64::from(each + 1) * 1e7_f64.sqrt() > grid.radius() * (1.0 - 1e-6));
}

/// A gradient within C passes unclipped, shortened by less than a unit a coordinate and one part in 2^21.
#[test]
fn short_gradients_pass_unclipped() {
    let grid = Grid::of_plan(&plan(1.0, 0.5));
    let gradient = [0.1_f32, -0.2, 0.3, -1e-9];
    for (value, found) in gradient.iter().zip(integers(grid, &gradient)) {
        let exact = f64::from(*value) / grid.spacing();
        let lost = exact.abs() - f64::from(found.abs());
        assert!(
            lost >= 0.0 && lost < 1.0 + exact.abs() / f64::from(1 << 21),
            "{exact} {found}"
        );
    }
}

/// A row's gradient counts as one: in parts it is clipped as it is whole, and a coordinate cannot come twice.
#[test]
fn parts_are_clipped_together() {
    let grid = Grid::of_plan(&plan(1.0, 0.5));
    let gradient = [0.6_f32, -0.8, 2.0];
    let whole = integers(grid, &gradient);
    let mut sum = HostSum::new(grid, 3);
    let norm = sum.add_row(&[(2, &gradient[2..]), (0, &gradient[..2])]);
    assert!((norm - 5.0_f64.sqrt()).abs() < 1e-6);
    assert!((sum.norm() - 0.5).abs() < 1e-5, "{}", sum.norm());
    let noise = StepNoise::of_known_key([7; 8], grid.noise_bits());
    let noised = pollster::block_on(sum.noised(noise.clone())).unwrap();
    for (coordinate, (&value, &part)) in noised.iter().zip(&whole).enumerate() {
        assert_eq!(value.wrapping_sub(noise.integer(coordinate as u32)), part);
    }
}

/// Overlapping parts would let a coordinate escape the clipping of the whole.
#[test]
#[should_panic(expected = "overlap")]
fn a_coordinate_cannot_come_twice() {
    let mut sum = HostSum::new(Grid::of_plan(&plan(1.0, 0.5)), 3);
    sum.add_row(&[(0, &[1.0, 1.0]), (1, &[1.0])]);
}

/// Sums of as many agreeing rows as a plan's batches can have stay in i32, and one past 2^31 wraps: modulo
/// 2^32, which is post-processing, and not to a panic or a saturated value (which would be another mechanism).
#[test]
fn sums_have_room_and_wrap_beyond() {
    let grid = Grid::of_plan(&plan(0.3, 1.0));
    assert!(grid.radius() * (4.0 * 64.0 + 64.0) <= f64::from(1 << 30));
    let mut sum = HostSum::new(grid, 1);
    let each = i64::from(integers(grid, &[1.0])[0]);
    let rows = (1_i64 << 31) / each + 2;
    for _ in 0..rows {
        sum.add_row(&[(0, &[1.0])]);
    }
    let noise = StepNoise::of_known_key([7; 8], grid.noise_bits());
    let noised = pollster::block_on(sum.noised(noise.clone())).unwrap();
    assert_eq!(
        noised[0],
        (each * rows + i64::from(noise.integer(0))) as i32
    );
}

proptest! {
    /// Any bits at all, as gradients: within the radius, whatever the plan.
    #[test]
    fn any_bits_stay_within_the_radius(
        bits in prop::collection::vec(any::<u32>(), 1..200),
        exponent in prop::option::of(100_u32..180),
        sigma in 1e-3..1e3_f64,
        clip in 1e-8..1e8_f64,
        rows in 1_u64..2_000_000,
    ) {
        // With an exponent given the values are of like size, so that norms have many terms.
        let gradient: Vec<f32> = bits
            .iter()
            .map(|&word| f32::from_bits(match exponent {
                Some(exponent) => word & 0x807f_ffff | exponent << 23,
                None => word,
            }))
            .collect();
        let batch = rows.div_ceil(7);
        let grid = Grid::of_plan(&PrivacyPlan { rows, expected_batch: batch, ..plan(sigma, clip) });
        prop_assert!(is_clipped(grid, &integers(grid, &gradient)));
    }

    /// The noise multiplier in integers is the plan's: 2^k over the radius.
    #[test]
    fn the_noise_multiplier_is_exact(sigma in 1e-3..1e3_f64, clip in 1e-8..1e8_f64) {
        let grid = Grid::of_plan(&plan(sigma, clip));
        let deviation = f64::from(1_u32 << grid.noise_bits());
        prop_assert!((deviation / grid.radius() / sigma - 1.0).abs() < 1e-15);
        prop_assert!((deviation * grid.spacing() / (sigma * clip) - 1.0).abs() < 1e-15);
    }
}
