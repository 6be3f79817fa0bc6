use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accountant::{AccountingError, Phase, Truncation, epsilon, validate_delta};
use crate::ledger::accounted_delta;

/// Everything that determines what a private run costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivacyPlan {
    /// Training rows N. Treated as public.
    pub rows: u64,
    /// Expected logical batch B; each row joins a step with probability exactly B/N. Treated as public.
    pub expected_batch: u64,
    /// Noise standard deviation over the clipping norm, σ.
    pub noise_multiplier: f64,
    /// L2 norm C that each row's gradient is clipped to.
    pub clip_norm: f64,
    /// Steps planned.
    pub steps: u32,
    /// δ of (ε, δ).
    pub delta: f64,
    /// ε that all runs on these rows together may never pass.
    pub budget_epsilon: f64,
    /// Largest batch; of a larger draw so many rows are kept, chosen uniformly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_cap: Option<u64>,
}

/// A plan that cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum PlanError {
    /// No training rows, or more than this platform can index.
    #[error("there are {0} training rows; at least one is needed, and at most {max}", max = usize::MAX)]
    Rows(u64),
    /// The expected batch is empty or larger than the data set.
    #[error("the expected batch is {batch}; it must lie between 1 and the {rows} training rows")]
    ExpectedBatch {
        /// Expected batch asked for.
        batch: u64,
        /// Training rows.
        rows: u64,
    },
    /// The cap would cut most draws.
    #[error(
        "batches are capped at {cap} rows, fewer than the {batch} expected; most draws would be cut, so ask for a smaller batch instead"
    )]
    BatchCap {
        /// Cap asked for.
        cap: u64,
        /// Expected batch.
        batch: u64,
    },
    /// The clipping norm is not a positive finite number.
    #[error("the clipping norm is {0}; it must be positive and finite")]
    ClipNorm(f64),
    /// The budget is not a positive finite number.
    #[error("the budget for epsilon is {0}; it must be positive and finite")]
    Budget(f64),
    /// The noise multiplier or δ is out of range.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
}

impl PrivacyPlan {
    /// Checks every field.
    ///
    /// A cap must be at least the expected batch. The update is divided by the expected batch, so a lower cap
    /// would shorten every update; and its ε would be far worse than that of an expected batch of the cap's
    /// size, which holds as many rows.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), PlanError> {
        validate_batch(self.rows, self.expected_batch)?;
        if let Some(cap) = self.batch_cap.filter(|&cap| cap < self.expected_batch) {
            return Err(PlanError::BatchCap {
                cap,
                batch: self.expected_batch,
            });
        }
        if !(self.clip_norm > 0.0 && self.clip_norm.is_finite()) {
            return Err(PlanError::ClipNorm(self.clip_norm));
        }
        if !(self.budget_epsilon > 0.0 && self.budget_epsilon.is_finite()) {
            return Err(PlanError::Budget(self.budget_epsilon));
        }
        validate_delta(self.delta)?;
        self.phase().validate()?;
        Ok(())
    }

    /// Sampling rate q = B/N.
    pub fn sampling_rate(&self) -> f64 {
        self.expected_batch as f64 / self.rows as f64
    }

    /// The whole run as an accountant sees it.
    pub fn phase(&self) -> Phase {
        Phase {
            sampling_rate: self.sampling_rate(),
            noise_multiplier: self.noise_multiplier,
            steps: u64::from(self.steps),
            truncation: self
                .batch_cap
                .filter(|&cap| cap < self.rows)
                .map(|cap| Truncation {
                    rows: self.rows,
                    cap,
                }),
        }
    }

    /// ε of the whole run, alone on its rows.
    ///
    /// # Errors
    /// When the plan is out of range.
    pub fn epsilon(&self) -> Result<f64, PlanError> {
        self.validate()?;
        Ok(epsilon(&[self.phase()], self.accounted_delta())?)
    }

    /// What the accountant is asked about: δ less the same small part that is set aside for the noise
    /// sampler's error when the steps are charged.
    pub fn accounted_delta(&self) -> f64 {
        accounted_delta(self.delta)
    }

    /// Standard deviation of the noise on each coordinate of the clipped sum, σ·C.
    pub fn noise_on_sum(&self) -> f64 {
        self.noise_multiplier * self.clip_norm
    }

    /// Standard deviation of the noise on each coordinate of an update, σ·C/B.
    pub fn noise_per_update(&self) -> f64 {
        self.noise_on_sum() / self.expected_batch as f64
    }
}

/// Checks what private and plain plans share.
pub(super) fn validate_batch(rows: u64, expected_batch: u64) -> Result<(), PlanError> {
    if rows == 0 || usize::try_from(rows).is_err() {
        return Err(PlanError::Rows(rows));
    }
    if expected_batch == 0 || expected_batch > rows {
        return Err(PlanError::ExpectedBatch {
            batch: expected_batch,
            rows,
        });
    }
    Ok(())
}
