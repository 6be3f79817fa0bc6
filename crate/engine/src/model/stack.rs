use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Block, BlockContext};
use crate::lora::{BlockLora, DeviceAdapter};
use crate::ops;

/// Embedding table, blocks and last norm: all of a decoder-only model but its output matrix, or one half of an
/// encoder-decoder.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Embedding table, `[vocabulary, hidden]`.
    pub embedding: Tensor<2>,
    /// Factor on the embeddings, rounded to the checkpoint's type.
    pub embedding_scale: f32,
    /// Blocks in order.
    pub blocks: Vec<Block>,
    /// Number of the first of them in an adapter.
    pub first_block: usize,
    /// Weight of the last RMSNorm, `[hidden]`.
    pub final_norm: Tensor<1>,
    /// RMSNorm's epsilon.
    pub eps: f32,
}

impl Stack {
    /// The device the weights are on.
    pub fn device(&self) -> Device {
        self.final_norm.device()
    }

    /// Scaled embeddings of `ids`, row-major `[batch, time]`; result `[batch, time, hidden]`.
    pub fn embed(&self, ids: &[u32], batch: usize) -> Tensor<3> {
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let time = ids.len() / batch;
        let [_, hidden] = self.embedding.dims();
        let ids = Tensor::<1, Int>::from_data(TensorData::from(ids.as_slice()), &self.device());
        ops::gather_rows(self.embedding.clone(), ids, self.embedding_scale)
            .reshape([batch, time, hidden])
    }

    /// The last RMSNorm, `[rows, hidden]`.
    pub fn norm(&self, x: Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x, self.final_norm.clone(), self.eps)
    }

    /// Each block with its number and its part of the adapter.
    pub fn numbered<'a>(
        &'a self,
        adapter: Option<&'a DeviceAdapter>,
    ) -> impl DoubleEndedIterator<Item = (usize, &'a Block, Option<&'a BlockLora>)> {
        self.blocks.iter().enumerate().map(move |(index, block)| {
            let number = self.first_block + index;
            let lora = adapter.map(|adapter| &adapter.blocks[number]);
            (number, block, lora)
        })
    }

    /// Runs all blocks, showing `before` each one's input; returns the last one's output.
    ///
    /// `around` gives what each block is run with, besides its adapter.
    pub fn run<'a>(
        &'a self,
        mut x: Tensor<3>,
        adapter: Option<&'a DeviceAdapter>,
        around: impl Fn(usize) -> BlockContext<'a>,
        mut before: impl FnMut(&Tensor<3>),
    ) -> Tensor<3> {
        for (number, block, lora) in self.numbered(adapter) {
            before(&x);
            let context = BlockContext {
                lora,
                ..around(number)
            };
            x = block.forward(x, context);
        }
        x
    }
}
