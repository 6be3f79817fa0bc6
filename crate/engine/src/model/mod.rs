//! Configurations to decoder blocks. Model code calls [`crate::ops`], never kernels.

mod block;
mod cache;
mod decoder;
mod matrix;
mod rope;

pub use block::{Block, BlockContext, BlockNorms, BlockShape};
pub use cache::{KvCache, LayerCache};
pub use decoder::Decoder;
pub use matrix::{Matrix, PackedMatrix};
pub use rope::RopeTables;
