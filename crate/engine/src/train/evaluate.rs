use burn::tensor::{Int, Tensor, TensorData};
use vaultlab_formats::examples::{Example, MicroBatch};

use super::backprop::shifted_targets;
use super::gradient_sum::read;
use crate::lora::DeviceAdapter;
use crate::model::Decoder;
use crate::{EngineError, ops};

/// Mean loss per target token over `examples`; `None` without any target.
///
/// # Errors
/// What `pause`, awaited between micro-batches, returns, and a failed read-back.
pub async fn held_out_loss<P: AsyncFnMut() -> Result<(), EngineError>>(
    model: &Decoder,
    adapter: Option<&DeviceAdapter>,
    examples: &[&Example],
    micro_batch: usize,
    mut pause: P,
) -> Result<Option<f64>, EngineError> {
    let device = model.device();
    let mut order: Vec<&Example> = examples.to_vec();
    order.sort_by_key(|example| example.source.len() + example.ids.len());
    let (mut total, mut count) = (0.0, 0usize);
    for chunk in order.chunks(micro_batch) {
        let batch = MicroBatch::new(chunk, chunk.len(), model.config.pad.unwrap_or(0));
        let encoded = model.encode(&batch.source, adapter);
        let states = model.last_hidden(&batch.input_ids, batch.rows, encoded.as_ref(), adapter);
        let (targets, weights) = shifted_targets(&batch);
        count += targets.iter().filter(|&&target| target >= 0).count();
        let targets = Tensor::<1, Int>::from_data(TensorData::from(targets.as_slice()), &device);
        let weights = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), &device);
        let (losses, _) = ops::cross_entropy(
            states,
            model.output_table(),
            targets,
            weights,
            model.final_soft_cap(),
            false,
        );
        total += read(losses)
            .await?
            .iter()
            .map(|&loss| f64::from(loss))
            .sum::<f64>();
        pause().await?;
    }
    Ok((count > 0).then(|| total / count as f64))
}
