//! Closed forms, where there are any: a single step, full batches, and what basic composition gives.
//!
//! - One step: δ(ε) = P[x > t] - e^ε·Q[x > t], t the outcome of loss ε, for losses grow with the outcome
//!   (Neyman, Pearson 1933; for privacy, Balle, Wang 2018, <https://arxiv.org/abs/1805.06530>, Theorem 5).
//! - Full batches: one Gaussian step with μ² = Σ T/σ² ([`crate::accountant::gaussian`]).
//! - Basic composition (Dwork, Roth 2014, Theorem 3.16): ε and δ of the steps add up.

use super::super::{Phase, gaussian};
use super::composer::Between;
use super::pair::{Pair, Part, Side, pairs};
use super::plan::Goal;
use crate::accountant::gaussian::normal_tail;

/// Head-room for rounding, relative to the terms of a δ: the tails are good to 1e-13 of themselves, and
/// the outcome's rounding shifts them by less than 40²·1e-16 (no tail further out than 40 matters).
const HEAD_ROOM: f64 = 1e-12;

/// Largest ε of a single step's closed form: e^ε is near the end of f64's range.
const LARGEST_EPSILON: f64 = 600.0;

/// The closed form of merged `mechanisms`, if they have one.
pub(super) fn between(mechanisms: &[Phase], sides: &[Side], goal: Goal) -> Option<Between> {
    let side_bounds = |side: &Side| match (full_batches(mechanisms, *side), mechanisms) {
        (Some(mu), _) => solve(goal, 1e300, &|epsilon| gaussian_delta(mu, epsilon)),
        (None, [one]) if one.steps == 1 => solve_one_step(goal, one, *side),
        _ => None,
    };
    let mut worst = Between {
        lower: 0.0,
        upper: 0.0,
    };
    for side in sides {
        let found = side_bounds(side)?;
        worst.lower = worst.lower.max(found.lower);
        worst.upper = worst.upper.max(found.upper);
    }
    Some(worst)
}

/// Upper bound on ε at `delta` by basic composition, each step given an equal share of δ; 0 where the
/// steps' total variation distances already add up to no more than δ. Infinite where a step is out of
/// the closed form's range.
pub(super) fn basic(mechanisms: &[Phase], sides: &[Side], delta: f64) -> f64 {
    let steps: f64 = mechanisms.iter().map(|phase| phase.steps as f64).sum();
    let of_side = |side: &Side| {
        let apart = |phase: &Phase| phase.steps as f64 * one_step(phase, *side, 0.0).1;
        if mechanisms.iter().map(apart).sum::<f64>() * (1.0 + HEAD_ROOM) <= delta {
            return 0.0;
        }
        let share = Goal::at_delta(delta / steps * (1.0 - HEAD_ROOM));
        let cost = |phase: &Phase| {
            solve_one_step(share, phase, *side)
                .map_or(f64::INFINITY, |found| found.upper * phase.steps as f64)
        };
        mechanisms.iter().map(cost).sum::<f64>() * (1.0 + HEAD_ROOM)
    };
    sides.iter().map(of_side).fold(0.0, f64::max)
}

/// μ of full batches; `None` if any phase samples or is cut.
fn full_batches(mechanisms: &[Phase], side: Side) -> Option<f64> {
    let distance = match side {
        Side::Removed | Side::Added => 1.0,
        Side::Replaced => 2.0,
        Side::ReplacedInFixedSize => return None,
    };
    let mut squares = 0.0;
    for phase in mechanisms {
        if phase.sampling_rate != 1.0 || phase.truncation.is_some() {
            return None;
        }
        let mu = (phase.steps as f64).sqrt() / phase.noise_multiplier;
        squares += mu * mu;
    }
    Some(distance * squares.sqrt()).filter(|mu| (1e-6..=1e6).contains(mu))
}

/// Bounds on δ(ε) of μ-Gaussian DP.
fn gaussian_delta(mu: f64, epsilon: f64) -> (f64, f64) {
    let delta = gaussian::delta(mu, epsilon);
    // The larger of the two terms that the closed form subtracts.
    let slack = HEAD_ROOM * normal_tail(epsilon / mu - mu / 2.0);
    ((delta - slack).max(0.0), delta + slack)
}

/// Bounds on δ(ε), ε ≥ 0, of one step.
fn one_step(phase: &Phase, side: Side, epsilon: f64) -> (f64, f64) {
    let (mut lower, mut upper) = (0.0, 0.0);
    for pair in pairs(phase, side) {
        if pair.part == Part::Negative {
            continue; // no loss above zero
        }
        let (value, slack) = hockey_stick(&pair, epsilon);
        lower += pair.weight * (value - slack).max(0.0);
        upper += pair.weight * (value + slack).clamp(0.0, 1.0);
    }
    (lower, upper)
}

/// P[x > t] - e^ε·Q[x > t], and its rounding error. Any t makes it at most H(P‖Q), and the right one is a
/// maximum, so that t's own rounding does not matter to first order.
fn hockey_stick(pair: &Pair, epsilon: f64) -> (f64, f64) {
    let t = pair.outcome(epsilon);
    if t == f64::INFINITY {
        return (0.0, 0.0);
    }
    let tail = |x: f64| normal_tail(x / pair.sigma);
    let (above, below) = (
        pair.a * tail(t - 1.0),
        pair.b * epsilon.exp() * tail(t + 1.0),
    );
    let (growth, none) = (epsilon.exp_m1(), tail(t));
    let shared = growth + pair.a - pair.b * epsilon.exp();
    let value = above - shared * none - below;
    let terms = above + (growth + pair.a + pair.b * epsilon.exp()) * none + below;
    (value, HEAD_ROOM * terms)
}

fn solve_one_step(goal: Goal, phase: &Phase, side: Side) -> Option<Between> {
    solve(goal, LARGEST_EPSILON, &|epsilon| {
        one_step(phase, side, epsilon)
    })
}

/// A goal from bounds on δ(ε), which falls; `None` where an ε above `most` would be needed.
fn solve(goal: Goal, most: f64, delta_at: &dyn Fn(f64) -> (f64, f64)) -> Option<Between> {
    match goal {
        Goal::AtEpsilon(epsilon) if epsilon <= most => {
            let (lower, upper) = delta_at(epsilon);
            Some(Between { lower, upper }).filter(|_| upper.is_finite())
        }
        Goal::AtEpsilon(_) => None,
        Goal::AtDelta { delta, .. } => {
            let upper = root(delta, most, &|epsilon| delta_at(epsilon).1)?.1;
            let lower = root(delta, most, &|epsilon| delta_at(epsilon).0)?.0;
            let lower = lower.min(upper);
            Some(Between { lower, upper })
        }
    }
}

/// An ε with δ(ε) above `delta` (or zero) and one with δ(ε) not above, next to each other.
fn root(delta: f64, most: f64, delta_at: &dyn Fn(f64) -> f64) -> Option<(f64, f64)> {
    if delta_at(0.0) <= delta {
        return Some((0.0, 0.0));
    }
    let (mut low, mut high) = (0.0, 1e-3);
    // A NaN is not at most δ.
    while !matches!(
        delta_at(high).partial_cmp(&delta),
        Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
    ) {
        low = high;
        high *= 2.0;
        if high > most {
            return None;
        }
    }
    while high - low > 1e-13 * high {
        let middle = low + (high - low) / 2.0;
        if delta_at(middle) <= delta {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some((low, high))
}
