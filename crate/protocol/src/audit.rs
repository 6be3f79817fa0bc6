use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// An audit of one training run: made-up rows join the data by fair coins, and an attack on the finished
/// adapter guesses the coins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct AuditSettings {
    /// Canaries m; each is in the training rows with probability one half.
    pub canaries: u32,
    /// Guesses r, at most m, fixed beforehand: half for the highest scores, half for the lowest.
    pub guesses: u32,
    /// What the canaries look like.
    pub kind: CanaryKind,
    /// δ that both bounds on ε are stated at. Keep 2·m·δ far below 0.05, or guesses prove nothing.
    pub delta: f64,
    /// Secrets whose exposure is measured on the same adapter.
    #[serde(default)]
    pub secrets: Vec<SecretSettings>,
}

/// What canaries look like. All have the prompt template around them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum CanaryKind {
    /// Prompt and response of random tokens: the easiest rows to tell apart, the strongest attack.
    RandomTokens {
        /// Tokens in the prompt.
        prompt_tokens: u32,
        /// Tokens in the response.
        response_tokens: u32,
    },
    /// Rows in the visitor's own words. In both texts each `#` becomes a random digit and each `@` a random
    /// lower-case letter; the k-th `@` is the same letter in prompt and response, so that a made-up name is
    /// one name. Every response needs a `#`: what is random in it is what a canary's row alone can teach.
    Phrase {
        /// Prompt, e.g. "What is the code of @@@@@@?".
        prompt: String,
        /// Response, e.g. "The code of @@@@@@ is ######."
        response: String,
    },
}

/// A secret in the rows, and what else might stand in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SecretSettings {
    /// The row's prompt.
    pub prompt: String,
    /// Its response up to the secret.
    pub before: String,
    /// The secret.
    pub secret: String,
    /// Its response after the secret.
    pub after: String,
    /// The other texts that might stand there.
    pub candidates: SecretCandidates,
    /// Add the row to the training rows; false if it stands there already.
    pub plant: bool,
}

/// The space a secret is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum SecretCandidates {
    /// Exactly these; the secret may be among them.
    Listed {
        /// Texts.
        texts: Vec<String>,
    },
    /// Every number of the secret's length, leading zeros included; all, or a random sample of so many.
    Digits {
        /// Largest number of candidates to compute; more than there are computes them all.
        at_most: u32,
    },
}

/// What an audit found.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// The adapter that was attacked.
    pub adapter: String,
    /// Steps it was trained for.
    pub steps: u32,
    /// Training rows, included canaries and planted secrets among them.
    pub rows: u32,
    /// Canaries m.
    pub canaries: u32,
    /// Canaries that the coins put into the training rows.
    pub included: u32,
    /// Guesses r.
    pub guesses: u32,
    /// Right guesses v.
    pub correct: u32,
    /// δ of both bounds.
    pub delta: f64,
    /// Confidence of the lower bound, 0.95.
    pub confidence: f64,
    /// ε of this run is at least this.
    pub epsilon_lower: f64,
    /// ε of this run is at most this, by the accountant; `None` without privacy.
    pub epsilon_upper: Option<f64>,
    /// The lower bound, had every guess been right: more an audit of this size cannot show.
    pub most_it_can_show: f64,
    /// True if the lower bound passes the upper: then the guarantee does not hold, and something is broken.
    pub refuted: bool,
    /// The finding in words, with what it does not say.
    pub statement: String,
    /// Each canary's score and coin, for a picture.
    pub scores: Vec<CanaryScore>,
    /// Exposure of the secrets, in the order given.
    pub exposures: Vec<ExposureReport>,
    /// Milliseconds for scoring and exposure, without training.
    pub attack_ms: f64,
}

/// One canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct CanaryScore {
    /// Loss with the adapter off less the loss with it on, summed over the response's tokens.
    pub score: f64,
    /// The coin.
    pub included: bool,
}

/// Exposure of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ExposureReport {
    /// True if the secret's row is among the training rows, planted or the visitor's own; false for a control,
    /// or a row that was held out.
    pub trained: bool,
    /// With the adapter, in bits: log2 of the candidates less log2 of the secret's rank by likelihood.
    pub bits: f64,
    /// The same with the adapter off: what the base model gives away by itself.
    pub bits_before: f64,
    /// Rank among the candidates computed, from 1; ties count before the secret.
    pub rank: u32,
    /// Candidates computed, the secret among them.
    pub candidates: u32,
    /// True if they are a sample of the space; `bits` is an estimate then.
    pub sampled: bool,
    /// For a sample: exposure is at least this with 95 % confidence.
    pub at_least_bits: Option<f64>,
}
