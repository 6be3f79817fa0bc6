use serde::{Deserialize, Serialize};

use super::plan::{PlanError, validate_batch};
use super::{GradientPrivacy, PrivacyError, ReleasedGradient};
use crate::randomness::{Purpose, Randomness, Streams};
use crate::sampling::PoissonSampler;

/// A run without privacy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainPlan {
    /// Training rows N.
    pub rows: u64,
    /// Expected logical batch B.
    pub expected_batch: u64,
    /// Steps planned.
    pub steps: u32,
}

/// WITHOUT PRIVACY, for comparison only: the same Poisson batches and the same division by the expected
/// batch as a [`super::PrivateSession`], but no clipping, no noise, no charge. Everything it releases is
/// labelled [`GradientPrivacy::WithoutPrivacy`].
pub struct PlainSession {
    plan: PlainPlan,
    sampler: PoissonSampler,
    streams: Streams,
    steps_done: u32,
}

/// A batch of a [`PlainSession`].
pub struct PlainStep<'session> {
    session: &'session mut PlainSession,
    rows: Vec<usize>,
}

impl PlainSession {
    /// Begins a run, or goes on after `steps_done` steps.
    ///
    /// # Errors
    /// When the plan is out of range, or the platform gives no random bytes.
    pub fn begin(
        plan: PlainPlan,
        steps_done: u32,
        randomness: Randomness,
    ) -> Result<Self, PrivacyError> {
        validate_batch(plan.rows, plan.expected_batch)?;
        if steps_done > plan.steps {
            return Err(PrivacyError::BeyondPlan {
                done: steps_done,
                planned: plan.steps,
            });
        }
        let sampler = PoissonSampler::new(plan.rows, plan.expected_batch).ok_or(
            PlanError::ExpectedBatch {
                batch: plan.expected_batch,
                rows: plan.rows,
            },
        )?;
        Ok(Self {
            plan,
            sampler,
            streams: Streams::new(randomness)?,
            steps_done,
        })
    }

    /// Draws the next batch.
    ///
    /// # Errors
    /// [`PrivacyError::PlanFinished`].
    pub fn open_step(&mut self) -> Result<PlainStep<'_>, PrivacyError> {
        if self.steps_done >= self.plan.steps {
            return Err(PrivacyError::PlanFinished {
                steps: self.plan.steps,
            });
        }
        let rows = self
            .sampler
            .draw(&mut self.streams.stream(self.steps_done, Purpose::Sampling));
        Ok(PlainStep {
            session: self,
            rows,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &PlainPlan {
        &self.plan
    }

    /// Steps released so far, earlier sessions included.
    pub fn steps_done(&self) -> u32 {
        self.steps_done
    }
}

impl PlainStep<'_> {
    /// Row indices of the batch, increasing; may be empty.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Divides the sum of the rows' gradients by the expected batch size. WITHOUT PRIVACY.
    pub fn release(self, sum: &[f32]) -> ReleasedGradient {
        let batch = self.session.plan.expected_batch as f64;
        let values = sum
            .iter()
            .map(|&value| (f64::from(value) / batch) as f32)
            .collect();
        self.session.steps_done += 1;
        ReleasedGradient {
            values,
            privacy: GradientPrivacy::WithoutPrivacy,
            step: self.session.steps_done,
        }
    }
}
