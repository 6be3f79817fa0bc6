use burn::tensor::Device;
use burn::tensor::{Int, Tensor, TensorData};
use vaultlab_privacy::grid::Grid;
use vaultlab_privacy::noise::StepNoise;
use vaultlab_privacy::session::{ClippedSum, HostSum, SumLost};

use super::read;
use crate::{EngineError, ops};

/// Where the examples' gradients go, micro-batch by micro-batch.
#[allow(
    async_fn_in_trait,
    reason = "awaited in place, on the engine's one thread"
)]
pub trait Accumulator {
    /// Takes the gradients of `examples` examples, by LoRA factor: `[examples, length]` with the number of the
    /// factor's first parameter. Returns each example's L2 norm over all factors, as computed; not finite where
    /// the gradient counted as zero.
    ///
    /// # Errors
    /// [`EngineError::DeviceLost`].
    async fn add(
        &mut self,
        gradients: Vec<(usize, Tensor<2>)>,
        examples: usize,
    ) -> Result<Vec<f64>, EngineError>;
}

/// What happens to each example's gradient before a [`FloatSum`] takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clipping {
    /// Scaled down to this L2 norm over all LoRA parameters together.
    To(f64),
    /// Summed as it is.
    None,
}

impl Clipping {
    fn factor(self, norm: f64) -> f32 {
        match self {
            _ if !norm.is_finite() => 0.0,
            Self::None => 1.0,
            Self::To(clip) if norm <= clip => 1.0,
            Self::To(clip) => (clip / norm) as f32,
        }
    }
}

/// A sum in f32 that can be read: for runs without privacy, and for comparison with other implementations. A
/// private session does not take it.
pub struct FloatSum {
    sum: Tensor<1>,
    clipping: Clipping,
}

impl FloatSum {
    /// An empty sum of so many parameters.
    pub fn new(parameters: usize, clipping: Clipping, device: &Device) -> Self {
        Self {
            sum: Tensor::zeros([parameters], device),
            clipping,
        }
    }

    /// Reads the sum.
    ///
    /// # Errors
    /// [`EngineError::DeviceLost`].
    pub async fn read(self) -> Result<Vec<f32>, EngineError> {
        read(self.sum).await
    }
}

impl Accumulator for FloatSum {
    async fn add(
        &mut self,
        gradients: Vec<(usize, Tensor<2>)>,
        examples: usize,
    ) -> Result<Vec<f64>, EngineError> {
        let norms: Vec<f64> = norms(&gradients, examples)
            .await?
            .iter()
            .map(|norm| norm.computed)
            .collect();
        let factors: Vec<f32> = norms
            .iter()
            .map(|&norm| self.clipping.factor(norm))
            .collect();
        let device = self.sum.device();
        let factors = Tensor::<1>::from_data(TensorData::from(factors.as_slice()), &device);
        for (first, gradient) in gradients {
            let sum = std::mem::replace(&mut self.sum, Tensor::zeros([1], &device));
            self.sum = ops::clip_accumulate(sum, gradient, factors.clone(), first);
        }
        Ok(norms)
    }
}

/// The private sum: each example clipped and rounded to the integer grid, and given out only with noise on it.
pub struct GridSum(Place);

enum Place {
    Host(HostSum),
    Device { sum: Tensor<1, Int>, grid: Grid },
}

impl GridSum {
    /// An empty sum of so many parameters, on the GPU if that is the device.
    pub fn new(grid: Grid, parameters: usize, device: &Device) -> Self {
        Self(if ops::is_gpu(device) {
            let sum = Tensor::zeros([parameters], device);
            Place::Device { sum, grid }
        } else {
            Place::Host(HostSum::new(grid, parameters))
        })
    }

    /// L2 norm of the sum, in units of the gradient: a reading for the person who owns the rows, which no noise
    /// protects.
    ///
    /// # Errors
    /// [`EngineError::DeviceLost`].
    pub async fn norm(&self) -> Result<f64, EngineError> {
        match &self.0 {
            Place::Host(sum) => Ok(sum.norm()),
            Place::Device { sum, grid } => {
                let units = sum.clone().float() * grid.spacing() as f32;
                let squares = read((units.clone() * units).sum()).await?;
                Ok(f64::from(squares[0]).sqrt())
            }
        }
    }
}

impl Accumulator for GridSum {
    async fn add(
        &mut self,
        gradients: Vec<(usize, Tensor<2>)>,
        examples: usize,
    ) -> Result<Vec<f64>, EngineError> {
        match &mut self.0 {
            Place::Host(sum) => add_on_host(sum, gradients, examples).await,
            Place::Device { sum, grid } => {
                let norms = norms(&gradients, examples).await?;
                let device = sum.device();
                let multipliers: Vec<f32> = norms
                    .iter()
                    .map(|norm| grid.multiplier(norm.at_most))
                    .collect();
                let multipliers =
                    Tensor::<1>::from_data(TensorData::from(multipliers.as_slice()), &device);
                for (first, gradient) in gradients {
                    let taken = std::mem::replace(sum, Tensor::zeros([1], &device));
                    *sum = ops::clip_to_grid(taken, gradient, multipliers.clone(), first);
                }
                Ok(norms.iter().map(|norm| norm.computed).collect())
            }
        }
    }
}

impl ClippedSum for GridSum {
    fn dimensions(&self) -> usize {
        match &self.0 {
            Place::Host(sum) => sum.dimensions(),
            Place::Device { sum, .. } => sum.dims()[0],
        }
    }

    fn grid(&self) -> Grid {
        match &self.0 {
            Place::Host(sum) => sum.grid(),
            Place::Device { grid, .. } => *grid,
        }
    }

    async fn noised(self, noise: StepNoise) -> Result<Vec<i32>, SumLost> {
        let sum = match self.0 {
            Place::Host(sum) => return sum.noised(noise).await,
            Place::Device { sum, .. } => sum,
        };
        // The sum's own buffer is noised before the read is queued.
        let noised = ops::grid_noise(sum, *noise.key(), noise.bits());
        let data = noised
            .into_data_async()
            .await
            .map_err(|error| SumLost(format!("reading it failed: {error:?}")))?;
        data.try_into_vec::<i32>()
            .map_err(|error| SumLost(format!("it came back in another type: {error:?}")))
    }
}

async fn add_on_host(
    sum: &mut HostSum,
    gradients: Vec<(usize, Tensor<2>)>,
    examples: usize,
) -> Result<Vec<f64>, EngineError> {
    let mut factors = Vec::with_capacity(gradients.len());
    for (first, gradient) in gradients {
        let [_, length] = gradient.dims();
        factors.push((first, length, read(gradient).await?));
    }
    let norms = (0..examples).map(|example| {
        let parts: Vec<(usize, &[f32])> = factors
            .iter()
            .map(|(first, length, values)| (*first, &values[example * length..][..*length]))
            .collect();
        sum.add_row(&parts)
    });
    Ok(norms.collect())
}

/// An L2 norm as computed, and a bound on the true one.
#[derive(Clone, Copy, Default)]
struct Norm {
    computed: f64,
    at_most: f64,
}

/// Each example's norm over all factors.
async fn norms(
    gradients: &[(usize, Tensor<2>)],
    examples: usize,
) -> Result<Vec<Norm>, EngineError> {
    let mut squares = vec![Norm::default(); examples];
    let Some((_, any)) = gradients.first() else {
        return Ok(squares);
    };
    let on_gpu = ops::is_gpu(&any.device());
    let mut columns = Vec::with_capacity(gradients.len());
    for (_, gradient) in gradients {
        columns.push(ops::squared_norms(gradient.clone()));
    }
    let values = read(Tensor::cat(columns, 0)).await?;
    for ((_, gradient), column) in gradients.iter().zip(values.chunks(examples)) {
        let [_, length] = gradient.dims();
        // The kernel adds length / 256 squares one by one, then eight levels of a tree; each operation rounds by
        // 2^-24, here counted twice. Results below 2^-126 may have been flushed to zero, 2·length of them at most.
        let rounding = (length.div_ceil(256) + 10) as f64 * 2_f64.powi(-23);
        let flushed = length as f64 * 2_f64.powi(-125);
        for (norm, &square) in squares.iter_mut().zip(column) {
            let square = f64::from(square);
            norm.computed += square;
            norm.at_most += square * (1.0 + rounding) + flushed;
        }
    }
    for norm in &mut squares {
        norm.computed = norm.computed.sqrt();
        // On the CPU device burn orders the sums, and nothing rests on this bound.
        norm.at_most = if on_gpu {
            norm.at_most.sqrt() * (1.0 + 1e-12)
        } else {
            f64::INFINITY
        };
    }
    Ok(squares)
}
