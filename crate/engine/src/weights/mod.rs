//! Streams a checkpoint's tensors into device buffers, quantising as they pass.
//!
//! One tensor is in host memory at a time, and of it only the pieces that are being converted and the values
//! that are about to be uploaded.

mod load;
mod source;

pub use load::{LoadProgress, load_decoder};
pub use source::{ByteSource, MemorySource, ModelFiles, read_all};
