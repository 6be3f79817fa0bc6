//! The privacy loss of one step, on a grid.

use super::pair::{Pair, Part};
use crate::accountant::gaussian::normal_tail;

/// Losses on the points `(first + i)·grid + offset`.
#[derive(Debug)]
pub(super) struct LossDistribution {
    /// Zero for upper bounds.
    pub offset: f64,
    /// Index of the first grid point.
    pub first: i64,
    /// Mass at each grid point.
    pub mass: Vec<f64>,
    /// Mass whose loss counts as infinite.
    pub infinite: f64,
}

/// Nodes and weights of Gauss-Legendre quadrature on [-1, 1], 3 and 5 points.
const THREE: [(f64, f64); 3] = [
    (-0.774_596_669_241_483_4, 0.555_555_555_555_555_6),
    (0.0, 0.888_888_888_888_889),
    (0.774_596_669_241_483_4, 0.555_555_555_555_555_6),
];
const FIVE: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
    (-0.538_469_310_105_683, 0.478_628_670_499_366_47),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683, 0.478_628_670_499_366_47),
    (0.906_179_845_938_664, 0.236_926_885_056_189_08),
];

/// Widest panel of 5-point quadrature, in lengths of the pair: the error is below 1e-12 of a panel.
const WIDE: f64 = 0.1;

/// Widest panel that 3 points serve as well.
const NARROW: f64 = 0.01;

/// Where a cell of the lower bound lies above its grid point, in grid steps: enough that its own loss
/// is above the point's wherever the density is smooth on the grid.
const LEAN: f64 = 0.05;

impl LossDistribution {
    /// The largest finite loss.
    pub fn largest(&self, grid: f64) -> f64 {
        (self.first + self.mass.len() as i64) as f64 * grid + self.offset
    }

    /// Losses that dominate: for every ε, δ(ε) is at least the true one.
    ///
    /// Each loss ℓ between two grid points a < b is split between them so that its mass under P and its
    /// mass under Q (e^{-ℓ} times as much) are both kept: the share (1 - e^{a-ℓ})/(1 - e^{a-b}) goes to
    /// b. Losses below `floor` are raised to it. This is connect-the-dots (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022,
    /// <https://arxiv.org/abs/2207.04380>), in a form in which nothing cancels. Of the outcomes too
    /// far out for the grid, of mass at most `tail` on each side, the upper count as infinite loss and the
    /// lower as the smallest loss kept.
    pub fn upper(pairs: &[Pair], grid: f64, floor: f64, tail: f64) -> Self {
        let tail_z = tail_quantile(tail);
        let (first, mut mass) = room(pairs, grid, floor, 0.0, tail_z);
        let whole = -(-grid).exp_m1();
        let mut infinite = 0.0;
        for pair in pairs {
            let range = pair.range(tail_z);
            let bins = Bins::new(pair, first, mass.len() - 1, grid, 0.0, range);
            mass[0] += bins.left_out();
            for (bin, below, nodes) in bins {
                let growth = below.exp_m1();
                let (mut all, mut up) = (0.0, 0.0);
                for (x, weight) in nodes {
                    let (p, up_part) = pair.split(x, growth);
                    let weight = weight * pair.bell(x);
                    let p = weight * p;
                    all += p;
                    // A - e^y·B, whose share of A is 1 - e^{y-ℓ}; rounding may put a node a hair
                    // outside its bin.
                    up += (weight * up_part).clamp(0.0, p * whole);
                }
                up /= whole;
                mass[bin] += all - up;
                mass[bin + 1] += up;
            }
            if pair.part != Part::Negative {
                infinite += pair.weight * tail;
            }
            if pair.part != Part::Positive {
                let end = (pair.loss(range.0) / grid).ceil() as i64 - first;
                mass[end.max(0) as usize] += pair.weight * tail;
            }
        }
        mass[(-first) as usize] += rest_at_zero(pairs);
        Self {
            offset: 0.0,
            first,
            mass,
            infinite,
        }
    }

    /// Losses that are dominated: for every ε, δ(ε) is at most the true one.
    ///
    /// Outcomes are merged into one cell a grid point, whose loss ln(P(cell)/Q(cell)) is that point
    /// exactly. Merging is post-processing, so no δ(ε) grows; and no loss is rounded. From the largest
    /// loss down, a cell takes the outcomes around its point, as a rule a hair too lossy on average, and as
    /// large a random part of the next cell's as makes up for it. Where that fails, the cell's loss is rounded
    /// down. Losses below `floor` and outcomes too far out for the grid are left out.
    pub fn lower(pairs: &[Pair], grid: f64, floor: f64, tail: f64) -> Self {
        let tail_z = tail_quantile(tail);
        // With small rates nearly all mass has nearly one loss; a grid that misses it could not be met
        // without rounding.
        let reach = (LEAN + 0.5) * grid;
        let offset = pairs.first().map_or(0.0, |pair| pair.bulk(reach) % grid);
        let (first, room) = room(pairs, grid, floor, offset, tail_z);
        // P(cell), and P(cell) - e^y·Q(cell) at its own point y.
        let mut cells = vec![(0.0, 0.0); room.len()];
        let lean = (LEAN - 0.5) * grid;
        for pair in pairs {
            let range = pair.range(tail_z);
            let from = lean + offset;
            for (bin, below, nodes) in Bins::new(pair, first, cells.len(), grid, from, range) {
                let growth = (below - lean).exp_m1();
                for (x, weight) in nodes {
                    let (p, excess) = pair.split(x, growth);
                    let weight = weight * pair.bell(x);
                    cells[bin].0 += weight * p;
                    cells[bin].1 += weight * excess;
                }
            }
        }
        cells[(-first) as usize].0 += rest_at_zero(pairs);
        Self {
            offset,
            first,
            mass: settle(&mut cells, grid),
            infinite: 0.0,
        }
    }
}

/// Moves mass between cells, from the top down, until each cell's loss is its point.
///
/// A cell with too large a loss takes part of the next cell down; one with too small a loss takes part
/// of the cells above, which are settled by then.
fn settle(cells: &mut [(f64, f64)], grid: f64) -> Vec<f64> {
    let (shrink, deficit) = (grid.exp(), grid.exp_m1());
    let mut mass = vec![0.0; cells.len() + 1];
    for index in (0..cells.len()).rev() {
        let (own, excess) = cells[index];
        if own == 0.0 {
            continue;
        }
        mass[index] += own;
        if excess >= 0.0 {
            let Some(next) = index.checked_sub(1).map(|next| &mut cells[next]) else {
                continue;
            };
            // e^{y+h}·Q - P of the next cell, from its value at its own point.
            let lacking = deficit * next.0 - shrink * next.1;
            let part = excess / lacking;
            if lacking > 0.0 && part <= 1.0 {
                mass[index] += part * next.0;
                next.0 *= 1.0 - part;
                next.1 *= 1.0 - part;
            }
            continue;
        }
        let mut missing = -excess;
        let (settled, richer) = mass.split_at_mut(index + 1);
        for (distance, above) in (1..).zip(richer).take(FARTHEST_LOAN) {
            // P - e^y·Q of a unit of mass whose loss is y + distance·h.
            let worth = -(-grid * f64::from(distance)).exp_m1();
            let taken = (missing / worth).min(*above);
            *above -= taken;
            missing = (missing - taken * worth).max(0.0);
            settled[index] += taken;
            if missing == 0.0 {
                break;
            }
        }
        if missing > 0.0 {
            // All of it one point down: every loss in the cell is above that.
            let down = std::mem::take(&mut mass[index]);
            if index > 0 {
                mass[index - 1] += down;
            }
        }
    }
    mass.pop();
    mass
}

/// How many grid points above a cell may look for mass to take.
const FARTHEST_LOAN: usize = 32;

/// First grid point, and a zero for every grid point, of all pairs' losses above `floor`.
fn room(pairs: &[Pair], grid: f64, floor: f64, offset: f64, tail_z: f64) -> (i64, Vec<f64>) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for pair in pairs {
        let (from, to) = losses(pair, tail_z);
        low = low.min(from);
        high = high.max(to);
    }
    let first = ((low.max(floor) - offset) / grid).floor() as i64 - 1;
    let last = ((high - offset) / grid).ceil() as i64 + 1;
    (first, vec![0.0; (last - first + 1) as usize])
}

/// Smallest and largest loss of a pair that count.
pub(super) fn losses(pair: &Pair, tail_z: f64) -> (f64, f64) {
    let (low, high) = pair.range(tail_z);
    let (low, high) = (pair.loss(low), pair.loss(high));
    match pair.part {
        Part::All => (low, high),
        Part::Positive => (0.0, high.max(0.0)),
        Part::Negative => (low.min(0.0), 0.0),
    }
}

/// What a pair of two halves leaves for loss zero: (1-γ)·P[|N(0, σ²)| < 1/2].
fn rest_at_zero(pairs: &[Pair]) -> f64 {
    let half = |part: Part| pairs.iter().find(|pair| pair.part == part);
    half(Part::Positive).map_or(0.0, |pair| {
        (1.0 - pair.a) * (1.0 - 2.0 * normal_tail(0.5 / pair.sigma))
    })
}

/// The bins of losses from `(first + bin)·grid + lean` up to the next that hold any of a pair's mass:
/// number, lower end, and the outcomes that make it up.
struct Bins<'a> {
    pair: &'a Pair,
    first: i64,
    bins: usize,
    grid: f64,
    lean: f64,
    bin: usize,
    least: f64,
    from: f64,
    most: f64,
}

impl<'a> Bins<'a> {
    fn new(
        pair: &'a Pair,
        first: i64,
        bins: usize,
        grid: f64,
        lean: f64,
        (low, high): (f64, f64),
    ) -> Self {
        let middle = || pair.outcome(0.0).clamp(low, high);
        let (least, most) = match pair.part {
            Part::All => (low, high),
            Part::Positive => (middle(), high),
            Part::Negative => (low, middle()),
        };
        // Where the losses go further down than the bins, the first bin begins later.
        let from = pair.outcome(first as f64 * grid + lean).clamp(least, most);
        let start = ((pair.loss(from) - lean) / grid).floor() as i64 - first;
        Self {
            pair,
            least,
            first,
            bins,
            grid,
            lean,
            bin: start.max(0) as usize,
            from,
            most,
        }
    }

    /// Mass under P of the losses below the first bin.
    fn left_out(&self) -> f64 {
        if self.from <= self.least {
            return 0.0;
        }
        Nodes::new(self.pair, self.least, self.from)
            .map(|(x, weight)| weight * self.pair.bell(x) * self.pair.split(x, 0.0).0)
            .sum()
    }
}

impl Iterator for Bins<'_> {
    type Item = (usize, f64, Nodes);

    fn next(&mut self) -> Option<Self::Item> {
        while self.bin < self.bins && self.from < self.most {
            let bin = self.bin;
            let below = (self.first + bin as i64) as f64 * self.grid + self.lean;
            let from = self.from;
            let to = if bin + 1 == self.bins {
                self.most
            } else {
                self.pair.outcome(below + self.grid).clamp(from, self.most)
            };
            self.bin += 1;
            self.from = to;
            if to > from {
                return Some((bin, below, Nodes::new(self.pair, from, to)));
            }
        }
        None
    }
}

/// Outcomes and weights of a quadrature.
struct Nodes {
    rule: &'static [(f64, f64)],
    half: f64,
    weight: f64,
    middle: f64,
    panels: usize,
    node: usize,
}

impl Nodes {
    fn new(pair: &Pair, from: f64, to: f64) -> Self {
        let width = (to - from) / pair.length();
        let (rule, panels): (&[_], usize) = if width <= NARROW {
            (&THREE, 1)
        } else {
            (&FIVE, (width / WIDE).ceil() as usize)
        };
        let half = (to - from) / panels as f64 / 2.0;
        Self {
            rule,
            half,
            weight: half * pair.scale(),
            middle: from + half,
            panels,
            node: 0,
        }
    }
}

impl Iterator for Nodes {
    type Item = (f64, f64);

    fn next(&mut self) -> Option<(f64, f64)> {
        if self.node == self.rule.len() {
            self.node = 0;
            self.panels -= 1;
            self.middle += 2.0 * self.half;
        }
        if self.panels == 0 {
            return None;
        }
        let (node, weight) = self.rule[self.node];
        self.node += 1;
        Some((self.middle + node * self.half, weight * self.weight))
    }
}

/// A z with Φ(-z) ≤ `tail`, from Mills' bound Φ(-z) ≤ e^{-z²/2}/(z·sqrt(2π)).
pub(super) fn tail_quantile(tail: f64) -> f64 {
    let mut z = 1.0_f64;
    while (-z * z / 2.0).exp() / (z * (2.0 * std::f64::consts::PI).sqrt()) > tail {
        z += 0.125;
    }
    z
}
