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
//! outcomes) for the lower; `compose` convolves by FFT (`power` is one frequency of it); `plan` chooses grid, tilt and window by the
//! saddle point that `outline` finds; `plans` looks again where that misled; `composer` keeps what can be
//! used again. `exact` has the closed forms, which are preferred where there are any. Where two neighbours are
//! not alike (a row removed, a row added), each side is composed by itself and the worse counts.
//!
//! Where the grid cannot serve (noise below 0.05, δ below about 1e-50), the bound of Rényi accounting
//! takes its place, or infinity if there is none.

mod binomial;
mod compose;
pub(crate) mod composer;
mod exact;
mod loss;
mod outline;
mod pair;
pub(crate) mod plan;
mod plans;
mod power;
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
/// The upper bound is as a rule within 1.4e-4 relative of the true value of the dominating pair (of an ε
/// below 1e-3, within 1e-3; where rates are below 1e-4 and δ is below 1e-9, rounding may add per cents).
/// A single step's, and that of full batches, are exact (`exact`). That value is
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
    Ok(Composer::new(adjacency, true).epsilon(phases, delta).into())
}

/// The same as [`epsilon`] on a coarser grid, several times faster: no less sound, and the upper bound up
/// to about twice `tolerance` (8e-5 to 0.05) above the true value, relative.
///
/// # Errors
/// When a phase or `delta` is out of range.
pub fn rough_epsilon(
    phases: &[Phase],
    delta: f64,
    adjacency: Adjacency,
    tolerance: f64,
) -> Result<EpsilonBounds, AccountingError> {
    validate_phases(phases)?;
    validate_delta(delta)?;
    let tolerance = tolerance.clamp(plan::GRID_TOLERANCE, 0.05);
    let mut composer = Composer::new(adjacency, true).coarsened(tolerance);
    Ok(composer.epsilon(phases, delta).into())
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
    Ok(Composer::fixed_size().epsilon(&[phase], delta).into())
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

impl From<Between> for EpsilonBounds {
    fn from(Between { lower, upper }: Between) -> Self {
        Self { lower, upper }
    }
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
