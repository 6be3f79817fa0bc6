//! The accountant read backwards: which noise, or how many steps, for a given ε; and ε along a run.

use crate::accountant::rdp::RdpCurve;
use crate::accountant::{AccountingError, Phase, validate_delta};

/// Relative width at which the search for a noise multiplier stops.
pub const NOISE_TOLERANCE: f64 = 1e-6;

/// Largest noise multiplier worth trying: the signal is long gone.
const LARGEST_NOISE: f64 = 1e6;

/// Smallest noise multiplier worth trying: ε is astronomical.
const SMALLEST_NOISE: f64 = 1e-3;

/// The smallest noise multiplier σ, to [`NOISE_TOLERANCE`], with which `steps` steps at sampling rate
/// `sampling_rate` spend at most `target_epsilon` at `delta`.
///
/// The σ returned is the safe end of the bracket: its ε, as [`crate::accountant::epsilon`] gives it, is
/// at most the target. Where even 1e-3 would do (or nothing is run), 1e-3 is returned.
///
/// # Errors
/// When an argument is out of range, or no σ up to 1e6 is enough.
pub fn noise_multiplier(
    target_epsilon: f64,
    sampling_rate: f64,
    steps: u64,
    delta: f64,
) -> Result<f64, AccountingError> {
    validate_target(target_epsilon)?;
    validate_delta(delta)?;
    let fits = |sigma: f64| -> Result<bool, AccountingError> {
        let step = RdpCurve::of_step(sampling_rate, sigma)?;
        Ok(step.times(steps).epsilon(delta) <= target_epsilon)
    };
    if fits(SMALLEST_NOISE)? {
        return Ok(SMALLEST_NOISE);
    }
    let (mut too_small, mut enough) = bracket(&fits, target_epsilon)?;
    while enough / too_small > 1.0 + NOISE_TOLERANCE {
        let middle = (too_small * enough).sqrt();
        if fits(middle)? {
            enough = middle;
        } else {
            too_small = middle;
        }
    }
    Ok(enough)
}

/// Doubles or halves from 1 until the target lies between a σ that is too small and one that is enough.
fn bracket(
    fits: &impl Fn(f64) -> Result<bool, AccountingError>,
    target: f64,
) -> Result<(f64, f64), AccountingError> {
    let mut sigma = 1.0;
    if fits(sigma)? {
        while sigma > SMALLEST_NOISE {
            let smaller = (sigma / 2.0).max(SMALLEST_NOISE);
            if !fits(smaller)? {
                return Ok((smaller, sigma));
            }
            sigma = smaller;
        }
        Ok((SMALLEST_NOISE, SMALLEST_NOISE))
    } else {
        while sigma < LARGEST_NOISE {
            let larger = (sigma * 2.0).min(LARGEST_NOISE);
            if fits(larger)? {
                return Ok((sigma, larger));
            }
            sigma = larger;
        }
        Err(AccountingError::Unreachable {
            target,
            limit: LARGEST_NOISE,
        })
    }
}

/// The largest number of steps (at most `u32::MAX`) that spends at most `target_epsilon` at `delta`.
///
/// # Errors
/// When an argument is out of range.
pub fn steps_within(
    target_epsilon: f64,
    sampling_rate: f64,
    noise_multiplier: f64,
    delta: f64,
) -> Result<u32, AccountingError> {
    validate_target(target_epsilon)?;
    validate_delta(delta)?;
    let step = RdpCurve::of_step(sampling_rate, noise_multiplier)?;
    let fits = |steps: u64| step.times(steps).epsilon(delta) <= target_epsilon;
    let (mut enough, mut too_many) = (0_u64, u64::from(u32::MAX) + 1);
    while too_many - enough > 1 {
        let middle = enough + (too_many - enough) / 2;
        if fits(middle) {
            enough = middle;
        } else {
            too_many = middle;
        }
    }
    Ok(enough as u32)
}

/// ε after a number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TracePoint {
    /// Steps taken.
    pub steps: u64,
    /// ε spent by then, everything before the traced phase included.
    pub epsilon: f64,
}

/// ε along `phase`, after everything in `earlier`: at most `points` (≥ 2) points, evenly spread, the
/// first at step 0 and the last at the end.
///
/// The jump from step 0 to step 1 is real: a first step's ε is mostly the price of a small δ.
///
/// # Errors
/// When a phase or `delta` is out of range.
pub fn epsilon_trace(
    earlier: &[Phase],
    phase: &Phase,
    delta: f64,
    points: u32,
) -> Result<Vec<TracePoint>, AccountingError> {
    validate_delta(delta)?;
    let step = RdpCurve::of_step(phase.sampling_rate, phase.noise_multiplier)?;
    let mut before = RdpCurve::zero();
    for phase in earlier {
        before.add(&RdpCurve::of_phase(phase)?);
    }
    let intervals = phase.steps.min(u64::from(points.max(2)) - 1).max(1);
    let mut trace: Vec<TracePoint> = Vec::with_capacity(intervals as usize + 1);
    for index in 0..=intervals {
        let steps = (u128::from(phase.steps) * u128::from(index) / u128::from(intervals)) as u64;
        if trace.last().is_some_and(|last| last.steps == steps) {
            continue;
        }
        let mut spent = step.times(steps);
        spent.add(&before);
        trace.push(TracePoint {
            steps,
            epsilon: spent.epsilon(delta),
        });
    }
    Ok(trace)
}

fn validate_target(target_epsilon: f64) -> Result<(), AccountingError> {
    if target_epsilon > 0.0 && target_epsilon.is_finite() {
        Ok(())
    } else {
        Err(AccountingError::TargetEpsilon(target_epsilon))
    }
}
