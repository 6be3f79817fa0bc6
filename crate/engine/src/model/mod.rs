//! Configurations to blocks, stacks of them, and models. Model code calls [`crate::ops`], never kernels.

mod block;
mod cache;
mod cross;
mod decoder;
mod matrix;
mod rope;
mod stack;

pub use block::{Block, BlockContext, BlockNorms, BlockShape, MOST_PROJECTIONS};
pub use cache::{KvCache, LayerCache};
pub use cross::{CrossAttention, Encoded};
pub use decoder::Decoder;
pub use matrix::{Matrix, PackedMatrix};
pub use rope::RopeTables;
pub use stack::Stack;
