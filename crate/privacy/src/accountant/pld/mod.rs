//! Accounting with privacy loss distributions (PLD): nearly exact, for add/remove adjacency.
//!
//! A step's privacy loss is ln(dP/dQ) at an outcome drawn from P, the mechanism's law on one of two
//! neighbouring data sets. Its distribution determines the whole curve δ(ε), and composes by
//! convolution (Sommer, Meiser, Mohammadi 2019; Koskela, Jälkö, Honkela 2020):
//!
//! δ(ε) = E[(1 - e^{ε-L})₊], L the sum of all steps' losses.
//!
//! `loss` puts one step's losses on a grid so that no δ(ε) falls (connect-the-dots), and `compose`
//! convolves by FFT. Both directions, a row removed and a row added, are composed separately, and the
//! worse counts (Zhu, Dong, Wang 2022: each direction has a dominating pair that composes).

mod compose;
mod loss;

use super::rdp::RdpCurve;
use super::{AccountingError, Phase, validate_delta};
use compose::Composition;
use loss::{Direction, LossDistribution};

/// Part of ε that rounding losses to the grid may add.
const GRID_TOLERANCE: f64 = 2e-5;

/// Part of δ set aside for outcomes beyond the grid, over all steps.
const TAIL_SHARE: f64 = 1e-9;

/// Most grid points that a step's losses, or the window on their sum, may take; the grid is coarsened
/// (and ε rises) beyond.
const MOST_POINTS: f64 = 500_000.0;

/// Below this noise multiplier ε is in the hundreds, and RDP's bound will do.
const SMALLEST_NOISE: f64 = 0.05;

/// Grid points of a first look at where the sum will lie.
const FIRST_LOOK: f64 = 4096.0;

/// Upper bound on ε at `delta` after all `phases`, add/remove adjacency; never above RDP's bound.
///
/// Tight but for the grid (about 2e-5 relative) and rounding.
///
/// # Errors
/// When a phase or `delta` is out of range.
pub fn epsilon(phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
    validate_delta(delta)?;
    let mut rdp = RdpCurve::zero();
    for phase in phases {
        rdp.add(&RdpCurve::of_phase(phase)?);
    }
    // RDP's bound, and its best order less one: the best exponential tilt for this δ.
    let (loose, order) = rdp.epsilon_and_order(delta);
    let tilt = order - 1.0;
    let active: Vec<Phase> = phases
        .iter()
        .copied()
        .filter(|phase| phase.steps > 0 && phase.sampling_rate > 0.0)
        .collect();
    let smallest = active
        .iter()
        .map(|phase| phase.noise_multiplier)
        .fold(f64::INFINITY, f64::min);
    if active.is_empty() || loose == 0.0 || !loose.is_finite() || smallest < SMALLEST_NOISE {
        return Ok(loose);
    }
    let removed = of_direction(Direction::Removed, &active, delta, loose, tilt);
    let added = of_direction(Direction::Added, &active, delta, loose, tilt);
    Ok(removed.max(added).min(loose))
}

/// ε of one direction, at most `loose` (which is known to be a bound).
fn of_direction(direction: Direction, phases: &[Phase], delta: f64, loose: f64, tilt: f64) -> f64 {
    let steps: f64 = phases.iter().map(|phase| phase.steps as f64).sum();
    let tail = TAIL_SHARE * delta / steps;
    let compose = |grid: f64| {
        let mut composition = Composition::new(grid, tilt);
        for phase in phases {
            let (q, sigma) = (phase.sampling_rate, phase.noise_multiplier);
            let step = LossDistribution::of_step(direction, q, sigma, grid, tail);
            composition.add(step, phase.steps);
        }
        composition
    };
    let widest = phases
        .iter()
        .map(|phase| loss::width(direction, phase.sampling_rate, phase.noise_multiplier, tail))
        .fold(0.0, f64::max);
    if !(widest > f64::MIN_POSITIVE && widest.is_finite()) {
        return loose;
    }
    // Splitting a loss between neighbours at distance h adds at most h²/4 to its variance, and so at
    // most tilt·steps·h²/8 to ε.
    let ideal = (8.0 * GRID_TOLERANCE * loose / (tilt * steps)).sqrt();
    let span = compose(widest / FIRST_LOOK).span(loose);
    let grid = ideal
        .min(loose / 50.0)
        .max(widest / MOST_POINTS)
        .max(span / MOST_POINTS);
    if !(grid > 0.0 && grid < loose / 10.0) {
        return loose; // nothing to gain from so coarse a grid
    }
    compose(grid).epsilon(delta, loose)
}
