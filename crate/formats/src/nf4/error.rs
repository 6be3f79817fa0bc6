use thiserror::Error;

/// Why a tensor cannot be quantised, or a quantised one not be read.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Nf4Error {
    /// A weight is NaN or infinite.
    #[error("value {index} of the tensor is not finite; the checkpoint is damaged")]
    NotFinite {
        /// Row-major index.
        index: usize,
    },
    /// More or fewer entries than the shape needs.
    #[error("the quantised tensor's `{part}` has {found} entries, but its shape needs {expected}")]
    WrongLength {
        /// Which part: values, packed, absmax, nested_absmax, quant_map or nested_quant_map.
        part: &'static str,
        /// Entries found.
        found: usize,
        /// Entries needed.
        expected: usize,
    },
    /// The shape's product overflows.
    #[error("a tensor of shape {shape:?} is too large")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// The `quant_state` JSON of a bitsandbytes checkpoint is damaged.
    #[error("the bitsandbytes quant_state is damaged: {detail}")]
    BadState {
        /// What is wrong.
        detail: String,
    },
    /// A bitsandbytes setting other than the one supported.
    #[error("bitsandbytes {key} = {value} is not supported; {expected} is")]
    Unsupported {
        /// Which setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// The supported value.
        expected: &'static str,
    },
    /// A code table differs from the standard one.
    #[error("the checkpoint's `{part}` is not the standard NF4 table")]
    ForeignTable {
        /// quant_map or nested_quant_map.
        part: &'static str,
    },
}
