//! Dominating pairs: the two laws on the line that stand for a step on two neighbouring data sets.
//!
//! A pair (P, Q) dominates a mechanism when for every ε its hockey-stick divergence
//! H(P‖Q) = ∫ (dP - e^ε dQ)₊ is at least the mechanism's on any two neighbours. Dominating pairs of
//! adaptively chosen steps compose by taking products (Zhu, Dong, Wang 2022,
//! <https://arxiv.org/abs/2106.08567>, Theorem 10). In units of the clipping norm, all pairs here are
//!
//! P = (1-a)·N(0, σ²) + a·N(1, σ²),  Q = (1-b)·N(0, σ²) + b·N(-1, σ²)
//!
//! | neighbours | a, b | source |
//! |---|---|---|
//! | the row is removed | q, 0 | Zhu, Dong, Wang 2022, Theorem 11 |
//! | the row is added | 0, q | the same, mirrored (x → -x) |
//! | the row is replaced | q, q | Schuchardt, Stoian, Kosmala, Günnemann 2024, <https://arxiv.org/abs/2403.04867>: one insertion and one removal under Poisson sampling, the two shifts opposite |
//!
//! # Truncated Poisson sampling
//!
//! Let T be the event that at least `cap` of the *other* N-1 rows are drawn, λ = P\[Bin(N-1, q) ≥ cap\].
//! T does not depend on the row in question, so telling the adversary whether T happened is a step that
//! dominates, and its divergence is the mixture λ·H(pair given T) + (1-λ)·H(pair otherwise).
//!
//! - Without T nothing is cut with or without the row: the pair above, at rate q.
//! - Given T, the batch without the row is a uniform `cap`-subset Y of the others, whatever the number
//!   drawn. With the row, it is in the batch with probability q' = E\[q·cap/(S+1) | S ≥ cap\]
//!   = P\[Bin(N, q) > cap\]·cap/(N·λ), and then takes the place of a uniform member of Y. Given Y, the
//!   sum moves by at most 2 with probability q', so that the pair of a *replaced* row at rate q' and
//!   noise σ/2 dominates (joint convexity of H; a mixture of shifts is dominated by their largest
//!   length on the line: Choquette-Choo, Ganesh, Steinke, Thakurta 2023,
//!   <https://arxiv.org/abs/2310.15526>, Corollary 4.7). For a replaced row the same pair holds: both
//!   data sets' sums move by at most 2 from the sum over Y.
//!
//! That is the bound of Ganesh, "Tighter privacy analysis for truncated Poisson sampling" (2025,
//! <https://arxiv.org/abs/2508.15089>), in the form in which dp-accounting 0.6 computes it, where one
//! form serves all neighbours. `rows` is the size N of the larger of the two data sets.
//!
//! # Fixed-size batches
//!
//! A batch of B of N rows, drawn without replacement, one row *replaced*: with γ = B/N and the pair
//! (N(2, σ²), N(0, σ²)) of the step without sampling, the divergence is at most that of
//! ((1-γ)Q + γP, Q) for ε ≥ 0 and that of (P, (1-γ)P + γQ) for ε < 0 (Zhu, Dong, Wang 2022, Theorem 11).
//! Neither half composes by itself (Lebeda, Regehr, Kamath, Steinke 2024,
//! <https://arxiv.org/abs/2405.20769>); the two joined at ε = 0 are one profile, convex in e^ε, of one
//! pair, which does: its losses above zero are those of a row removed, those below zero of a row added,
//! both at rate γ and noise σ/2, and the rest of its mass sits at zero.

use super::super::{Phase, Truncation};
use super::binomial::at_least;
use crate::accountant::gaussian::normal_tail;

/// Smallest noise the grid serves; below, ε is in the hundreds.
pub(super) const SMALLEST_NOISE: f64 = 0.05;

/// Largest noise the grid serves.
pub(super) const LARGEST_NOISE: f64 = 1e6;

/// How a step's two neighbours differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// P has the row.
    Removed,
    /// Q has the row.
    Added,
    /// Each has a row of its own.
    Replaced,
    /// The same, in a batch of fixed size.
    ReplacedInFixedSize,
}

/// Which losses of a pair count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    Positive,
    Negative,
}

/// One pair, with the probability that it is the one in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub weight: f64,
    /// Probability that P is shifted by 1.
    pub a: f64,
    /// Probability that Q is shifted by -1.
    pub b: f64,
    pub sigma: f64,
    pub part: Part,
}

impl Pair {
    fn new(side: Side, weight: f64, q: f64, sigma: f64) -> Self {
        let (a, b) = match side {
            Side::Removed => (q, 0.0),
            Side::Added => (0.0, q),
            Side::Replaced | Side::ReplacedInFixedSize => (q, q),
        };
        Self {
            weight,
            a,
            b,
            sigma,
            part: Part::All,
        }
    }

    /// A(x) - 1 and B(x) - 1, where dP = A·φ and dQ = B·φ, φ the density of N(0, σ²).
    fn excesses(&self, x: f64) -> (f64, f64) {
        let scale = 0.5 / (self.sigma * self.sigma);
        let excess = |rate: f64, exponent: f64| {
            if rate == 0.0 {
                0.0
            } else {
                rate * exponent.exp_m1()
            }
        };
        (
            excess(self.a, (2.0 * x - 1.0) * scale),
            excess(self.b, (-2.0 * x - 1.0) * scale),
        )
    }

    /// With large rates A or B may be next to zero, of which A - 1 and B - 1 tell nothing: then A and B
    /// are wanted themselves.
    fn densities(&self, x: f64) -> Option<(f64, f64)> {
        if self.a.max(self.b) <= 0.5 {
            return None;
        }
        let scale = 0.5 / (self.sigma * self.sigma);
        let density = |rate: f64, exponent: f64| (1.0 - rate) + rate * exponent.exp();
        Some((
            density(self.a, (2.0 * x - 1.0) * scale),
            density(self.b, (-2.0 * x - 1.0) * scale),
        ))
    }

    /// A(x), and A(x) - e^y·B(x) where `growth` is e^y - 1.
    pub fn split(&self, x: f64, growth: f64) -> (f64, f64) {
        match self.densities(x) {
            Some((a, b)) => (a, a - b - growth * b),
            None => {
                let (u, v) = self.excesses(x);
                (1.0 + u, u - v - growth - growth * v)
            }
        }
    }

    /// ln A(x) and ln B(x).
    pub fn ln_densities(&self, x: f64) -> (f64, f64) {
        match self.densities(x) {
            Some((a, b)) => (a.ln(), b.ln()),
            None => {
                let (u, v) = self.excesses(x);
                (u.ln_1p(), v.ln_1p())
            }
        }
    }

    /// Privacy loss ln(dP/dQ) at outcome x; grows with x.
    pub fn loss(&self, x: f64) -> f64 {
        let (ln_a, ln_b) = self.ln_densities(x);
        ln_a - ln_b
    }

    /// With small rates nearly all outcomes have nearly one loss, next to the least or largest possible:
    /// ln(P(cell)/Q(cell)) of the cell that ends `reach` inside of that.
    pub fn bulk(&self, reach: f64) -> f64 {
        let tail = |x: f64| normal_tail(x / self.sigma);
        let mut bulk = if self.b == 0.0 {
            (-self.a).ln_1p()
        } else {
            -(-self.b).ln_1p()
        };
        for _ in 0..4 {
            bulk = if self.b == 0.0 {
                let end = self.outcome(bulk + reach);
                (self.a * (tail(1.0 - end) / tail(-end) - 1.0)).ln_1p()
            } else if self.a == 0.0 {
                let end = self.outcome(bulk - reach);
                -(self.b * (tail(end + 1.0) / tail(end) - 1.0)).ln_1p()
            } else {
                0.0
            };
        }
        if bulk.is_finite() { bulk } else { 0.0 }
    }

    /// Density of N(0, σ²), without its factor 1/(σ·sqrt(2π)).
    pub fn bell(&self, x: f64) -> f64 {
        (-0.5 * x * x / (self.sigma * self.sigma)).exp()
    }

    /// 1/(σ·sqrt(2π)), times the pair's weight.
    pub fn scale(&self) -> f64 {
        self.weight / (self.sigma * (2.0 * std::f64::consts::PI).sqrt())
    }

    /// The outcome of a given loss: the root t = e^{x/σ²} of a·c·t² + ((1-a) - e^y(1-b))·t - e^y·b·c,
    /// c = e^{-1/(2σ²)}. Infinite where every outcome's loss is larger or smaller.
    pub fn outcome(&self, loss: f64) -> f64 {
        let variance = self.sigma * self.sigma;
        let growth = loss.exp();
        let c = (-0.5 / variance).exp();
        let linear = if self.a.max(self.b) <= 0.5 {
            self.b * growth - (loss.exp_m1() + self.a)
        } else {
            (1.0 - self.a) - (1.0 - self.b) * growth
        };
        let root = linear.hypot(2.0 * c * (self.a * self.b * growth).sqrt());
        let t = if linear <= 0.0 {
            if self.a == 0.0 {
                return f64::INFINITY;
            }
            (root - linear) / (2.0 * self.a * c)
        } else {
            2.0 * growth * self.b * c / (linear + root)
        };
        variance * t.ln()
    }

    /// Outcomes between which all of P but `tail` on each side lies.
    pub fn range(&self, tail_z: f64) -> (f64, f64) {
        let reach = tail_z * self.sigma;
        (-reach, if self.a > 0.0 { 1.0 } else { 0.0 } + reach)
    }

    /// Length over which density and loss vary.
    pub fn length(&self) -> f64 {
        self.sigma.min(self.sigma * self.sigma)
    }

    /// True where the grid can serve it.
    pub fn in_range(&self) -> bool {
        (SMALLEST_NOISE..=LARGEST_NOISE).contains(&self.sigma)
    }
}

/// The pairs of one step of `phase`, one of which is in force at random and known to the adversary.
pub(super) fn pairs(phase: &Phase, side: Side) -> Vec<Pair> {
    let (q, sigma) = (phase.sampling_rate, phase.noise_multiplier);
    if side == Side::ReplacedInFixedSize {
        let half = |side: Side, part: Part| Pair {
            part,
            ..Pair::new(side, 1.0, q, sigma / 2.0)
        };
        return vec![
            half(Side::Removed, Part::Positive),
            half(Side::Added, Part::Negative),
        ];
    }
    let (cut, rate) = phase.truncation.map_or((0.0, 0.0), |cut| truncated(q, cut));
    let mut pairs = Vec::with_capacity(2);
    if cut < 1.0 {
        pairs.push(Pair::new(side, 1.0 - cut, q, sigma));
    }
    if cut > 0.0 && rate > 0.0 {
        pairs.push(Pair::new(Side::Replaced, cut, rate, sigma / 2.0));
    }
    pairs
}

/// λ and q' of the module's documentation.
fn truncated(q: f64, Truncation { rows, cap }: Truncation) -> (f64, f64) {
    let cut = at_least(cap, rows - 1, q);
    if cut == 0.0 {
        return (0.0, 0.0);
    }
    let kept = at_least(cap + 1, rows, q) / cut * (cap as f64 / rows as f64);
    (cut, kept.min(1.0))
}
