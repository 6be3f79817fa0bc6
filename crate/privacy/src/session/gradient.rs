use crate::noise::expected_norm;

/// Head-room for f32 rounding when a sum's length is checked against what clipped gradients can reach.
const LENGTH_SLACK: f64 = 1e-3;

/// The sum of a batch's per-row gradients, each clipped in L2 norm. It can be released, not read.
pub struct ClippedSum {
    pub(super) values: Vec<f32>,
    pub(super) clip_norm: f64,
}

impl ClippedSum {
    /// A sum over a step's rows, coordinate by coordinate.
    ///
    /// The whole guarantee rests on what the caller promises here: `values` is Σ gᵢ over exactly the rows
    /// of the open step, once each; each gᵢ depends on row i and on earlier releases only, not on other
    /// rows; and ‖gᵢ‖₂ ≤ `clip_norm` over all coordinates together, non-finite gradients counting as zero.
    /// [`super::OpenStep::release`] can only check what follows from that for the sum.
    pub fn new(values: Vec<f32>, clip_norm: f64) -> Self {
        Self { values, clip_norm }
    }

    /// Number of coordinates.
    pub fn dimensions(&self) -> usize {
        self.values.len()
    }

    /// False if this cannot be the sum of `rows` gradients of norm at most the clipping norm.
    pub(super) fn is_possible(&self, rows: usize) -> bool {
        let squares: f64 = self
            .values
            .iter()
            .map(|&value| f64::from(value) * f64::from(value))
            .sum();
        squares.sqrt() <= rows as f64 * self.clip_norm * (1.0 + LENGTH_SLACK)
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
