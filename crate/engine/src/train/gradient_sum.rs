use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use vaultlab_formats::examples::{Example, MicroBatch};

use super::Accumulator;
use super::backprop::backward;
use crate::device::MemoryMeter;
use crate::lora::{Dropout, LoraLayout};
use crate::model::Decoder;
use crate::{EngineError, ops};

/// What was seen while a logical batch's gradients were summed. Not covered by ε: for the owner of the rows.
#[derive(Clone, Debug)]
pub struct BatchReadings {
    /// Mean loss over each example's own target tokens.
    pub losses: Vec<f64>,
    /// L2 norm of each example's gradient before clipping; not finite where the gradient counted as zero.
    pub norms: Vec<f64>,
    /// Tokens computed, padding left out.
    pub tokens: u64,
}

impl BatchReadings {
    /// Examples whose gradient counted as zero because it was not finite.
    pub fn non_finite(&self) -> u32 {
        self.norms.iter().filter(|norm| !norm.is_finite()).count() as u32
    }
}

/// Sums the examples' gradients into `accumulator`, on the GPU through micro-batches of `micro_batch`, padded with
/// masked rows, on the CPU device one by one.
///
/// `pause` is awaited between micro-batches so that the caller's messages get through; its error ends the sum.
///
/// # Errors
/// What `pause` returns, and a failed read-back.
#[allow(
    clippy::too_many_arguments,
    reason = "one call site; each is a different thing"
)]
pub async fn gradient_sum<A: Accumulator, P: AsyncFnMut() -> Result<(), EngineError>>(
    model: &Decoder,
    layout: &LoraLayout,
    parameters: &[f32],
    examples: &[&Example],
    micro_batch: usize,
    accumulator: &mut A,
    dropout: Option<&RowDropout<'_>>,
    memory: &mut MemoryMeter,
    mut pause: P,
) -> Result<BatchReadings, EngineError> {
    let device = model.device();
    let mut losses = vec![0.0; examples.len()];
    let mut norms = vec![0.0; examples.len()];
    let mut adapters = BTreeMap::new();
    for Share { members, rows } in shares(examples, micro_batch, &device) {
        let adapter = adapters
            .entry(rows)
            .or_insert_with(|| layout.upload_groups(parameters, rows, &device));
        let texts: Vec<&Example> = members.iter().map(|&i| examples[i]).collect();
        let batch = MicroBatch::new(&texts, rows, model.config.pad.unwrap_or(0));
        let dropout = dropout.map(|dropout| dropout.of_rows(&members, rows));
        let pass = backward(model, layout, adapter, &batch, dropout.as_ref());
        memory.sample(&device);

        let batch_norms = accumulator.add(pass.gradients, rows).await?;
        let token_losses = read(pass.token_losses).await?;
        for (row, &i) in members.iter().enumerate() {
            norms[i] = batch_norms[row];
            let range = row * batch.width..(row + 1) * batch.width;
            losses[i] = token_losses[range.clone()]
                .iter()
                .zip(&pass.token_weights[range])
                .map(|(&loss, &weight)| f64::from(loss) * f64::from(weight))
                .sum();
        }
        pause().await?;
    }
    Ok(BatchReadings {
        losses,
        norms,
        tokens: examples
            .iter()
            .map(|example| (example.source.len() + example.ids.len()) as u64)
            .sum(),
    })
}

/// The examples of one micro-batch.
struct Share {
    /// Which of the logical batch's examples.
    members: Vec<usize>,
    /// Rows computed, masked filler rows included.
    rows: usize,
}

/// Splits a logical batch into micro-batches of examples of like length, which saves padding.
///
/// An example's gradient must not depend on the others of its micro-batch, not even in its last bit: the sensitivity
/// of a private sum counts one row. The GPU kernels add in an order of each output's own, whatever the widths and the
/// rows, so there every micro-batch may have the shape that suits the device. On the CPU device the order of a sum
/// depends on the sizes of the whole product, down to the remainder of a chunk of logits, so there every example is
/// computed alone. (`tests/batch_mates.rs`.)
fn shares(examples: &[&Example], micro_batch: usize, device: &Device) -> Vec<Share> {
    let (at_once, filled) = match ops::is_gpu(device) {
        // One shape, so that buffers are used again.
        true => (micro_batch, micro_batch),
        false => (1, 1),
    };
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&i| examples[i].source.len() + examples[i].ids.len());
    order
        .chunks(at_once)
        .map(|members| Share {
            members: members.to_vec(),
            rows: filled,
        })
        .collect()
}

/// Dropout of a logical batch: each example's mask follows from the seed given for it.
#[derive(Clone, Copy, Debug)]
pub struct RowDropout<'a> {
    /// One seed per example of the batch.
    pub seeds: &'a [u32],
    /// Share of entries dropped.
    pub probability: f32,
}

impl RowDropout<'_> {
    /// The dropout of some examples, padded with masked rows to `rows`.
    fn of_rows(&self, examples: &[usize], rows: usize) -> Dropout {
        let mut seeds: Vec<u32> = examples.iter().map(|&i| self.seeds[i]).collect();
        seeds.resize(rows, 0);
        Dropout::new(seeds, self.probability)
    }
}

/// Reads a tensor back.
///
/// # Errors
/// [`EngineError::DeviceLost`].
pub async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EngineError> {
    let data = tensor
        .into_data_async()
        .await
        .map_err(|error| EngineError::DeviceLost(format!("reading results failed: {error:?}")))?;
    data.try_into_vec::<f32>().map_err(|error| {
        EngineError::DeviceLost(format!("results came back in another type: {error:?}"))
    })
}
