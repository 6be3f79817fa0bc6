//! Exposure of a planted secret: how far down the list of all candidates a guesser would have to go.

use serde::{Deserialize, Serialize};

use super::binomial::Binomial;
use super::{AuditError, SIGNIFICANCE};

/// Exposure among all candidates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// log2 of the candidates less log2 of the rank. log2 of the candidates if the secret comes first.
    pub bits: f64,
    /// Rank of the secret by likelihood, from 1.
    pub rank: u64,
    /// Candidates |R|, the secret among them.
    pub candidates: u64,
}

/// Exposure estimated from a random sample of the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampledExposure {
    /// Estimate: −log2 of (candidates at least as likely + 1) / (sampled + 1). At most log2(sampled + 1),
    /// however large the space is.
    pub bits: f64,
    /// Exposure is at least this, with 95 % confidence over the sampling.
    pub at_least_bits: f64,
    /// Sampled candidates that are at least as likely as the secret.
    pub as_likely: u64,
    /// Candidates sampled.
    pub sampled: u64,
}

/// Exposure of a secret, given its loss and the losses of all other candidates (Carlini et al. 2019,
/// section 4: log2 |R| − log2 rank, with |R| the number of candidates).
///
/// A lower loss is a likelier text. Ties count against exposure: a candidate as likely as the secret ranks
/// before it, so a model that gives every candidate the same loss exposes nothing (0 bits). For the same
/// reason a candidate's loss that is no number ranks before, a secret's ranks last.
///
/// # Errors
/// [`AuditError::NoCandidates`].
pub fn exposure(secret: f64, others: &[f64]) -> Result<Exposure, AuditError> {
    let before = as_likely(secret, others)?;
    let candidates = others.len() as u64 + 1;
    Ok(Exposure {
        bits: (candidates as f64).log2() - ((before + 1) as f64).log2(),
        rank: before + 1,
        candidates,
    })
}

/// Exposure of a secret, given its loss and the losses of candidates drawn independently and uniformly
/// from the space (Carlini et al. 2019, exposure by sampling). Ties as for [`exposure`].
///
/// The share p of all candidates that are at least as likely as the secret is estimated; −log2 p is the
/// exposure. The bound is −log2 of the largest p that would give so few in the sample with probability
/// 5 % or more (Clopper and Pearson 1934).
///
/// # Errors
/// [`AuditError::NoCandidates`].
pub fn sampled_exposure(secret: f64, sampled: &[f64]) -> Result<SampledExposure, AuditError> {
    let before = as_likely(secret, sampled)?;
    let count = sampled.len() as u64;
    Ok(SampledExposure {
        bits: ((count + 1) as f64 / (before + 1) as f64).log2(),
        at_least_bits: largest_log_odds(count, before)
            .map_or(0.0, |log_odds| (1.0 + (-log_odds).exp()).log2()),
        as_likely: before,
        sampled: count,
    })
}

/// Candidates that are at least as likely as the secret.
fn as_likely(secret: f64, others: &[f64]) -> Result<u64, AuditError> {
    if others.is_empty() {
        return Err(AuditError::NoCandidates);
    }
    // Only a candidate that is clearly less likely ranks behind the secret; NaN is not clearly anything.
    let behind = others.iter().filter(|&&other| other > secret).count();
    Ok((others.len() - behind) as u64)
}

/// The log-odds of the largest success probability for which at most `successes` of `trials` has
/// probability 5 %; `None` if that is 1.
fn largest_log_odds(trials: u64, successes: u64) -> Option<f64> {
    if successes >= trials {
        return None;
    }
    let too_few = |log_odds| 1.0 - Binomial::new(trials, log_odds).at_least(successes + 1);
    // Log-odds of 1e-17 and of 1 - 1e-17: the answer lies between for any count of trials in memory.
    let (mut low, mut high) = (-40.0, 40.0);
    while high - low > 1e-9 {
        let middle = 0.5 * (low + high);
        if too_few(middle) > SIGNIFICANCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}
