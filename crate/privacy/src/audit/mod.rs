//! Auditing: what an attack on a trained model proves about its ε, from below.
//!
//! The accountant bounds ε from above by a theorem about the code as it should be. An audit bounds it
//! from below by an experiment on the code as it is. Where the two cross, something is broken; where they
//! do not, nothing is proved: an attack that fails says little about attacks that were not tried.
//!
//! - [`CanaryPlan`]: the one-run audit (Steinke, Nasr, Jagielski 2023, <https://arxiv.org/abs/2305.08846>,
//!   Algorithm 1). m made-up rows, the canaries, each join the data by a fair coin of their own; the model
//!   is trained once; the auditor looks at a score of each canary and guesses the coins it dares to guess.
//! - [`epsilon_lower_bound`]: from the number of right guesses to "ε is at least".
//! - [`exposure`]: how far one planted secret stands out among all that might stand in its place (Carlini,
//!   Liu, Erlingsson, Kos, Song 2019, "The Secret Sharer", <https://arxiv.org/abs/1802.08232>).
//!
//! ```
//! use vaultlab_privacy::audit::{AuditCounts, epsilon_lower_bound};
//!
//! // 100 canaries, all guessed, 80 guesses right.
//! let counts = AuditCounts { canaries: 100, guesses: 100, correct: 80 };
//! let at_least = epsilon_lower_bound(counts, 1e-5, 0.05)?;
//! assert!((at_least - 0.958).abs() < 1e-3);
//! # Ok::<(), vaultlab_privacy::audit::AuditError>(())
//! ```

mod binomial;
mod bound;
mod canaries;
mod exposure;

pub use bound::{
    AuditCounts, canaries_needed, correct_guesses_needed, epsilon_lower_bound, most_it_can_show,
    p_value,
};
pub use canaries::{CanaryPlan, Guess, GuessRule, guess};
pub use exposure::{Exposure, SampledExposure, exposure, sampled_exposure};

use thiserror::Error;

use crate::randomness::NoRandomness;

/// The significance of the bounds in reports: they hold with 95 % confidence.
pub const SIGNIFICANCE: f64 = 0.05;

/// Why an audit cannot be planned or counted.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AuditError {
    /// Counts that no audit gives.
    #[error(
        "an audit with {canaries} canaries, {guesses} guesses and {correct} right ones is impossible; right guesses \
         are at most the guesses, guesses at most the canaries, and there is at least one canary"
    )]
    Counts {
        /// Canaries m.
        canaries: u64,
        /// Guesses r.
        guesses: u64,
        /// Right guesses v.
        correct: u64,
    },
    /// ε is negative or not finite.
    #[error("epsilon is {0}; it must be zero or positive, and finite")]
    Epsilon(f64),
    /// δ is no probability.
    #[error("delta is {0}; it must lie between 0 and 1")]
    Delta(f64),
    /// The significance is no probability strictly between 0 and 1.
    #[error("the significance is {0}; it must lie strictly between 0 and 1, as 0.05 does")]
    Significance(f64),
    /// A score is missing.
    #[error("{scores} scores were given for {canaries} canaries")]
    Scores {
        /// Scores given.
        scores: usize,
        /// Canaries.
        canaries: usize,
    },
    /// No candidate besides the secret.
    #[error("exposure needs at least one candidate besides the secret")]
    NoCandidates,
    /// No random bytes for the coins.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}
