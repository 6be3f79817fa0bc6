//! Making plans, and better ones where the first look was in the wrong place.

use std::rc::Rc;

use super::compose::{Bound, Spectrum, ln_moment, spectra};
use super::composer::{Between, Composer, Key, tail, transform};
use super::exact;
use super::loss::{losses, tail_quantile};
use super::outline::Outline;
use super::pair::{Pair, Side, pairs};
use super::plan::{Goal, Steps, Window, windows};
use crate::accountant::Phase;

/// Plans kept: a live run asks for now and for after the next step, which may fall on two.
const PLANS: usize = 3;

/// Most plans made for one question.
const MOST_REPLANS: usize = 10;

/// Least mass of a step that may be set aside: below, f64's range ends.
const LEAST_TAIL: f64 = 1e-60;

/// Windows and spectra for about so many steps of these mechanisms.
pub(super) struct Plan {
    pub mechanisms: Vec<Phase>,
    /// What was asked, and what the plan was made for: the same, but for a hint.
    pub asked: Goal,
    pub goal: Goal,
    /// True if no better one is to be found.
    pub refined: bool,
    /// Bound for the sides that need no composition.
    pub left_aside: f64,
    pub lanes: Vec<Lane>,
    /// By side.
    pub windows: Vec<Window>,
    /// By lane and mechanism.
    pub spectra: Vec<Vec<[Spectrum; 2]>>,
    /// By lane and place: bound on what lies too far above the window.
    pub beyond: Vec<[f64; 2]>,
}

/// A side and a bound on it; two go through one transform.
pub(super) type Lane = [(usize, Bound); 2];

impl Plan {
    /// The ε expected, of the worst side.
    fn centre(&self) -> f64 {
        let centres = self.windows.iter().map(|window| window.centre);
        centres.fold(0.0, f64::max)
    }
}

impl Composer {
    /// The plan for about so many steps, made if there is none; its place in `plans`.
    pub(super) fn plan(&mut self, mechanisms: &[Phase], goal: Goal) -> Option<usize> {
        let rungs = rungs(mechanisms);
        let known = self
            .plans
            .iter()
            .position(|plan| plan.asked == goal && plan.mechanisms == rungs);
        if known.is_some() {
            return known;
        }
        let mut hint = None;
        if let Goal::AtDelta { delta, .. } = goal {
            // Where few of the losses are large, the saddle point may be far above ε.
            let most = exact::basic(&rungs, &self.sides, delta);
            if most > 0.0 && self.guess(&rungs, goal).is_none_or(|guess| guess > most) {
                hint = Some(most).filter(|most| most.is_finite());
            }
        }
        let plan = self.make_plan(&rungs, goal.near(hint))?;
        self.keep(Plan {
            asked: goal,
            ..plan
        });
        Some(0)
    }

    /// Whether an answer is where the plan expected it; of fewer steps than planned for it is a little
    /// smaller.
    pub(super) fn expected(&self, plan: usize, found: Option<Between>) -> bool {
        let plan = &self.plans[plan];
        let Goal::AtDelta { .. } = plan.goal else {
            return true;
        };
        let centre = plan.centre();
        found.is_some_and(|found| {
            let ratio = found.upper / centre;
            let composed = found.upper > plan.left_aside;
            found.upper < self.negligible() || (composed && (0.75..1.15).contains(&ratio))
        }) || plan.refined
    }

    /// Puts a better plan in place of one whose answers are far from where it expected them: losses that
    /// are of two kinds, rare large ones and the rest, defeat the saddle-point approximation. Each further
    /// plan is around what the last one found.
    pub(super) fn refine(&mut self, plan: usize) {
        let first = self.plans.remove(plan);
        let (asked, rungs) = (first.asked, first.mechanisms.clone());
        let mut next = Some(first);
        let mut best: Option<(f64, Plan)> = None;
        for _ in 0..MOST_REPLANS {
            let Some(plan) = next.take() else { break };
            let centre = plan.centre();
            let composed = self.composed(&plan, &rungs).map(|found| found.upper);
            let value = composed.unwrap_or(f64::INFINITY).max(plan.left_aside);
            let aside = composed.is_some_and(|composed| composed < plan.left_aside);
            let settled =
                !aside && (0.85..1.1).contains(&(value / centre)) || value < self.negligible();
            let stuck = !aside
                && best
                    .as_ref()
                    .is_some_and(|(least, _)| value > 0.999 * least);
            if best.as_ref().is_none_or(|(least, _)| value < *least) {
                best = Some((value, plan));
            }
            if settled || (stuck && value < centre) {
                break;
            }
            // Where the bound of a side left aside counts, a smaller hint brings that side in.
            let hint = composed.unwrap_or(2.0 * centre);
            next = self.make_plan(&rungs, asked.near(Some(hint)));
        }
        if let Some((_, plan)) = best {
            self.keep(Plan {
                asked,
                refined: true,
                ..plan
            });
        }
    }

    fn keep(&mut self, plan: Plan) {
        self.plans.truncate(PLANS - 1);
        self.plans.insert(0, plan);
        self.forget();
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
            refined: false,
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
}

pub(super) fn exponents(window: &Window) -> [f64; 2] {
    [window.further, window.further / 2.0]
}

pub(super) fn delta_of(goal: Goal) -> Option<f64> {
    match goal {
        Goal::AtDelta { delta, .. } => Some(delta),
        Goal::AtEpsilon(_) => None,
    }
}

/// Rounds up to four significant bits: one plan serves all numbers of steps in between.
pub(super) fn rung(steps: u64) -> u64 {
    let spare = (64 - steps.leading_zeros()).saturating_sub(4);
    steps
        .checked_add((1 << spare) - 1)
        .map_or(u64::MAX, |up| up >> spare << spare)
}

/// The numbers of steps that a plan is made for.
pub(super) fn rungs(mechanisms: &[Phase]) -> Vec<Phase> {
    let up = |phase: &Phase| Phase {
        steps: rung(phase.steps),
        ..*phase
    };
    mechanisms.iter().map(up).collect()
}
