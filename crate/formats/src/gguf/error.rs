use thiserror::Error;

use crate::config::ConfigError;
use crate::sentencepiece::VocabularyError;

/// Why a GGUF file cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum GgufError {
    /// The file starts with something else.
    #[error("this is no GGUF file: it does not start with the letters GGUF")]
    NotGguf,
    /// A version whose layout is not known.
    #[error(
        "GGUF version {version} is not supported; versions 2 and 3 (little-endian) are. Convert the file again with a current llama.cpp"
    )]
    Version {
        /// Version read.
        version: u32,
    },
    /// The header does not end within the bytes given, or within the limit.
    #[error("the GGUF header is cut off or longer than {limit} bytes; download the file again")]
    HeaderTooLong {
        /// Most bytes a header may have.
        limit: u64,
    },
    /// The header is inconsistent.
    #[error("the GGUF header is damaged at byte {offset}: {detail}")]
    BadHeader {
        /// Where, from the start of the file.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// A tensor's entry is wrong.
    #[error("tensor `{name}` is damaged in the GGUF header: {detail}")]
    BadTensor {
        /// Name in the file.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A tensor type that cannot be dequantised here.
    #[error(
        "tensor `{name}` is stored as {kind}, which is not supported; take a Q4_0, Q8_0, Q4_K, Q6_K, BF16 or F16 file of the model"
    )]
    UnsupportedType {
        /// Name in the file.
        name: String,
        /// The type's name, or its number if it has none.
        kind: String,
    },
    /// A metadata key the model needs is missing.
    #[error(
        "the GGUF metadata has no `{key}`, which the computation depends on; convert the model again with a current llama.cpp"
    )]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value of the wrong type or range.
    #[error("GGUF metadata: `{key}` must be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A model, tokenizer or file arrangement that is not supported.
    #[error("GGUF metadata: `{key}` = {value} is not supported; {advice}")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What would work.
        advice: &'static str,
    },
    /// The metadata, read as a configuration, do not describe a model.
    #[error("the GGUF metadata, read as the model's config.json, are refused: {0}")]
    Config(#[from] ConfigError),
    /// The vocabulary inside cannot be used.
    #[error("the tokenizer inside the GGUF file: {0}")]
    Vocabulary(#[from] VocabularyError),
    /// A tensor that belongs to no Gemma model.
    #[error("tensor `{name}` has no place in a {architecture} model; the file holds another one")]
    ForeignTensor {
        /// Name in the file.
        name: String,
        /// `general.architecture`.
        architecture: String,
    },
    /// A tensor the model needs is missing.
    #[error("the GGUF file has no tensor for `{name}`; it is incomplete")]
    MissingTensor {
        /// Name in a checkpoint.
        name: String,
    },
    /// A tensor of another shape than the metadata say.
    #[error("tensor `{name}` has shape {found:?}, but the metadata need {expected:?}")]
    WrongShape {
        /// Name in the file.
        name: String,
        /// Row-major shape in the file.
        found: Vec<u64>,
        /// Shape needed.
        expected: Vec<usize>,
    },
    /// Bytes end inside a block of values.
    #[error("{bytes} bytes are left over after whole {kind} blocks; the tensor is cut off")]
    PartialBlock {
        /// Tensor type.
        kind: &'static str,
        /// Bytes left over.
        bytes: usize,
    },
    /// The file is shorter than its header says.
    #[error("the file has {found} bytes, but its header describes {expected}; download it again")]
    WrongLength {
        /// Bytes the header describes.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
}
