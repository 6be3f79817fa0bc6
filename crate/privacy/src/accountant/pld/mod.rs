//! Accounting with privacy loss distributions (PLD): nearly exact, and what everything charges by.
//!
//! A step's privacy loss is ln(dP/dQ) at an outcome drawn from P, (P, Q) a pair of laws that dominates
//! the step on two neighbouring data sets. Its distribution determines the whole curve δ(ε), and
//! composes by convolution (Sommer, Meiser, Mohammadi 2019, <https://eprint.iacr.org/2018/820>; Koskela,
//! Jälkö, Honkela 2020, <https://arxiv.org/abs/1906.03049>):
//!
//! δ(ε) = E[(1 - e^{ε-L})₊], L the sum of all steps' losses.
//!
//! `pair` has the dominating pairs and where they are proven; `loss` puts one step's losses on a grid,
//! so that no δ(ε) falls (connect-the-dots) for the upper bound, and so that none rises (merging
//! outcomes) for the lower; `compose` convolves by FFT; `plan` chooses grid, tilt and window by the
//! saddle point that `outline` finds; `composer` keeps what can be used again. Where two neighbours are
//! not alike (a row removed, a row added), each side is composed by itself and the worse counts.
//!
//! Where the grid cannot serve (noise below 0.05, δ below about 1e-50), the bound of Rényi accounting
//! takes its place, or infinity if there is none.

mod binomial;
mod compose;
pub(crate) mod composer;
mod loss;
mod outline;
mod pair;
pub(crate) mod plan;
mod transform;

use super::rdp::RdpCurve;
use super::{AccountingError, Adjacency, Phase, validate_delta, validate_phases};
use composer::{Between, Composer};
use plan::Goal;

/// ε lies between these: the true one of the phases' dominating pairs, at a given δ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpsilonBounds {
    /// Not above the true ε.
    pub lower: f64,
    /// Not below the true ε: what to report, charge and compare with budgets.
    pub upper: f64,
}

/// δ lies between these, at a given ε.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeltaBounds {
    /// Not above the true δ.
    pub lower: f64,
    /// Not below the true δ.
    pub upper: f64,
}

impl EpsilonBounds {
    /// How far the upper bound may lie above the true ε.
    pub fn error(&self) -> f64 {
        self.upper - self.lower
    }
}

impl DeltaBounds {
    /// How far the upper bound may lie above the true δ.
    pub fn error(&self) -> f64 {
        self.upper - self.lower
    }
}

/// A point of the curve δ(ε).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// ε.
    pub epsilon: f64,
    /// δ at this ε.
    pub delta: DeltaBounds,
}

/// Bounds on ε at `delta` after all `phases`, in whatever order or interleaving they were run.
///
/// The upper bound is within 1.4e-4 relative of the true value of the dominating pair. That value is
/// the mechanism's own where the pair is tight (Poisson sampling without truncation), and above it
/// otherwise; the lower bound is the pair's.
///
/// # Errors
/// When a phase or `delta` is out of range.
pub fn epsilon(
    phases: &[Phase],
    delta: f64,
    adjacency: Adjacency,
) -> Result<EpsilonBounds, AccountingError> {
    validate_phases(phases)?;
    validate_delta(delta)?;
    let between = Composer::new(adjacency, true).between(phases, Goal::at_delta(delta));
    Ok(epsilon_or_fallback(between, phases, delta, adjacency))
}

/// Bounds on ε, replace-one adjacency, had the batches been of exactly `batch` of `rows` rows, drawn
/// without replacement: a what-if, for no session samples so.
///
/// # Errors
/// When `batch` is not in 1..=`rows`, or another argument is out of range.
pub fn fixed_size_epsilon(
    batch: u64,
    rows: u64,
    noise_multiplier: f64,
    steps: u64,
    delta: f64,
) -> Result<EpsilonBounds, AccountingError> {
    let phase = Phase {
        sampling_rate: if batch == 0 {
            -1.0
        } else {
            batch as f64 / rows as f64
        },
        noise_multiplier,
        steps,
        truncation: None,
    };
    phase.validate()?;
    validate_delta(delta)?;
    let between = Composer::fixed_size().between(&[phase], Goal::at_delta(delta));
    Ok(epsilon_or_fallback(
        between,
        &[phase],
        delta,
        Adjacency::ReplaceOne,
    ))
}

/// Bounds on δ at `epsilon` ≥ 0 after all `phases`.
///
/// # Errors
/// When a phase or `epsilon` is out of range.
pub fn delta(
    phases: &[Phase],
    epsilon: f64,
    adjacency: Adjacency,
) -> Result<DeltaBounds, AccountingError> {
    validate_phases(phases)?;
    validate_epsilon(epsilon)?;
    let mut composer = Composer::new(adjacency, true);
    Ok(delta_or_one(
        composer.between(phases, Goal::AtEpsilon(epsilon)),
    ))
}

/// The curve δ(ε) of `phases` at each of `epsilons`.
///
/// # Errors
/// When a phase or an ε is out of range.
pub fn curve(
    phases: &[Phase],
    epsilons: &[f64],
    adjacency: Adjacency,
) -> Result<Vec<CurvePoint>, AccountingError> {
    validate_phases(phases)?;
    let mut composer = Composer::new(adjacency, true);
    epsilons
        .iter()
        .map(|&epsilon| {
            validate_epsilon(epsilon)?;
            Ok(CurvePoint {
                epsilon,
                delta: delta_or_one(composer.between(phases, Goal::AtEpsilon(epsilon))),
            })
        })
        .collect()
}

/// The bound of Rényi accounting, add/remove adjacency; infinite where there is none.
fn fallback(phases: &[Phase], delta: f64) -> f64 {
    let mut total = RdpCurve::zero();
    for phase in phases.iter().filter(|phase| phase.steps > 0) {
        match RdpCurve::of_phase(phase) {
            Ok(curve) => total.add(&curve),
            Err(_) => return f64::INFINITY,
        }
    }
    total.epsilon(delta)
}

fn epsilon_or_fallback(
    between: Option<Between>,
    phases: &[Phase],
    delta: f64,
    adjacency: Adjacency,
) -> EpsilonBounds {
    let Between { lower, upper } = between.unwrap_or_else(|| Between {
        lower: 0.0,
        upper: match adjacency {
            Adjacency::AddRemove => fallback(phases, delta),
            Adjacency::ReplaceOne => f64::INFINITY,
        },
    });
    EpsilonBounds { lower, upper }
}

fn delta_or_one(between: Option<Between>) -> DeltaBounds {
    between.map_or(
        DeltaBounds {
            lower: 0.0,
            upper: 1.0,
        },
        |Between { lower, upper }| DeltaBounds { lower, upper },
    )
}

fn validate_epsilon(epsilon: f64) -> Result<(), AccountingError> {
    if epsilon >= 0.0 && epsilon.is_finite() {
        Ok(())
    } else {
        Err(AccountingError::Epsilon(epsilon))
    }
}
