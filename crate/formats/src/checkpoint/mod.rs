//! safetensors checkpoints: headers, shards, conversion to f32, and a writer.
//!
//! Offsets are 64-bit here. The `safetensors` crate reads them as `usize`, which has 32 bits in a
//! browser, where files beyond 4 GiB are streamed; its types and its writer are used.

mod convert;
mod error;
mod header;
mod index;
mod layout;
mod write;

pub use convert::{FloatChunks, to_f32};
pub use error::CheckpointError;
pub use header::{Header, TensorEntry};
pub use index::ShardIndex;
pub use layout::{Layout, Storage, StoredTensor};
pub use safetensors::Dtype;
pub use write::{F32Tensor, write_f32};
