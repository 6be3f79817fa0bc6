//! Audits against reference values, against simulated mechanisms whose ε is known, and against themselves.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde::Deserialize;
use vaultlab_privacy::audit::{
    AuditCounts, AuditError, CanaryPlan, Guess, GuessRule, canaries_needed, correct_guesses_needed,
    epsilon_lower_bound, exposure, guess, most_it_can_show, p_value, sampled_exposure,
};
use vaultlab_privacy::randomness::Randomness;

#[derive(Deserialize)]
struct Golden {
    audit: Vec<GoldenAudit>,
}

#[derive(Deserialize)]
struct GoldenAudit {
    m: u64,
    r: u64,
    v: u64,
    delta: f64,
    significance: f64,
    eps_lower_bound: f64,
    p_value_at_eps_0: f64,
    p_value_at_eps_1: f64,
}

fn counts(canaries: u64, guesses: u64, correct: u64) -> AuditCounts {
    AuditCounts {
        canaries,
        guesses,
        correct,
    }
}

/// Bounds and p-values equal the reference's, which sums scipy's binomial terms one by one. The bound may
/// be below by the head-room for rounding, and by the reference's bisection to 1e-9; never above it by more.
#[test]
fn bounds_equal_the_reference() {
    let text = include_str!("../../../tests/golden/accounting.json");
    let golden: Golden = serde_json::from_str(text).expect("the golden file reads");
    assert!(golden.audit.len() >= 20);
    for case in golden.audit {
        let counts = counts(case.m, case.r, case.v);
        let bound = epsilon_lower_bound(counts, case.delta, case.significance).expect("counts");
        assert!(
            (bound - case.eps_lower_bound).abs() < 1e-6,
            "{counts:?}: {bound} against {}",
            case.eps_lower_bound
        );
        for (epsilon, expected) in [(0.0, case.p_value_at_eps_0), (1.0, case.p_value_at_eps_1)] {
            let found = p_value(counts, epsilon, case.delta).expect("counts");
            assert!(
                (found - expected).abs() <= 1e-6 * expected,
                "{counts:?} at epsilon {epsilon}: {found} against {expected}"
            );
        }
    }
}

/// The published examples with every guess right, to the two decimals they are quoted with.
#[test]
fn with_every_guess_right_the_bound_is_as_published() {
    for (m, expected) in [
        (10, 1.05),
        (50, 2.78),
        (100, 3.49),
        (450, 5.00),
        (900, 5.68),
    ] {
        let shown = most_it_can_show(m, m, 1e-5, 0.05).expect("in range");
        assert!((shown - expected).abs() < 0.005, "{m}: {shown}");
    }
}

/// A hundred thousand canaries: as scipy's binomial law gives it term by term, and near the large-sample limit
/// ln(p/(1-p)) from below.
#[test]
fn large_audits_keep_their_precision() {
    let m = 100_000;
    for (correct, expected) in [(60_000, 0.394_829_159_951), (99_999, 9.955_888_728_273)] {
        let bound = epsilon_lower_bound(counts(m, m, correct), 1e-9, 0.05).expect("in range");
        assert!((bound - expected).abs() < 1e-7, "{correct}: {bound}");
    }
    for share in [0.6, 0.9, 0.999] {
        let correct = (share * m as f64) as u64;
        let bound = epsilon_lower_bound(counts(m, m, correct), 1e-9, 0.05).expect("in range");
        let limit = (share / (1.0 - share)).ln();
        // 1.645 standard deviations of the estimated log-odds, the normal approximation of the bound.
        let width = 1.645 / (m as f64 * share * (1.0 - share)).sqrt();
        assert!(
            bound < limit && bound > limit - 1.5 * width,
            "{share}: {bound}, limit {limit}"
        );
    }
    // All right, without δ: the bound solves q^m = 0.05.
    let q = 0.05_f64.powf(1.0 / m as f64);
    let bound = most_it_can_show(m, m, 0.0, 0.05).expect("in range");
    assert!((bound - (q / (1.0 - q)).ln()).abs() < 1e-6, "{bound}");
}

/// ε-randomised response (each coin told wrongly with probability 1/(1+e^ε)) has exactly the ε that the
/// bound speaks of. In 2,000 audits each it passes ε in about 5 % of them, never much more: 130 or more of
/// 2,000 would have probability below 0.2 % at exactly 5 %, and the seed is fixed. And it comes near.
#[test]
fn the_bound_holds_and_comes_near_on_randomised_response() {
    let mut random = ChaCha20Rng::seed_from_u64(41);
    for (m, epsilon, near) in [
        (1000_usize, 0.5_f64, 0.15),
        (1000, 2.0, 0.2),
        (200, 1.0, 0.4),
    ] {
        let truthful = 1.0 / (1.0 + (-epsilon).exp());
        let mut bounds: Vec<f64> = (0..2000)
            .map(|_| {
                let correct = (0..m).filter(|_| random.random_bool(truthful)).count() as u64;
                epsilon_lower_bound(counts(m as u64, m as u64, correct), 0.0, 0.05).expect("counts")
            })
            .collect();
        let passed = bounds.iter().filter(|&&bound| bound > epsilon).count();
        assert!(passed < 130, "{passed} of 2000 bounds passed {epsilon}");
        assert!(
            passed > 20,
            "a bound that hardly ever passes is not tight: {passed}"
        );
        bounds.sort_by(f64::total_cmp);
        assert!(bounds[1000] > epsilon - near, "median {}", bounds[1000]);
    }
}

/// A mechanism that is ε-randomised response but gives a coin away with probability δ is (ε, δ)-private;
/// the same bound of 130 of 2,000 holds, through the whole plan: coins, scores, guesses, abstentions.
#[test]
fn the_bound_holds_with_delta_and_abstentions() {
    let (m, epsilon, delta) = (400, 1.0_f64, 1e-3);
    let rule = GuessRule::balanced(100);
    let mut random = ChaCha20Rng::seed_from_u64(42);
    let mut passed = 0;
    for seed in 0..2000 {
        let plan = CanaryPlan::draw(m, rule, Randomness::InsecureSeed(seed)).expect("draws");
        let mut scores = vec![-1.0; m];
        for canary in plan.included() {
            scores[canary] = 1.0;
        }
        for score in &mut scores {
            if random.random_bool(delta) {
                *score *= 10.0;
            } else if random.random_bool(1.0 / (1.0 + epsilon.exp())) {
                *score = -*score;
            }
        }
        let counts = plan.count(&scores).expect("one score each");
        let bound = epsilon_lower_bound(counts, delta, 0.05).expect("counts");
        passed += u32::from(bound > epsilon);
    }
    assert!(passed < 130, "{passed} of 2000 bounds passed {epsilon}");
}

/// Coins are fair, follow from the seed in test mode, and differ from seed to seed and from call to call.
#[test]
fn coins_are_fair_and_fresh() {
    let rule = GuessRule::balanced(0);
    let draw = |randomness| -> Vec<usize> {
        let plan = CanaryPlan::draw(100_000, rule, randomness).expect("draws");
        plan.included().collect()
    };
    let first = draw(Randomness::InsecureSeed(1));
    assert_eq!(first, draw(Randomness::InsecureSeed(1)));
    assert_ne!(first, draw(Randomness::InsecureSeed(2)));
    let secure = draw(Randomness::Secure);
    assert_ne!(secure, draw(Randomness::Secure));
    // Six standard deviations of 158 either way: false alarm 2e-9.
    for included in [first, secure] {
        assert!(included.len().abs_diff(50_000) < 950, "{}", included.len());
    }
}

/// The rule takes the highest and the lowest, abstains between, breaks ties by place, and puts no-number last.
#[test]
fn guesses_follow_the_rule() {
    use Guess::{Abstain, Included, LeftOut};
    let rule = GuessRule {
        included: 2,
        left_out: 1,
    };
    assert_eq!(
        guess(&[0.1, 0.9, -0.5, 0.3, 0.2], rule),
        Some(vec![Abstain, Included, LeftOut, Included, Abstain])
    );
    assert_eq!(
        guess(&[0.0; 4], rule),
        Some(vec![Included, Included, Abstain, LeftOut])
    );
    assert_eq!(
        guess(&[f64::NAN, f64::NEG_INFINITY, 5.0, f64::INFINITY], rule),
        Some(vec![Abstain, LeftOut, Included, Included])
    );
    assert_eq!(guess(&[1.0, 2.0], rule), None);
    assert_eq!(GuessRule::balanced(5).included, 3);
}

/// What cannot be is refused, with the reason.
#[test]
fn impossible_audits_are_refused() {
    assert!(matches!(
        p_value(counts(5, 6, 1), 0.0, 0.0),
        Err(AuditError::Counts { .. })
    ));
    assert!(matches!(
        p_value(counts(5, 3, 4), 0.0, 0.0),
        Err(AuditError::Counts { .. })
    ));
    assert!(matches!(
        p_value(counts(0, 0, 0), 0.0, 0.0),
        Err(AuditError::Counts { .. })
    ));
    assert!(matches!(
        p_value(counts(5, 3, 1), -1.0, 0.0),
        Err(AuditError::Epsilon(_))
    ));
    assert!(matches!(
        p_value(counts(5, 3, 1), f64::NAN, 0.0),
        Err(AuditError::Epsilon(_))
    ));
    assert!(matches!(
        epsilon_lower_bound(counts(5, 3, 1), 2.0, 0.05),
        Err(AuditError::Delta(_))
    ));
    assert!(matches!(
        epsilon_lower_bound(counts(5, 3, 1), 0.0, 0.0),
        Err(AuditError::Significance(_))
    ));
    let rule = GuessRule::balanced(6);
    assert!(CanaryPlan::draw(5, rule, Randomness::Secure).is_err());
    let plan = CanaryPlan::draw(6, rule, Randomness::Secure).expect("draws");
    assert!(matches!(
        plan.count(&[0.0; 5]),
        Err(AuditError::Scores { .. })
    ));
}

/// Planning inverts the bound: one canary or one right guess fewer would not do.
#[test]
fn planning_inverts_the_bound() {
    for epsilon in [0.5, 1.0, 3.0] {
        let needed = canaries_needed(epsilon, 1e-5, 0.05)
            .expect("in range")
            .expect("possible");
        let shown = |m| most_it_can_show(m, m, 1e-5, 0.05).expect("in range");
        assert!(
            shown(needed) >= epsilon && shown(needed - 1) < epsilon,
            "{needed}"
        );
        let correct = correct_guesses_needed(400, 200, epsilon, 1e-5, 0.05)
            .expect("in range")
            .expect("possible");
        let p = |v| p_value(counts(400, 200, v), epsilon, 1e-5).expect("in range");
        assert!(p(correct) <= 0.05 && p(correct - 1) > 0.05);
    }
    assert_eq!(correct_guesses_needed(10, 10, 2.0, 1e-5, 0.05), Ok(None));
    assert_eq!(canaries_needed(3.0, 0.5, 0.05), Ok(None));
}

/// Exposure by its definition, ties and missing losses counted against it.
#[test]
fn exposure_is_the_rank_in_bits() {
    let others: Vec<f64> = (1..10_000).map(f64::from).collect();
    let first = exposure(0.5, &others).expect("candidates");
    assert_eq!((first.rank, first.candidates), (1, 10_000));
    assert!((first.bits - 10_000_f64.log2()).abs() < 1e-12);
    let middle = exposure(4999.5, &others).expect("candidates");
    assert_eq!(middle.rank, 5000);
    assert!((middle.bits - 1.0).abs() < 1e-12);
    assert_eq!(exposure(1.0, &[1.0; 15]).expect("candidates").bits, 0.0);
    assert_eq!(exposure(f64::NAN, &others).expect("candidates").bits, 0.0);
    assert_eq!(exposure(2.0, &[f64::NAN, 3.0]).expect("candidates").rank, 2);
    assert_eq!(exposure(1.0, &[]), Err(AuditError::NoCandidates));
}

/// The sampled estimate's bound lies below the true exposure in at least 95 % of samples (fewer than 65 of
/// 1,000 fail; 5 % would give 65 or more with probability 2 %, the seed is fixed), and is of use.
#[test]
fn sampled_exposure_is_bounded_from_below() {
    let mut random = ChaCha20Rng::seed_from_u64(43);
    for true_bits in [1.0_f64, 5.0, 9.0] {
        let share = (-true_bits).exp2();
        let (mut failed, mut total) = (0, 0.0);
        for _ in 0..1000 {
            let losses: Vec<f64> = (0..500).map(|_| random.random::<f64>()).collect();
            let found = sampled_exposure(share, &losses).expect("candidates");
            assert!(found.at_least_bits < found.bits);
            failed += u32::from(found.at_least_bits > true_bits);
            total += found.at_least_bits;
        }
        assert!(failed < 65, "{failed} of 1000 at {true_bits} bits");
        assert!(total / 1000.0 > 0.6 * true_bits, "{}", total / 1000.0);
    }
    // Nothing of 500 as likely: the largest share is 1 - 0.05^(1/500).
    let none = sampled_exposure(-1.0, &[0.0; 500]).expect("candidates");
    let largest: f64 = 1.0 - 0.05_f64.powf(1.0 / 500.0);
    assert!((none.at_least_bits + largest.log2()).abs() < 1e-6);
    assert_eq!(
        sampled_exposure(1.0, &[0.0; 9])
            .expect("candidates")
            .at_least_bits,
        0.0
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The bound rises with right guesses, falls with δ and with canaries left unguessed, rises with the
    /// significance, and lies where the p-value crosses the significance.
    #[test]
    fn the_bound_is_monotone(
        guesses in 1_u64..400,
        extra in 0_u64..400,
        share in 0.0_f64..1.0,
        log_delta in -12.0_f64..-2.0,
        significance in 0.005_f64..0.2,
    ) {
        let correct = (share * guesses as f64).round() as u64;
        let (m, delta) = (guesses + extra, 10_f64.powf(log_delta));
        let bound = |m, v, delta, significance| {
            epsilon_lower_bound(counts(m, guesses, v), delta, significance).expect("in range")
        };
        let here = bound(m, correct, delta, significance);
        prop_assert!(here >= 0.0 && here.is_finite());
        if correct < guesses {
            prop_assert!(bound(m, correct + 1, delta, significance) >= here);
        }
        prop_assert!(bound(m + 50, correct, delta, significance) <= here);
        prop_assert!(bound(m, correct, delta * 3.0, significance) <= here);
        prop_assert!(bound(m, correct, delta, significance / 2.0) <= here);
        let p = |epsilon| p_value(counts(m, guesses, correct), epsilon, delta).expect("in range");
        if here > 0.0 {
            prop_assert!(p(here) <= significance);
        }
        prop_assert!(p(here + 1e-6) > significance);
    }

    /// p-values are probabilities, and at least the plain binomial tail's (δ only adds).
    #[test]
    fn p_values_are_probabilities(
        guesses in 1_u64..2000,
        share in 0.0_f64..1.0,
        epsilon in 0.0_f64..60.0,
        log_delta in -15.0_f64..0.0,
    ) {
        let correct = (share * guesses as f64).round() as u64;
        let with = p_value(counts(guesses, guesses, correct), epsilon, 10_f64.powf(log_delta)).expect("in range");
        let without = p_value(counts(guesses, guesses, correct), epsilon, 0.0).expect("in range");
        prop_assert!((0.0..=1.0).contains(&with) && without <= with);
    }
}
