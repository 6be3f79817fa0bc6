use burn::tensor::{Tensor, TensorData};
use vaultlab_formats::examples::{Example, MicroBatch};

use super::backprop::backward;
use crate::device::MemoryMeter;
use crate::lora::{Dropout, LoraLayout};
use crate::model::Decoder;
use crate::{EngineError, ops};

/// What happens to each example's gradient before it is summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clipping {
    /// Scaled down to this L2 norm over all LoRA parameters together.
    To(f64),
    /// Summed as it is: without privacy.
    None,
}

/// The sum over a logical batch, and what was seen on the way. Only the sum is ever released, and only noised.
#[derive(Clone, Debug)]
pub struct GradientSum {
    /// One value per LoRA parameter.
    pub sum: Vec<f32>,
    /// Mean loss over each example's own target tokens.
    pub losses: Vec<f64>,
    /// L2 norm of each example's gradient before clipping; not finite where the gradient is not.
    pub norms: Vec<f64>,
    /// Tokens computed, padding left out.
    pub tokens: u64,
    /// L2 norm of the sum. For display.
    pub signal_norm: f64,
}

impl GradientSum {
    /// Examples whose gradient counted as zero because it was not finite.
    pub fn non_finite(&self) -> u32 {
        self.norms.iter().filter(|norm| !norm.is_finite()).count() as u32
    }
}

/// Sums the examples' gradients through micro-batches of `micro_batch`, padded with masked rows.
///
/// `pause` is awaited between micro-batches so that the caller's messages get through; its error ends the sum.
///
/// # Errors
/// What `pause` returns, and a failed read-back.
#[allow(
    clippy::too_many_arguments,
    reason = "one call site; each is a different thing"
)]
pub async fn gradient_sum<P: AsyncFnMut() -> Result<(), EngineError>>(
    model: &Decoder,
    layout: &LoraLayout,
    parameters: &[f32],
    examples: &[&Example],
    micro_batch: usize,
    clipping: Clipping,
    dropout: Option<&RowDropout<'_>>,
    memory: &mut MemoryMeter,
    mut pause: P,
) -> Result<GradientSum, EngineError> {
    let device = model.device();
    // Examples of like length share a micro-batch, which saves padding; the sum does not depend on the order.
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&i| examples[i].ids.len());

    let mut sum = Tensor::<1>::zeros([layout.parameters()], &device);
    let mut losses = vec![0.0; examples.len()];
    let mut norms = vec![0.0; examples.len()];
    let adapter = layout.upload_groups(parameters, micro_batch, &device);
    for chunk in order.chunks(micro_batch) {
        let rows: Vec<&Example> = chunk.iter().map(|&i| examples[i]).collect();
        let batch = MicroBatch::new(&rows, micro_batch, model.config.pad.unwrap_or(0));
        let dropout = dropout.map(|dropout| dropout.of_rows(chunk, micro_batch));
        let pass = backward(model, layout, &adapter, &batch, dropout.as_ref());
        memory.sample(&device);

        let squares = squared_norms(&pass.gradients, micro_batch).await?;
        let mut factors = vec![0.0f32; micro_batch];
        for (row, &i) in chunk.iter().enumerate() {
            norms[i] = squares[row].exact.sqrt();
            factors[row] = clipping.factor(squares[row].at_most.sqrt());
        }
        let factors = Tensor::<1>::from_data(TensorData::from(factors.as_slice()), &device);
        for (first, gradient) in pass.gradients {
            sum = ops::clip_accumulate(sum, gradient, factors.clone(), first);
        }

        let token_losses = read(pass.token_losses).await?;
        for (row, &i) in chunk.iter().enumerate() {
            let range = row * batch.width..(row + 1) * batch.width;
            losses[i] = token_losses[range.clone()]
                .iter()
                .zip(&pass.token_weights[range])
                .map(|(&loss, &weight)| f64::from(loss) * f64::from(weight))
                .sum();
        }
        pause().await?;
    }
    let sum = read(sum).await?;
    Ok(GradientSum {
        signal_norm: l2_norm(&sum),
        sum,
        losses,
        norms,
        tokens: examples
            .iter()
            .map(|example| example.ids.len() as u64)
            .sum(),
    })
}

fn l2_norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum::<f64>()
        .sqrt()
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

impl Clipping {
    /// The factor for a gradient of at most this norm; 0 leaves it out.
    fn factor(self, norm_at_most: f64) -> f32 {
        match self {
            _ if !norm_at_most.is_finite() => 0.0,
            Self::None => 1.0,
            Self::To(clip) if norm_at_most <= clip => 1.0,
            // Rounded towards zero, so that the product cannot exceed C by the factor's own rounding.
            Self::To(clip) => {
                let exact = clip / norm_at_most;
                let rounded = exact as f32;
                if f64::from(rounded) > exact {
                    rounded.next_down()
                } else {
                    rounded
                }
            }
        }
    }
}

/// A squared norm as computed, and a bound on the true one.
#[derive(Clone, Copy, Default)]
struct SquaredNorm {
    exact: f64,
    at_most: f64,
}

/// Squared norm of each example's gradient over all factors.
async fn squared_norms(
    gradients: &[(usize, Tensor<2>)],
    examples: usize,
) -> Result<Vec<SquaredNorm>, EngineError> {
    let mut norms = vec![SquaredNorm::default(); examples];
    let Some((_, any)) = gradients.first() else {
        return Ok(norms);
    };
    if !ops::is_gpu(&any.device()) {
        // The values are in host memory: sum them in f64.
        for (_, gradient) in gradients {
            let [_, length] = gradient.dims();
            let values = read(gradient.clone()).await?;
            for (norm, row) in norms.iter_mut().zip(values.chunks(length)) {
                norm.exact += row
                    .iter()
                    .map(|&g| f64::from(g) * f64::from(g))
                    .sum::<f64>();
                norm.at_most = norm.exact;
            }
        }
        return Ok(norms);
    }
    let mut bounds = Vec::with_capacity(gradients.len());
    let mut columns = Vec::with_capacity(gradients.len());
    for (_, gradient) in gradients {
        let [_, length] = gradient.dims();
        // The kernel adds length / 256 squares one by one, then eight levels of a tree; each rounds by 2^-24.
        bounds.push(1.0 + (length.div_ceil(256) + 10) as f64 * 2f64.powi(-23));
        columns.push(ops::squared_norms(gradient.clone()));
    }
    let factors = columns.len();
    let values = read(Tensor::cat(columns, 0)).await?;
    for factor in 0..factors {
        for (example, norm) in norms.iter_mut().enumerate() {
            let square = f64::from(values[factor * examples + example]);
            norm.exact += square;
            norm.at_most += square * bounds[factor];
        }
    }
    Ok(norms)
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
