use safetensors::Dtype;
use thiserror::Error;

/// Why a safetensors file cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CheckpointError {
    /// Fewer bytes than the header needs.
    #[error(
        "the safetensors header needs {needed} bytes and only {found} are there; the file is cut off"
    )]
    Truncated {
        /// Bytes needed.
        needed: u64,
        /// Bytes found.
        found: u64,
    },
    /// The header length field is implausible; usually another kind of file.
    #[error(
        "this is no safetensors file: its header would have {length} bytes (at most 100000000 are allowed)"
    )]
    NotSafetensors {
        /// Length read from the first eight bytes.
        length: u64,
    },
    /// The header is no JSON of the right form.
    #[error("the safetensors header is damaged ({detail}); download the file again")]
    BadHeader {
        /// What is wrong.
        detail: String,
    },
    /// A tensor's entry is wrong.
    #[error("tensor `{name}` is damaged in the header: {detail}")]
    BadTensor {
        /// Tensor name.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// The file is shorter or longer than its header says.
    #[error("the file has {found} bytes, but its header describes {expected}; download it again")]
    WrongLength {
        /// Bytes the header describes.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A tensor the caller needs is missing.
    #[error("the checkpoint has no tensor `{name}`; it belongs to another model or is incomplete")]
    MissingTensor {
        /// Tensor name.
        name: String,
    },
    /// A tensor has another shape than the model needs.
    #[error("tensor `{name}` has shape {found:?}, but the model needs {expected:?}")]
    WrongShape {
        /// Tensor name.
        name: String,
        /// Shape in the file.
        found: Vec<u64>,
        /// Shape needed.
        expected: Vec<u64>,
    },
    /// A tensor is stored in a way that cannot be read.
    #[error("tensor `{name}` is stored as {storage}, which is not supported; {advice}")]
    UnsupportedStorage {
        /// Tensor name.
        name: String,
        /// How it is stored.
        storage: String,
        /// What would work.
        advice: &'static str,
    },
    /// A tensor is stored in a type that cannot be read as f32.
    #[error("{dtype} values cannot be read as weights; F32, F16 and BF16 can")]
    NotFloat {
        /// Type found.
        dtype: Dtype,
    },
    /// Bytes end inside a value.
    #[error("{bytes} bytes do not hold whole {dtype} values; the tensor is cut off")]
    PartialValue {
        /// Type of the values.
        dtype: Dtype,
        /// Bytes given.
        bytes: u64,
    },
    /// The shard index is damaged.
    #[error("model.safetensors.index.json is damaged: {detail}")]
    BadIndex {
        /// What is wrong.
        detail: String,
    },
    /// A tensor to be written does not fit its shape.
    #[error("cannot write tensor `{name}`: {detail}")]
    CannotWrite {
        /// Tensor name; empty for the file as a whole.
        name: String,
        /// What is wrong.
        detail: String,
    },
}
