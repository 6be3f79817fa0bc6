use thiserror::Error;

use crate::checkpoint::CheckpointError;

/// Why an adapter cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PeftError {
    /// `adapter_config.json` is no JSON object.
    #[error("adapter_config.json is damaged: {detail}")]
    NotJson {
        /// What the parser found.
        detail: String,
    },
    /// A key is missing.
    #[error("adapter_config.json has no `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong type or range.
    #[error("adapter_config.json: `{key}` must be {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A variant that computes something else than plain LoRA.
    #[error("adapters with `{key}` = {value} are not supported; {advice}")]
    Unsupported {
        /// The key that asks for it.
        key: String,
        /// Its value.
        value: String,
        /// What would work.
        advice: &'static str,
    },
    /// A pattern that cannot be compiled.
    #[error("adapter_config.json: `{key}` holds a pattern that cannot be read: {detail}")]
    BadPattern {
        /// The key.
        key: &'static str,
        /// What the regular-expression compiler found.
        detail: String,
    },
    /// `adapter_model.safetensors` is damaged.
    #[error("adapter_model.safetensors: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A tensor that belongs to no LoRA layer of the model.
    #[error(
        "`{name}` in the adapter has no place in this model; the adapter was made for another one"
    )]
    LeftOver {
        /// Tensor name or module path.
        name: String,
    },
    /// A and B of a layer are not both there.
    #[error("layer `{path}` of the adapter lacks `{part}`; the file is incomplete")]
    HalfLayer {
        /// Module path.
        path: String,
        /// `lora_A` or `lora_B`.
        part: &'static str,
    },
    /// A and B do not fit each other or the configured rank.
    #[error("layer `{path}` of the adapter has A {a:?} and B {b:?}, which do not fit rank {rank}")]
    WrongRank {
        /// Module path.
        path: String,
        /// Shape of A.
        a: Vec<u64>,
        /// Shape of B.
        b: Vec<u64>,
        /// Rank by the configuration.
        rank: usize,
    },
    /// An adapted layer has other widths than the model's.
    #[error("layer `{path}`: the adapter is for {} inputs and {} outputs, the model has {} and {}", .found.0, .found.1, .expected.0, .expected.1)]
    WrongShape {
        /// Module path.
        path: String,
        /// Inputs and outputs by the adapter.
        found: (usize, usize),
        /// Inputs and outputs by the model.
        expected: (usize, usize),
    },
    /// The tensors adapt a layer that the configuration does not target.
    #[error("layer `{path}` has adapter weights, but adapter_config.json does not target it")]
    Untargeted {
        /// Module path.
        path: String,
    },
    /// The configuration targets a layer that has no tensors.
    #[error("adapter_config.json targets layer `{path}`, but the adapter has no weights for it")]
    Unmatched {
        /// Module path.
        path: String,
    },
    /// A target names no layer of the model.
    #[error("adapter_config.json targets `{target}`, which this model does not have")]
    TargetNotInModel {
        /// The target.
        target: String,
    },
    /// A weight is NaN or infinite.
    #[error("layer `{path}` of the adapter holds values that are not finite; the file is damaged")]
    NotFinite {
        /// Module path.
        path: String,
    },
}
