//! The Rényi accountant and calibration against reference values: Opacus 1.6 (RDP), dp-accounting 0.6
//! (PLD, tight) and the closed form of the Gaussian mechanism. The file says how each value was made.

use serde::Deserialize;
use vaultlab_privacy::accountant::rdp::{epsilon, epsilon_from_rdp, opacus_orders, step_rdp};
use vaultlab_privacy::accountant::{Adjacency, Phase, pld};
use vaultlab_privacy::calibrate::{Target, steps_within};

#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
    trace: Vec<Row>,
    closed_form_gaussian: Vec<ClosedForm>,
    calibration: Vec<Calibration>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    q: f64,
    sigma: f64,
    steps: u64,
    delta: f64,
    adjacency: String,
    phases: Option<Vec<GoldenPhase>>,
    eps_pld: f64,
    #[serde(rename = "eps_pld_2e-5")]
    eps_pld_fine: Option<f64>,
    eps_rdp_opacus: Option<f64>,
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

#[derive(Deserialize)]
struct Calibration {
    target_eps: f64,
    delta: f64,
    q: f64,
    steps: u64,
    adjacency: String,
    sigma_pld: f64,
    sigma_rdp_opacus: Option<f64>,
}

impl Row {
    fn phases(&self) -> Vec<Phase> {
        let whole = [GoldenPhase {
            q: self.q,
            sigma: self.sigma,
            steps: self.steps,
        }];
        let phases = self.phases.as_deref().unwrap_or(&whole);
        let phase = |p: &GoldenPhase| Phase {
            sampling_rate: p.q,
            noise_multiplier: p.sigma,
            steps: p.steps,
            truncation: None,
        };
        phases.iter().map(phase).collect()
    }
}

fn golden() -> Golden {
    let text = include_str!("../../../tests/golden/accounting.json");
    serde_json::from_str(text).expect("golden file")
}

fn add_remove_rows() -> Vec<Row> {
    let Golden { rows, trace, .. } = golden();
    rows.into_iter()
        .chain(trace)
        .filter(|row| row.adjacency == "add_remove")
        .collect()
}

fn opacus_epsilon(phases: &[Phase], delta: f64) -> f64 {
    let orders = opacus_orders();
    let mut total = vec![0.0; orders.len()];
    for phase in phases {
        let step = step_rdp(phase.sampling_rate, phase.noise_multiplier, &orders);
        total
            .iter_mut()
            .zip(step)
            .for_each(|(sum, value)| *sum += value * phase.steps as f64);
    }
    epsilon_from_rdp(&orders, &total, delta)
}

/// Same orders, same ε: 1e-6 relative, which is what the reference promises.
#[test]
fn equals_opacus_at_its_orders() {
    let mut compared = 0;
    for row in add_remove_rows() {
        let Some(expected) = row.eps_rdp_opacus else {
            continue;
        };
        let found = opacus_epsilon(&row.phases(), row.delta);
        let error = (found / expected - 1.0).abs();
        assert!(
            error < 1e-6,
            "{} T {}: {found} instead of {expected}",
            row.name,
            row.steps
        );
        compared += 1;
    }
    assert_eq!(compared, 30, "8 settings and 22 points of traces");
}

/// RDP is an upper bound, so it may never be below a tight accountant, whose grid adds at most 1e-3.
#[test]
fn never_below_the_tight_value() {
    for row in add_remove_rows() {
        let found = epsilon(&row.phases(), row.delta).unwrap();
        let tight = row.eps_pld_fine.unwrap_or(row.eps_pld);
        assert!(
            found >= tight,
            "{} T {}: {found} is below {tight}",
            row.name,
            row.steps
        );
        assert!(
            found <= 2.6 * tight,
            "{} T {}: {found} is far above {tight}",
            row.name,
            row.steps
        );
    }
}

/// More orders can only help: the default is at most what Opacus's orders give.
#[test]
fn larger_orders_only_tighten() {
    for row in add_remove_rows() {
        let found = epsilon(&row.phases(), row.delta).unwrap();
        assert!(found <= opacus_epsilon(&row.phases(), row.delta));
    }
}

/// q = 1 is the Gaussian mechanism, whose exact ε (Balle, Wang 2018) bounds RDP's from below.
#[test]
fn full_batches_bound_the_closed_form() {
    for case in golden()
        .closed_form_gaussian
        .iter()
        .filter(|case| case.adjacency == "add_remove")
    {
        let phase = Phase {
            sampling_rate: 1.0,
            noise_multiplier: case.sigma,
            steps: case.steps,
            truncation: None,
        };
        let found = epsilon(&[phase], case.delta).unwrap();
        assert!(
            found >= case.eps,
            "σ {}: {found} is below {}",
            case.sigma,
            case.eps
        );
        assert!(
            found <= 1.15 * case.eps,
            "σ {}: {found} is far above {}",
            case.sigma,
            case.eps
        );
    }
}

/// σ for a target, both adjacencies: dp-accounting's, which it finds on a coarser grid, to 1e-3; below
/// what RDP asks for; and within the target at σ, but not at σ less twice the tolerance.
#[test]
fn calibrates_like_dp_accounting_and_safely() {
    for case in golden().calibration {
        let adjacency = match case.adjacency.as_str() {
            "add_remove" => Adjacency::AddRemove,
            _ => Adjacency::ReplaceOne,
        };
        let phase = |noise_multiplier: f64| Phase {
            sampling_rate: case.q,
            noise_multiplier,
            steps: case.steps,
            truncation: None,
        };
        let sigma = Target::new(case.target_eps, case.delta)
            .under(adjacency)
            .noise_multiplier(&phase(1.0))
            .unwrap();
        let spent = |sigma: f64| {
            let bounds = pld::epsilon(&[phase(sigma)], case.delta, adjacency);
            bounds.unwrap().upper
        };
        assert!(spent(sigma) <= case.target_eps);
        assert!(spent(sigma * (1.0 - 2e-6)) > case.target_eps);
        assert!(
            (sigma / case.sigma_pld - 1.0).abs() < 1e-3,
            "ε {}: σ {sigma}, not {}",
            case.target_eps,
            case.sigma_pld
        );
        if let Some(opacus) = case.sigma_rdp_opacus {
            assert!(sigma < opacus, "σ {sigma}, Opacus {opacus}");
            let steps = steps_within(case.target_eps, case.q, sigma, case.delta).unwrap();
            let steps = u64::from(steps);
            assert!(
                steps >= case.steps && steps <= case.steps + 1,
                "{steps} steps instead of {}",
                case.steps
            );
        }
    }
}
