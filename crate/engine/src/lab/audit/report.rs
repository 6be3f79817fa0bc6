//! Both bounds on ε, and what they say in words.

use vaultlab_privacy::accountant;
use vaultlab_privacy::audit::{AuditError, SIGNIFICANCE, epsilon_lower_bound, most_it_can_show};
use vaultlab_privacy::session::{PrivacyError, PrivacyPlan};
use vaultlab_protocol::{AuditReport, CanaryScore, ExposureReport, RunSettings};

use crate::EngineError;
use crate::train::Attack;

/// What an audit's report is made from.
pub(super) struct Finding<'a> {
    pub run: &'a RunSettings,
    /// Training rows, made-up ones included.
    pub rows: u64,
    /// Steps taken.
    pub steps: u32,
    pub delta: f64,
    pub coins: &'a [bool],
    pub attack: &'a Attack,
}

impl Finding<'_> {
    pub fn report(
        &self,
        exposures: Vec<ExposureReport>,
        attack_ms: f64,
    ) -> Result<AuditReport, EngineError> {
        let counts = self.attack.counts;
        let failed = |error: AuditError| EngineError::Settings(error.to_string());
        let lower = epsilon_lower_bound(counts, self.delta, SIGNIFICANCE).map_err(failed)?;
        let most = most_it_can_show(counts.canaries, counts.guesses, self.delta, SIGNIFICANCE);
        let most = most.map_err(failed)?;
        let upper = self.epsilon_upper()?;
        let scores = self.attack.scores.iter().zip(self.coins);
        Ok(AuditReport {
            adapter: self.run.name.clone(),
            steps: self.steps,
            rows: self.rows as u32,
            canaries: counts.canaries as u32,
            included: self.coins.iter().filter(|&&coin| coin).count() as u32,
            guesses: counts.guesses as u32,
            correct: counts.correct as u32,
            delta: self.delta,
            confidence: 1.0 - SIGNIFICANCE,
            epsilon_lower: lower,
            epsilon_upper: upper,
            most_it_can_show: most,
            refuted: upper.is_some_and(|upper| lower > upper),
            statement: self.statement(lower, upper, most),
            scores: scores
                .map(|(&score, &included)| CanaryScore { score, included })
                .collect(),
            exposures,
            attack_ms,
        })
    }

    /// ε of this run alone, by the accountant, at the audit's δ.
    fn epsilon_upper(&self) -> Result<Option<f64>, EngineError> {
        let Some(privacy) = self.run.privacy.as_ref() else {
            return Ok(None);
        };
        if self.steps == 0 {
            return Ok(Some(0.0));
        }
        let plan = PrivacyPlan {
            rows: self.rows,
            expected_batch: u64::from(self.run.logical_batch),
            noise_multiplier: privacy.noise_multiplier,
            clip_norm: privacy.clip_norm,
            steps: self.steps,
            delta: self.delta,
            budget_epsilon: privacy.budget_epsilon,
            batch_cap: privacy.batch_cap.map(u64::from),
        };
        let epsilon =
            accountant::epsilon(&[plan.phase()], self.delta).map_err(PrivacyError::from)?;
        Ok(Some(epsilon))
    }

    fn statement(&self, lower: f64, upper: Option<f64>, most: f64) -> String {
        let found = if lower > 0.0 {
            format!(
                "This attack proves, with 95 % confidence, that epsilon of this run is at least {lower:.2}."
            )
        } else {
            "This attack proves no leak.".to_owned()
        };
        let against = match upper {
            None => {
                "The run has no privacy, so there is no upper bound to compare with.".to_owned()
            }
            Some(upper) if lower > upper => format!(
                "The accountant says at most {upper:.2}: the guarantee does not hold, and something is broken."
            ),
            Some(upper) => format!("That agrees with the accountant's upper bound of {upper:.2}."),
        };
        let mode = match self.run.insecure_seed {
            Some(_) => {
                " All random choices came from a known test seed, so the run has no privacy in any case."
            }
            None => "",
        };
        format!(
            "{found} {against}{mode} An audit with so few guesses could not have shown more than {most:.2} however \
             much leaked, and a better attack may find more: it proves nothing about safety."
        )
    }
}
