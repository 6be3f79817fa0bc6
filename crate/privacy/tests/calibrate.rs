//! The accountant read backwards.

use proptest::prelude::*;
use vaultlab_privacy::accountant::{AccountingError, Adjacency, Phase, Truncation, epsilon, pld};
use vaultlab_privacy::calibrate::{Target, epsilon_trace, noise_multiplier, steps_within};

fn phase(q: f64, sigma: f64, steps: u64) -> Phase {
    Phase {
        sampling_rate: q,
        noise_multiplier: sigma,
        steps,
        truncation: None,
    }
}

/// What is left of a budget after earlier steps is what a calibrated run spends, and no more: noise,
/// steps and batch alike.
#[test]
fn fits_what_is_left() {
    let earlier = [phase(64.0 / 900.0, 1.2, 60), phase(0.02, 0.9, 30)];
    let target = Target::new(6.0, 1e-5).after(&earlier);
    let spent = |last: Phase| epsilon(&[earlier[0], earlier[1], last], 1e-5).unwrap();

    let sigma = target.noise_multiplier(&phase(0.05, 1.0, 100)).unwrap();
    assert!(spent(phase(0.05, sigma, 100)) <= 6.0);
    assert!(spent(phase(0.05, sigma * (1.0 - 2e-6), 100)) > 6.0);

    let steps = u64::from(target.steps(&phase(0.05, 1.0, 1)).unwrap());
    assert!(spent(phase(0.05, 1.0, steps)) <= 6.0 && spent(phase(0.05, 1.0, steps + 1)) > 6.0);

    let batch = target.batch(900, &phase(0.0, 1.0, 100)).unwrap();
    let rate = |batch: u64| phase(batch as f64 / 900.0, 1.0, 100);
    assert!(spent(rate(batch)) <= 6.0 && spent(rate(batch + 1)) > 6.0);
}

/// A budget that is spent is an error, not a run with endless noise.
#[test]
fn nothing_left_is_said() {
    let earlier = [phase(64.0 / 900.0, 1.0, 100)];
    let found = Target::new(3.0, 1e-5)
        .after(&earlier)
        .noise_multiplier(&phase(0.1, 1.0, 10));
    assert!(matches!(found, Err(AccountingError::Spent { spent, .. }) if spent > 4.9));
    assert!(matches!(
        noise_multiplier(1e-9, 1.0, 1_000_000, 1e-12),
        Err(AccountingError::Unreachable { .. })
    ));
}

/// Replaced rows need more noise than removed ones, and truncated batches more than whole ones.
#[test]
fn adjacency_and_truncation_are_calibrated_for() {
    let plain = phase(64.0 / 900.0, 1.0, 100);
    let cut = Phase {
        truncation: Some(Truncation { rows: 900, cap: 88 }),
        ..plain
    };
    let target = Target::new(5.0, 1e-5);
    let whole = target.noise_multiplier(&plain).unwrap();
    let truncated = target.noise_multiplier(&cut).unwrap();
    let replaced = target
        .under(Adjacency::ReplaceOne)
        .noise_multiplier(&plain)
        .unwrap();
    assert!(whole < truncated && whole < replaced);
    let spent = pld::epsilon(
        &[Phase {
            noise_multiplier: truncated,
            ..cut
        }],
        1e-5,
        Adjacency::AddRemove,
    );
    let spent = spent.unwrap().upper;
    assert!(spent <= 5.0 && spent > 4.9999);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Calibration lands on the safe side of the target, within its tolerance.
    #[test]
    fn calibration_is_safe_and_tight(
        q in (-9.0_f64..0.0).prop_map(f64::exp), steps in 1..3_000_u64,
        delta in (-28.0_f64..-3.0).prop_map(f64::exp), target in 0.05_f64..20.0,
    ) {
        let sigma = noise_multiplier(target, q, steps, delta).unwrap();
        let spent = |sigma: f64| epsilon(&[phase(q, sigma, steps)], delta).unwrap();
        prop_assert!(spent(sigma) <= target);
        prop_assert!(sigma <= 1e-3 || spent(sigma * (1.0 - 2e-6)) > target);
        let fitting = steps_within(target, q, sigma, delta).unwrap();
        prop_assert!(u64::from(fitting) >= steps);
    }

    /// A trace rises from 0 to the run's ε, in at most the points asked for, each a bound.
    #[test]
    fn traces_rise_to_the_end(
        q in (-6.0_f64..0.0).prop_map(f64::exp), sigma in (-0.5_f64..2.0).prop_map(f64::exp),
        steps in 1..2_000_u64, points in 2..41_u32,
    ) {
        let whole = phase(q, sigma, steps);
        let trace = epsilon_trace(&[], &whole, 1e-5, points).unwrap();
        prop_assert!(trace.len() <= points as usize);
        prop_assert_eq!((trace[0].steps, trace[0].epsilon), (0, 0.0));
        let end = trace[trace.len() - 1];
        prop_assert_eq!((end.steps, end.epsilon), (steps, epsilon(&[whole], 1e-5).unwrap()));
        prop_assert!(trace.windows(2).all(|pair| pair[0].steps < pair[1].steps && pair[0].epsilon <= pair[1].epsilon));
        let middle = trace[trace.len() / 2];
        let exact = epsilon(&[phase(q, sigma, middle.steps)], 1e-5).unwrap();
        prop_assert!(middle.epsilon >= exact * (1.0 - 2e-4) && middle.epsilon <= exact * (1.0 + 1e-3), "{middle:?}, exact {exact}");
    }
}
