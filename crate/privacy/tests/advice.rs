//! Advice comes when it is due, and only then.

use vaultlab_privacy::advice::{
    AdviceCode, Severity, advise, larger_batches, noise_to_signal, recommended_delta,
};
use vaultlab_privacy::calibrate::noise_multiplier;
use vaultlab_privacy::session::PrivacyPlan;

/// A good plan: 2,000 rows, batches of 256, ε about 6.
const GOOD: PrivacyPlan = PrivacyPlan {
    rows: 2000,
    expected_batch: 256,
    noise_multiplier: 1.5,
    clip_norm: 1.0,
    steps: 100,
    delta: 1e-5,
    budget_epsilon: 8.0,
    batch_cap: None,
};

fn codes(plan: &PrivacyPlan, dimensions: Option<u64>) -> Vec<AdviceCode> {
    advise(plan, dimensions)
        .into_iter()
        .map(|advice| advice.code)
        .collect()
}

/// Each plan is the good one with one thing wrong, and draws the advice on that.
#[test]
fn each_fault_is_named() {
    let faults = [
        (
            PrivacyPlan {
                delta: 1.0 / 2000.0,
                ..GOOD
            },
            AdviceCode::DeltaEmpty,
        ),
        (
            PrivacyPlan {
                delta: 1.0 / 2001.0,
                ..GOOD
            },
            AdviceCode::DeltaLarge,
        ),
        (PrivacyPlan { steps: 0, ..GOOD }, AdviceCode::NoSteps),
        (PrivacyPlan { steps: 3, ..GOOD }, AdviceCode::FewRowsSeen),
        (
            PrivacyPlan {
                noise_multiplier: 0.6,
                budget_epsilon: 99.0,
                ..GOOD
            },
            AdviceCode::EpsilonLarge,
        ),
        (
            PrivacyPlan {
                budget_epsilon: 1.0,
                ..GOOD
            },
            AdviceCode::BudgetShort,
        ),
        (
            PrivacyPlan {
                expected_batch: 1500,
                ..GOOD
            },
            AdviceCode::SamplingNearOne,
        ),
        (
            PrivacyPlan {
                rows: 60,
                expected_batch: 20,
                ..GOOD
            },
            AdviceCode::FewRows,
        ),
        (PrivacyPlan { rows: 0, ..GOOD }, AdviceCode::InvalidPlan),
    ];
    let sound = codes(&GOOD, Some(1000));
    for (plan, code) in faults {
        assert!(
            codes(&plan, Some(1000)).contains(&code),
            "{code:?} is missing for {plan:?}"
        );
        assert!(!sound.contains(&code), "{code:?} for a sound plan");
    }
}

/// 1/(10·rows) itself draws no advice on δ.
#[test]
fn the_recommended_delta_is_accepted() {
    for rows in [300, 900, 2000, 60_000] {
        let plan = PrivacyPlan {
            rows,
            delta: recommended_delta(rows),
            ..GOOD
        };
        let found = codes(&plan, None);
        assert!(
            !found.contains(&AdviceCode::DeltaLarge) && !found.contains(&AdviceCode::DeltaEmpty)
        );
    }
}

/// The reference notebook's plan (batches of 8, 226 steps, most of a million parameters) drowns in its
/// noise: its noise norm is σ·sqrt(d) ≈ 886·σ against a sum of at most 8.
#[test]
fn drowned_plans_are_told() {
    let notebook = PrivacyPlan {
        rows: 900,
        expected_batch: 8,
        noise_multiplier: 1.0,
        steps: 226,
        ..GOOD
    };
    assert!((noise_to_signal(&notebook, 785_000) - 886.0 / 8.0).abs() < 0.1);
    assert!(codes(&notebook, Some(785_000)).contains(&AdviceCode::NoiseDrownsSignal));
    assert!(!codes(&GOOD, Some(10_000)).contains(&AdviceCode::NoiseDrownsSignal));
    let told = advise(&notebook, None);
    assert!(
        told.iter()
            .any(|advice| advice.code == AdviceCode::LargerBatch)
    );
}

/// Larger batches at the same compute keep to the plan's ε and have less noise on every update.
#[test]
fn larger_batches_keep_epsilon_and_lower_the_noise() {
    let small = PrivacyPlan {
        rows: 900,
        expected_batch: 8,
        noise_multiplier: 0.7,
        steps: 226,
        ..GOOD
    };
    let target = small.epsilon().unwrap();
    let others = larger_batches(&small);
    assert_eq!(others.len(), 4);
    let mut last = small.noise_per_update();
    for other in others {
        let same = PrivacyPlan {
            expected_batch: other.expected_batch,
            steps: other.steps,
            noise_multiplier: other.noise_multiplier,
            ..small
        };
        assert!(same.epsilon().unwrap() <= target);
        assert!(other.expected_batch * u64::from(other.steps) <= 8 * 226);
        assert!(other.noise_per_update < last);
        last = other.noise_per_update;
    }
    assert!(
        larger_batches(&PrivacyPlan {
            expected_batch: 900,
            ..small
        })
        .is_empty()
    );
}

/// The worst comes first, and the code's text is its serialised form.
#[test]
fn the_worst_comes_first() {
    let poor = PrivacyPlan {
        rows: 60,
        expected_batch: 40,
        delta: 0.02,
        budget_epsilon: 0.1,
        ..GOOD
    };
    let found = advise(&poor, Some(1_000_000));
    assert_eq!(found[0].severity, Severity::Problem);
    assert!(
        found
            .windows(2)
            .all(|pair| pair[0].severity >= pair[1].severity)
    );
    for advice in found {
        let serialised = serde_json::to_string(&advice.code).unwrap();
        assert_eq!(serialised, format!("\"{}\"", advice.code.as_str()));
    }
    // A budget that its own calibration meets is never called short.
    let sigma = noise_multiplier(8.0, GOOD.sampling_rate(), 100, GOOD.delta).unwrap();
    let exact = PrivacyPlan {
        noise_multiplier: sigma,
        ..GOOD
    };
    assert!(!codes(&exact, None).contains(&AdviceCode::BudgetShort));
}
