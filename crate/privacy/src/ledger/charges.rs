//! Charges that count together, and the ε they come to.

use std::collections::BTreeMap;

use super::{RunCharge, RunId};
use crate::accountant::{AccountingError, Phase, Truncation, validate_delta};

/// Shares of δ that may be set aside for the noise sampler's error, tried in turn. The first is so small
/// that it does not show in ε, and enough for any number of steps and coordinates up to an ε of about 20.
const RESERVES: [f64; 4] = [
    1.0 / (1_u64 << 40) as f64,
    1.0 / (1_u64 << 20) as f64,
    1.0 / (1_u64 << 10) as f64,
    0.25,
];

/// Charges that some row bears, one entry per run and mechanism; equal whatever order they were made in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Charges(Vec<RunCharge>);

impl Charges {
    /// Adds up charges of the same run and mechanism.
    pub fn new<'c>(charges: impl IntoIterator<Item = &'c RunCharge>) -> Self {
        let mut merged: Vec<RunCharge> = Vec::new();
        for charge in charges.into_iter().filter(|charge| charge.steps > 0) {
            match merged
                .iter_mut()
                .find(|known| known.run == charge.run && known.same_mechanism(charge))
            {
                None => merged.push(*charge),
                Some(known) => {
                    known.steps = known.steps.saturating_add(charge.steps);
                    known.dimensions = known.dimensions.max(charge.dimensions);
                    known.delta = known.delta.min(charge.delta);
                }
            }
        }
        merged.sort_by(|a, b| order(a).cmp(&order(b)));
        Self(merged)
    }

    /// One charge per run and mechanism.
    pub fn iter(&self) -> std::slice::Iter<'_, RunCharge> {
        self.0.iter()
    }

    /// Steps over all runs.
    pub fn steps(&self) -> u64 {
        self.iter()
            .fold(0, |sum, charge| sum.saturating_add(charge.steps))
    }

    /// Number of different runs.
    pub fn runs(&self) -> usize {
        let mut runs: Vec<RunId> = self.iter().map(|charge| charge.run).collect();
        runs.dedup(); // sorted by run
        runs.len()
    }

    /// What an accountant is asked: steps of the same mechanism together, in a fixed order.
    pub fn phases(&self) -> Vec<Phase> {
        let phases = self.mechanisms().into_iter();
        phases
            .map(|(mechanism, steps)| Phase {
                sampling_rate: f64::from_bits(mechanism.sampling_rate),
                noise_multiplier: f64::from_bits(mechanism.noise_multiplier),
                steps,
                truncation: mechanism
                    .truncation
                    .map(|(rows, cap)| Truncation { rows, cap }),
            })
            .collect()
    }

    /// ε at `delta` by any accountant, the noise sampler's error included.
    ///
    /// Noise within total variation τ of the law accounted for makes (ε, δ′) into (ε, δ′ + (1 + e^ε)·τ), so
    /// a part of δ is set aside for it. Infinite if no part would do.
    ///
    /// # Errors
    /// When `delta` is out of range, and those of the accountant.
    pub fn epsilon_by<E: From<AccountingError>>(
        &self,
        delta: f64,
        mut accountant: impl FnMut(&[Phase], f64) -> Result<f64, E>,
    ) -> Result<f64, E> {
        validate_delta(delta)?;
        let phases = self.phases();
        let error: f64 = self.iter().map(RunCharge::sampler_error).sum();
        for reserve in RESERVES {
            let epsilon = accountant(&phases, without_reserve(delta, reserve))?;
            // Half of what is set aside, for the rounding of these few operations.
            if (1.0 + epsilon.exp()) * error <= 0.5 * delta * reserve {
                return Ok(epsilon);
            }
        }
        Ok(f64::INFINITY)
    }

    /// True if the same steps and more are among `other`'s, so that `other`'s ε is at least as large.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let theirs = other.mechanisms();
        let mut mine = self.mechanisms().into_iter();
        mine.all(|(mechanism, steps)| {
            theirs
                .get(&mechanism)
                .is_some_and(|&others| steps <= others)
        })
    }

    fn mechanisms(&self) -> BTreeMap<Mechanism, u64> {
        let mut mechanisms = BTreeMap::new();
        for charge in self.iter() {
            let phase = charge.phase();
            let mechanism = Mechanism {
                sampling_rate: phase.sampling_rate.to_bits(),
                noise_multiplier: phase.noise_multiplier.to_bits(),
                truncation: phase.truncation.map(|cut| (cut.rows, cut.cap)),
            };
            let steps = mechanisms.entry(mechanism).or_insert(0_u64);
            *steps = steps.saturating_add(phase.steps);
        }
        mechanisms
    }
}

/// What the accountant is asked about instead of δ, as long as the smallest reserve is enough.
pub(crate) fn accounted_delta(delta: f64) -> f64 {
    without_reserve(delta, RESERVES[0])
}

fn without_reserve(delta: f64, reserve: f64) -> f64 {
    delta - delta * reserve
}

/// A step's law, its positive floats as bits so that it has an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mechanism {
    sampling_rate: u64,
    noise_multiplier: u64,
    truncation: Option<(u64, u64)>,
}

fn order(charge: &RunCharge) -> impl Ord {
    (
        charge.run,
        charge.rows,
        charge.expected_batch,
        charge.noise_multiplier.to_bits(),
        charge.clip_norm.to_bits(),
        charge.batch_cap,
    )
}
