//! Descriptions of model files that can be shown or serialised: what they hold, and what a model will
//! need, from headers alone.

mod adapter;
mod model;
mod tokenizer;

pub use adapter::{AdapterDescription, adapter};
pub use model::{Dimensions, MemoryNeeds, ModelDescription, StoredAs, gguf, safetensors};
pub use tokenizer::{TokenizerDescription, tokenizer_json, tokenizer_model};

use serde::Serialize;

/// What a file or folder holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Description {
    /// A checkpoint, in safetensors or GGUF.
    Model(Box<ModelDescription>),
    /// A LoRA adapter.
    Adapter(Box<AdapterDescription>),
    /// A tokenizer alone.
    Tokenizer(TokenizerDescription),
}
