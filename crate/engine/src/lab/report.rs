use vaultlab_privacy::session::PrivacyError;
use vaultlab_protocol::{ErrorCode, ErrorReport};

use crate::EngineError;

/// An error as the front end shows it: what happened, what was kept, what to do.
pub fn error_report(error: &EngineError) -> ErrorReport {
    let (code, kept, advice) = match error {
        EngineError::NoGpu(_) => (
            ErrorCode::NoGpu,
            "Your rows and adapters are kept.",
            "Choose the CPU device, or open the page in a browser with WebGPU.",
        ),
        EngineError::DeviceLost(_) => (
            ErrorCode::DeviceLost,
            "Your rows, adapters and the last checkpoint are kept; the model must be loaded again.",
            "Open the device again, or choose the CPU; then resume from the checkpoint.",
        ),
        EngineError::OutOfMemory(_) => (
            ErrorCode::OutOfMemory,
            "Your rows, adapters and the last checkpoint are kept.",
            "Use a smaller micro-batch, shorter rows or NF4 weights, or close other tabs that use the GPU.",
        ),
        EngineError::Config(_) | EngineError::Weights(_) | EngineError::Model(_) => (
            ErrorCode::BadModel,
            "What was loaded before is kept.",
            "Take all files from the same repository, and download those again that are damaged.",
        ),
        EngineError::Tokenizer(_) => (
            ErrorCode::BadTokenizer,
            "What was loaded before is kept.",
            "Use the tokenizer.json that was published with the model.",
        ),
        EngineError::Adapter(_) => (
            ErrorCode::BadAdapter,
            "The model and your other adapters are kept.",
            "Load a LoRA adapter that was trained for this model and saved by PEFT.",
        ),
        EngineError::Data(_) => (
            ErrorCode::BadData,
            "The model and your adapters are kept.",
            "Correct the file or the column mapping and try again.",
        ),
        EngineError::Settings(_) => (
            ErrorCode::BadSettings,
            "Nothing was changed.",
            "Change the setting and try again.",
        ),
        EngineError::Resume(_) => (
            ErrorCode::BadCheckpoint,
            "The checkpoint is kept.",
            "Load the model and the rows it was made with, or begin a new run.",
        ),
        EngineError::Privacy(PrivacyError::BudgetSpent { .. }) => (
            ErrorCode::BudgetSpent,
            "Your rows and adapters are kept; no further step was taken.",
            "Raise the budget knowingly, or train on other rows.",
        ),
        EngineError::Privacy(PrivacyError::Ledger(_)) => (
            ErrorCode::Storage,
            "No noisy sum was released without its charge; the last checkpoint is kept.",
            "Free some storage, allow this page to store data, and resume.",
        ),
        EngineError::Privacy(PrivacyError::SumLost(_)) => (
            ErrorCode::DeviceLost,
            "The step was charged and nothing was released; the last checkpoint is kept.",
            "Reload the page and resume; choose a smaller micro-batch if it happens again.",
        ),
        EngineError::Privacy(PrivacyError::NoRandomness(_) | PrivacyError::GridMismatch) => (
            ErrorCode::Internal,
            "No step was taken.",
            "Reload the page; if it happens again, report it.",
        ),
        EngineError::Privacy(_) => (
            ErrorCode::BadSettings,
            "No step was taken.",
            "Change the plan and try again.",
        ),
        EngineError::Source(_) => (
            ErrorCode::Network,
            "What was loaded before is kept.",
            "Check the connection or the file, and try again.",
        ),
        EngineError::NotReady(_) => (
            ErrorCode::NotReady,
            "Nothing was changed.",
            "Load what is missing first.",
        ),
        EngineError::Cancelled => (
            ErrorCode::NotReady,
            "What was loaded before is kept.",
            "Start again when you like.",
        ),
    };
    ErrorReport {
        code,
        message: error.to_string(),
        kept: kept.into(),
        advice: advice.into(),
    }
}
