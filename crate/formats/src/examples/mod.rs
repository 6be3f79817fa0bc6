//! Rows to token sequences, micro-batches and a held-out split.

mod batch;
mod encode;
mod split;

pub use batch::{MicroBatch, PaddedIds};
pub use encode::{Encoded, Example, IGNORED, SkipReason, encode_row, encode_translation};
pub use split::{Split, canonical, split_held_out};

/// One training row before tokenisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// What the model is given; `None` for plain text, which is learnt as it stands.
    pub prompt: Option<String>,
    /// What it learns to answer.
    pub response: String,
}
