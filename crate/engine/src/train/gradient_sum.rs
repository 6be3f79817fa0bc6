use burn::tensor::Tensor;
use vaultlab_formats::examples::{Example, MicroBatch};

use super::Accumulator;
use super::backprop::backward;
use crate::EngineError;
use crate::device::MemoryMeter;
use crate::lora::{Dropout, LoraLayout};
use crate::model::Decoder;

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

/// Sums the examples' gradients into `accumulator`, through micro-batches of `micro_batch`, padded with masked rows.
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
    // Examples of like length share a micro-batch, which saves padding; the sum does not depend on the order.
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&i| examples[i].ids.len());

    let mut losses = vec![0.0; examples.len()];
    let mut norms = vec![0.0; examples.len()];
    let adapter = layout.upload_groups(parameters, micro_batch, &device);
    for chunk in order.chunks(micro_batch) {
        let rows: Vec<&Example> = chunk.iter().map(|&i| examples[i]).collect();
        let batch = MicroBatch::new(&rows, micro_batch, model.config.pad.unwrap_or(0));
        let dropout = dropout.map(|dropout| dropout.of_rows(chunk, micro_batch));
        let pass = backward(model, layout, &adapter, &batch, dropout.as_ref());
        memory.sample(&device);

        let batch_norms = accumulator.add(pass.gradients, micro_batch).await?;
        let token_losses = read(pass.token_losses).await?;
        for (row, &i) in chunk.iter().enumerate() {
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
            .map(|example| example.ids.len() as u64)
            .sum(),
    })
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
