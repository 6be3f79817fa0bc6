//! A quick look at a composition: cumulants of the losses, and the ε they suggest.
//!
//! Nothing here bounds anything. It places the grid, the tilt and the window of the rigorous
//! computation, and starts searches close to their end.

use super::pair::{Pair, Part};

/// Losses of one step at a few hundred outcomes, with the ln of their probabilities.
pub(crate) struct Outline {
    nodes: Vec<(f64, f64)>,
}

/// K(θ) = ln E e^{θL}, and its first two derivatives: mean and variance of the tilted loss.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cumulants {
    pub value: f64,
    pub mean: f64,
    pub variance: f64,
}

/// The tilt at which the tilted sum of losses has the ε sought as its mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saddle {
    pub tilt: f64,
    /// ε by saddle-point approximation, usually to a per cent.
    pub epsilon: f64,
    /// Standard deviation of the tilted sum.
    pub deviation: f64,
    /// K of the sum.
    pub value: f64,
}

/// Nodes to the length over which a pair varies.
const NODES_PER_LENGTH: f64 = 2.5;

impl Outline {
    pub(super) fn new(pairs: &[Pair], tail_z: f64) -> Self {
        let mut nodes = Vec::new();
        for pair in pairs {
            let (low, high) = pair.range(tail_z);
            let step = pair.length() / NODES_PER_LENGTH;
            let count = ((high - low) / step).ceil() as usize;
            let ln_scale = (pair.scale() * step).ln();
            for index in 0..=count {
                let x = low + index as f64 * step;
                let (ln_a, ln_b) = pair.ln_densities(x);
                let loss = ln_a - ln_b;
                let counts = match pair.part {
                    Part::All => true,
                    Part::Positive => loss > 0.0,
                    Part::Negative => loss < 0.0,
                };
                if counts {
                    let bell = -0.5 * x * x / (pair.sigma * pair.sigma);
                    nodes.push((loss, ln_scale + bell + ln_a));
                }
            }
        }
        Self { nodes }
    }

    /// Cumulants of the tilted loss of one step.
    fn cumulants(&self, tilt: f64) -> Cumulants {
        let top = self
            .nodes
            .iter()
            .map(|(loss, ln_mass)| tilt * loss + ln_mass)
            .fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for (loss, ln_mass) in &self.nodes {
            let weight = (tilt * loss + ln_mass - top).exp();
            sum += weight;
            first += weight * loss;
            second += weight * loss * loss;
        }
        let mean = first / sum;
        Cumulants {
            value: top + sum.ln(),
            mean,
            variance: (second / sum - mean * mean).max(0.0),
        }
    }
}

/// Cumulants of the sum of independent losses.
pub(crate) fn total(steps: &[(&Outline, f64)], tilt: f64) -> Cumulants {
    let mut total = Cumulants::default();
    for (outline, count) in steps {
        // At tilt 0 the value is what quadrature misses; taking it off keeps long runs straight.
        let one = outline.cumulants(tilt);
        total.value += one.value * count;
        total.mean += one.mean * count;
        total.variance += one.variance * count;
    }
    total
}

/// The tilt for a given δ, `None` where the losses are too degenerate for one.
pub(crate) fn saddle(steps: &[(&Outline, f64)], delta: f64) -> Option<Saddle> {
    let missing = total(steps, 0.0).value;
    // Decreases as the tilt grows: ln δ at the ε that is the tilted mean.
    search(steps, |tilt, sum| {
        let t = tilt * sum.variance.sqrt();
        let prefactor = mills(t) - mills(t + sum.variance.sqrt());
        sum.value - missing - tilt * sum.mean + prefactor.max(1e-300).ln() - delta.ln()
    })
}

/// The tilt at which Chernoff's bound on the sum's upper tail is e^-`depth`, where there is one.
pub(crate) fn far(steps: &[(&Outline, f64)], depth: f64) -> Option<Saddle> {
    search(steps, |tilt, sum| sum.value - tilt * sum.mean + depth)
}

/// The largest loss of the sum.
pub(crate) fn largest(steps: &[(&Outline, f64)]) -> f64 {
    let of_step = |outline: &Outline| {
        let losses = outline.nodes.iter().map(|(loss, _)| *loss);
        losses.fold(f64::NEG_INFINITY, f64::max)
    };
    steps
        .iter()
        .map(|(outline, count)| of_step(outline) * count)
        .sum()
}

/// The tilt for a given ε.
pub(crate) fn saddle_at(steps: &[(&Outline, f64)], epsilon: f64) -> Option<Saddle> {
    search(steps, |_, sum| epsilon - sum.mean)
}

/// Bisection in ln θ for the root of a decreasing function, by secants where they help.
fn search(steps: &[(&Outline, f64)], excess: impl Fn(f64, &Cumulants) -> f64) -> Option<Saddle> {
    let spread = total(steps, 0.0).variance.sqrt();
    if !(spread > 0.0 && spread.is_finite()) {
        return None;
    }
    let at = |tilt: f64| {
        let sum = total(steps, tilt);
        let value = excess(tilt, &sum);
        (tilt, value, sum)
    };
    let mut low = at(1e-3 / spread);
    let mut found = low;
    if low.1 > 0.0 {
        let mut high = at(low.0 * 4.0);
        while high.1 > 0.0 {
            if high.0 > 1e12 / spread {
                return None;
            }
            low = high;
            high = at(low.0 * 4.0);
        }
        for turn in 0..60 {
            let width = high.0 - low.0;
            let share = low.1 / (low.1 - high.1);
            // Where the losses are of two kinds, rare large ones and the rest, the mean jumps from one
            // to the other, and secants creep.
            let tilt = if share.is_finite() && turn < 12 && turn % 3 != 2 {
                low.0 + width * share.clamp(0.02, 0.98)
            } else {
                low.0 + width / 2.0
            };
            found = at(tilt);
            if found.1.abs() < 1e-4 || width < 1e-6 * low.0 {
                break;
            }
            if found.1 > 0.0 {
                low = found;
            } else {
                high = found;
            }
        }
    }
    let (tilt, _, sum) = found;
    let saddle = Saddle {
        tilt,
        epsilon: sum.mean,
        deviation: sum.variance.sqrt(),
        value: sum.value,
    };
    (saddle.epsilon.is_finite() && saddle.deviation > 0.0).then_some(saddle)
}

/// e^{t²/2}·Φ(-t), to some per cent (Sampford's bound on Mills' ratio).
fn mills(t: f64) -> f64 {
    4.0 / (3.0 * t + (t * t + 8.0).sqrt()) / (2.0 * std::f64::consts::PI).sqrt()
}
