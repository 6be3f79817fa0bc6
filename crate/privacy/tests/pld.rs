//! The PLD accountant against dp-accounting 0.6, closed forms, and the RDP accountant.

use proptest::prelude::*;
use serde::Deserialize;
use vaultlab_privacy::accountant::{Phase, epsilon as rdp_epsilon, pld};

#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
    trace: Vec<Row>,
    closed_form_gaussian: Vec<ClosedForm>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    q: f64,
    sigma: f64,
    steps: u64,
    delta: f64,
    adjacency: String,
    eps_pld: f64,
    eps_pld_lower: Option<f64>,
    #[serde(rename = "eps_pld_2e-5")]
    eps_pld_fine: Option<f64>,
}

#[derive(Deserialize)]
struct ClosedForm {
    sigma: f64,
    steps: u64,
    delta: f64,
    adjacency: String,
    eps: f64,
}

fn golden() -> Golden {
    let text = include_str!("../../../tests/golden/accounting.json");
    serde_json::from_str(text).expect("golden file")
}

fn pld_epsilon(q: f64, sigma: f64, steps: u64, delta: f64) -> f64 {
    let phase = Phase {
        sampling_rate: q,
        noise_multiplier: sigma,
        steps,
        truncation: None,
    };
    pld::epsilon(&[phase], delta).unwrap()
}

/// dp-accounting's values (pessimistic, so slightly too large themselves: on its finer grid by up to
/// 1e-6 relative here) to within 1e-4 relative, and its rigorous lower bound never undercut.
#[test]
fn agrees_with_dp_accounting() {
    let Golden { rows, trace, .. } = golden();
    let rows = rows
        .iter()
        .chain(&trace)
        .filter(|row| row.adjacency == "add_remove");
    for row in rows {
        let found = pld_epsilon(row.q, row.sigma, row.steps, row.delta);
        let expected = row.eps_pld_fine.unwrap_or(row.eps_pld);
        let error = found / expected - 1.0;
        assert!(
            error.abs() < 1e-4,
            "{} T {}: {found}, not {expected}",
            row.name,
            row.steps
        );
        if let Some(lower) = row.eps_pld_lower {
            assert!(
                found >= lower,
                "{} T {}: {found} below {lower}",
                row.name,
                row.steps
            );
        }
    }
}

/// The Gaussian mechanism (q = 1) has a closed form (Balle, Wang 2018): never below it, and above it
/// by no more than twice what the grid may add.
#[test]
fn full_batches_meet_the_closed_form() {
    let golden = golden();
    let cases = golden
        .closed_form_gaussian
        .iter()
        .filter(|case| case.adjacency == "add_remove");
    for case in cases {
        let found = pld_epsilon(1.0, case.sigma, case.steps, case.delta);
        assert!(
            found >= case.eps && found < case.eps * (1.0 + 5e-5),
            "{found}, not {}",
            case.eps
        );
    }
}

/// The same closed form, with mpmath's 40 digits, where δ is far below f64's rounding (1e-12) and ε is
/// large (47 and 68): the tilt keeps all errors relative.
#[test]
fn tiny_delta_and_large_epsilon_hold() {
    for (mu, delta, expected) in [
        (1.0, 1e-12, 7.238494420178858),
        (5.0, 1e-12, 47.0492321727017),
        (7.0, 1e-10, 68.3191656364058),
        (0.1, 1e-12, 0.6470081259249823),
    ] {
        // Twenty-five steps of noise 5/μ are one of noise 1/μ.
        let found = pld_epsilon(1.0, 5.0 / mu, 25, delta);
        assert!(
            found >= expected && found < expected * (1.0 + 5e-5),
            "{found}, not {expected}"
        );
    }
}

/// One subsampled step has a closed form too, in both directions; expected values by mpmath.
#[test]
fn one_subsampled_step_meets_the_closed_form() {
    for (q, sigma, delta, expected) in [
        (0.01, 1.0, 1e-5, 0.1994504477959147),
        (0.01, 1.0, 1e-12, 2.075426109762531),
        (0.2, 0.7, 1e-10, 7.751043265306396),
        (0.9, 3.0, 1e-8, 1.661622428345488),
        (0.001, 0.4, 1e-12, 10.70328643914758),
        (0.5, 0.3, 1e-6, 19.60839606876877),
    ] {
        let found = pld_epsilon(q, sigma, 1, delta);
        let error = found / expected - 1.0;
        assert!(
            (0.0..1e-4).contains(&error),
            "q {q}, σ {sigma}: {found}, not {expected}"
        );
    }
}

/// Full batches of different noise compose to one of μ² = Σ T/σ², whatever the order.
#[test]
fn different_phases_compose() {
    let phase = |noise_multiplier: f64, steps: u64| Phase {
        sampling_rate: 1.0,
        noise_multiplier,
        steps,
        truncation: None,
    };
    let expected = 18.94694521008452; // μ² = 30/2² + 100/8² + 5/3², δ = 1e-6, by mpmath
    for order in [[0, 1, 2], [2, 0, 1]] {
        let phases = order.map(|index| [phase(2.0, 30), phase(8.0, 100), phase(3.0, 5)][index]);
        let found = pld::epsilon(&phases, 1e-6).unwrap();
        assert!(
            found >= expected && found < expected * (1.0 + 5e-5),
            "{found}"
        );
    }
}

/// Nothing run costs nothing, and nonsense is refused or bounded, never NaN, in bounded time.
#[test]
fn ends_of_the_range() {
    assert_eq!(pld::epsilon(&[], 1e-5).unwrap(), 0.0);
    assert_eq!(pld_epsilon(0.1, 1.0, 0, 1e-5), 0.0);
    assert_eq!(pld_epsilon(0.0, 1.0, 10, 1e-5), 0.0);
    assert_eq!(pld_epsilon(0.1, 1e-200, 10, 1e-5), f64::INFINITY);
    for (q, sigma, steps, delta) in [
        (0.5, 1e-3, 3, 1e-5),
        (1.0, 1e-30, 3, 1e-5),
        (1e-9, 1.0, u64::MAX, 1e-5),
        (0.5, 1e4, 1, 1e-12),
        (0.5, 1e200, 9, 1e-12),
        (1e-87, 9.4e306, 9, 1.3e-308),
        (1.0, 9.4e306, 9, 1e-5),
        (1.0 - 1e-16, 1.0, 7, 0.5),
        (1e-300, 0.5, 7, 1e-300),
    ] {
        let found = pld_epsilon(q, sigma, steps, delta);
        assert!(found >= 0.0, "q {q}, σ {sigma}, T {steps}: {found}");
    }
    let bad = Phase {
        sampling_rate: 2.0,
        noise_multiplier: 1.0,
        steps: 1,
        truncation: None,
    };
    assert!(pld::epsilon(&[bad], 1e-5).is_err() && pld::epsilon(&[], 0.0).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Never above RDP, and monotone but for what two grids may differ by (1e-4).
    #[test]
    fn below_rdp_and_monotone(
        q in (-7.0_f64..0.0).prop_map(f64::exp), sigma in (-1.0_f64..2.5).prop_map(f64::exp),
        steps in 1..3000_u64, delta in (-25.0_f64..-4.0).prop_map(f64::exp), grow in 1.01_f64..2.0,
    ) {
        let base = pld_epsilon(q, sigma, steps, delta);
        let phase = Phase { sampling_rate: q, noise_multiplier: sigma, steps, truncation: None };
        prop_assert!(base <= rdp_epsilon(&[phase], delta).unwrap());
        for cheaper in [
            pld_epsilon(q / grow, sigma, steps, delta),
            pld_epsilon(q, sigma * grow, steps, delta),
            pld_epsilon(q, sigma, (steps as f64 / grow) as u64, delta),
            pld_epsilon(q, sigma, steps, delta * grow),
        ] {
            prop_assert!(cheaper <= base * (1.0 + 1e-4) + 1e-9, "{cheaper} above {base}");
        }
    }
}
