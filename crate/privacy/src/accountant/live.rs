//! The accountant of a run in progress.

use super::{AccountingError, Phase, pld};

/// Answers for ε after every step of a run.
#[derive(Debug, Default)]
pub struct LiveAccountant {}

impl LiveAccountant {
    /// An accountant that was not asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Upper bound on ε at `delta` after all `phases`, add/remove adjacency.
    ///
    /// # Errors
    /// When a phase or `delta` is out of range.
    pub fn epsilon(&mut self, phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
        pld::epsilon(phases, delta)
    }
}
