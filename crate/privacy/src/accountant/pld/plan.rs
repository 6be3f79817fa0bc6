//! Where to look: tilt, grid and window of a composition.

use super::loss::losses;
use super::outline::{Outline, Saddle, far, largest, saddle, saddle_at, total};
use super::pair::Pair;

/// Part of ε that rounding losses to the grid may add, by the bound of [`ideal_grid`]; about half of
/// it is what is seen.
pub(super) const GRID_TOLERANCE: f64 = 8e-5;

/// From this tolerance on, the shape of the sum near ε may suffer as well.
const ROUGH_TOLERANCE: f64 = 1e-3;

/// How much coarser a grid may be for the sake of a transform of half the length.
const COARSENING: f64 = 1.3;

/// Largest transform.
const MOST_POINTS: f64 = (1 << 20) as f64;

/// Largest transform of a rough look.
const ROUGH_MOST_POINTS: f64 = (1 << 13) as f64;

/// Smallest transform.
const LEAST_POINTS: f64 = 256.0;

/// The least ε that errors are compared with, on the finest grid.
const SMALL_EPSILON: f64 = 1e-3;

/// The least ε that errors are compared with: of less, a part is not worth so fine a grid.
pub(super) fn small_epsilon(tolerance: f64) -> f64 {
    SMALL_EPSILON * (tolerance / GRID_TOLERANCE).sqrt()
}

/// Part of ε that the grid may add at worst, where no finer one fits.
const WORST_GRID: f64 = 0.03;

/// Most grid points of one step's losses.
const MOST_BINS: f64 = 1e6;

/// Grids are powers of 2^(1/4), so that neighbouring plans share them.
const GRIDS_PER_OCTAVE: f64 = 4.0;

/// e-folds below the expected ε that the lower bound can look.
const GUARD: f64 = 4.0;

/// ln of the part of δ that folding, from below or above, may make up.
const FOLDED_LN: f64 = 14.0;

/// e-folds of what is lumped at the smallest loss, over all steps.
const LUMPED_LN: f64 = 23.0;

/// Steps of a side, as many of each as will be composed.
pub(super) struct Steps<'a> {
    pub pairs: &'a [Pair],
    pub outline: &'a Outline,
    pub count: f64,
}

/// Grid, tilt and window of one side's composition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub grid: f64,
    pub tilt: f64,
    /// The ε expected.
    pub centre: f64,
    /// The sum hardly ever reaches this.
    pub end: f64,
    /// A further tilt, under which the tilted sum reaches that.
    pub further: f64,
    /// Losses below this weigh nothing under the tilt.
    pub floor: f64,
    /// Index of the first grid point.
    pub low: i64,
    pub points: usize,
}

impl Window {
    /// Losses per window.
    pub fn span(&self) -> f64 {
        self.points as f64 * self.grid
    }

    /// The lower bound reads the window from here up: from further above than a span over this, little
    /// is folded in.
    pub fn guard(&self) -> f64 {
        self.end - self.span()
    }
}

/// Something to find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// ε at a δ; where it is about, if that is known.
    AtDelta {
        /// δ.
        delta: f64,
        /// ε, roughly.
        hint: Option<f64>,
    },
    /// δ at an ε.
    AtEpsilon(f64),
}

impl Goal {
    /// ε at `delta`.
    pub(crate) fn at_delta(delta: f64) -> Self {
        Self::AtDelta { delta, hint: None }
    }

    /// The same, where ε is about that.
    pub(super) fn near(self, hint: Option<f64>) -> Self {
        match self {
            Self::AtDelta { delta, .. } => Self::AtDelta { delta, hint },
            Self::AtEpsilon(_) => self,
        }
    }
}

/// Windows for several sides, of equally many points. `None` where the grid cannot serve.
pub(super) fn windows(
    sides: &[Vec<Steps<'_>>],
    goal: Goal,
    tail_z: f64,
    tolerance: f64,
) -> Option<Vec<Window>> {
    let drafts: Option<Vec<Draft>> = sides
        .iter()
        .map(|steps| draft(steps, goal, tail_z, tolerance))
        .collect();
    let drafts = drafts?;
    let needed = drafts
        .iter()
        .map(|draft| (draft.span / draft.grid).max(LEAST_POINTS))
        .fold(0.0, f64::max);
    let points = 2_f64
        .powf((needed / COARSENING).log2().ceil())
        .min(MOST_POINTS)
        .min(if tolerance > ROUGH_TOLERANCE {
            ROUGH_MOST_POINTS
        } else {
            MOST_POINTS
        });
    drafts
        .into_iter()
        .map(|draft| draft.window(points))
        .collect()
}

struct Draft {
    saddle: Saddle,
    count: f64,
    tilt: f64,
    end: f64,
    further: f64,
    floor: f64,
    grid: f64,
    /// The ε that errors are compared with, and the part of it that they may come to.
    scale: f64,
    tolerance: f64,
    span: f64,
    /// Of which so much above ε.
    above: f64,
}

/// Tilt θ, span S and grid of one side.
///
/// What the window folds in from below is at most e^{-θS}, against δ. What it folds in from above is
/// P(Y > ε + S), multiplied by e^{θS} for having the weight of a loss smaller by S. So S is such that
/// P(Y > ε + S) is a small part of δ·e^{-θS}, by Chernoff's bound, and θ such that θS is enough.
fn draft(steps: &[Steps<'_>], goal: Goal, tail_z: f64, tolerance: f64) -> Option<Draft> {
    let outlines: Vec<_> = steps
        .iter()
        .map(|step| (step.outline, step.count))
        .collect();
    let saddle = match goal {
        Goal::AtDelta { delta, hint: None } => saddle(&outlines, delta)?,
        // The mean may jump past the ε asked for: that stays the centre.
        Goal::AtDelta {
            delta,
            hint: Some(epsilon),
        } => saddle_at(&outlines, epsilon)
            .map(|found| Saddle { epsilon, ..found })
            .or_else(|| saddle(&outlines, delta))?, // this side's losses are all smaller
        Goal::AtEpsilon(epsilon) => Saddle {
            epsilon,
            ..saddle_at(&outlines, epsilon)?
        },
    };
    let ln_delta = match goal {
        Goal::AtDelta { delta, .. } => delta.ln(),
        Goal::AtEpsilon(_) => (saddle.value - saddle.tilt * saddle.epsilon).min(0.0) - 2.0,
    };
    let exponent = (FOLDED_LN - ln_delta).max(2.0 * FOLDED_LN);
    let depth = exponent + FOLDED_LN - ln_delta;
    // Where δ is large, the saddle's own tilt is too weak to tell losses apart.
    let strong = saddle.tilt.max(0.4 / saddle.deviation);
    let most = largest(&outlines);
    let (end, end_tilt) = far(&outlines, depth).map_or((most, 2.0 * strong), |far| {
        (far.epsilon.min(most), far.tilt)
    });
    let margin = GUARD / strong;
    let tilt = (exponent / (end - saddle.epsilon + margin)).min(1.5 * strong);
    let tilt = if tilt > 0.0 { tilt } else { strong };
    let count: f64 = steps.iter().map(|step| step.count).sum();
    let lumped = (LUMPED_LN + count.ln()) / tilt;
    let floor = -lumped.log2().ceil().exp2();
    let widest = steps
        .iter()
        .flat_map(|step| step.pairs)
        .map(|pair| {
            let (low, high) = losses(pair, tail_z);
            high - low.max(floor)
        })
        .fold(0.0, f64::max);
    let scale = saddle.epsilon.max(small_epsilon(tolerance));
    let coarser = (tolerance / ROUGH_TOLERANCE).max(1.0).powf(0.25);
    let grid = ideal_grid(tilt.max(saddle.tilt), count, tolerance * scale)
        .min(scale / 40.0 * coarser)
        .min((saddle.deviation / 10.0).max(scale / 500.0) * coarser)
        .max(widest / MOST_BINS);
    // What is above the window weighs e^{-θ·above} at most, against δ·e^{θε-K}.
    let value = total(&outlines, tilt).value;
    let slack = (value - tilt * saddle.epsilon - ln_delta).max(0.0);
    let above = (FOLDED_LN + 2.0 + slack) / tilt;
    let draft = Draft {
        // Down to zero, so that a poor guess of ε is still inside.
        span: (exponent / tilt).max(saddle.epsilon + above + 1.0 / tilt),
        above,
        end: end + margin,
        further: (end_tilt - tilt).max(0.1 * tilt),
        saddle,
        count,
        tilt,
        floor,
        grid,
        scale,
        tolerance,
    };
    (draft.grid > 0.0 && draft.grid.is_finite() && draft.span.is_finite()).then_some(draft)
}

/// Upper bound on what the grid adds to ε; see [`ideal_grid`].
fn grid_cost(tilt: f64, count: f64, grid: f64) -> f64 {
    (1.0 + tilt) * count * grid * grid / 8.0
}

/// Splitting a loss between neighbours at distance h raises E e^{θL}, relatively, by at most
/// θ(1+θ)·h²/8, and so ε by at most (1+θ)·steps·h²/8.
fn ideal_grid(tilt: f64, count: f64, tolerance: f64) -> f64 {
    (8.0 * tolerance / ((1.0 + tilt) * count)).sqrt()
}

impl Draft {
    fn window(self, points: f64) -> Option<Window> {
        // The finest grid of the ladder on which the window still fits; or the coarsest that is fine
        // enough, if that would make it needlessly fine.
        let least = self.span / (points - 4.0);
        let rung = (least.log2() * GRIDS_PER_OCTAVE).ceil();
        let finest = self.grid / 2.0;
        let grid = (rung / GRIDS_PER_OCTAVE).exp2();
        let grid = if grid < finest {
            ((finest.log2() * GRIDS_PER_OCTAVE).ceil() / GRIDS_PER_OCTAVE).exp2()
        } else {
            grid
        };
        let (tilt, epsilon) = (self.tilt, self.saddle.epsilon);
        // Too coarse to tell anything.
        let coarse = grid_cost(tilt, self.count, grid)
            > WORST_GRID.max(4.0 * self.tolerance) * self.scale.max(grid);
        let smooth = self.saddle.deviation.max(self.scale / 20.0);
        if coarse || !(grid > 0.0 && grid * tilt < 1.0 && grid < smooth) {
            return None;
        }
        let high = ((epsilon + self.above) / grid).ceil();
        let low = high - points;
        (low.abs() < 1e15 && high.abs() < 1e15).then_some(Window {
            grid,
            tilt,
            centre: epsilon,
            end: self.end,
            further: self.further,
            floor: self.floor,
            low: low as i64,
            points: points as usize,
        })
    }
}
