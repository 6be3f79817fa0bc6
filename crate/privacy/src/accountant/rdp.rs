//! Rényi DP (RDP) accounting.
//!
//! A run is summed up by its RDP at a fixed set of orders α. Steps and phases compose by addition
//! (Mironov 2017, <https://arxiv.org/abs/1702.07476>, Proposition 1), adaptively chosen ones too, and
//! any single order gives a valid ε; the smallest is reported.

use std::sync::OnceLock;

use super::renyi_moment::{RatioGrid, log_moment_integer};
use super::{AccountingError, Phase, validate_delta};

/// Relative head-room for f64 rounding and quadrature in one step's RDP; both are below 1e-12.
const ROUNDING_SLACK: f64 = 1e-9;

/// Absolute head-room in one step's ln A_α: A_α is near 1 for small q, and ln A_α below this is noise.
const ROUNDING_FLOOR: f64 = 1e-15;

/// The default orders of Opacus 1.6: 1.1, 1.2, …, 10.9, then 12, 13, …, 63.
pub fn opacus_orders() -> Vec<f64> {
    let fractional = (1..100).map(|tenths| 1.0 + f64::from(tenths) / 10.0);
    fractional.chain((12..64).map(f64::from)).collect()
}

/// Opacus's orders, and larger ones that only an ε well below 1 has use for.
pub fn default_orders() -> &'static [f64] {
    static ORDERS: OnceLock<Vec<f64>> = OnceLock::new();
    ORDERS.get_or_init(|| {
        let mut orders = opacus_orders();
        orders.extend(
            [
                64, 72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 768, 1024, 2048,
            ]
            .map(f64::from),
        );
        orders
    })
}

/// RDP at each of [`default_orders`], of anything from nothing to a whole history of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RdpCurve {
    /// RDP ε(α) by order.
    values: Vec<f64>,
}

impl RdpCurve {
    /// Nothing was run.
    pub fn zero() -> Self {
        Self {
            values: vec![0.0; default_orders().len()],
        }
    }

    /// One step at sampling rate `q` and noise multiplier `sigma`.
    ///
    /// # Errors
    /// When either is out of range.
    pub fn of_step(q: f64, sigma: f64) -> Result<Self, AccountingError> {
        Phase {
            sampling_rate: q,
            noise_multiplier: sigma,
            steps: 1,
            truncation: None,
        }
        .validate()?;
        Ok(Self {
            values: step_rdp(q, sigma, default_orders()),
        })
    }

    /// All steps of a phase.
    ///
    /// # Errors
    /// When the phase is out of range, or its batches are truncated.
    pub fn of_phase(phase: &Phase) -> Result<Self, AccountingError> {
        phase.validate()?;
        if phase.truncation.is_some() {
            return Err(AccountingError::TruncationUnsupported);
        }
        Ok(Self::of_step(phase.sampling_rate, phase.noise_multiplier)?.times(phase.steps))
    }

    /// The same thing run `count` times.
    pub fn times(&self, count: u64) -> Self {
        if count == 0 {
            return Self::zero(); // and not 0 · ∞
        }
        Self {
            values: self
                .values
                .iter()
                .map(|value| value * count as f64)
                .collect(),
        }
    }

    /// Composes with another run on the same rows.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            *mine += theirs;
        }
    }

    /// Upper bound on ε at `delta` in (0, 1); see [`epsilon_from_rdp`].
    pub fn epsilon(&self, delta: f64) -> f64 {
        epsilon_from_rdp(default_orders(), &self.values, delta)
    }
}

/// Upper bound on ε at `delta` after all `phases`, add/remove adjacency.
///
/// # Errors
/// When a phase or `delta` is out of range, or a phase's batches are truncated.
pub fn epsilon(phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
    validate_delta(delta)?;
    let mut spent = RdpCurve::zero();
    for phase in phases {
        spent.add(&RdpCurve::of_phase(phase)?);
    }
    Ok(spent.epsilon(delta))
}

/// RDP of one step at each order α > 1, add/remove adjacency; `q` in [0, 1], `sigma` > 0.
///
/// Exact up to rounding for q = 1 (the Gaussian mechanism, α/(2σ²)) and for integer orders;
/// fractional orders by quadrature, and never above the chord through the neighbouring integers,
/// since (α-1)·RDP(α) = ln A_α is convex in α (van Erven, Harremoës 2014, Corollary 2).
pub fn step_rdp(q: f64, sigma: f64, orders: &[f64]) -> Vec<f64> {
    if q == 0.0 {
        return vec![0.0; orders.len()];
    }
    if q == 1.0 {
        return orders
            .iter()
            .map(|alpha| alpha / (2.0 * sigma * sigma))
            .collect();
    }
    let largest_fractional = orders
        .iter()
        .copied()
        .filter(|alpha| alpha.fract() != 0.0)
        .fold(0.0, f64::max);
    let grid = if largest_fractional > 0.0 {
        RatioGrid::new(q, sigma, largest_fractional)
    } else {
        None
    };
    let mut integers = IntegerMoments {
        q,
        sigma,
        known: Vec::new(),
    };
    let mut scratch = Vec::new();
    orders
        .iter()
        .map(|&alpha| {
            let log_moment = if alpha.fract() == 0.0 {
                integers.at(alpha as u32)
            } else {
                let chord = integers.chord(alpha);
                // `min` also drops a NaN.
                grid.as_ref().map_or(chord, |grid| {
                    chord.min(grid.log_moment(alpha, &mut scratch))
                })
            };
            (log_moment * (1.0 + ROUNDING_SLACK) + ROUNDING_FLOOR) / (alpha - 1.0)
        })
        .collect()
}

/// ln A_α at integer orders, computed once each.
struct IntegerMoments {
    q: f64,
    sigma: f64,
    known: Vec<Option<f64>>,
}

impl IntegerMoments {
    fn at(&mut self, alpha: u32) -> f64 {
        if alpha <= 1 {
            return 0.0; // A_1 = 1
        }
        let index = alpha as usize;
        if self.known.len() <= index {
            self.known.resize(index + 1, None);
        }
        *self.known[index].get_or_insert_with(|| log_moment_integer(self.q, self.sigma, alpha))
    }

    fn chord(&mut self, alpha: f64) -> f64 {
        let below = alpha.floor();
        let share = alpha - below;
        let (low, high) = (self.at(below as u32), self.at(below as u32 + 1));
        low * (1.0 - share) + high * share
    }
}

/// The smallest ε over the orders that RDP values imply at `delta`.
///
/// ε = RDP(α) + ln((α-1)/α) - (ln δ + ln α)/(α-1): Canonne, Kamath, Steinke 2020
/// (<https://arxiv.org/abs/2004.00010>), Proposition 12, which is also Theorem 21 of Balle et al. 2020;
/// the form Opacus uses. Negative bounds are reported as zero, and zero RDP as exactly zero.
pub fn epsilon_from_rdp(orders: &[f64], rdp: &[f64], delta: f64) -> f64 {
    if rdp.iter().all(|&value| value == 0.0) {
        return 0.0;
    }
    let mut best = f64::INFINITY;
    for (&alpha, &value) in orders.iter().zip(rdp) {
        let bound =
            value + ((alpha - 1.0) / alpha).ln() - (delta.ln() + alpha.ln()) / (alpha - 1.0);
        best = best.min(bound);
    }
    best.max(0.0)
}
