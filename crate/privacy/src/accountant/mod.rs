//! From what was run to ε.
//!
//! Every accountant takes the same input, a list of [`Phase`]s, and answers with an upper bound on ε.
//! Sessions, ledgers, statements and the planner charge by privacy loss distributions ([`pld`],
//! [`epsilon`], [`LiveAccountant`]): nearly exact, and a few milliseconds an answer. [`rdp`] is an
//! independent check, always a little larger; [`gaussian`] has the closed forms that both are tested by.

pub mod gaussian;
mod live;
pub mod pld;
pub mod rdp;
mod renyi_moment;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use live::LiveAccountant;

/// Name and version of the accountant behind [`epsilon`], as quoted in statements and ledgers.
pub const ACCOUNTANT: &str = concat!(
    "PLD of the Poisson-subsampled Gaussian (vaultlab-privacy ",
    env!("CARGO_PKG_VERSION"),
    ")"
);

/// A stretch of identical private steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Probability q in [0, 1] with which each row joins a step's batch.
    pub sampling_rate: f64,
    /// Noise standard deviation over the clipping norm, σ > 0.
    pub noise_multiplier: f64,
    /// Number of steps T.
    pub steps: u64,
    /// Set where larger draws are cut to a cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<Truncation>,
}

/// Truncated Poisson sampling: of a draw from `rows` rows that is larger than `cap`, `cap` rows are kept,
/// chosen uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Truncation {
    /// Rows N drawn from.
    pub rows: u64,
    /// Largest batch.
    pub cap: u64,
}

/// Which data sets count as neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adjacency {
    /// One row more or less. What sessions charge by.
    #[default]
    AddRemove,
    /// One row exchanged for another.
    ReplaceOne,
}

/// A setting the accountant cannot answer for.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum AccountingError {
    /// The sampling rate is not a probability.
    #[error("the sampling rate is {0}; it must lie between 0 and 1")]
    SamplingRate(f64),
    /// The noise multiplier is not a positive finite number.
    #[error(
        "the noise multiplier is {0}; it must be positive and finite, for without noise there is no privacy"
    )]
    NoiseMultiplier(f64),
    /// δ is not strictly between 0 and 1.
    #[error(
        "delta is {0}; it must lie strictly between 0 and 1, well below 1 over the number of rows"
    )]
    Delta(f64),
    /// Truncation without rows, or with room for none.
    #[error("batches of at most {cap} rows out of {rows}: both must be at least 1")]
    Truncation {
        /// Rows drawn from.
        rows: u64,
        /// Largest batch.
        cap: u64,
    },
    /// Rényi accounting has no bound for truncated batches here.
    #[error("the Rényi accountant does not cover truncated batches; use the PLD accountant")]
    TruncationUnsupported,
    /// ε is negative or not finite.
    #[error("epsilon is {0}; it must be finite and not negative")]
    Epsilon(f64),
    /// The target ε is not a positive finite number.
    #[error("the target epsilon is {0}; it must be positive and finite")]
    TargetEpsilon(f64),
    /// Nothing is left of the target ε.
    #[error(
        "earlier steps have spent epsilon {spent} already, and {target} in all was asked for; ask for a larger epsilon"
    )]
    Spent {
        /// ε of the earlier steps alone.
        spent: f64,
        /// The ε asked for.
        target: f64,
    },
    /// No noise multiplier up to the given limit reaches the target.
    #[error(
        "no noise multiplier up to {limit:e} brings epsilon down to {target}; ask for a larger epsilon or fewer steps"
    )]
    Unreachable {
        /// The ε asked for.
        target: f64,
        /// The largest noise multiplier tried.
        limit: f64,
    },
}

impl Phase {
    /// Checks that the accountant is defined for this phase.
    ///
    /// # Errors
    /// [`AccountingError::SamplingRate`], [`AccountingError::NoiseMultiplier`] or
    /// [`AccountingError::Truncation`].
    pub fn validate(&self) -> Result<(), AccountingError> {
        if !(0.0..=1.0).contains(&self.sampling_rate) {
            return Err(AccountingError::SamplingRate(self.sampling_rate));
        }
        if !(self.noise_multiplier > 0.0 && self.noise_multiplier.is_finite()) {
            return Err(AccountingError::NoiseMultiplier(self.noise_multiplier));
        }
        if let Some(Truncation { rows, cap }) = self.truncation
            && (rows == 0 || cap == 0)
        {
            return Err(AccountingError::Truncation { rows, cap });
        }
        Ok(())
    }
}

/// Checks that δ lies strictly between 0 and 1.
///
/// # Errors
/// [`AccountingError::Delta`].
pub fn validate_delta(delta: f64) -> Result<(), AccountingError> {
    if delta > 0.0 && delta < 1.0 {
        Ok(())
    } else {
        Err(AccountingError::Delta(delta))
    }
}

/// Checks every phase.
///
/// # Errors
/// The first error of [`Phase::validate`].
pub fn validate_phases(phases: &[Phase]) -> Result<(), AccountingError> {
    phases.iter().try_for_each(Phase::validate)
}

/// Upper bound on ε at `delta` after all `phases`, in whatever order or interleaving they were run,
/// add/remove adjacency: [`pld`]'s.
///
/// Zero when nothing was run; infinite when the noise is too small for any finite bound.
///
/// # Errors
/// When a phase or `delta` is out of range.
pub fn epsilon(phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
    LiveAccountant::new().epsilon(phases, delta)
}
