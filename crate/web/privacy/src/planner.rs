//! From the page's request to the accountant and back.

use vaultlab_privacy::accountant::{ACCOUNTANT, Adjacency, Phase, Truncation, epsilon, pld};
use vaultlab_privacy::advice::{self, advise, noise_to_signal, recommended_delta};
use vaultlab_privacy::calibrate::Target;
use vaultlab_privacy::session::{PlanError, PrivacyPlan};
use vaultlab_protocol::{Advice, AdviceSeverity, PlanGoal, PlanPhase, PlanReply, PlanRequest};

/// Answers a request.
pub(crate) fn plan(request: &PlanRequest) -> Result<PlanReply, PlanError> {
    let mut plan = PrivacyPlan {
        rows: request.rows,
        expected_batch: request.expected_batch,
        noise_multiplier: 1.0,
        clip_norm: request.clip_norm,
        steps: request.steps,
        delta: request.delta,
        budget_epsilon: f64::MAX,
        batch_cap: request.batch_cap.map(u64::from),
    };
    plan.validate()?; // before calibrating: σ is still a stand-in, everything else is as asked
    let delta = plan.accounted_delta();
    let mut all = phases(&request.earlier);
    match request.goal {
        PlanGoal::NoiseMultiplier { sigma } => plan.noise_multiplier = sigma,
        PlanGoal::TargetEpsilon { epsilon } => {
            let target = Target::new(epsilon, delta).after(&all);
            plan.noise_multiplier = target.noise_multiplier(&plan.phase())?;
            plan.budget_epsilon = epsilon;
        }
    }
    plan.validate()?;
    let alone = pld::epsilon(&[plan.phase()], delta, Adjacency::AddRemove)?;
    let with_earlier = if all.is_empty() {
        alone.upper
    } else {
        all.push(plan.phase());
        epsilon(&all, delta)?
    };
    let parameters = request.parameters.map(u64::from);
    Ok(PlanReply {
        sampling_rate: plan.sampling_rate(),
        noise_multiplier: plan.noise_multiplier,
        epsilon: alone.upper,
        epsilon_error: alone.error(),
        epsilon_with_earlier: with_earlier,
        noise_on_sum: plan.noise_on_sum(),
        noise_per_coordinate: plan.noise_per_update(),
        noise_to_signal: parameters.map(|parameters| noise_to_signal(&plan, parameters)),
        recommended_delta: recommended_delta(plan.rows),
        accountant: ACCOUNTANT.into(),
        advice: advise(&plan, parameters)
            .into_iter()
            .map(to_protocol)
            .collect(),
    })
}

/// The accountant's form of the page's phases.
pub(crate) fn phases(phases: &[PlanPhase]) -> Vec<Phase> {
    let phase = |phase: &PlanPhase| Phase {
        sampling_rate: phase.sampling_rate,
        noise_multiplier: phase.noise_multiplier,
        steps: u64::from(phase.steps),
        truncation: phase.truncation.map(|cut| Truncation {
            rows: u64::from(cut.rows),
            cap: u64::from(cut.cap),
        }),
    };
    phases.iter().map(phase).collect()
}

fn to_protocol(advice: advice::Advice) -> Advice {
    Advice {
        severity: match advice.severity {
            advice::Severity::Note => AdviceSeverity::Note,
            advice::Severity::Warning => AdviceSeverity::Warning,
            advice::Severity::Problem => AdviceSeverity::Problem,
        },
        code: advice.code.as_str().into(),
        message: advice.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(goal: PlanGoal) -> PlanRequest {
        PlanRequest {
            rows: 900,
            expected_batch: 64,
            steps: 100,
            delta: 1e-5,
            clip_norm: 0.5,
            goal,
            earlier: Vec::new(),
            batch_cap: None,
            parameters: Some(4096),
        }
    }

    /// The two goals are inverse to one another, and the figures are those of the plan's own formulas.
    #[test]
    fn both_goals_agree() {
        let by_epsilon = plan(&request(PlanGoal::TargetEpsilon { epsilon: 8.0 })).unwrap();
        assert!(by_epsilon.epsilon <= 8.0 && by_epsilon.epsilon > 7.999);
        let sigma = by_epsilon.noise_multiplier;
        let by_noise = plan(&request(PlanGoal::NoiseMultiplier { sigma })).unwrap();
        assert_eq!(by_noise.epsilon, by_epsilon.epsilon);
        assert_eq!(by_noise.noise_per_coordinate, sigma * 0.5 / 64.0);
        assert_eq!(by_noise.noise_to_signal, Some(sigma));
    }

    /// A target is for the rows, not for the run: what earlier steps have spent is not there to be spent
    /// again, and where nothing is left the visitor is told so.
    #[test]
    fn a_target_is_what_is_left() {
        let earlier = PlanPhase {
            sampling_rate: 64.0 / 900.0,
            noise_multiplier: 1.5,
            steps: 60,
            truncation: None,
        };
        let mut after = request(PlanGoal::TargetEpsilon { epsilon: 6.0 });
        let first = plan(&after).unwrap();
        after.earlier.push(earlier);
        let second = plan(&after).unwrap();
        assert!(second.noise_multiplier > first.noise_multiplier);
        assert!(second.epsilon < first.epsilon && first.epsilon <= 6.0);
        assert!(second.epsilon_with_earlier <= 6.0 && second.epsilon_with_earlier > 5.999);
        assert!(second.epsilon_error > 0.0 && second.epsilon_error < 1e-3 * second.epsilon);
        after.goal = PlanGoal::TargetEpsilon { epsilon: 1.0 };
        let message = plan(&after).unwrap_err().to_string();
        assert!(message.contains("spent"), "{message}");
    }

    /// A cap on the batch is accounted for.
    #[test]
    fn truncation_costs() {
        let mut capped = request(PlanGoal::NoiseMultiplier { sigma: 1.0 });
        let whole = plan(&capped).unwrap();
        capped.batch_cap = Some(88);
        let cut = plan(&capped).unwrap();
        assert!(whole.epsilon < 4.99 && cut.epsilon > 6.22 && cut.epsilon < 6.25);
    }

    /// Steps that the ledger holds already are composed, not forgotten.
    #[test]
    fn earlier_steps_count() {
        let mut twice = request(PlanGoal::NoiseMultiplier { sigma: 1.0 });
        twice.earlier.push(PlanPhase {
            sampling_rate: 64.0 / 900.0,
            noise_multiplier: 1.0,
            steps: 100,
            truncation: None,
        });
        let mut long = request(PlanGoal::NoiseMultiplier { sigma: 1.0 });
        long.steps = 200;
        let (twice, long) = (plan(&twice).unwrap(), plan(&long).unwrap());
        assert!((twice.epsilon_with_earlier / long.epsilon - 1.0).abs() < 1e-9);
        assert!(twice.epsilon < twice.epsilon_with_earlier);
    }

    /// Nonsense is refused with a message, not answered.
    #[test]
    fn nonsense_is_refused() {
        for goal in [
            PlanGoal::NoiseMultiplier { sigma: 0.0 },
            PlanGoal::NoiseMultiplier { sigma: f64::NAN },
            PlanGoal::TargetEpsilon { epsilon: -1.0 },
        ] {
            assert!(plan(&request(goal)).is_err());
        }
        let mut too_large = request(PlanGoal::NoiseMultiplier { sigma: 1.0 });
        too_large.expected_batch = 901;
        assert!(plan(&too_large).is_err());
    }
}
