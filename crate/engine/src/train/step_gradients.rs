use vaultlab_formats::examples::Example;

use super::trainer::TrainingData;
use super::{Accumulator, BatchReadings, RowDropout, gradient_sum};
use crate::EngineError;
use crate::device::MemoryMeter;
use crate::lora::LoraLayout;
use crate::model::Decoder;

/// What a step's gradient is computed from.
pub(super) struct StepGradients<'s> {
    pub model: &'s Decoder,
    pub data: &'s TrainingData,
    pub layout: &'s LoraLayout,
    pub parameters: &'s [f32],
    pub micro_batch: usize,
    pub dropout: f32,
    pub dropout_key: u32,
    pub memory: &'s mut MemoryMeter,
}

impl StepGradients<'_> {
    /// Sums the gradients of these rows into `accumulator`.
    pub async fn sum<A: Accumulator, P: AsyncFnMut() -> Result<(), EngineError>>(
        &mut self,
        rows: &[usize],
        accumulator: &mut A,
        pause: P,
    ) -> Result<BatchReadings, EngineError> {
        let examples: Vec<&Example> = rows.iter().map(|&row| &self.data.train[row]).collect();
        // Keyed by the row's own index, so that its mask does not depend on the other rows drawn.
        let seeds: Vec<u32> = rows
            .iter()
            .map(|&row| (self.dropout_key ^ row as u32).wrapping_mul(0x27d4_eb2f))
            .collect();
        let dropout = (self.dropout > 0.0).then_some(RowDropout {
            seeds: &seeds,
            probability: self.dropout,
        });
        gradient_sum(
            self.model,
            self.layout,
            self.parameters,
            &examples,
            self.micro_batch,
            accumulator,
            dropout.as_ref(),
            self.memory,
            pause,
        )
        .await
    }
}
