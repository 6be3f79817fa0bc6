//! Composition of discretised losses by FFT, under an exponential tilt.
//!
//! A plain FFT has an absolute error of about 1e-16, useless for δ = 1e-12. So each mass pₖ at loss yₖ
//! is first tilted to pₖ·e^{θyₖ - K}, K = ln Σ pₖ·e^{θyₖ}: with θ the saddle point of the ε sought, the
//! tilted sum concentrates around it, and all errors are relative to δ itself (Esscher's transform; in
//! FFT convolution since Grübel, Hermesmeier 1999).
//!
//! It also keeps the window small. δ(ε) weighs the tilted mass at y by e^{-θ(y-ε)}, so the window ends
//! some 20/θ above ε. Mass from below the window is folded into it, shifted up by its span S, but all of
//! that together weighs at most Σₖ e^{-θ(kS-ε)-K}: S = (ln 1/δ + 26)/θ is enough.

use rustfft::num_complex::Complex64;

use super::loss::LossDistribution;
use super::plan::Window;
use super::power::{apart, whole};
use super::transform::Transform;

/// Relative head-room in one step's masses for quadrature and rounding, both below 1e-12.
const HEAD_ROOM: f64 = 1e-11;

/// A tilted step's spectrum is zero here if its power is below e^-80.
const NEGLIGIBLE_LN: f64 = -80.0;

/// Tilted mass at zero that is kept apart.
const LEAST_ATOM: f64 = 0.5;

/// -ln of all steps' atoms together, at most.
const LEAST_ATOMS_LN: f64 = 20.0;

/// One step's tilted losses, transformed.
pub(super) struct Spectrum {
    /// Of all but the atom.
    pub values: Vec<Complex64>,
    /// Tilted mass at grid point 0, where nearly all is with little sampling: kept apart, so that the
    /// transform's errors are relative to the rest. 0 if it is not most.
    pub atom: f64,
    /// K.
    pub ln_norm: f64,
    infinite: f64,
    offset: f64,
}

/// Which of the two bounds a sum is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Upper,
    Lower,
}

/// Transforms one step's losses for two sides (or two bounds) at once.
pub(super) fn spectra(
    transform: &mut Transform,
    losses: [&LossDistribution; 2],
    windows: [&Window; 2],
) -> [Spectrum; 2] {
    let norms = [0, 1].map(|side| ln_moment(losses[side], windows[side], 0.0));
    let atoms = [0, 1].map(|side| {
        let (loss, window) = (losses[side], windows[side]);
        let zero = usize::try_from(-loss.first).ok();
        let mass = zero.and_then(|zero| loss.mass.get(zero)).unwrap_or(&0.0);
        let atom = mass * (window.tilt * loss.offset - norms[side]).exp();
        if atom > LEAST_ATOM { atom } else { 0.0 }
    });
    let values = transform.forward(|side, add| {
        let (loss, window) = (losses[side], windows[side]);
        for (index, &mass) in loss.mass.iter().enumerate() {
            let apart = atoms[side] > 0.0 && loss.first + index as i64 == 0;
            if mass > 0.0 && !apart {
                let point = loss.first + index as i64;
                let y = window.grid * point as f64 + loss.offset;
                let exponent = window.tilt * y - norms[side];
                add(point, mass * exponent.exp());
            }
        }
    });
    let mut side = 0;
    values.map(|values| {
        side += 1;
        Spectrum {
            values,
            atom: atoms[side - 1],
            ln_norm: norms[side - 1],
            infinite: losses[side - 1].infinite,
            offset: losses[side - 1].offset,
        }
    })
}

/// ln Σ p·e^{(θ+extra)·y}.
pub(super) fn ln_moment(loss: &LossDistribution, window: &Window, extra: f64) -> f64 {
    let slope = (window.tilt + extra) * window.grid;
    let shift = (window.tilt + extra) * loss.offset;
    // The largest point with mass is the largest exponent; scaled by it, nothing overflows.
    let last = loss.mass.iter().rposition(|mass| *mass > 0.0).unwrap_or(0);
    let top = slope * (loss.first + last as i64) as f64;
    let whole = top + shift;
    let terms = loss
        .mass
        .iter()
        .enumerate()
        .filter(|(_, mass)| **mass > 0.0);
    let present = terms.map(|(index, &mass)| {
        let exponent = slope * (loss.first + index as i64) as f64 - top;
        (mass, exponent)
    });
    let sum: f64 = present
        .clone()
        .map(|(mass, exponent)| mass * exponent.exp())
        .sum();
    if sum > 1e-250 {
        return whole + sum.ln();
    }
    let peak = present
        .clone()
        .map(|(mass, exponent)| mass.ln() + exponent)
        .fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = present
        .map(|(mass, exponent)| (mass.ln() + exponent - peak).exp())
        .sum();
    whole + peak + sum.ln()
}

/// Two tilted sums of losses.
pub(super) struct Sums<'a> {
    values: &'a [Complex64],
    /// Tilted mass at grid point 0 that the values lack, by place.
    atoms: [f64; 2],
    /// Bound on the Euclidean norm of all values' rounding errors together, after scaling: for FFTs that
    /// holds as it does for one value (Higham 2002, section 24.1), and by Parseval's identity.
    rounding: f64,
}

/// One tilted sum of losses, ready for questions.
pub(super) struct Sum<'a> {
    window: &'a Window,
    sums: &'a Sums<'a>,
    side: usize,
    bound: Bound,
    /// ln of what the tilt has to be undone by, head-room included.
    ln_norm: f64,
    infinite: f64,
    /// Bound on the weight that the window lacks (upper bound) or has too much (lower bound).
    folded: f64,
    /// Bound on the tilted mass, still to be weighed where it lands, that is folded in from above.
    beyond: f64,
    /// The lower bound's window says nothing below.
    guard: f64,
    /// Index of the first grid point, and where grid point 0 lies.
    low: i64,
    offset: f64,
}

/// Sums `steps` of losses whose spectra are given, for both sides.
pub(super) fn convolve<'a>(
    transform: &'a mut Transform,
    parts: &[(&[Spectrum; 2], u64)],
) -> Sums<'a> {
    let (points, unit) = (transform.points(), transform.unit());
    let half = points / 2;
    let cutoffs: Vec<f64> = parts
        .iter()
        .map(|(_, steps)| (2.0 * NEGLIGIBLE_LN / *steps as f64).exp())
        .collect();
    let rest = parts.iter().flat_map(|(spectra, _)| spectra.iter());
    let rest = rest.map(|spectrum| 1.0 - spectrum.atom).fold(0.0, f64::max);
    let mut products: [Vec<Complex64>; 2] =
        [Vec::with_capacity(half + 1), Vec::with_capacity(half + 1)];
    let mut atoms = [0.0; 2];
    let (mut error, mut energy) = (0.0, 0.0);
    for (side, product) in products.iter_mut().enumerate() {
        let atoms_ln: f64 = parts
            .iter()
            .map(|(spectra, steps)| spectra[side].atom.ln() * *steps as f64)
            .sum();
        if atoms_ln > -LEAST_ATOMS_LN {
            atoms[side] = atoms_ln.exp();
        }
        for k in 0..=half {
            let (value, wrong) = if atoms[side] > 0.0 {
                apart(parts, side, k, unit * rest)
            } else {
                whole(parts, side, k, unit * rest, &cutoffs)
            };
            let scale = if atoms[side] > 0.0 { atoms[side] } else { 1.0 };
            product.push(value * scale);
            energy += 2.0 * value.norm_sqr() * scale * scale;
            error += 2.0 * wrong * wrong * scale * scale;
        }
    }
    let count = points as f64;
    let rounding = (error / count).sqrt()
        + unit * (energy / count).sqrt()
        + parts.len() as f64 * NEGLIGIBLE_LN.exp();
    let values = transform.backward(|k| [products[0][k], products[1][k]]);
    Sums {
        values,
        atoms,
        rounding,
    }
}

impl<'a> Sum<'a> {
    /// The sum of one side. `beyond` bounds the tilted sum's mass more than the window's span above its
    /// [`Window::guard`], and matters to the lower bound only.
    pub(super) fn new(
        sums: &'a Sums<'a>,
        side: usize,
        window: &'a Window,
        parts: &[(&[Spectrum; 2], u64)],
        bound: Bound,
        beyond: f64,
    ) -> Self {
        let total = |part: &dyn Fn(&Spectrum) -> f64| -> f64 {
            parts
                .iter()
                .map(|(spectra, steps)| part(&spectra[side]) * *steps as f64)
                .sum()
        };
        let steps = total(&|_| 1.0);
        let ln_norm = total(&|spectrum| spectrum.ln_norm);
        let offset = total(&|spectrum| spectrum.offset);
        let span = window.span();
        let high = (window.low + window.points as i64 - 1) as f64 * window.grid;
        let (head_room, folded) = match bound {
            // What is folded in only adds; what lies above the window is missing.
            Bound::Upper => (HEAD_ROOM, (-window.tilt * (high - window.centre)).exp()),
            Bound::Lower => {
                let below = (-window.tilt * (span - window.centre) - ln_norm).exp();
                (-HEAD_ROOM, below / -(-window.tilt * span).exp_m1())
            }
        };
        Self {
            window,
            sums,
            side,
            bound,
            ln_norm: ln_norm + head_room * steps,
            infinite: total(&|spectrum| spectrum.infinite),
            folded,
            beyond: match bound {
                Bound::Upper => 0.0,
                Bound::Lower => beyond,
            },
            guard: match bound {
                Bound::Upper => f64::NEG_INFINITY,
                Bound::Lower => window.guard(),
            },
            low: window.low - (offset / window.grid).floor() as i64,
            offset,
        }
    }

    /// e^{-θ(y-c)}.
    fn weight(&self, y: f64) -> f64 {
        (-self.window.tilt * (y - self.window.centre)).exp()
    }

    fn loss(&self, index: usize) -> f64 {
        (self.low + index as i64) as f64 * self.window.grid + self.offset
    }

    /// The tilted mass at a point of the window, up to rounding.
    fn mass(&self, index: usize) -> f64 {
        let points = self.window.points as i64;
        let source = (-(self.low + index as i64)).rem_euclid(points) as usize;
        let value = self.sums.values[source];
        let value = if self.side == 0 { value.re } else { value.im } / points as f64;
        let value = if source == 0 {
            value + self.sums.atoms[self.side]
        } else {
            value
        };
        match self.bound {
            Bound::Upper => value.max(0.0),
            Bound::Lower => value,
        }
    }

    /// The smallest ε ≥ 0 with δ(ε) ≤ `delta` as far as this bound knows: for the upper bound `None`
    /// where it is above the window, for the lower 0 there.
    pub(super) fn epsilon(&self, delta: f64) -> Option<f64> {
        // δ(ε) = e^{K-θc}·(Σ_{y>ε} p̃(y)·e^{-θ(y-c)}·(1 - e^{ε-y}) ± folded) + infinite, c the centre.
        let allowed = ((delta - self.infinite).ln() - self.ln_norm
            + self.window.tilt * self.window.centre)
            .exp();
        let allowed = match self.bound {
            Bound::Upper => allowed - self.folded,
            Bound::Lower => allowed + self.folded,
        };
        if allowed.is_nan() || allowed <= 0.0 {
            return None;
        }
        let mut tail = Tail::of(self);
        for index in (0..self.window.points).rev() {
            let y = self.loss(index);
            if tail.gap.is_nan() {
                return None;
            }
            // The weight of what was folded in to the points above is at most that at the point above.
            let rounding = self.sums.rounding * tail.squares.sqrt();
            let allowed = match self.bound {
                Bound::Upper => allowed - rounding,
                Bound::Lower => {
                    allowed + rounding + self.beyond * self.weight(y + self.window.grid)
                }
            };
            if tail.gap > allowed {
                // Between this point and the one above, δ(ε) = gap - (e^{ε-y} - 1)·discounted.
                let above = ((tail.gap - allowed) / tail.discounted).ln_1p();
                return Some((y + above.clamp(0.0, self.window.grid)).max(0.0));
            }
            if y <= 0.0 || y < self.guard {
                return Some(0.0);
            }
            tail.take(self, index);
        }
        match self.bound {
            // The whole window is above the ε sought: its lower end is a bound.
            Bound::Upper => Some(self.loss(0).max(0.0)),
            Bound::Lower => Some(0.0),
        }
    }

    /// δ(ε) for an ε inside the window.
    pub(super) fn delta(&self, epsilon: f64) -> f64 {
        let mut tail = Tail::of(self);
        let mut least = epsilon;
        for index in (0..self.window.points).rev() {
            least = self.loss(index);
            if least <= epsilon {
                break;
            }
            tail.take(self, index);
        }
        let sum = tail.gap - (epsilon - least).exp_m1() * tail.discounted;
        let rounding = self.sums.rounding * tail.squares.sqrt();
        let sum = match self.bound {
            Bound::Upper => sum.max(0.0) + rounding + self.folded,
            Bound::Lower if epsilon < self.guard => 0.0,
            Bound::Lower => {
                let beyond = self.beyond * self.weight(epsilon);
                (sum - rounding - self.folded - beyond).max(0.0)
            }
        };
        let scaled = (sum.ln() + self.ln_norm - self.window.tilt * self.window.centre).exp();
        match self.bound {
            Bound::Upper if scaled.is_nan() => 1.0,
            Bound::Lower if scaled.is_nan() => 0.0,
            _ => (scaled + self.infinite).min(1.0),
        }
    }
}

/// With w(y') = p̃(y')·e^{-θ(y'-c)}, y going down: what is above y.
struct Tail {
    /// Σ_{y'>y} w(y')·(1 - e^{y-y'}).
    gap: f64,
    /// Σ_{y'>y} w(y')·e^{y-y'}.
    discounted: f64,
    /// Σ_{y'>y} e^{-2θ(y'-c)}: by Cauchy and Schwarz, its root times the norm of the rounding errors
    /// bounds what they come to.
    squares: f64,
    /// e^{-θ(y-c)} at the next point down.
    weight: f64,
    weight_step: f64,
    /// 1 - e^{-grid}.
    discount: f64,
}

impl Tail {
    fn of(sum: &Sum<'_>) -> Self {
        let Window {
            grid,
            tilt,
            centre,
            points,
            ..
        } = *sum.window;
        Self {
            gap: 0.0,
            discounted: 0.0,
            squares: 0.0,
            weight: (-tilt * (sum.loss(points - 1) - centre)).exp(),
            weight_step: (tilt * grid).exp(),
            discount: -(-grid).exp_m1(),
        }
    }

    fn take(&mut self, sum: &Sum<'_>, index: usize) {
        self.discounted += sum.mass(index) * self.weight;
        self.gap += self.discounted * self.discount;
        self.discounted -= self.discounted * self.discount;
        self.squares += self.weight * self.weight;
        self.weight *= self.weight_step;
    }
}
