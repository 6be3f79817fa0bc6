//! The accountant read backwards: which noise, how many steps or how large a batch for a given ε; and ε
//! along a run.
//!
//! Every answer is on the safe side: its ε, as [`crate::accountant::epsilon`] gives it, is at most the
//! target. Searches start from the accountant's saddle-point approximation, so that a handful of
//! rigorous evaluations end them.

use crate::accountant::pld::composer::Composer;
use crate::accountant::pld::plan::Goal;
use crate::accountant::{AccountingError, Adjacency, Phase, validate_delta, validate_phases};

mod noise;
mod trace;

pub use noise::{NOISE_TOLERANCE, renyi_noise_multiplier};
pub use trace::{TracePoint, epsilon_trace};

/// What a run may cost, and what has been spent before it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// ε of everything on these rows, earlier steps and the run in question together.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// Which data sets count as neighbours.
    pub adjacency: Adjacency,
    /// Steps that were taken on these rows already.
    pub earlier: &'a [Phase],
}

impl<'a> Target<'a> {
    /// ε at `delta` under add/remove adjacency, with nothing spent yet.
    pub fn new(epsilon: f64, delta: f64) -> Self {
        Self {
            epsilon,
            delta,
            adjacency: Adjacency::AddRemove,
            earlier: &[],
        }
    }

    /// The same, after `earlier` steps.
    #[must_use]
    pub fn after(self, earlier: &'a [Phase]) -> Self {
        Self { earlier, ..self }
    }

    /// The same under another adjacency.
    #[must_use]
    pub fn under(self, adjacency: Adjacency) -> Self {
        Self { adjacency, ..self }
    }

    /// The smallest noise multiplier σ, to [`NOISE_TOLERANCE`], with which `phase` (whose own σ is not
    /// looked at) stays within the target.
    ///
    /// Where even 1e-3 would do (or nothing is run), 1e-3 is returned.
    ///
    /// # Errors
    /// When an argument is out of range, nothing is left of the target, or no σ up to 1e6 is enough.
    pub fn noise_multiplier(&self, phase: &Phase) -> Result<f64, AccountingError> {
        let mut search = self.search(&Phase {
            noise_multiplier: 1.0,
            ..*phase
        })?;
        noise::smallest(&mut search)
    }

    /// The largest number of steps of `phase`'s mechanism (whose own steps are not looked at), at most
    /// `u32::MAX`, within the target.
    ///
    /// # Errors
    /// When an argument is out of range, or nothing is left of the target.
    pub fn steps(&self, phase: &Phase) -> Result<u32, AccountingError> {
        let mut search = self.search(phase)?;
        let most = search.largest(u64::from(u32::MAX), |phase, steps| phase.steps = steps);
        Ok(most as u32)
    }

    /// The largest expected batch out of `rows` with which `phase` (whose own rate is not looked at)
    /// stays within the target; 0 if not even 1 does.
    ///
    /// # Errors
    /// When an argument is out of range, or nothing is left of the target.
    pub fn batch(&self, rows: u64, phase: &Phase) -> Result<u64, AccountingError> {
        let mut search = self.search(&Phase {
            sampling_rate: 1.0,
            ..*phase
        })?;
        Ok(search.largest(rows, |phase, batch| {
            phase.sampling_rate = batch as f64 / rows as f64;
        }))
    }

    fn search(&self, phase: &Phase) -> Result<Search, AccountingError> {
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(AccountingError::TargetEpsilon(self.epsilon));
        }
        validate_delta(self.delta)?;
        validate_phases(self.earlier)?;
        phase.validate()?;
        let mut phases = self.earlier.to_vec();
        let mut composer = Composer::new(self.adjacency, false);
        let spent = composer.upper(&phases, self.delta);
        if spent >= self.epsilon {
            return Err(AccountingError::Spent {
                spent,
                target: self.epsilon,
            });
        }
        phases.push(*phase);
        Ok(Search {
            composer,
            phases,
            target: self.epsilon,
            delta: self.delta,
        })
    }
}

/// The smallest noise multiplier σ, to [`NOISE_TOLERANCE`], with which `steps` steps at sampling rate
/// `sampling_rate` spend at most `target_epsilon` at `delta`, add/remove adjacency.
///
/// # Errors
/// As [`Target::noise_multiplier`].
pub fn noise_multiplier(
    target_epsilon: f64,
    sampling_rate: f64,
    steps: u64,
    delta: f64,
) -> Result<f64, AccountingError> {
    Target::new(target_epsilon, delta).noise_multiplier(&Phase {
        sampling_rate,
        noise_multiplier: 1.0,
        steps,
        truncation: None,
    })
}

/// The largest number of steps (at most `u32::MAX`) that spends at most `target_epsilon` at `delta`,
/// add/remove adjacency.
///
/// # Errors
/// As [`Target::steps`].
pub fn steps_within(
    target_epsilon: f64,
    sampling_rate: f64,
    noise_multiplier: f64,
    delta: f64,
) -> Result<u32, AccountingError> {
    Target::new(target_epsilon, delta).steps(&Phase {
        sampling_rate,
        noise_multiplier,
        steps: 1,
        truncation: None,
    })
}

/// A run of which one thing is not settled: the last phase's.
struct Search {
    composer: Composer,
    phases: Vec<Phase>,
    target: f64,
    delta: f64,
}

impl Search {
    fn set(&mut self, change: impl FnOnce(&mut Phase)) {
        if let Some(last) = self.phases.last_mut() {
            change(last);
        }
    }

    /// Upper bound on ε.
    fn spent(&mut self) -> f64 {
        self.composer.upper(&self.phases, self.delta)
    }

    /// ε, roughly.
    fn guess(&mut self) -> Option<f64> {
        self.composer
            .guess(&self.phases, Goal::at_delta(self.delta))
            .filter(|guess| *guess > 0.0 && guess.is_finite())
    }

    /// The largest number up to `most` that fits when `set` on the last phase; 0 if none does.
    fn largest(&mut self, most: u64, set: impl Fn(&mut Phase, u64)) -> u64 {
        // Where a guess that is off by `factor` puts it.
        let roughly = |search: &mut Self, factor: f64| {
            let (mut enough, mut too_many) = (0, most.saturating_add(1));
            while too_many - enough > 1 {
                let middle = enough + (too_many - enough) / 2;
                search.set(|phase| set(phase, middle));
                if search.guess()? * factor <= search.target {
                    enough = middle;
                } else {
                    too_many = middle;
                }
            }
            Some(enough)
        };
        let mut start = most / 2;
        if let Some(first) = roughly(self, 1.0).filter(|first| *first > 0) {
            self.set(|phase| set(phase, first));
            let factor = self.guess().map_or(1.0, |guess| self.spent() / guess);
            start = roughly(self, factor).unwrap_or(first);
        }
        let start = start.clamp(1.min(most), most);
        let mut fits = |count: u64| {
            self.set(|phase| set(phase, count));
            self.spent() <= self.target
        };
        // Doubling strides away from the start, then halves.
        let (mut enough, mut too_many) = (0, most.saturating_add(1));
        let mut stride = 1;
        if most == 0 {
            return 0;
        }
        if fits(start) {
            enough = start;
            while enough < most {
                let next = enough.saturating_add(stride).min(most);
                if !fits(next) {
                    too_many = next;
                    break;
                }
                enough = next;
                stride *= 2;
            }
        } else {
            too_many = start;
            while too_many > 1 {
                let next = too_many.saturating_sub(stride).max(1);
                if fits(next) {
                    enough = next;
                    break;
                }
                too_many = next;
                stride *= 2;
            }
        }
        while too_many - enough > 1 {
            let middle = enough + (too_many - enough) / 2;
            if fits(middle) {
                enough = middle;
            } else {
                too_many = middle;
            }
        }
        enough
    }
}
