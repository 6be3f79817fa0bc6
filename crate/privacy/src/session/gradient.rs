use thiserror::Error;

use crate::grid::{Grid, norm_at_most};
use crate::noise::{StepNoise, expected_norm};

/// The sum of a batch's clipped per-row gradients, in integers on a [`Grid`]. It stays where it was computed,
/// on the host or on a device, and is read only after noise was added there.
///
/// The whole guarantee rests on what an implementation promises: the sum is Σ vᵢ over exactly the rows of the
/// open step, once each; each vᵢ depends on row i and on earlier releases only, not on other rows; ‖vᵢ‖₂ is at
/// most [`Grid::radius`] over all coordinates together, non-finite gradients counting as zero; and nothing of
/// the sum gets out but through [`Self::noised`].
#[allow(
    async_fn_in_trait,
    reason = "a session awaits it in place; nothing is sent between threads"
)]
pub trait ClippedSum {
    /// Number of coordinates.
    fn dimensions(&self) -> usize;

    /// The grid it was clipped and rounded to.
    fn grid(&self) -> Grid;

    /// Adds `noise.integer(i)` to coordinate i, modulo 2^32, and reads the result. Called once, after the charge.
    ///
    /// # Errors
    /// [`SumLost`] if the device that holds it failed.
    async fn noised(self, noise: StepNoise) -> Result<Vec<i32>, SumLost>;
}

/// The device that held a sum failed. Its step is charged, and nothing was released.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the sum of a step was lost before it could be released ({0}); the step stays charged")]
pub struct SumLost(pub String);

/// A clipped sum in this process's memory.
pub struct HostSum {
    values: Vec<i32>,
    grid: Grid,
}

impl HostSum {
    /// An empty sum.
    pub fn new(grid: Grid, dimensions: usize) -> Self {
        Self {
            values: vec![0; dimensions],
            grid,
        }
    }

    /// Clips one row's gradient, given in parts with the coordinate that each begins at, rounds it to the grid
    /// and adds it. A gradient that is not finite counts as zero.
    ///
    /// Returns a bound on the norm it was clipped by, infinite if it counted as zero.
    ///
    /// # Panics
    /// If a part reaches beyond the last coordinate, or parts overlap (a coordinate given twice would escape
    /// the clipping of the whole).
    pub fn add_row(&mut self, parts: &[(usize, &[f32])]) -> f64 {
        let mut ranges: Vec<_> = parts
            .iter()
            .map(|(first, part)| (*first, first + part.len()))
            .collect();
        ranges.sort_unstable();
        assert!(
            ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "parts of a gradient overlap"
        );
        let norm = norm_at_most(parts.iter().map(|(_, part)| *part));
        let multiplier = self.grid.multiplier(norm);
        if multiplier > 0.0 {
            for &(first, part) in parts {
                let values = &mut self.values[first..first + part.len()];
                for (sum, &value) in values.iter_mut().zip(part) {
                    *sum = sum.wrapping_add(Grid::round(value, multiplier));
                }
            }
        }
        norm
    }

    /// L2 norm of the sum, in units of the gradient. For the person who owns the rows: no noise protects it.
    pub fn norm(&self) -> f64 {
        let squares: f64 = self
            .values
            .iter()
            .map(|&value| f64::from(value) * f64::from(value))
            .sum();
        squares.sqrt() * self.grid.spacing()
    }
}

impl ClippedSum for HostSum {
    fn dimensions(&self) -> usize {
        self.values.len()
    }

    fn grid(&self) -> Grid {
        self.grid
    }

    async fn noised(mut self, noise: StepNoise) -> Result<Vec<i32>, SumLost> {
        for (coordinate, value) in (0_u32..).zip(&mut self.values) {
            *value = value.wrapping_add(noise.integer(coordinate));
        }
        Ok(self.values)
    }
}

/// What protects a released gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GradientPrivacy {
    /// Charged, and noised from the platform's CSPRNG.
    Private {
        /// Standard deviation of the noise on each coordinate of the sum, σ·C.
        noise_on_sum: f64,
    },
    /// INSECURE: noised as a private one, but from a known seed. Gives no privacy.
    InsecureTest {
        /// Standard deviation of the noise on each coordinate of the sum, σ·C.
        noise_on_sum: f64,
    },
    /// Neither clipped nor noised, for comparison only.
    WithoutPrivacy,
}

impl GradientPrivacy {
    /// A few words for the screen.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Private { .. } => "private",
            Self::InsecureTest { .. } => "INSECURE test, no privacy",
            Self::WithoutPrivacy => "without privacy",
        }
    }
}

/// A gradient that an optimiser may use: the (noisy) sum over the expected batch size.
///
/// Made only by [`super::OpenStep::release`], after the charge, and by [`super::PlainStep::release`],
/// labelled as without privacy. Anything computed from it is covered by the same ε.
#[derive(Debug)]
pub struct ReleasedGradient {
    pub(super) values: Vec<f32>,
    pub(super) privacy: GradientPrivacy,
    pub(super) step: u32,
}

impl ReleasedGradient {
    /// One value per coordinate of the sum, in its order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// What protects it.
    pub fn privacy(&self) -> GradientPrivacy {
        self.privacy
    }

    /// Number of the step it came from, from 1.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Expected L2 norm of the noise on the sum (before division by the expected batch), about
    /// σ·C·sqrt(coordinates); zero without privacy. Depends on no data, so it may be shown.
    pub fn expected_noise_norm(&self) -> f64 {
        match self.privacy {
            GradientPrivacy::Private { noise_on_sum }
            | GradientPrivacy::InsecureTest { noise_on_sum } => {
                expected_norm(noise_on_sum, self.values.len())
            }
            GradientPrivacy::WithoutPrivacy => 0.0,
        }
    }
}
