//! From right guesses to a lower bound on ε.

use serde::{Deserialize, Serialize};

use super::AuditError;
use super::binomial::Binomial;

/// Head-room for f64: p-values are stated this share too large, so that no bound is too high by rounding.
const ROUNDING: f64 = 1e-9;
/// Canaries beyond which planning gives up.
const MOST_CANARIES: u64 = 1 << 20;

/// What a one-run audit counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditCounts {
    /// Canaries m, each included by a fair coin.
    pub canaries: u64,
    /// Guesses r; the auditor abstained from the other canaries.
    pub guesses: u64,
    /// Right guesses v.
    pub correct: u64,
}

impl AuditCounts {
    fn validate(self) -> Result<(), AuditError> {
        let Self {
            canaries,
            guesses,
            correct,
        } = self;
        if canaries == 0 || guesses > canaries || correct > guesses {
            return Err(AuditError::Counts {
                canaries,
                guesses,
                correct,
            });
        }
        Ok(())
    }
}

/// The probability, at most, of so many right guesses or more if training were (ε, δ)-differentially
/// private under adding or removing one row. A small value refutes that it is.
///
/// Steinke, Nasr, Jagielski 2023, the main theorem, computed as in their Appendix D: with X binomial of r
/// trials and success probability e^ε/(1+e^ε), and f(v) = P[X ≥ v],
///
/// f(v) + 2 m δ max over i = 1..v of (f(v−i) − f(v)) / i, at most 1.
///
/// # Errors
/// For counts, ε or δ out of range.
pub fn p_value(counts: AuditCounts, epsilon: f64, delta: f64) -> Result<f64, AuditError> {
    counts.validate()?;
    validate_delta(delta)?;
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(AuditError::Epsilon(epsilon));
    }
    Ok(p_value_of_valid(counts, epsilon, delta))
}

fn p_value_of_valid(counts: AuditCounts, epsilon: f64, delta: f64) -> f64 {
    if counts.correct == 0 {
        return 1.0;
    }
    let law = Binomial::new(counts.guesses, epsilon);
    let exact = law.at_least(counts.correct);
    let slack = if delta > 0.0 {
        2.0 * counts.canaries as f64 * delta * law.steepest_below(counts.correct)
    } else {
        0.0
    };
    ((exact + slack) * (1.0 + ROUNDING)).min(1.0)
}

/// The largest ε that the counts refute at this significance, at the given δ: with confidence
/// 1 − `significance`, training is not (ε', δ)-differentially private for any ε' below it. 0 if nothing is
/// refuted.
///
/// Valid only if the number of guesses was fixed before the coins were looked at, and one audit was made,
/// not the best of several.
///
/// # Errors
/// For counts, δ or significance out of range.
pub fn epsilon_lower_bound(
    counts: AuditCounts,
    delta: f64,
    significance: f64,
) -> Result<f64, AuditError> {
    counts.validate()?;
    validate_delta(delta)?;
    validate_significance(significance)?;
    let refuted = |epsilon| p_value_of_valid(counts, epsilon, delta) <= significance;
    if !refuted(0.0) {
        return Ok(0.0);
    }
    // Any right guess is certain for ε large enough, so the doubling ends.
    let (mut low, mut high) = (0.0, 1.0);
    while refuted(high) {
        low = high;
        high *= 2.0;
    }
    // The lower end is always refuted: the bound errs on the low side.
    while high - low > 1e-12 * high.max(1.0) {
        let middle = 0.5 * (low + high);
        if refuted(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The bound an audit of this size gives if every guess is right: more it cannot show, however much leaks.
///
/// # Errors
/// As [`epsilon_lower_bound`].
pub fn most_it_can_show(
    canaries: u64,
    guesses: u64,
    delta: f64,
    significance: f64,
) -> Result<f64, AuditError> {
    let counts = AuditCounts {
        canaries,
        guesses,
        correct: guesses,
    };
    epsilon_lower_bound(counts, delta, significance)
}

/// The fewest right guesses that refute `epsilon`; `None` if even all of them would not.
///
/// # Errors
/// As [`p_value`], and for a significance out of range.
pub fn correct_guesses_needed(
    canaries: u64,
    guesses: u64,
    epsilon: f64,
    delta: f64,
    significance: f64,
) -> Result<Option<u64>, AuditError> {
    validate_significance(significance)?;
    let refuted = |correct| {
        let counts = AuditCounts {
            canaries,
            guesses,
            correct,
        };
        p_value(counts, epsilon, delta).map(|p| p <= significance)
    };
    if !refuted(guesses)? {
        return Ok(None);
    }
    // No right guess refutes nothing, so the first that refutes lies in (low, high].
    let (mut low, mut high) = (0, guesses);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if refuted(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(Some(high))
}

/// The fewest canaries with which an audit, every canary guessed and every guess right, can show at least
/// `epsilon`; `None` if no number up to a million can (δ weighs more the more canaries there are).
///
/// # Errors
/// For ε, δ or significance out of range.
pub fn canaries_needed(
    epsilon: f64,
    delta: f64,
    significance: f64,
) -> Result<Option<u64>, AuditError> {
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(AuditError::Epsilon(epsilon));
    }
    let enough = |canaries| {
        most_it_can_show(canaries, canaries, delta, significance).map(|shown| shown >= epsilon)
    };
    let mut high = 1;
    while !enough(high)? {
        if high >= MOST_CANARIES {
            return Ok(None);
        }
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if enough(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(Some(high))
}

fn validate_delta(delta: f64) -> Result<(), AuditError> {
    if (0.0..=1.0).contains(&delta) {
        Ok(())
    } else {
        Err(AuditError::Delta(delta))
    }
}

fn validate_significance(significance: f64) -> Result<(), AuditError> {
    if significance > 0.0 && significance < 1.0 {
        Ok(())
    } else {
        Err(AuditError::Significance(significance))
    }
}
