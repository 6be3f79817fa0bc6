use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What the planner on the page's main thread is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PlanRequest {
    /// Training rows N.
    #[ts(type = "number")]
    pub rows: u64,
    /// Expected logical batch B; each row joins a step with probability B/N.
    #[ts(type = "number")]
    pub expected_batch: u64,
    /// Steps T.
    pub steps: u32,
    /// δ.
    pub delta: f64,
    /// Clipping norm C.
    pub clip_norm: f64,
    /// What is given; the other follows.
    pub goal: PlanGoal,
    /// Private steps that the ledger already holds for these rows.
    pub earlier: Vec<PlanPhase>,
    /// Largest logical batch, if larger draws are cut.
    #[serde(default)]
    pub batch_cap: Option<u32>,
    /// Trained parameters, all LoRA factors together, once a model is loaded.
    pub parameters: Option<u32>,
}

/// What a plan starts from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum PlanGoal {
    /// The least noise that keeps the rows within ε, with all earlier steps.
    TargetEpsilon {
        /// ε to reach.
        epsilon: f64,
    },
    /// A given noise multiplier σ.
    NoiseMultiplier {
        /// σ.
        sigma: f64,
    },
}

/// A stretch of identical private steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PlanPhase {
    /// Probability q with which each row joins a step.
    pub sampling_rate: f64,
    /// Noise multiplier σ.
    pub noise_multiplier: f64,
    /// Steps.
    pub steps: u32,
    /// Set where larger draws were cut.
    #[serde(default)]
    pub truncation: Option<BatchTruncation>,
}

/// A limit on the rows of a batch; a larger Poisson draw keeps `cap` of its rows, chosen at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct BatchTruncation {
    /// Rows N that the draw is made from.
    pub rows: u32,
    /// Largest batch.
    pub cap: u32,
}

/// The planner's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PlanReply {
    /// Sampling rate q = B/N.
    pub sampling_rate: f64,
    /// Noise multiplier σ.
    pub noise_multiplier: f64,
    /// Upper bound on ε of this run alone.
    pub epsilon: f64,
    /// How far `epsilon` may lie above the true value.
    pub epsilon_error: f64,
    /// ε of these rows after this run, all earlier steps composed.
    pub epsilon_with_earlier: f64,
    /// Standard deviation of the noise on each coordinate of the clipped sum, σ·C.
    pub noise_on_sum: f64,
    /// Standard deviation of the noise on each coordinate of an update, σ·C/B.
    pub noise_per_coordinate: f64,
    /// Norm of the noise over the norm of a batch of gradients that all agree, per update; with `parameters` only.
    pub noise_to_signal: Option<f64>,
    /// Largest δ to recommend for so many rows.
    pub recommended_delta: f64,
    /// Accountant and version.
    pub accountant: String,
    /// Advice, most severe first.
    pub advice: Vec<Advice>,
}

/// ε after a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct TracePoint {
    /// Steps taken.
    pub steps: u32,
    /// ε spent by then.
    pub epsilon: f64,
}

/// One piece of plain-language advice on a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// How much it matters.
    pub severity: AdviceSeverity,
    /// Stable code, e.g. "deltaEmpty".
    pub code: String,
    /// One to three sentences.
    pub message: String,
}

/// How much a piece of advice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum AdviceSeverity {
    /// Good to know.
    Note,
    /// The plan will probably disappoint, in what it learns or what it promises.
    Warning,
    /// The plan cannot be run, or its promise would be empty.
    Problem,
}
