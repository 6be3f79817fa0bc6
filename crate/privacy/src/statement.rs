//! The claim in words, to be shown wherever ε is shown and exported with every adapter.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::accountant::ACCOUNTANT;
use crate::ledger::{Ledger, RunId};
use crate::noise::NOISE_SAMPLER;
use crate::session::PrivacyPlan;

/// What ε does not cover, a sentence each.
pub const NOT_COVERED: [&str; 9] = [
    "What the screen shows during training and no noise protects: losses, gradient norms, the share of \
     rows clipped, the sizes of the batches drawn, and timing. Treat them as private.",
    "Rows held out for evaluation, and every loss or answer computed from them.",
    "A person with several rows: the protection is that of one row, and weakens with each further one.",
    "Choosing among runs by their results on private rows, and settings tuned on them. (All runs on \
     exactly these rows are added up, but not what the choice itself tells.)",
    "Runs on a data set that shares only some of these rows: the ledger is kept for exactly this set of \
     rows, and in this browser or folder only.",
    "The number of rows, the expected batch size and all other settings: they are treated as public.",
    "Floating-point arithmetic: gradients are clipped and added in 32-bit and noise is drawn in 64-bit \
     floating point in this version, which only approximates the real numbers of the theorem.",
    "Whoever can read this device's memory or storage while the rows are on it.",
    "What others know about a person from elsewhere, a model trained without privacy included.",
];

/// The privacy claim of a run, with all that is needed to check it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivacyStatement {
    /// False for a run in the insecure test mode; then nothing below is a guarantee.
    pub secure: bool,
    /// Upper bound on ε, all runs in the ledger of these rows composed.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// The run.
    pub run: RunId,
    /// Steps charged for this run.
    pub run_steps: u64,
    /// Runs charged to these rows.
    pub ledger_runs: u64,
    /// Steps charged over all of them.
    pub ledger_steps: u64,
    /// Rows N.
    pub rows: u64,
    /// Expected logical batch B.
    pub expected_batch: u64,
    /// Sampling rate q = B/N.
    pub sampling_rate: f64,
    /// Noise multiplier σ.
    pub noise_multiplier: f64,
    /// Clipping norm C.
    pub clip_norm: f64,
    /// Accountant and version.
    pub accountant: String,
    /// How the noise was drawn.
    pub noise: String,
}

impl PrivacyStatement {
    /// The statement of a run as its ledger stands, `epsilon` being the ledger's at the plan's δ.
    pub(crate) fn new(
        plan: &PrivacyPlan,
        run: RunId,
        ledger: &Ledger,
        epsilon: f64,
        secure: bool,
    ) -> Self {
        let of_run = ledger.charges().filter(|charge| charge.run == run);
        Self {
            secure,
            epsilon,
            delta: plan.delta,
            run,
            run_steps: of_run.fold(0, |sum, charge| sum.saturating_add(charge.steps)),
            ledger_runs: ledger.runs() as u64,
            ledger_steps: ledger.steps(),
            rows: plan.rows,
            expected_batch: plan.expected_batch,
            sampling_rate: plan.sampling_rate(),
            noise_multiplier: plan.noise_multiplier,
            clip_norm: plan.clip_norm,
            accountant: ACCOUNTANT.into(),
            noise: NOISE_SAMPLER.into(),
        }
    }

    /// What is promised, in one paragraph.
    pub fn claim(&self) -> String {
        format!(
            "All updates released by the {runs} recorded on exactly these rows are, taken together, (ε, δ)-\
             differentially private with ε ≤ {epsilon} and δ = {delta:e}. The unit is one row of the training \
             data: the promise compares the data with one row added or removed. It holds for the adapters \
             and for everything computed from them afterwards.",
            runs = count(self.ledger_runs, "run"),
            epsilon = round_up(self.epsilon),
            delta = self.delta,
        )
    }

    /// How it was done, in one paragraph.
    pub fn mechanism(&self) -> String {
        format!(
            "In each of the {steps} charged to this run, each of the {rows} rows joined the batch by a coin \
             of its own with probability {batch}/{rows} (Poisson sampling). Each row's gradient over all \
             trained parameters was clipped to L2 norm {clip}; the clipped gradients were added up, Gaussian \
             noise of standard deviation {sigma} × {clip} was added once to every coordinate, and the result \
             was divided by {batch}. The charge was on record before the noise was drawn. Accountant: \
             {accountant}. Noise: {noise}; its key came from the platform's cryptographic generator and was \
             not kept.",
            steps = count(self.run_steps, "step"),
            rows = self.rows,
            batch = self.expected_batch,
            clip = self.clip_norm,
            sigma = self.noise_multiplier,
            accountant = self.accountant,
            noise = self.noise,
        )
    }
}

impl fmt::Display for PrivacyStatement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.secure {
            return write!(
                formatter,
                "NO PRIVACY. This run took its random numbers from a fixed test seed (insecure test mode). \
                 Whoever knows the seed can remove the noise, so ε = {} means nothing here.",
                round_up(self.epsilon)
            );
        }
        writeln!(
            formatter,
            "{}\n\n{}\n\nNot covered:",
            self.claim(),
            self.mechanism()
        )?;
        NOT_COVERED
            .iter()
            .try_for_each(|sentence| writeln!(formatter, "- {sentence}"))
    }
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// ε to four decimals, never rounded down: the text must not promise more than was computed.
fn round_up(epsilon: f64) -> f64 {
    let rounded = (epsilon * 1e4).ceil() / 1e4;
    if rounded.is_finite() {
        rounded.max(epsilon)
    } else {
        epsilon
    }
}
