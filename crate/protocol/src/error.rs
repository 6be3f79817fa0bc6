use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Stable error codes; the page maps them to help texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// No usable GPU adapter where one was asked for.
    NoGpu,
    /// The GPU device was lost; tensors on it are gone.
    DeviceLost,
    /// The device refused an allocation or a binding is too large.
    OutOfMemory,
    /// A model file is missing, truncated, or not what its config says.
    BadModel,
    /// A tokenizer file cannot be read.
    BadTokenizer,
    /// An adapter is damaged, foreign, or does not fit the model.
    BadAdapter,
    /// The data file cannot be read as a table of rows.
    BadData,
    /// A setting is out of range or contradicts another.
    BadSettings,
    /// The privacy budget of these rows is spent.
    BudgetSpent,
    /// The ledger or a checkpoint could not be written.
    Storage,
    /// A checkpoint does not belong to this model, data or plan.
    BadCheckpoint,
    /// A download failed.
    Network,
    /// The command needs something (model, rows) that is not loaded.
    NotReady,
    /// A defect in VaultLab.
    Internal,
}

/// An error as the page shows it.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReport {
    /// Stable code.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
    /// What was kept (rows, adapter, checkpoint).
    pub kept: String,
    /// What the visitor can do.
    pub advice: String,
}
