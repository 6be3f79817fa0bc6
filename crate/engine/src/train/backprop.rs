//! Per-example LoRA gradients with checkpointing by block.
//!
//! The forward pass keeps only each block's input. The backward pass takes the blocks in reverse, runs each one
//! again under burn's autodiff and feeds it the gradient of its output; so one block's activations exist at a time.
//! An encoder goes first and comes last: its gradient is the sum of what the decoder's blocks give its states.
//! Every example has adapter factors of its own, so the gradients of these leaves are the per-example gradients.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use vaultlab_formats::examples::{IGNORED, MicroBatch};

use crate::lora::{BlockLora, DeviceAdapter, Dropout, LoraLayout, LoraPair};
use crate::model::{BlockContext, Decoder, Encoded, Stack};
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
    let source_lengths: Arc<[u32]> = batch.source.lengths.as_slice().into();
    let encoder = model.encoder.as_ref().map(|stack| StackPass {
        stack,
        layout,
        adapter,
        dropout,
        lengths: Some(source_lengths.clone()),
    });
    let decoder = StackPass {
        stack: &model.stack,
        layout,
        adapter,
        dropout,
        lengths: None,
    };

    let mut encoder_inputs = Vec::new();
    let encoder_end = encoder
        .as_ref()
        .map(|pass| pass.forward(&batch.source.ids, batch.rows, None, &mut encoder_inputs));
    let encoded = encoder.as_ref().zip(encoder_end.clone()).map(|(pass, x)| {
        let dims @ [rows, time, hidden] = x.dims();
        Encoded {
            states: pass
                .stack
                .norm(x.reshape([rows * time, hidden]))
                .reshape(dims),
            lengths: Some(source_lengths),
        }
    });
    let mut inputs = Vec::new();
    let x = decoder.forward(&batch.input_ids, batch.rows, encoded.as_ref(), &mut inputs);

    let dims @ [rows, time, hidden] = x.dims();
    let (targets, token_weights) = shifted_targets(batch);
    let targets = Tensor::<1, Int>::from_data(TensorData::from(targets.as_slice()), &device);
    let weights = Tensor::<1>::from_data(TensorData::from(token_weights.as_slice()), &device);
    let x = x.reshape([rows * time, hidden]).autodiff().require_grad();
    let normed = model.stack.norm(x.clone());
    let (token_losses, d_normed) = ops::cross_entropy(
        normed.clone().without_autodiff(),
        model.output_table(),
        targets,
        weights,
        model.final_soft_cap(),
        true,
    );
    let d_normed = d_normed.expect("the gradient was asked for");
    let g = pull_back(normed, d_normed, &x).reshape(dims);

    let mut gradients = Vec::with_capacity(2 * layout.modules.len());
    let d_encoded = decoder.backward(inputs, g, encoded.as_ref(), &mut gradients);
    if let (Some(pass), Some(x), Some(d_encoded)) = (encoder, encoder_end, d_encoded) {
        let dims @ [rows, time, hidden] = x.dims();
        let x = x.reshape([rows * time, hidden]).autodiff().require_grad();
        let normed = pass.stack.norm(x.clone());
        let g = pull_back(normed, d_encoded.reshape([rows * time, hidden]), &x).reshape(dims);
        pass.backward(encoder_inputs, g, None, &mut gradients);
    }
    BackwardPass {
        token_losses,
        token_weights,
        gradients,
    }
}

/// One stack in a forward and a backward pass.
struct StackPass<'a> {
    stack: &'a Stack,
    layout: &'a LoraLayout,
    adapter: &'a DeviceAdapter,
    dropout: Option<&'a Dropout>,
    /// For an encoder, the positions of each row before its padding.
    lengths: Option<Arc<[u32]>>,
}

impl StackPass<'_> {
    fn context<'b>(&self, number: usize, encoded: Option<&'b Encoded>) -> BlockContext<'b> {
        BlockContext {
            dropout: self.dropout.map(|dropout| dropout.of_block(number)),
            encoded,
            lengths: self.lengths.clone(),
            ..BlockContext::default()
        }
    }

    /// The output of the last block; keeps each one's input.
    fn forward(
        &self,
        ids: &[u32],
        batch: usize,
        encoded: Option<&Encoded>,
        inputs: &mut Vec<Tensor<3>>,
    ) -> Tensor<3> {
        let x = self.stack.embed(ids, batch);
        let around = |number| self.context(number, encoded);
        self.stack
            .run(x, Some(self.adapter), around, |x| inputs.push(x.clone()))
    }

    /// Takes the gradient of the last block's output down to the first block's input, adding the factors' gradients to
    /// `gradients`; returns the gradient of the encoder's states, if the blocks attend to any.
    fn backward(
        &self,
        mut inputs: Vec<Tensor<3>>,
        mut g: Tensor<3>,
        encoded: Option<&Encoded>,
        gradients: &mut Vec<(usize, Tensor<2>)>,
    ) -> Option<Tensor<3>> {
        let mut d_encoded: Option<Tensor<3>> = None;
        for (number, block, lora) in self.stack.numbered(Some(self.adapter)).rev() {
            let x = inputs
                .pop()
                .expect("one input was kept per block")
                .autodiff()
                .require_grad();
            let leaves = leaves(lora.expect("the adapter has an entry for every block"));
            let encoded = encoded.map(|encoded| Encoded {
                states: encoded.states.clone().autodiff().require_grad(),
                lengths: encoded.lengths.clone(),
            });
            let context = BlockContext {
                lora: Some(&leaves),
                ..self.context(number, encoded.as_ref())
            };
            let y = block.forward(x.clone(), context);
            let grads = (y * g).sum().backward();
            let modules = self.layout.modules.iter();
            for module in modules.filter(|module| module.block == number) {
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
            if let Some(encoded) = encoded {
                let of_block = encoded
                    .states
                    .grad(&grads)
                    .expect("the block attends to the encoder");
                d_encoded = Some(match d_encoded {
                    Some(sum) => sum + of_block,
                    None => of_block,
                });
            }
            g = x.grad(&grads).expect("the block's input takes part in it");
        }
        d_encoded
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
