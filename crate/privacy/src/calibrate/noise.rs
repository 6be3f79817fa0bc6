//! The search for a noise multiplier.

use super::Search;
use crate::accountant::{AccountingError, Phase, rdp};

/// Relative width at which the search for a noise multiplier stops.
pub const NOISE_TOLERANCE: f64 = 1e-6;

/// Largest noise multiplier worth trying: the signal is long gone.
const LARGEST_NOISE: f64 = 1e6;

/// Smallest noise multiplier worth trying: ε is astronomical.
const SMALLEST_NOISE: f64 = 1e-3;

/// The smallest σ that fits.
pub(super) fn smallest(search: &mut Search) -> Result<f64, AccountingError> {
    let (start, stride) = approach(search);
    let Some(mut bracket) = Bracket::around(search, start, stride) else {
        return Ok(SMALLEST_NOISE);
    };
    if !bracket.enough.fits {
        return Err(AccountingError::Unreachable {
            target: search.target,
            limit: LARGEST_NOISE,
        });
    }
    while bracket.width() > NOISE_TOLERANCE {
        let trial = Trial::of(search, bracket.inside());
        bracket.replace(trial);
    }
    Ok(bracket.enough.sigma)
}

/// A σ close to the one sought, and about how far from it in ln σ.
fn approach(search: &mut Search) -> (f64, f64) {
    let far = (1.0, std::f64::consts::LN_2);
    let Some(first) = by_guess(search, 1.0) else {
        return far;
    };
    // How far off the guess is here, it is nearby as well.
    let spent = Trial::of(search, first).ln_excess;
    let target = search.target;
    search.set(|phase| phase.noise_multiplier = first);
    let Some(guess) = search.guess() else {
        return far;
    };
    let factor = spent.exp() * target / guess;
    match by_guess(search, factor) {
        Some(second) if factor.is_finite() && factor > 0.0 => (second, 1e-4),
        _ => (first, 0.05),
    }
}

/// The σ at which `factor` times the guess is the target.
fn by_guess(search: &mut Search, factor: f64) -> Option<f64> {
    let mut excess = |ln_sigma: f64| {
        search.set(|phase| phase.noise_multiplier = ln_sigma.exp());
        Some((search.guess()? * factor / search.target).ln())
    };
    let (mut low, mut high) = (0.0, 0.0);
    let mut at_low = excess(low)?;
    let mut at_high = at_low;
    while at_high > 0.0 {
        (low, at_low) = (high, at_high);
        high += 0.5;
        at_high = excess(high)?;
    }
    while at_low < 0.0 {
        (high, at_high) = (low, at_low);
        low -= 0.5;
        at_low = excess(low)?;
    }
    for turn in 0..40 {
        let share = at_low / (at_low - at_high);
        let middle = if share.is_finite() && turn % 3 != 2 {
            low + (high - low) * share.clamp(0.01, 0.99)
        } else {
            low + (high - low) / 2.0
        };
        let found = excess(middle)?;
        if found.abs() < 1e-9 || high - low < 1e-9 {
            return Some(middle.exp());
        }
        if found > 0.0 {
            (low, at_low) = (middle, found);
        } else {
            (high, at_high) = (middle, found);
        }
    }
    Some(high.exp())
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

impl Trial {
    fn of(search: &mut Search, sigma: f64) -> Self {
        search.set(|phase| phase.noise_multiplier = sigma);
        let epsilon = search.spent();
        Self {
            sigma,
            fits: epsilon <= search.target,
            ln_excess: epsilon.ln() - search.target.ln(),
        }
    }
}

/// Two noise multipliers with the target between them.
struct Bracket {
    too_small: Trial,
    enough: Trial,
    /// How often in a row the same end was replaced: positive for `enough`, negative for `too_small`.
    streak: i32,
}

impl Bracket {
    /// Strides away from `start`, each four times as long as the last, at most by e each. `None` if even
    /// the smallest σ is enough; if the largest is not, the `enough` end does not fit.
    fn around(search: &mut Search, start: f64, mut stride: f64) -> Option<Self> {
        let mut here = Trial::of(search, start.clamp(SMALLEST_NOISE, LARGEST_NOISE));
        let up = !here.fits;
        // ε falls about like 1/σ or faster, so that a stride this long often ends it.
        if here.ln_excess.is_finite() && stride < 0.1 {
            stride = (here.ln_excess.abs() * 1.1).clamp(NOISE_TOLERANCE / 2.0, 0.5);
        }
        loop {
            let next = here.sigma * if up { stride.exp() } else { (-stride).exp() };
            let next = Trial::of(search, next.clamp(SMALLEST_NOISE, LARGEST_NOISE));
            stride = (stride * 4.0).min(1.0);
            if up && (next.fits || next.sigma == LARGEST_NOISE) {
                return Some(Self {
                    too_small: here,
                    enough: next,
                    streak: 0,
                });
            }
            if !up && !next.fits {
                return Some(Self {
                    too_small: next,
                    enough: here,
                    streak: 0,
                });
            }
            if !up && next.sigma == SMALLEST_NOISE {
                return None;
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

/// The same by Rényi accounting, add/remove adjacency, for comparison: the smallest noise multiplier with
/// which `phase` stays within `target` at `delta` after `earlier`.
///
/// # Errors
/// As [`super::Target::noise_multiplier`], and when batches are truncated.
pub fn renyi_noise_multiplier(
    target: f64,
    delta: f64,
    earlier: &[Phase],
    phase: &Phase,
) -> Result<f64, AccountingError> {
    if !(target > 0.0 && target.is_finite()) {
        return Err(AccountingError::TargetEpsilon(target));
    }
    let mut phases = earlier.to_vec();
    let spent = rdp::epsilon(&phases, delta)?;
    if spent >= target {
        return Err(AccountingError::Spent { spent, target });
    }
    phases.push(*phase);
    let last = earlier.len();
    let mut fits = |sigma: f64| {
        phases[last].noise_multiplier = sigma;
        rdp::epsilon(&phases, delta).map(|epsilon| epsilon <= target)
    };
    if !fits(LARGEST_NOISE)? {
        return Err(AccountingError::Unreachable {
            target,
            limit: LARGEST_NOISE,
        });
    }
    let (mut too_small, mut enough) = (SMALLEST_NOISE, LARGEST_NOISE);
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
