use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Sampling settings; filters apply in transformers' order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", default)]
pub struct Sampling {
    /// At most this many new tokens.
    pub max_new_tokens: u32,
    /// 0 decodes greedily; otherwise logits are divided by it.
    pub temperature: f32,
    /// Keep the k largest logits (ties kept); 0 is off.
    pub top_k: u32,
    /// Keep the smallest set with at least this mass; 1 is off.
    pub top_p: f32,
    /// Drop tokens below this share of the largest probability; 0 is off.
    pub min_p: f32,
    /// Divides (positive) or multiplies (negative) logits of ids seen so far; 1 is off.
    pub repetition_penalty: f32,
    /// Seed of the sampler; the same seed gives the same text on the same device.
    pub seed: u32,
    /// Generation ends when the text contains one of these.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            stop: Vec::new(),
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum FinishReason {
    /// An end-of-sequence token.
    Eos,
    /// A stop string.
    Stop,
    /// `max_new_tokens` reached.
    Length,
    /// The context is full.
    Context,
    /// The visitor cancelled.
    Cancelled,
}

/// A finished answer.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The whole answer, without the prompt and stop string.
    pub text: String,
    /// New token ids.
    pub tokens: Vec<u32>,
    /// Number of prompt tokens.
    pub prompt_tokens: u32,
    /// Why it ended.
    pub finish: FinishReason,
    /// Milliseconds from request to first token.
    pub first_token_ms: f64,
    /// New tokens per second after the first.
    pub tokens_per_second: f64,
}
