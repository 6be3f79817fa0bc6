//! From phases to bounds, with everything that can be used again kept.

use std::rc::Rc;

use super::compose::{Bound, Spectrum, Sum, convolve, ln_moment, spectra};
use super::fallback;
use super::loss::{LossDistribution, losses, tail_quantile};
use super::outline::{Outline, Saddle, saddle, saddle_at};
use super::pair::{Pair, Side, pairs};
use super::plan::{GRID_TOLERANCE, Goal, Steps, Window, windows};
use super::transform::Transform;
use crate::accountant::{Adjacency, Phase};

/// Part of δ set aside for outcomes beyond the grid, over all steps.
const TAIL_SHARE: f64 = 1e-7;

/// Least mass of a step that may be set aside: below, f64's range ends.
const LEAST_TAIL: f64 = 1e-60;

/// Plans kept: a live run asks for now and for after the next step, which may fall on two.
const PLANS: usize = 3;

/// Part of the expected ε below which the answer calls for a second plan.
const POOR_GUESS: f64 = 0.85;

/// Most plans made for one question.
const MOST_REPLANS: usize = 6;

/// Outlines kept; they are small.
const OUTLINES: usize = 64;

/// A value between two bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub lower: f64,
    pub upper: f64,
}

/// Composes phases, and keeps what the next question is likely to need.
pub(crate) struct Composer {
    sides: Vec<Side>,
    /// Whether lower bounds are wanted besides upper ones.
    both: bool,
    tolerance: f64,
    outlines: Vec<(Key, Rc<Outline>)>,
    losses: Vec<(Key, Bound, Rc<LossDistribution>)>,
    plans: Vec<Plan>,
    transform: Option<Transform>,
}

/// What a step's losses depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    mechanism: Phase,
    side: Side,
    tail: f64,
    grid: f64,
    floor: f64,
}

/// Windows and spectra for about so many steps of these mechanisms.
struct Plan {
    mechanisms: Vec<Phase>,
    /// What was asked, and what the plan was made for: the same, but for a hint.
    asked: Goal,
    goal: Goal,
    /// Bound for the sides that need no composition.
    left_aside: f64,
    lanes: Vec<Lane>,
    /// By side.
    windows: Vec<Window>,
    /// By lane and mechanism.
    spectra: Vec<Vec<[Spectrum; 2]>>,
    /// By lane and place: bound on what lies too far above the window.
    beyond: Vec<[f64; 2]>,
}

/// A side and a bound on it; two go through one transform.
type Lane = [(usize, Bound); 2];

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

    /// Upper bound on ε at `delta` after `phases`, all in range; Rényi's bound where the grid cannot
    /// serve, and infinity where there is none.
    pub(crate) fn upper(&mut self, phases: &[Phase], delta: f64) -> f64 {
        match self.between(phases, Goal::at_delta(delta)) {
            Some(between) => between.upper,
            None if self.sides.len() == 2 => fallback(phases, delta),
            None => f64::INFINITY,
        }
    }

    fn lanes(&self, sides: usize) -> Vec<Lane> {
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
            return Some(Between {
                lower: 0.0,
                upper: 0.0,
            });
        }
        let index = self.plan(&mechanisms, goal)?;
        self.evaluate(index, &mechanisms)
    }

    /// Bounds for the steps of `mechanisms`, which are those of a plan.
    fn evaluate(&mut self, plan: usize, mechanisms: &[Phase]) -> Option<Between> {
        let plan = &self.plans[plan];
        let goal = plan.goal;
        let points = plan.windows[0].points;
        let transform = transform(&mut self.transform, points);
        let mut found = Between {
            lower: 0.0,
            upper: plan.left_aside,
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

    fn saddle(
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

    /// The plan for about so many steps, made if there is none; its place in `plans`.
    fn plan(&mut self, mechanisms: &[Phase], goal: Goal) -> Option<usize> {
        let rungs: Vec<Phase> = mechanisms
            .iter()
            .map(|mechanism| Phase {
                steps: rung(mechanism.steps),
                ..*mechanism
            })
            .collect();
        let known = self
            .plans
            .iter()
            .position(|plan| plan.asked == goal && plan.mechanisms == rungs);
        if known.is_some() {
            return known;
        }
        self.plans.truncate(PLANS - 1);
        let plan = self.make_plan(&rungs, goal)?;
        self.plans.insert(0, plan);
        if let Goal::AtDelta { delta, .. } = goal {
            // Losses that are far from Gaussian, as of few steps, defeat the saddle-point approximation:
            // further plans around what the last one found, as long as they find less.
            for _ in 0..MOST_REPLANS {
                let centre = self.plans[0].windows.iter().map(|window| window.centre);
                let centre = centre.fold(0.0, f64::max);
                let found = self.evaluate(0, &rungs)?.upper;
                if !(found > 0.0 && found < POOR_GUESS * centre) {
                    break;
                }
                let hint = Some(found);
                let Some(better) = self.make_plan(&rungs, Goal::AtDelta { delta, hint }) else {
                    break;
                };
                let worse = std::mem::replace(
                    &mut self.plans[0],
                    Plan {
                        asked: goal,
                        ..better
                    },
                );
                if self
                    .evaluate(0, &rungs)
                    .is_none_or(|now| now.upper >= found)
                {
                    self.plans[0] = worse;
                    break;
                }
            }
        }
        self.forget();
        Some(0)
    }

    fn make_plan(&mut self, mechanisms: &[Phase], goal: Goal) -> Option<Plan> {
        let delta = match delta_of(goal) {
            Some(delta) => delta,
            None => self.guess(mechanisms, goal)?.exp().clamp(1e-45, 0.5),
        };
        let tail = tail(mechanisms, delta);
        if tail < LEAST_TAIL {
            return None;
        }
        let tail_z = tail_quantile(tail);
        let (sides, left_aside) = self.sides_that_matter(mechanisms, goal, tail)?;
        let mut laws: Vec<Vec<(Vec<Pair>, Rc<Outline>)>> = Vec::new();
        for &side in &sides {
            let mut laws_of_side = Vec::new();
            for mechanism in mechanisms {
                let outline = self.outline(mechanism, side, tail)?;
                laws_of_side.push((pairs(mechanism, side), outline));
            }
            laws.push(laws_of_side);
        }
        let steps: Vec<Vec<Steps<'_>>> = laws
            .iter()
            .map(|of_side| {
                of_side
                    .iter()
                    .zip(mechanisms)
                    .map(|((pairs, outline), mechanism)| Steps {
                        pairs,
                        outline,
                        count: mechanism.steps as f64,
                    })
                    .collect()
            })
            .collect();
        let windows = windows(&steps, goal, tail_z, self.tolerance)?;
        let mut plan = Plan {
            asked: goal,
            goal,
            spectra: Vec::new(),
            beyond: Vec::new(),
            windows,
            mechanisms: mechanisms.to_vec(),
            left_aside,
            lanes: self.lanes(sides.len()),
        };
        for lane in plan.lanes.clone() {
            self.add_lane(&mut plan, lane, &sides, tail);
        }
        Some(plan)
    }

    /// The sides to compose, and a bound for the others: those whose largest possible loss is far below
    /// the ε sought, or below the ε asked about, as adding a row's with little sampling often is.
    fn sides_that_matter(
        &mut self,
        mechanisms: &[Phase],
        goal: Goal,
        tail: f64,
    ) -> Option<(Vec<Side>, f64)> {
        let tail_z = tail_quantile(tail);
        let most = |side: Side| -> f64 {
            let of_step = |mechanism: &Phase| {
                let pairs = pairs(mechanism, side);
                pairs
                    .iter()
                    .map(|pair| losses(pair, tail_z).1)
                    .fold(0.0, f64::max)
            };
            let all = mechanisms.iter();
            all.map(|mechanism| of_step(mechanism) * mechanism.steps as f64)
                .sum()
        };
        let threshold = match goal {
            Goal::AtEpsilon(epsilon) => epsilon,
            Goal::AtDelta {
                hint: Some(hint), ..
            } => hint / 2.0,
            Goal::AtDelta { .. } => {
                let mut best = 0.0_f64;
                for side in self.sides.clone() {
                    if let Some(saddle) = self.saddle(mechanisms, side, tail, goal) {
                        best = best.max(saddle.epsilon);
                    }
                }
                best / 2.0
            }
        };
        let (aside, matter): (Vec<Side>, Vec<Side>) = self
            .sides
            .iter()
            .copied()
            .partition(|side| most(*side) * (1.0 + 1e-9) < threshold);
        let bound = match goal {
            // Beyond the largest loss there is only what the tails were given.
            Goal::AtEpsilon(_) => {
                let steps = mechanisms.iter().map(|mechanism| mechanism.steps as f64);
                2.0 * tail * steps.sum::<f64>()
            }
            Goal::AtDelta { .. } => aside.iter().map(|side| most(*side)).fold(0.0, f64::max),
        };
        (!matter.is_empty()).then_some((matter, bound))
    }

    fn add_lane(&mut self, plan: &mut Plan, lane: Lane, sides: &[Side], tail: f64) {
        let mut of_lane = Vec::new();
        let places = lane.map(|(side, _)| plan.windows[side]);
        let (mut excess, mut top) = ([[0.0; 2]; 2], [0.0; 2]);
        for mechanism in &plan.mechanisms {
            let losses = lane.map(|(side, bound)| {
                let key = Key {
                    mechanism: Phase {
                        steps: 0,
                        ..*mechanism
                    },
                    side: sides[side],
                    tail,
                    grid: plan.windows[side].grid,
                    floor: plan.windows[side].floor,
                };
                self.loss(key, bound)
            });
            let transform = transform(&mut self.transform, places[0].points);
            let spectra = spectra(
                transform,
                [&losses[0], &losses[1]],
                [&places[0], &places[1]],
            );
            for (place, (_, bound)) in lane.iter().enumerate() {
                if *bound == Bound::Lower {
                    let window = &places[place];
                    top[place] += losses[place].largest(window.grid) * mechanism.steps as f64;
                    for (exponent, sum) in exponents(window).into_iter().zip(&mut excess[place]) {
                        let moment = ln_moment(&losses[place], window, exponent);
                        *sum += (moment - spectra[place].ln_norm) * mechanism.steps as f64;
                    }
                }
            }
            of_lane.push(spectra);
        }
        // Chernoff's bound on the tilted sum, two exponents tried.
        let beyond = [0, 1].map(|place| {
            let window = &places[place];
            let far = window.guard() + window.span();
            if far > top[place] {
                return 0.0;
            }
            exponents(window)
                .into_iter()
                .zip(excess[place])
                .map(|(exponent, excess)| (excess - exponent * far).exp())
                .fold(f64::INFINITY, f64::min)
        });
        plan.spectra.push(of_lane);
        plan.beyond.push(beyond);
    }

    fn outline(&mut self, mechanism: &Phase, side: Side, tail: f64) -> Option<Rc<Outline>> {
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

    fn loss(&mut self, key: Key, bound: Bound) -> Rc<LossDistribution> {
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
    fn forget(&mut self) {
        let mechanisms: usize = self.plans.iter().map(|plan| plan.mechanisms.len()).sum();
        self.losses.truncate(4 * mechanisms);
    }
}

fn exponents(window: &Window) -> [f64; 2] {
    [window.further, window.further / 2.0]
}

fn transform(kept: &mut Option<Transform>, points: usize) -> &mut Transform {
    if kept.as_ref().is_none_or(|kept| kept.points() != points) {
        *kept = Some(Transform::new(points));
    }
    kept.get_or_insert_with(|| Transform::new(points))
}

fn delta_of(goal: Goal) -> Option<f64> {
    match goal {
        Goal::AtDelta { delta, .. } => Some(delta),
        Goal::AtEpsilon(_) => None,
    }
}

/// Mass of each step that may be set aside: a power of 16, so that neighbouring questions share it.
fn tail(mechanisms: &[Phase], delta: f64) -> f64 {
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

/// Rounds up to four significant bits: one plan serves all numbers of steps in between.
fn rung(steps: u64) -> u64 {
    let spare = (64 - steps.leading_zeros()).saturating_sub(4);
    steps
        .checked_add((1 << spare) - 1)
        .map_or(u64::MAX, |up| up >> spare << spare)
}
