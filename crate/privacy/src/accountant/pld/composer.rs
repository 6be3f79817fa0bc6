//! From phases to bounds, with everything that can be used again kept.

use std::rc::Rc;

use super::compose::{Bound, Spectrum, Sum, convolve};
use super::loss::{LossDistribution, tail_quantile};
use super::outline::{Outline, Saddle, saddle, saddle_at};
use super::pair::{Pair, Side, pairs};
use super::plan::{GRID_TOLERANCE, Goal, small_epsilon};
use super::plans::{Lane, Plan, delta_of, rung};
use super::transform::Transform;
use super::{exact, fallback};
use crate::accountant::{Adjacency, Phase};

/// Part of δ set aside for outcomes beyond the grid, over all steps.
const TAIL_SHARE: f64 = 1e-7;

/// Outlines kept; they are small.
const OUTLINES: usize = 64;

/// What rounding in f64 may do to an ε, absolutely: it is a logarithm of numbers near 1, each of some 2^-52.
const ROUNDING: f64 = 1e-14;

/// A value between two bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub lower: f64,
    pub upper: f64,
}

const NOTHING: Between = Between {
    lower: 0.0,
    upper: 0.0,
};

/// Composes phases, and keeps what the next question is likely to need.
pub(crate) struct Composer {
    pub(super) sides: Vec<Side>,
    /// Whether lower bounds are wanted besides upper ones.
    both: bool,
    pub(super) tolerance: f64,
    outlines: Vec<(Key, Rc<Outline>)>,
    losses: Vec<(Key, Bound, Rc<LossDistribution>)>,
    pub(super) plans: Vec<Plan>,
    pub(super) transform: Option<Transform>,
}

/// What a step's losses depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Key {
    pub mechanism: Phase,
    pub side: Side,
    pub tail: f64,
    pub grid: f64,
    pub floor: f64,
}

impl Composer {
    pub(crate) fn new(adjacency: Adjacency, both: bool) -> Self {
        let sides = match adjacency {
            Adjacency::AddRemove => vec![Side::Removed, Side::Added],
            Adjacency::ReplaceOne => vec![Side::Replaced],
        };
        Self::of_sides(sides, both)
    }

    /// For batches of fixed size, drawn without replacement.
    pub(crate) fn fixed_size() -> Self {
        Self::of_sides(vec![Side::ReplacedInFixedSize], true)
    }

    fn of_sides(sides: Vec<Side>, both: bool) -> Self {
        Self {
            sides,
            both,
            tolerance: GRID_TOLERANCE,
            outlines: Vec::new(),
            losses: Vec::new(),
            plans: Vec::new(),
            transform: None,
        }
    }

    /// With a coarser grid: several times faster, and ε up to `tolerance` too large.
    pub(crate) fn coarsened(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Upper bound on ε at `delta` after `phases`, all in range; where the grid cannot serve, the better of
    /// Rényi's bound and basic composition's, and infinity where there is none.
    pub(crate) fn upper(&mut self, phases: &[Phase], delta: f64) -> f64 {
        self.epsilon(phases, delta).upper
    }

    /// Bounds on ε at `delta` after `phases`; see [`Self::upper`].
    pub(crate) fn epsilon(&mut self, phases: &[Phase], delta: f64) -> Between {
        if let Some(Between { lower, upper }) = self.between(phases, Goal::at_delta(delta)) {
            if upper > 0.0 {
                return Between {
                    lower: (lower - ROUNDING).max(0.0),
                    upper: upper + ROUNDING,
                };
            }
            // On a coarsened grid fuzzing found a 0 that was none; there basic composition must say so too.
            return Between {
                lower: 0.0,
                upper: match self.tolerance > GRID_TOLERANCE {
                    true => exact::basic(&merge(phases), &self.sides, delta),
                    false => 0.0,
                },
            };
        }
        let basic = exact::basic(&merge(phases), &self.sides, delta);
        let renyi = match self.sides.len() {
            2 => fallback(phases, delta),
            _ => f64::INFINITY,
        };
        Between {
            lower: 0.0,
            upper: basic.min(renyi),
        }
    }

    pub(super) fn lanes(&self, sides: usize) -> Vec<Lane> {
        match (sides, self.both) {
            (1, _) => vec![[(0, Bound::Upper), (0, Bound::Lower)]],
            (_, false) => vec![[(0, Bound::Upper), (1, Bound::Upper)]],
            (_, true) => [Bound::Upper, Bound::Lower]
                .map(|bound| [(0, bound), (1, bound)])
                .to_vec(),
        }
    }

    /// Bounds on ε at `delta`, or on δ at an ε, after `phases`, which are all in range. `None` where the
    /// grid cannot serve.
    pub(crate) fn between(&mut self, phases: &[Phase], goal: Goal) -> Option<Between> {
        let mechanisms = merge(phases);
        if mechanisms.is_empty() {
            return Some(NOTHING);
        }
        if let Some(found) = exact::between(&mechanisms, &self.sides, goal) {
            return Some(found);
        }
        if let Goal::AtDelta { delta, .. } = goal
            && exact::basic(&mechanisms, &self.sides, delta) == 0.0
        {
            return Some(NOTHING);
        }
        let index = self.plan(&mechanisms, goal)?;
        let found = self.answer(index, &mechanisms);
        if self.expected(index, found) {
            return found;
        }
        self.refine(index);
        self.answer(0, &mechanisms)
    }

    fn answer(&mut self, index: usize, mechanisms: &[Phase]) -> Option<Between> {
        let plan = self.plans.remove(index);
        let found = self.evaluate(&plan, mechanisms);
        self.plans.insert(index, plan);
        found
    }

    /// An ε not worth telling from zero on this grid.
    pub(super) fn negligible(&self) -> f64 {
        0.1 * small_epsilon(self.tolerance)
    }

    /// Bounds for the steps of `mechanisms`, which are those of a plan.
    fn evaluate(&mut self, plan: &Plan, mechanisms: &[Phase]) -> Option<Between> {
        let found = self.composed(plan, mechanisms)?;
        Some(Between {
            upper: found.upper.max(plan.left_aside),
            ..found
        })
    }

    /// The same, sides left aside.
    pub(super) fn composed(&mut self, plan: &Plan, mechanisms: &[Phase]) -> Option<Between> {
        let goal = plan.goal;
        let points = plan.windows[0].points;
        let transform = transform(&mut self.transform, points);
        let mut found = Between {
            lower: 0.0,
            upper: 0.0,
        };
        for (lane, (of_lane, beyond)) in
            plan.lanes.iter().zip(plan.spectra.iter().zip(&plan.beyond))
        {
            let parts: Vec<(&[Spectrum; 2], u64)> = of_lane
                .iter()
                .zip(mechanisms)
                .map(|(spectra, mechanism)| (spectra, mechanism.steps))
                .collect();
            let sums = convolve(transform, &parts);
            for (place, &(side, bound)) in lane.iter().enumerate() {
                let window = &plan.windows[side];
                let sum = Sum::new(&sums, place, window, &parts, bound, beyond[place]);
                let value = match goal {
                    Goal::AtDelta { delta, .. } => sum.epsilon(delta),
                    Goal::AtEpsilon(epsilon) => Some(sum.delta(epsilon)),
                };
                match bound {
                    Bound::Upper => found.upper = found.upper.max(value?),
                    Bound::Lower => found.lower = found.lower.max(value.unwrap_or(0.0)),
                }
            }
        }
        // Two roundings of one number can cross by their last bits.
        found.lower = found.lower.min(found.upper);
        Some(found)
    }

    /// What a goal would come to, roughly: the worst side's saddle point.
    pub(crate) fn guess(&mut self, phases: &[Phase], goal: Goal) -> Option<f64> {
        let mechanisms = merge(phases);
        let tail = tail(&mechanisms, delta_of(goal).unwrap_or(1e-12));
        let mut worst: Option<f64> = None;
        for side in self.sides.clone() {
            let Some(saddle) = self.saddle(&mechanisms, side, tail, goal) else {
                continue;
            };
            let value = match goal {
                Goal::AtDelta { .. } => saddle.epsilon,
                Goal::AtEpsilon(_) => saddle.value - saddle.tilt * saddle.epsilon,
            };
            worst = Some(worst.map_or(value, |worst| worst.max(value)));
        }
        worst
    }

    pub(super) fn saddle(
        &mut self,
        mechanisms: &[Phase],
        side: Side,
        tail: f64,
        goal: Goal,
    ) -> Option<Saddle> {
        let outlines: Option<Vec<(Rc<Outline>, f64)>> = mechanisms
            .iter()
            .map(|mechanism| Some((self.outline(mechanism, side, tail)?, mechanism.steps as f64)))
            .collect();
        let outlines = outlines?;
        let steps: Vec<(&Outline, f64)> = outlines
            .iter()
            .map(|(outline, count)| (&**outline, *count))
            .collect();
        match goal {
            Goal::AtDelta { delta, .. } => saddle(&steps, delta),
            Goal::AtEpsilon(epsilon) => saddle_at(&steps, epsilon),
        }
    }

    pub(super) fn outline(
        &mut self,
        mechanism: &Phase,
        side: Side,
        tail: f64,
    ) -> Option<Rc<Outline>> {
        let key = Key {
            mechanism: Phase {
                steps: 0,
                ..*mechanism
            },
            side,
            tail,
            grid: 0.0,
            floor: 0.0,
        };
        if let Some((_, outline)) = self.outlines.iter().find(|(known, _)| *known == key) {
            return Some(Rc::clone(outline));
        }
        let pairs = pairs(mechanism, side);
        if !pairs.iter().all(Pair::in_range) {
            return None;
        }
        let outline = Rc::new(Outline::new(&pairs, tail_quantile(tail)));
        self.outlines.truncate(OUTLINES);
        self.outlines.insert(0, (key, Rc::clone(&outline)));
        Some(outline)
    }

    pub(super) fn loss(&mut self, key: Key, bound: Bound) -> Rc<LossDistribution> {
        let known =
            |entry: &&(Key, Bound, Rc<LossDistribution>)| entry.0 == key && entry.1 == bound;
        if let Some((_, _, loss)) = self.losses.iter().find(known) {
            return Rc::clone(loss);
        }
        let pairs = pairs(&key.mechanism, key.side);
        let make = match bound {
            Bound::Upper => LossDistribution::upper,
            Bound::Lower => LossDistribution::lower,
        };
        let loss = Rc::new(make(&pairs, key.grid, key.floor, key.tail));
        self.losses.insert(0, (key, bound, Rc::clone(&loss)));
        loss
    }

    /// Drops the oldest of what is kept: as much stays as the plans kept can have needed.
    pub(super) fn forget(&mut self) {
        let mechanisms: usize = self.plans.iter().map(|plan| plan.mechanisms.len()).sum();
        self.losses.truncate(4 * mechanisms);
    }
}

pub(super) fn transform(kept: &mut Option<Transform>, points: usize) -> &mut Transform {
    if kept.as_ref().is_none_or(|kept| kept.points() != points) {
        *kept = Some(Transform::new(points));
    }
    kept.get_or_insert_with(|| Transform::new(points))
}

/// Mass of each step that may be set aside: a power of 16, so that neighbouring questions share it.
pub(super) fn tail(mechanisms: &[Phase], delta: f64) -> f64 {
    let steps: f64 = mechanisms
        .iter()
        .map(|mechanism| rung(mechanism.steps) as f64)
        .sum();
    ((TAIL_SHARE * delta / steps).log2() / 4.0)
        .floor()
        .exp2()
        .powi(4)
}

/// Different mechanisms in a fixed order, each with all its steps; what costs nothing left out.
fn merge(phases: &[Phase]) -> Vec<Phase> {
    let order = |phase: &Phase| {
        let cut = phase.truncation.map_or((0, 0), |cut| (cut.rows, cut.cap));
        // Both are positive and finite: their bits are in their order.
        (
            phase.sampling_rate.to_bits(),
            phase.noise_multiplier.to_bits(),
            cut,
        )
    };
    let mut sorted: Vec<Phase> = phases
        .iter()
        .copied()
        .filter(|phase| phase.steps > 0 && phase.sampling_rate > 0.0)
        .collect();
    sorted.sort_by_key(order);
    let mut merged: Vec<Phase> = Vec::new();
    for phase in sorted {
        match merged.last_mut() {
            Some(last) if order(last) == order(&phase) => {
                last.steps = last.steps.saturating_add(phase.steps);
            }
            _ => merged.push(phase),
        }
    }
    merged
}
