use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How frozen matrices are held on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum WeightFormat {
    /// 32-bit floats.
    F32,
    /// 16-bit floats; exact for checkpoints in f16, rounded (to 2^-11 relative) for others.
    F16,
    /// Signed bytes with a 32-bit scale per 64 weights; the error is at most 0.4 % of a block's largest weight.
    Int8,
    /// 4-bit NormalFloat with double quantisation, blocks of 64 and 256 (QLoRA).
    Nf4,
}

/// A loaded model.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// Name the page gave it.
    pub name: String,
    /// `model_type` of config.json.
    pub model_type: String,
    /// Parameters in the checkpoint.
    #[ts(type = "number")]
    pub parameters: u64,
    /// Transformer layers.
    pub layers: u32,
    /// Residual width.
    pub hidden: u32,
    /// Vocabulary size.
    pub vocab: u32,
    /// Longest context in tokens.
    pub context: u32,
    /// How the frozen matrices are held.
    pub weights: WeightFormat,
    /// Device memory after loading.
    pub memory: MemoryReport,
    /// Names of the projections LoRA may target.
    pub lora_targets: Vec<String>,
}

/// LoRA settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LoraSettings {
    /// Rank r.
    pub rank: u32,
    /// Scale numerator; the update is scaled by alpha / r.
    pub alpha: f32,
    /// Dropout on the input of A during training.
    pub dropout: f32,
    /// Projections, e.g. `q_proj`.
    pub targets: Vec<String>,
}

impl Default for LoraSettings {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.05,
            targets: [
                "q_proj",
                "k_proj",
                "v_proj",
                "o_proj",
                "gate_proj",
                "up_proj",
                "down_proj",
            ]
            .map(String::from)
            .to_vec(),
        }
    }
}

/// An adapter held beside the base model.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct AdapterReport {
    /// Name it is selected by.
    pub name: String,
    /// Rank, alpha and targets.
    pub lora: LoraSettings,
    /// Trainable parameters.
    #[ts(type = "number")]
    pub parameters: u64,
    /// What its training guarantees, if it was trained here.
    pub privacy: Option<PrivacySummary>,
    /// True for a run without privacy; shown wherever the adapter is named.
    pub without_privacy: bool,
}

use crate::{MemoryReport, PrivacySummary};
