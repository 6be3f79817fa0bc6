//! Per-example LoRA gradients with checkpointing by block.
//!
//! The forward pass keeps only each block's input. The backward pass takes the blocks in reverse, runs each one
//! again under burn's autodiff and feeds it the gradient of its output; so one block's activations exist at a time.
//! Every example has adapter factors of its own, so the gradients of these leaves are the per-example gradients.

use burn::tensor::{Int, Tensor, TensorData};
use vaultlab_formats::examples::{IGNORED, MicroBatch};

use crate::lora::{BlockLora, DeviceAdapter, Dropout, LoraLayout, LoraPair};
use crate::model::{BlockContext, Decoder};
use crate::ops;

/// What one micro-batch gives.
pub struct BackwardPass {
    /// Loss of every position, `[examples · time]`; 0 where masked.
    pub token_losses: Tensor<1>,
    /// Weight of every position in its example's mean loss, in the same order.
    pub token_weights: Vec<f32>,
    /// For each factor: its first index in the flat parameter vector, and its gradient `[examples, length]`.
    pub gradients: Vec<(usize, Tensor<2>)>,
}

/// Targets and weights of a micro-batch: position t predicts label t + 1; an example's weights average over its own
/// target tokens.
pub(super) fn shifted_targets(batch: &MicroBatch) -> (Vec<i32>, Vec<f32>) {
    let mut targets = vec![IGNORED; batch.rows * batch.width];
    let mut weights = vec![0.0; targets.len()];
    for row in 0..batch.rows {
        let start = row * batch.width;
        let labels = &batch.labels[start..start + batch.width];
        let shifted = labels.get(1..).unwrap_or_default();
        targets[start..start + shifted.len()].copy_from_slice(shifted);
        let count = shifted.iter().filter(|&&label| label >= 0).count();
        if count > 0 {
            weights[start..start + batch.width].fill(1.0 / count as f32);
        }
    }
    (targets, weights)
}

/// Losses and per-example gradients of a micro-batch. `adapter` holds one group per example of the batch.
pub fn backward(
    model: &Decoder,
    layout: &LoraLayout,
    adapter: &DeviceAdapter,
    batch: &MicroBatch,
    dropout: Option<&Dropout>,
) -> BackwardPass {
    let device = model.device();
    let block_dropout = |index| dropout.map(|dropout| dropout.of_block(index));

    let mut inputs = Vec::with_capacity(model.blocks.len());
    let mut x = model.embed(&batch.input_ids, batch.rows);
    for (index, block) in model.blocks.iter().enumerate() {
        inputs.push(x.clone());
        let context = BlockContext {
            lora: Some(&adapter.blocks[index]),
            dropout: block_dropout(index),
            cache: None,
        };
        x = block.forward(x, context);
    }

    let dims @ [rows, time, hidden] = x.dims();
    let (targets, token_weights) = shifted_targets(batch);
    let targets = Tensor::<1, Int>::from_data(TensorData::from(targets.as_slice()), &device);
    let weights = Tensor::<1>::from_data(TensorData::from(token_weights.as_slice()), &device);
    let x = x.reshape([rows * time, hidden]).autodiff().require_grad();
    let normed = model.norm(x.clone());
    let (token_losses, d_normed) = ops::cross_entropy(
        normed.clone().without_autodiff(),
        model.output_table(),
        targets,
        weights,
        model.final_soft_cap(),
        true,
    );
    let d_normed = d_normed.expect("the gradient was asked for");
    let mut g = pull_back(normed, d_normed, &x).reshape(dims);

    let mut gradients = Vec::with_capacity(2 * layout.modules.len());
    for (index, block) in model.blocks.iter().enumerate().rev() {
        let x = inputs
            .pop()
            .expect("one input was kept per block")
            .autodiff()
            .require_grad();
        let leaves = leaves(&adapter.blocks[index]);
        let context = BlockContext {
            lora: Some(&leaves),
            dropout: block_dropout(index),
            cache: None,
        };
        let y = block.forward(x.clone(), context);
        let grads = (y * g).sum().backward();
        for module in layout.modules.iter().filter(|module| module.block == index) {
            let pair = leaves.pairs[module.projection]
                .as_ref()
                .expect("the layout names this projection");
            for (first, leaf) in [(module.first, &pair.a), (module.b_first(), &pair.b)] {
                let [examples, n, m] = leaf.dims();
                let gradient = leaf
                    .grad(&grads)
                    .expect("every factor takes part in the block");
                gradients.push((first, gradient.reshape([examples, n * m])));
            }
        }
        g = x.grad(&grads).expect("the block's input takes part in it");
    }
    BackwardPass {
        token_losses,
        token_weights,
        gradients,
    }
}

/// The gradient of x, given that of `y`, a function of it.
fn pull_back<const D: usize>(y: Tensor<D>, dy: Tensor<D>, x: &Tensor<D>) -> Tensor<D> {
    let grads = (y * dy).sum().backward();
    x.grad(&grads).expect("y is a function of x")
}

/// The block's factors as leaves of a new autodiff graph.
fn leaves(block: &BlockLora) -> BlockLora {
    BlockLora {
        pairs: block.pairs.clone().map(|pair| {
            pair.map(|pair| LoraPair {
                a: pair.a.autodiff().require_grad(),
                b: pair.b.autodiff().require_grad(),
                scale: pair.scale,
            })
        }),
    }
}
