//! Closed forms for the Gaussian mechanism, which is what full batches (q = 1) are.
//!
//! T steps with noise σ are μ-Gaussian DP with μ = sqrt(T)/σ under add/remove adjacency, and with twice
//! that under replace-one, where a row's part of the sum moves by up to 2C (Dong, Roth, Su 2019,
//! <https://arxiv.org/abs/1905.02383>, Corollary 3.3). Then, exactly (Balle, Wang 2018,
//! <https://arxiv.org/abs/1805.06530>, Theorem 8),
//!
//! δ(ε) = Φ(μ/2 - ε/μ) - e^ε·Φ(-μ/2 - ε/μ).

use super::{AccountingError, Adjacency, Phase, validate_delta};

/// μ of a composition of full batches; `None` if any phase samples.
///
/// # Errors
/// When a phase is out of range.
pub fn mu(phases: &[Phase], adjacency: Adjacency) -> Result<Option<f64>, AccountingError> {
    super::validate_phases(phases)?;
    let active = || phases.iter().filter(|phase| phase.steps > 0);
    if active().any(|phase| phase.sampling_rate != 1.0 || phase.truncation.is_some()) {
        return Ok(None);
    }
    let squares = active().map(|phase| {
        let steps = (phase.steps as f64).sqrt() / phase.noise_multiplier;
        steps * steps
    });
    let distance = match adjacency {
        Adjacency::AddRemove => 1.0,
        Adjacency::ReplaceOne => 2.0,
    };
    Ok(Some(distance * squares.sum::<f64>().sqrt()))
}

/// δ of μ-Gaussian DP at `epsilon` ≥ 0, to about 1e-13 relative to Φ(μ/2 - ε/μ).
pub fn delta(mu: f64, epsilon: f64) -> f64 {
    if mu <= 0.0 {
        return 0.0;
    }
    // With the scaled tails R(x) = e^{x²/2}·Φ(-x), both terms share the factor e^{-a²/2}.
    let (a, b) = (epsilon / mu - mu / 2.0, epsilon / mu + mu / 2.0);
    if a > 0.0 {
        ((-a * a / 2.0).exp() * (scaled_tail(a) - scaled_tail(b))).max(0.0)
    } else {
        (normal_tail(a) - (-a * a / 2.0).exp() * scaled_tail(b)).clamp(0.0, 1.0)
    }
}

/// The smallest ε ≥ 0 of μ-Gaussian DP at `delta`, by bisection to the last bits.
///
/// # Errors
/// When `delta` is out of range.
pub fn epsilon(mu: f64, at_delta: f64) -> Result<f64, AccountingError> {
    validate_delta(at_delta)?;
    if delta(mu, 0.0) <= at_delta {
        return Ok(0.0);
    }
    let mut high = 1.0;
    while delta(mu, high) > at_delta {
        high *= 2.0;
        if !f64::is_finite(high) {
            return Ok(f64::INFINITY);
        }
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if delta(mu, middle) > at_delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

/// Φ(-x).
pub(crate) fn normal_tail(x: f64) -> f64 {
    if x < 0.0 {
        1.0 - normal_tail(-x)
    } else {
        (-x * x / 2.0).exp() * scaled_tail(x)
    }
}

/// e^{x²/2}·Φ(-x) for x ≥ 0: a series up to 2.5, a continued fraction from there.
fn scaled_tail(x: f64) -> f64 {
    let root = (2.0 * std::f64::consts::PI).sqrt();
    if x < 2.5 {
        // Φ(x) - 1/2 = φ(x)·(x + x³/3 + x⁵/15 + …), all terms positive.
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while term > sum * 1e-17 && term > 0.0 {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        return 0.5 * (x * x / 2.0).exp() - sum / root;
    }
    // Laplace's continued fraction 1/(x + 1/(x + 2/(x + 3/(x + …)))), whose n-th convergent is off by
    // about e^{-2x·sqrt(2n)} relative: e^-56.
    let mut fraction = x;
    let terms = (400.0 / (x * x)) as u32 + 8;
    for k in (1..=terms).rev() {
        fraction = x + f64::from(k) / fraction;
    }
    1.0 / (root * fraction)
}
