//! The PLD accountant against dp-accounting 0.6, closed forms, and the RDP accountant.

use proptest::prelude::*;
use serde::Deserialize;
use vaultlab_privacy::accountant::pld::{self, EpsilonBounds};
use vaultlab_privacy::accountant::{
    Adjacency, LiveAccountant, Phase, Truncation, epsilon, gaussian, rdp,
};

/// What the grid may add to ε, relative: its tolerance of 8e-5 times 1.3², the most it is coarsened.
const GRID: f64 = 1.4e-4;

#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
    trace: Vec<Row>,
    closed_form_gaussian: Vec<ClosedForm>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    delta: f64,
    adjacency: String,
    q: Option<f64>,
    sigma: Option<f64>,
    steps: Option<u64>,
    phases: Option<Vec<GoldenPhase>>,
    eps_pld: f64,
    eps_pld_lower: Option<f64>,
    #[serde(rename = "eps_pld_2e-5")]
    eps_pld_fine: Option<f64>,
}

#[derive(Deserialize)]
struct GoldenPhase {
    q: f64,
    sigma: f64,
    steps: u64,
}

#[derive(Deserialize)]
struct ClosedForm {
    sigma: f64,
    steps: u64,
    delta: f64,
    adjacency: String,
    eps: f64,
}

impl Row {
    fn phases(&self) -> Vec<Phase> {
        match (&self.phases, self.q, self.sigma, self.steps) {
            (Some(phases), ..) => phases
                .iter()
                .map(|p| phase(p.q, p.sigma, p.steps))
                .collect(),
            (None, Some(q), Some(sigma), Some(steps)) => vec![phase(q, sigma, steps)],
            _ => panic!("{}: no setting", self.name),
        }
    }
}

fn golden() -> Golden {
    let text = include_str!("../../../tests/golden/accounting.json");
    serde_json::from_str(text).expect("golden file")
}

fn adjacency(name: &str) -> Adjacency {
    match name {
        "add_remove" => Adjacency::AddRemove,
        "replace_one" => Adjacency::ReplaceOne,
        other => panic!("{other}"),
    }
}

fn phase(q: f64, sigma: f64, steps: u64) -> Phase {
    Phase {
        sampling_rate: q,
        noise_multiplier: sigma,
        steps,
        truncation: None,
    }
}

fn bounds(phases: &[Phase], delta: f64) -> EpsilonBounds {
    pld::epsilon(phases, delta, Adjacency::AddRemove).unwrap()
}

fn pld_epsilon(q: f64, sigma: f64, steps: u64, delta: f64) -> f64 {
    bounds(&[phase(q, sigma, steps)], delta).upper
}

/// dp-accounting's values (pessimistic, so slightly too large themselves: on its finer grid by up to
/// 1e-6 relative here) to within 1.4e-4 relative, in both adjacencies; its rigorous lower bound never
/// undercut, nor its finer value by more than the stated error; and the lower bound below both.
#[test]
fn agrees_with_dp_accounting() {
    let Golden { rows, trace, .. } = golden();
    for row in rows.iter().chain(&trace) {
        let phases = row.phases();
        let found = pld::epsilon(&phases, row.delta, adjacency(&row.adjacency)).unwrap();
        let expected = row.eps_pld_fine.unwrap_or(row.eps_pld);
        let what = format!(
            "{} {} {phases:?}: {found:?}, not {expected}",
            row.name, row.adjacency
        );
        // Without a finer value, the reference's own grid shows.
        let slack = if row.eps_pld_fine.is_some() {
            GRID
        } else {
            5e-4
        };
        assert!((found.upper / expected - 1.0).abs() < slack, "{what}");
        // The reference is a little too large itself, which shows where ours is a closed form.
        let least = expected * (1.0 - 1e-8) - found.error();
        assert!(found.upper >= least, "{what}");
        assert!(found.upper >= row.eps_pld_lower.unwrap_or(0.0), "{what}");
        assert!(
            found.lower <= row.eps_pld && found.lower > 0.998 * expected,
            "{what}"
        );
        if row.adjacency == "add_remove" {
            assert_eq!(epsilon(&phases, row.delta).unwrap(), found.upper);
            assert!(
                found.upper <= rdp::epsilon(&phases, row.delta).unwrap(),
                "{what}"
            );
        }
    }
}

/// Truncated batches cost what dp-accounting 0.6 says (four caps), hardly more than untruncated ones
/// when the cap is out of reach, and no less.
#[test]
fn truncated_batches_agree_with_dp_accounting() {
    let capped = |cap: u64| {
        let truncation = Some(Truncation { rows: 900, cap });
        bounds(
            &[Phase {
                truncation,
                ..phase(64.0 / 900.0, 1.0, 100)
            }],
            1e-5,
        )
    };
    for (cap, expected) in [(80, 8.613), (88, 6.235), (96, 5.047), (112, 4.983)] {
        let found = capped(cap);
        assert!(
            (found.upper / expected - 1.0).abs() < 1e-3,
            "cap {cap}: {found:?}"
        );
        assert!(
            found.lower < found.upper && found.lower > 0.998 * expected,
            "cap {cap}: {found:?}"
        );
    }
    let whole = pld_epsilon(64.0 / 900.0, 1.0, 100, 1e-5);
    assert!((capped(200).upper / whole - 1.0).abs() < GRID);
    assert_eq!(capped(900).upper, whole);
}

/// The Gaussian mechanism (q = 1) has a closed form (Balle, Wang 2018), in both adjacencies: between the
/// bounds, and the upper above it by no more than the grid may add. Our own closed form is the same.
#[test]
fn full_batches_meet_the_closed_form() {
    for case in golden().closed_form_gaussian {
        let adjacency = adjacency(&case.adjacency);
        let phases = [phase(1.0, case.sigma, case.steps)];
        let found = pld::epsilon(&phases, case.delta, adjacency).unwrap();
        assert!(
            found.lower <= case.eps
                && found.upper >= case.eps
                && found.upper < case.eps * (1.0 + GRID),
            "{found:?}, not {}",
            case.eps
        );
        let mu = gaussian::mu(&phases, adjacency).unwrap().unwrap();
        let exact = gaussian::epsilon(mu, case.delta).unwrap();
        assert!(
            (exact / case.eps - 1.0).abs() < 1e-6,
            "{exact}, not {}",
            case.eps
        );
        // And backwards.
        let delta = pld::delta(&phases, case.eps, adjacency).unwrap();
        assert!(delta.lower <= case.delta * 1.000_001 && delta.upper >= case.delta * 0.999_999);
        assert!(
            delta.upper < case.delta * 1.01,
            "{delta:?}, not {}",
            case.delta
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
            found >= expected && found < expected * (1.0 + GRID),
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
            (0.0..1e-9).contains(&error),
            "q {q}, σ {sigma}: {found}, not {expected}"
        );
    }
}

/// Full batches of different noise compose to one of μ² = Σ T/σ², whatever the order.
#[test]
fn different_phases_compose() {
    let expected = 18.94694521008452; // μ² = 30/2² + 100/8² + 5/3², δ = 1e-6, by mpmath
    for order in [[0, 1, 2], [2, 0, 1]] {
        let phases = order.map(|index| {
            [
                phase(1.0, 2.0, 30),
                phase(1.0, 8.0, 100),
                phase(1.0, 3.0, 5),
            ][index]
        });
        let found = bounds(&phases, 1e-6).upper;
        assert!(
            found >= expected && found < expected * (1.0 + GRID),
            "{found}"
        );
    }
}

/// Far more steps than a grid can serve: a bound all the same, and never below that for fewer.
#[test]
fn endless_runs_are_bounded() {
    let mut before = 0.0;
    for exponent in 0..40 {
        let found = pld_epsilon(0.5, 0.4, 1 << exponent, 1e-4);
        assert!(found > before, "2^{exponent} steps: {found} after {before}");
        before = found;
    }
}

/// Nothing run costs nothing, and nonsense is refused or bounded, never NaN, in bounded time.
#[test]
fn ends_of_the_range() {
    assert_eq!(bounds(&[], 1e-5).upper, 0.0);
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
    assert!(epsilon(&[bad], 1e-5).is_err() && epsilon(&[], 0.0).is_err());
}

/// What a session relies on: asked before and after each step, ε is the bound of the whole history, the
/// same as from a fresh accountant to the grid's rounding, and never falls.
#[test]
fn a_live_run_never_goes_back() {
    let earlier = phase(0.05, 1.3, 40);
    let mut live = LiveAccountant::new();
    let mut before = live.epsilon(&[earlier], 1e-5).unwrap();
    for steps in 1..=120 {
        let phases = [earlier, phase(64.0 / 900.0, 1.0, steps)];
        let now = live.epsilon(&phases, 1e-5).unwrap();
        assert!(now >= before, "step {steps}: {now} after {before}");
        if steps % 10 == 1 {
            let fresh = epsilon(&phases, 1e-5).unwrap();
            assert!(
                now >= fresh && now < fresh * (1.0 + GRID),
                "step {steps}: {now}, {fresh}"
            );
        }
        before = now;
    }
}

/// One step of a fixed-size batch, replace-one: at ε ≥ 0 the closed form of a removed row at distance 2.
#[test]
fn one_fixed_size_batch_meets_the_closed_form() {
    for (batch, rows, sigma, delta, expected) in FIXED_SIZE {
        let found = pld::fixed_size_epsilon(batch, rows, sigma, 1, delta).unwrap();
        assert!(
            found.upper >= expected * (1.0 - 1e-9) && found.upper < expected * (1.0 + GRID),
            "{batch} of {rows}: {found:?}, not {expected}"
        );
    }
}

/// Batch, rows, σ, δ and ε: σ/2 in the closed form of one subsampled step, solved by mpmath.
const FIXED_SIZE: [(u64, u64, f64, f64, f64); 2] = [
    (1, 100, 2.0, 1e-5, 0.1994504477959147),
    (1, 5, 1.4, 1e-10, 7.751043265306396),
];

/// δ(ε) falls along the curve, and ε(δ) is its inverse.
#[test]
fn the_curve_falls_and_inverts() {
    let phases = [phase(64.0 / 900.0, 1.0, 100), phase(0.01, 0.7, 50)];
    let epsilons: Vec<f64> = (0..12).map(f64::from).collect();
    for adjacency in [Adjacency::AddRemove, Adjacency::ReplaceOne] {
        let curve = pld::curve(&phases, &epsilons, adjacency).unwrap();
        assert!(
            curve
                .windows(2)
                .all(|pair| pair[1].delta.upper < pair[0].delta.upper),
            "{curve:?}"
        );
        for point in &curve[1..] {
            assert!(point.delta.lower <= point.delta.upper);
            let back = pld::epsilon(&phases, point.delta.upper, adjacency)
                .unwrap()
                .upper;
            assert!(
                (back / point.epsilon - 1.0).abs() < 5e-4,
                "{point:?}, back {back}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The lower bound is below the upper, which is never above RDP's, and monotone but for what two
    /// grids may differ by.
    #[test]
    fn below_rdp_and_monotone(
        q in (-7.0_f64..0.0).prop_map(f64::exp), sigma in (-1.0_f64..2.5).prop_map(f64::exp),
        steps in 1..3000_u64, delta in (-25.0_f64..-4.0).prop_map(f64::exp), grow in 1.01_f64..2.0,
    ) {
        let base = pld_epsilon(q, sigma, steps, delta);
        let found = bounds(&[phase(q, sigma, steps)], delta);
        prop_assert!(found.lower <= found.upper);
        prop_assert!(base <= rdp::epsilon(&[phase(q, sigma, steps)], delta).unwrap());
        for cheaper in [
            pld_epsilon(q / grow, sigma, steps, delta),
            pld_epsilon(q, sigma * grow, steps, delta),
            pld_epsilon(q, sigma, (steps as f64 / grow) as u64, delta),
            pld_epsilon(q, sigma, steps, delta * grow),
        ] {
            prop_assert!(cheaper <= base * (1.0 + GRID) + 1e-9, "{cheaper} above {base}");
        }
    }
}
