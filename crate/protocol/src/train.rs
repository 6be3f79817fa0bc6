use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::{LoraSettings, MemoryReport, PlanPhase};

/// Privacy settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PrivacySettings {
    /// Noise standard deviation over the clipping norm (sensitivity), σ.
    pub noise_multiplier: f64,
    /// Per-example L2 clipping norm C.
    pub clip_norm: f64,
    /// δ of (ε, δ).
    pub delta: f64,
    /// ε at which training stops by itself; all earlier runs on these rows count.
    pub budget_epsilon: f64,
    /// Largest logical batch; of a larger draw this many rows are kept, and the accountant counts it so.
    #[serde(default)]
    pub batch_cap: Option<u32>,
}

/// Everything a run needs besides model and rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RunSettings {
    /// Name of the adapter this run writes.
    pub name: String,
    /// `None` trains without privacy, for comparison only.
    pub privacy: Option<PrivacySettings>,
    /// Optimiser steps T.
    pub steps: u32,
    /// Expected logical batch size; each row joins with probability batch / rows.
    pub logical_batch: u32,
    /// Rows computed at once; bounds memory, does not change the result.
    pub micro_batch: u32,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Linear warm-up steps; then cosine to zero.
    pub warmup_steps: u32,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The adapter.
    pub lora: LoraSettings,
    /// Evaluate on the held-out rows every this many steps; 0 only at both ends.
    pub evaluate_every: u32,
    /// Write a checkpoint every this many steps (and at pause and stop); 0 only then.
    pub checkpoint_every: u32,
    /// INSECURE: fixes every random choice for tests. Never set it with real rows.
    pub insecure_seed: Option<u32>,
}

/// What one optimiser step did.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// Steps done, from 1.
    pub step: u32,
    /// Steps planned.
    pub steps: u32,
    /// Rows the Poisson sampler drew. Not covered by ε.
    pub rows: u32,
    /// Mean loss over the drawn rows; `None` for an empty batch. Not covered by ε.
    pub loss: Option<f64>,
    /// Median per-example gradient norm before clipping. Not covered by ε.
    pub median_norm: Option<f64>,
    /// Share of drawn rows whose gradient was clipped. Not covered by ε.
    pub clipped_share: Option<f64>,
    /// Rows whose gradient was not finite and counted as zero.
    pub non_finite: u32,
    /// Norm of the noise over the norm of the clipped sum. Not covered by ε.
    pub noise_to_signal: Option<f64>,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// ε spent on these rows, this step and every earlier run included.
    pub epsilon: Option<f64>,
    /// Tokens per second, forward and backward.
    pub tokens_per_second: f64,
    /// Milliseconds for the step.
    pub step_ms: f64,
    /// Expected seconds to the end.
    pub eta_seconds: f64,
    /// Device memory.
    pub memory: MemoryReport,
}

/// Held-out evaluation. Not covered by ε when the rows are private.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationReport {
    /// Steps done when it was taken.
    pub step: u32,
    /// Mean loss per target token over the held-out rows.
    pub loss: f64,
    /// Rows evaluated.
    pub rows: u32,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum TrainEnd {
    /// All planned steps were taken.
    Finished,
    /// The next step would pass the budget.
    BudgetSpent,
    /// The visitor stopped it; the adapter so far is kept.
    Stopped,
    /// The visitor paused it; a checkpoint was written.
    Paused,
}

/// What a private run guarantees; exported with the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PrivacySummary {
    /// Upper bound on ε, all runs on these rows composed.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// Noise multiplier σ.
    pub noise_multiplier: f64,
    /// Clipping norm C.
    pub clip_norm: f64,
    /// Sampling rate q.
    pub sampling_rate: f64,
    /// Private steps charged for this run.
    pub steps: u32,
    /// Accountant and version.
    pub accountant: String,
    /// The claim in words: unit, adjacency, sampling, and what it does not cover.
    pub statement: String,
    /// The same as JSON, with all that `vaultlab verify` needs to recompute ε.
    pub statement_json: String,
}

/// What the ledger holds for a data set.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LedgerReport {
    /// The data set's fingerprint.
    pub fingerprint: String,
    /// ε spent so far at `delta`, by the row that most was charged to.
    pub epsilon: f64,
    /// δ it is stated at.
    pub delta: f64,
    /// Steps charged to that row over all runs.
    pub steps: u32,
    /// Runs charged to that row.
    pub runs: u32,
    /// The charges behind `epsilon`, for a planner to add a run to.
    pub phases: Vec<PlanPhase>,
    /// Other data sets in this ledger that share rows with this one.
    pub overlaps: Vec<LedgerOverlap>,
    /// Charged data sets whose rows an earlier version did not record; whether they share rows is unknown, and they
    /// are not counted.
    #[serde(default)]
    pub incomparable: u32,
}

/// Another data set that shares rows with the prepared one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LedgerOverlap {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Rows that both have.
    pub shared_rows: u32,
    /// Rows it has.
    pub rows: u32,
    /// Steps charged to it.
    pub steps: u32,
    /// Runs charged to it.
    pub runs: u32,
}
