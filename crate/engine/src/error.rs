use thiserror::Error;
use vaultlab_formats::{checkpoint::CheckpointError, config::ConfigError};
use vaultlab_privacy::session::PrivacyError;

/// Why the engine could not do what it was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// No usable adapter.
    #[error("no usable WebGPU or Vulkan adapter: {0}")]
    NoGpu(String),
    /// The device was lost or a dispatch failed.
    #[error("the GPU stopped working: {0}")]
    DeviceLost(String),
    /// More memory than the device grants.
    #[error("{0}")]
    OutOfMemory(String),
    /// A model's configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint cannot be used.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// Model files are missing or contradict each other.
    #[error("{0}")]
    Model(String),
    /// A tokenizer cannot be used.
    #[error("{0}")]
    Tokenizer(String),
    /// An adapter cannot be used.
    #[error("{0}")]
    Adapter(String),
    /// A data file cannot be used.
    #[error("{0}")]
    Data(String),
    /// A setting is out of range.
    #[error("{0}")]
    Settings(String),
    /// A training checkpoint cannot be used.
    #[error("{0}")]
    Resume(String),
    /// Accounting, sampling or the ledger refused.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// A source of bytes failed.
    #[error("{0}")]
    Source(String),
    /// Something else must be loaded first.
    #[error("{0}")]
    NotReady(String),
    /// The visitor cancelled the job.
    #[error("cancelled")]
    Cancelled,
}
