//! Plain-language advice for a plan, before any row is touched.

use serde::{Deserialize, Serialize};

use crate::calibrate::noise_multiplier;
use crate::session::PrivacyPlan;

/// How much a piece of advice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The plan will probably disappoint, in what it learns or what it promises.
    Warning,
    /// The plan cannot be run, or its promise would be empty.
    Problem,
}

/// Stable code of a piece of advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdviceCode {
    /// A field is out of range.
    InvalidPlan,
    /// No steps.
    NoSteps,
    /// δ ≥ 1/rows.
    DeltaEmpty,
    /// δ > 1/(10·rows).
    DeltaLarge,
    /// ε above what is usually called protection.
    EpsilonLarge,
    /// The whole plan costs more than the budget.
    BudgetShort,
    /// The noise on an update drowns what the rows can say.
    NoiseDrownsSignal,
    /// The same compute in larger batches has far less noise.
    LargerBatch,
    /// Every batch is nearly the whole data set.
    SamplingNearOne,
    /// Hardly any rows are ever seen.
    FewRowsSeen,
    /// So few rows that ε protects little that is learnable.
    FewRows,
}

impl AdviceCode {
    /// The code as text, e.g. "deltaEmpty"; the same as its serialised form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPlan => "invalidPlan",
            Self::NoSteps => "noSteps",
            Self::DeltaEmpty => "deltaEmpty",
            Self::DeltaLarge => "deltaLarge",
            Self::EpsilonLarge => "epsilonLarge",
            Self::BudgetShort => "budgetShort",
            Self::NoiseDrownsSignal => "noiseDrownsSignal",
            Self::LargerBatch => "largerBatch",
            Self::SamplingNearOne => "samplingNearOne",
            Self::FewRowsSeen => "fewRowsSeen",
            Self::FewRows => "fewRows",
        }
    }
}

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// How much it matters.
    pub severity: Severity,
    /// Stable code.
    pub code: AdviceCode,
    /// One to three sentences.
    pub message: String,
}

/// A ratio of noise to the largest possible signal, per update, above which learning is unlikely.
///
/// At ratio ρ the noise on one update is ρ times as long as the clipped gradient that all rows could
/// give if they agreed perfectly; averaged over T updates it shrinks by sqrt(T).
const DROWNED: f64 = 4.0;

/// Advice on `plan`, most severe first. `dimensions` is the number of trained parameters (all LoRA
/// factors together), if known; the noise can be weighed against the signal only with it.
pub fn advise(plan: &PrivacyPlan, dimensions: Option<u64>) -> Vec<Advice> {
    if let Err(error) = plan.validate() {
        return vec![advice(
            Severity::Problem,
            AdviceCode::InvalidPlan,
            error.to_string(),
        )];
    }
    let mut found = Vec::new();
    found.extend(about_delta(plan));
    found.extend(about_steps(plan));
    found.extend(about_epsilon(plan));
    found.extend(about_sampling(plan));
    found.extend(about_noise(plan, dimensions));
    found.sort_by_key(|advice| std::cmp::Reverse(advice.severity));
    found
}

/// The largest δ to recommend for so many rows: 1/(10·rows).
pub fn recommended_delta(rows: u64) -> f64 {
    0.1 / rows.max(1) as f64
}

/// A larger batch at the same compute (expected batch × steps).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    /// Expected logical batch.
    pub expected_batch: u64,
    /// Steps, so that batch × steps stays about the same.
    pub steps: u32,
    /// Noise multiplier for the same ε.
    pub noise_multiplier: f64,
    /// Noise per coordinate of an update, σ·C/B.
    pub noise_per_update: f64,
}

/// What the plan's compute and ε would buy in batches two, four, eight and sixteen times as large.
///
/// Noise per update falls faster than the batch grows, while the steps become fewer; where to stop is
/// a matter of how many steps the learning needs.
pub fn larger_batches(plan: &PrivacyPlan) -> Vec<Alternative> {
    let Ok(target) = plan.epsilon() else {
        return Vec::new();
    };
    let alternative = |factor: u64| -> Option<Alternative> {
        let expected_batch = plan
            .expected_batch
            .checked_mul(factor)
            .filter(|&batch| batch <= plan.rows)?;
        let steps = plan.steps / factor as u32;
        if steps == 0 {
            return None;
        }
        let q = expected_batch as f64 / plan.rows as f64;
        let noise_multiplier = noise_multiplier(target, q, u64::from(steps), plan.delta).ok()?;
        let noise_per_update = noise_multiplier * plan.clip_norm / expected_batch as f64;
        Some(Alternative {
            expected_batch,
            steps,
            noise_multiplier,
            noise_per_update,
        })
    };
    [2, 4, 8, 16].into_iter().filter_map(alternative).collect()
}

/// Norm of the noise on an update over the norm of a batch of clipped gradients that all point the same
/// way: σ·sqrt(dimensions)/B. Real gradients agree less, so the true ratio is larger.
pub fn noise_to_signal(plan: &PrivacyPlan, dimensions: u64) -> f64 {
    plan.noise_multiplier * (dimensions as f64).sqrt() / plan.expected_batch as f64
}

fn about_delta(plan: &PrivacyPlan) -> Option<Advice> {
    let (delta, rows) = (plan.delta, plan.rows);
    let recommended = recommended_delta(rows);
    if delta * rows as f64 >= 1.0 {
        let message = format!(
            "δ = {delta:e} is at least 1/{rows}. A method that published one random row in full would \
             satisfy it, so it promises nothing. Choose δ = {recommended:.1e} or less."
        );
        Some(advice(Severity::Problem, AdviceCode::DeltaEmpty, message))
    } else if delta > recommended {
        let percent = 100.0 * delta * rows as f64;
        let message = format!(
            "δ = {delta:e} allows a {percent:.0} % chance that some row of the {rows} is given away \
             altogether. Choose δ = {recommended:.1e} or less; a smaller δ costs little ε."
        );
        Some(advice(Severity::Warning, AdviceCode::DeltaLarge, message))
    } else {
        None
    }
}

fn about_steps(plan: &PrivacyPlan) -> Option<Advice> {
    if plan.steps == 0 {
        let message = "The plan has no steps, so nothing will be learnt.".into();
        return Some(advice(Severity::Problem, AdviceCode::NoSteps, message));
    }
    let passes = plan.sampling_rate() * f64::from(plan.steps);
    (passes < 0.5).then(|| {
        let message = format!(
            "Over all steps a row is used {passes:.2} times on average, so most rows are never seen. Take \
             more steps or a larger batch."
        );
        advice(Severity::Warning, AdviceCode::FewRowsSeen, message)
    })
}

fn about_epsilon(plan: &PrivacyPlan) -> Vec<Advice> {
    let mut found = Vec::new();
    let Ok(epsilon) = plan.epsilon() else {
        return found;
    };
    let budget = plan.budget_epsilon;
    if epsilon > budget {
        let message = format!(
            "All {} steps would spend ε = {epsilon:.3}, more than the budget of {budget}; training will stop \
             before the end. Use more noise or fewer steps.",
            plan.steps
        );
        found.push(advice(Severity::Warning, AdviceCode::BudgetShort, message));
    }
    let spent = epsilon.min(budget);
    if spent > 10.0 {
        let message = format!(
            "At ε = {spent:.1} the formal promise is weak: what an attacker believes about a row may change \
             by a factor of e^{spent:.0}. Values up to about 8 are usual in practice, up to 1 are strong."
        );
        found.push(advice(Severity::Warning, AdviceCode::EpsilonLarge, message));
    }
    if plan.rows < 100 {
        let message = format!(
            "With {} rows each one is a large part of what there is to learn, and that is exactly what \
             privacy hides. Expect little; a few hundred rows that share a pattern work better.",
            plan.rows
        );
        found.push(advice(Severity::Warning, AdviceCode::FewRows, message));
    }
    found
}

fn about_sampling(plan: &PrivacyPlan) -> Option<Advice> {
    let q = plan.sampling_rate();
    (q > 0.5).then(|| {
        let message = format!(
            "Each row joins a step with probability {q:.2}, so sampling hides little and nearly all of the \
             protection is the noise's. That is sound, and gives the least noise per update, but each step \
             costs as much compute as {:.0} rows.",
            plan.expected_batch
        );
        advice(Severity::Note, AdviceCode::SamplingNearOne, message)
    })
}

fn about_noise(plan: &PrivacyPlan, dimensions: Option<u64>) -> Vec<Advice> {
    let mut found = Vec::new();
    let ratio = dimensions.map(|dimensions| noise_to_signal(plan, dimensions));
    let averaged = ratio.map(|ratio| ratio / f64::from(plan.steps.max(1)).sqrt());
    if let (Some(ratio), Some(averaged)) = (ratio, averaged)
        && averaged > DROWNED
    {
        let message = format!(
            "On each update the noise is {ratio:.0} times as long as the clipped gradient can be, and still \
             {averaged:.0} times after averaging over all steps, so hardly anything will be learnt. Use a \
             larger batch, a smaller LoRA rank, or fewer target modules."
        );
        found.push(advice(
            Severity::Warning,
            AdviceCode::NoiseDrownsSignal,
            message,
        ));
    }
    let now = plan.noise_per_update();
    let best = larger_batches(plan)
        .into_iter()
        .filter(|other| other.steps >= 10)
        .min_by(|a, b| a.noise_per_update.total_cmp(&b.noise_per_update));
    if let Some(best) = best
        && now / best.noise_per_update >= 2.0
    {
        let message = format!(
            "The same compute and ε in {} steps of {} rows would have {:.1} times less noise on each update \
             (σ·C/B = {:.2e} instead of {now:.2e} per coordinate).",
            best.steps,
            best.expected_batch,
            now / best.noise_per_update,
            best.noise_per_update,
        );
        found.push(advice(Severity::Note, AdviceCode::LargerBatch, message));
    }
    found
}

fn advice(severity: Severity, code: AdviceCode, message: String) -> Advice {
    Advice {
        severity,
        code,
        message,
    }
}
