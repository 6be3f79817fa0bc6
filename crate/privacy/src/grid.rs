//! The integer grid on which gradients are clipped, summed and noised.
//!
//! Floating-point sums and floating-point noise leak through their low-order bits (Mironov 2012,
//! <https://doi.org/10.1145/2382196.2382264>). Here each clipped gradient is a vector of integers, sums are
//! exact, and noise is added in integers.
//!
//! The noise always has a standard deviation of 2^k grid units, so the grid's spacing is γ = σ·C/2^k, and
//! the clipping norm is R = 2^k/σ grid units. A gradient is scaled by m ≤ R/max(C, ‖g‖) and each coordinate
//! rounded toward zero, which cannot lengthen it: ‖trunc(m·g)‖ ≤ m·‖g‖ ≤ R. The sensitivity of the integer
//! sum is therefore R itself, rounding included, and the noise multiplier is 2^k/R = σ exactly.
//!
//! Sums are taken modulo 2^32. That costs no privacy, since reducing the noisy sum is post-processing of it,
//! and k is chosen so that it does not happen (see [`Grid::of_plan`]).

use crate::session::PrivacyPlan;

/// A gradient's coordinates of this size and more count as not finite. Their squares would overflow f32.
pub const LARGEST_GRADIENT: f32 = (1_u64 << 50) as f32;

/// Head-room of the multiplier for the rounding of one f32 product, 2^-24, with some to spare.
const HEAD_ROOM: f64 = 1.0 / (1_u64 << 22) as f64;

/// Largest k: the noise's standard deviation is 2^k grid units.
const FINEST: u32 = 20;

/// Integers that stand for clipped gradients, and their scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    noise_multiplier: f64,
    clip_norm: f64,
    noise_bits: u32,
}

impl Grid {
    /// The finest grid (k ≤ 20) on which the sum of 4·B + 64 rows that all agree stays within 2^30.
    ///
    /// It depends on the plan only, which is public.
    pub fn of_plan(plan: &PrivacyPlan) -> Self {
        let rows = plan
            .rows
            .min(plan.expected_batch.saturating_mul(4).saturating_add(64));
        let rows = plan.batch_cap.map_or(rows, |cap| rows.min(cap)).max(1);
        let largest = (1_u64 << 30) as f64 * plan.noise_multiplier / rows as f64;
        Self {
            noise_multiplier: plan.noise_multiplier,
            clip_norm: plan.clip_norm,
            noise_bits: (largest.log2().floor().max(0.0) as u32).min(FINEST),
        }
    }

    /// k: the noise's standard deviation is 2^k grid units.
    pub fn noise_bits(&self) -> u32 {
        self.noise_bits
    }

    /// C, the norm gradients are clipped to.
    pub fn clip_norm(&self) -> f64 {
        self.clip_norm
    }

    /// R = 2^k/σ, the clipping norm in grid units.
    pub fn radius(&self) -> f64 {
        (1_u64 << self.noise_bits) as f64 / self.noise_multiplier
    }

    /// γ = σ·C/2^k, a grid unit.
    pub fn spacing(&self) -> f64 {
        self.noise_multiplier * self.clip_norm / (1_u64 << self.noise_bits) as f64
    }

    /// What a gradient of norm at most `norm_at_most` is multiplied by before it is rounded toward zero; 0,
    /// which leaves it out, unless the bound is finite.
    ///
    /// Small enough that after one f32 multiplication a coordinate, however rounded, and with results below
    /// 2^-126 flushed or not, the integers' norm is at most R.
    pub fn multiplier(&self, norm_at_most: f64) -> f32 {
        if !norm_at_most.is_finite() {
            return 0.0;
        }
        let exact = self.radius() / norm_at_most.max(self.clip_norm) * (1.0 - HEAD_ROOM);
        let rounded = exact as f32;
        match f64::from(rounded) > exact {
            true => rounded.next_down(),
            false => rounded,
        }
    }

    /// One coordinate on the grid. Non-finite values never get here with a multiplier other than 0.
    pub fn round(value: f32, multiplier: f32) -> i32 {
        (value * multiplier) as i32
    }

    /// A noised integer as an update: half a unit is added, for the noise was rounded down, and the sum is
    /// divided by the expected batch.
    pub fn update(&self, noised: i32, expected_batch: f64) -> f32 {
        ((f64::from(noised) + 0.5) * self.spacing() / expected_batch) as f32
    }
}

/// An upper bound on the L2 norm of a gradient given in parts; infinite if a coordinate is not finite or too
/// large to be one.
///
/// Squares of f32 are exact in f64, and a sum of n non-negative terms errs by at most (n - 1)·2^-53
/// relative (Higham 2002, section 4.2), the root by 2^-53: the factor 1 + (n + 4)·2^-53 covers both.
pub fn norm_at_most<'g>(parts: impl IntoIterator<Item = &'g [f32]>) -> f64 {
    let (mut squares, mut count) = (0.0_f64, 0_usize);
    for part in parts {
        count += part.len();
        for &value in part {
            if value.is_nan() || value.abs() >= LARGEST_GRADIENT {
                return f64::INFINITY;
            }
            squares += f64::from(value) * f64::from(value);
        }
    }
    squares.sqrt() * (1.0 + (count as f64 + 4.0) * f64::EPSILON / 2.0)
}
