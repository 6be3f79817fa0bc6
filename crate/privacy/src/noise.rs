//! Noise for a clipped sum. This module alone decides how noise is drawn; a session only asks it to
//! add noise of a standard deviation.
//!
//! The noise is Gaussian, drawn in f64 by the ziggurat method (Marsaglia, Tsang 2000) from ChaCha20 and
//! added in f64 before rounding to f32. Like every sampler of a continuous law on floating-point
//! numbers it is not the real-valued Gaussian of the theorem: its low-order bits could in principle tell
//! more than ε says (Mironov 2012). Statements say so.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// How this version draws its noise, as quoted in statements.
pub const NOISE_SAMPLER: &str = "Gaussian, floating point (f64), ChaCha20";

/// Adds independent Gaussian noise of the given standard deviation (≥ 0) to each coordinate of `sum`
/// and divides by `divisor` (> 0).
pub fn add_gaussian<R: Rng + ?Sized>(
    sum: &[f32],
    standard_deviation: f64,
    divisor: f64,
    random: &mut R,
) -> Vec<f32> {
    sum.iter()
        .map(|&value| {
            let standard: f64 = StandardNormal.sample(random);
            ((f64::from(value) + standard_deviation * standard) / divisor) as f32
        })
        .collect()
}

/// Expected L2 norm of `dimensions` independent Gaussians, to within 1/(8·dimensions²) relative:
/// standard deviation · sqrt(dimensions - 1/2). It depends on no data.
pub fn expected_norm(standard_deviation: f64, dimensions: usize) -> f64 {
    standard_deviation * (dimensions as f64 - 0.5).max(0.0).sqrt()
}
