use burn::tensor::{Int, Tensor, TensorData};
use vaultlab_formats::examples::{Example, MicroBatch};

use super::backprop::shifted_targets;
use super::gradient_sum::read;
use crate::lora::DeviceAdapter;
use crate::model::Decoder;
use crate::{EngineError, ops};

/// Loss of each example summed over its own target tokens, in nats and in the order given: minus the
/// log-probability of its response. Examples share forward passes of `rows_at_once`.
///
/// # Errors
/// What `pause`, awaited between forward passes with the number of rows computed, returns, and a failed
/// read-back.
pub async fn row_losses<P: AsyncFnMut(usize) -> Result<(), EngineError>>(
    model: &Decoder,
    adapter: Option<&DeviceAdapter>,
    examples: &[&Example],
    rows_at_once: usize,
    mut pause: P,
) -> Result<Vec<f64>, EngineError> {
    let device = model.device();
    // Examples of like length share a pass, which saves padding.
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&i| examples[i].source.len() + examples[i].ids.len());
    let mut losses = vec![0.0; examples.len()];
    let mut done = 0;
    for chunk in order.chunks(rows_at_once.max(1)) {
        let rows: Vec<&Example> = chunk.iter().map(|&i| examples[i]).collect();
        let batch = MicroBatch::new(&rows, rows.len(), model.config.pad.unwrap_or(0));
        let (targets, _) = shifted_targets(&batch);
        // Most positions are prompt or padding: only where there is a target, the vocabulary is looked at.
        let positions: Vec<i32> = (0_i32..)
            .zip(&targets)
            .filter(|&(_, &target)| target >= 0)
            .map(|(position, _)| position)
            .collect();
        done += rows.len();
        if positions.is_empty() {
            continue;
        }
        let wanted: Vec<i32> = positions.iter().map(|&p| targets[p as usize]).collect();
        let encoded = model.encode(&batch.source, adapter);
        let states = model
            .last_hidden(&batch.input_ids, batch.rows, encoded.as_ref(), adapter)
            .select(
                0,
                Tensor::<1, Int>::from_data(TensorData::from(positions.as_slice()), &device),
            );
        let (token_losses, _) = ops::cross_entropy(
            states,
            model.output_table(),
            Tensor::<1, Int>::from_data(TensorData::from(wanted.as_slice()), &device),
            Tensor::<1>::ones([wanted.len()], &device),
            model.final_soft_cap(),
            false,
        );
        for (&position, loss) in positions.iter().zip(read(token_losses).await?) {
            losses[chunk[position as usize / batch.width]] += f64::from(loss);
        }
        pause(done).await?;
    }
    Ok(losses)
}

/// Each example's loss with the adapter off less its loss with it on: what training did for it, compared
/// with what the base model made of it anyway. Positive where the adapter made it likelier.
///
/// # Errors
/// As [`row_losses`]; rows count once with the adapter off and once with it on.
pub async fn calibrated_scores<P: AsyncFnMut(usize) -> Result<(), EngineError>>(
    model: &Decoder,
    adapter: &DeviceAdapter,
    examples: &[&Example],
    rows_at_once: usize,
    mut pause: P,
) -> Result<Vec<f64>, EngineError> {
    let off = row_losses(model, None, examples, rows_at_once, &mut pause).await?;
    let before = examples.len();
    let on = row_losses(model, Some(adapter), examples, rows_at_once, async |done| {
        pause(before + done).await
    });
    let on = on.await?;
    Ok(off.iter().zip(&on).map(|(off, on)| off - on).collect())
}
