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
    let trial = |sigma: f64| -> Result<Trial, AccountingError> {
        let step = RdpCurve::of_step(sampling_rate, sigma)?;
        let epsilon = step.times(steps).epsilon(delta);
        Ok(Trial {
            sigma,
            fits: epsilon <= target_epsilon,
            ln_excess: epsilon.ln() - target_epsilon.ln(),
        })
    };
    let Some(mut bracket) = Bracket::around(&trial)? else {
        return Ok(SMALLEST_NOISE);
    };
    if !bracket.enough.fits {
        return Err(AccountingError::Unreachable {
            target: target_epsilon,
            limit: LARGEST_NOISE,
        });
    }
    while bracket.width() > NOISE_TOLERANCE {
        bracket.replace(trial(bracket.inside())?);
    }
    Ok(bracket.enough.sigma)
}

/// A noise multiplier tried.
#[derive(Clone, Copy)]
struct Trial {
    sigma: f64,
    /// True if ε is at most the target.
    fits: bool,
    /// ln(ε/target).
    ln_excess: f64,
}

/// Two noise multipliers with the target between them.
struct Bracket {
    too_small: Trial,
    enough: Trial,
    /// How often in a row the same end was replaced: positive for `enough`, negative for `too_small`.
    streak: i32,
}

impl Bracket {
    /// Doubles or halves from 1. `None` if even the smallest σ is enough; if the largest is not, the
    /// `enough` end does not fit.
    fn around(
        trial: &impl Fn(f64) -> Result<Trial, AccountingError>,
    ) -> Result<Option<Self>, AccountingError> {
        let mut here = trial(1.0)?;
        let up = !here.fits;
        loop {
            let next = if up {
                here.sigma * 2.0
            } else {
                here.sigma / 2.0
            };
            let next = trial(next.clamp(SMALLEST_NOISE, LARGEST_NOISE))?;
            if up && (next.fits || next.sigma == LARGEST_NOISE) {
                return Ok(Some(Self {
                    too_small: here,
                    enough: next,
                    streak: 0,
                }));
            }
            if !up && !next.fits {
                return Ok(Some(Self {
                    too_small: next,
                    enough: here,
                    streak: 0,
                }));
            }
            if !up && next.sigma == SMALLEST_NOISE {
                return Ok(None);
            }
            here = next;
        }
    }

    /// Width of the bracket in ln σ.
    fn width(&self) -> f64 {
        (self.enough.sigma / self.too_small.sigma).ln()
    }

    /// The next σ to try. ln ε is nearly linear in ln σ, so it is where the secant crosses the target, a
    /// hair towards the end that was not replaced last, so that the bracket closes from both sides; or
    /// the middle, when secants keep replacing the same end.
    fn inside(&self) -> f64 {
        let (low, high) = (self.too_small, self.enough);
        let hair = NOISE_TOLERANCE / 4.0;
        let share = low.ln_excess / (low.ln_excess - high.ln_excess);
        let secant = self.width() * share - hair * f64::from(self.streak.signum());
        let step = if secant.is_finite() && self.streak.abs() < 3 {
            secant.clamp(hair, self.width() - hair)
        } else {
            self.width() / 2.0
        };
        low.sigma * step.exp()
    }

    /// Puts a trial from inside the bracket in place of one end.
    fn replace(&mut self, trial: Trial) {
        let run = if self.streak.abs() < 3 {
            self.streak
        } else {
            0
        };
        if trial.fits {
            self.enough = trial;
            self.streak = run.max(0) + 1;
        } else {
            self.too_small = trial;
            self.streak = run.min(0) - 1;
        }
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
