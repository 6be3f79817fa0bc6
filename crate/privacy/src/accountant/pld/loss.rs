//! The privacy loss of one Poisson-subsampled Gaussian step, on a grid.

/// Which neighbour has the row more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// P has the row: P = (1-q)·N(0, σ²) + q·N(1, σ²), Q = N(0, σ²).
    Removed,
    /// Q has the row: P and Q exchanged.
    Added,
}

/// Losses on the points `(first + i)·grid`, dominating the true distribution: for every ε, δ(ε) is at
/// least the true one.
///
/// Each loss ℓ between two grid points a < b is split between them so that its mass under P and its mass
/// under Q (e^{-ℓ} times as much) are both kept: the share (1 - e^{a-ℓ})/(1 - e^{a-b}) goes to b. This
/// is connect-the-dots (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022,
/// <https://arxiv.org/abs/2207.04380>), in a form in which nothing cancels.
pub(super) struct LossDistribution {
    /// Index of the first grid point.
    pub first: i64,
    /// Mass at each grid point.
    pub mass: Vec<f64>,
    /// Mass whose loss counts as infinite.
    pub infinite: f64,
}

/// Outcomes from `low` to `high` that matter; what lies beyond has mass at most `tail` on each side.
struct Mechanism {
    direction: Direction,
    q: f64,
    variance: f64,
    sigma: f64,
    low: f64,
    high: f64,
}

/// Nodes and weights of 5-point Gauss-Legendre quadrature on [-1, 1].
const NODES: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
    (-0.538_469_310_105_683, 0.478_628_670_499_366_47),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683, 0.478_628_670_499_366_47),
    (0.906_179_845_938_664, 0.236_926_885_056_189_08),
];

/// Widest panel of the quadrature, in standard deviations: the error is below 1e-13 of a panel's mass.
const PANEL: f64 = 0.05;

/// Width of the range of losses of one step, but for `tail` mass on each side.
pub(super) fn width(direction: Direction, q: f64, sigma: f64, tail: f64) -> f64 {
    let mechanism = Mechanism::new(direction, q, sigma, tail);
    (mechanism.loss(mechanism.high) - mechanism.loss(mechanism.low)).abs()
}

impl LossDistribution {
    /// One step; `q` in (0, 1], `tail` the mass that may be moved to infinity.
    pub(super) fn of_step(direction: Direction, q: f64, sigma: f64, grid: f64, tail: f64) -> Self {
        let mechanism = Mechanism::new(direction, q, sigma, tail);
        let (a, b) = (
            mechanism.loss(mechanism.low),
            mechanism.loss(mechanism.high),
        );
        let first = (a.min(b) / grid).floor() as i64;
        let last = (a.max(b) / grid).ceil() as i64;
        let mut mass = vec![0.0; (last - first + 1) as usize];
        for bin in 0..mass.len() - 1 {
            let below = (first + bin as i64) as f64 * grid;
            let (lower, upper) = mechanism.split(below, grid);
            mass[bin] += lower;
            mass[bin + 1] += upper;
        }
        // Beyond one end the loss is larger than any point: infinite. Beyond the other it is smaller
        // than the point next to it, which may stand for it.
        let (infinite, finite_end) = match direction {
            Direction::Removed => (tail, mechanism.loss(mechanism.low)),
            Direction::Added => (tail, mechanism.loss(mechanism.high)),
        };
        let end = ((finite_end / grid).ceil() as i64 - first) as usize;
        mass[end] += tail;
        Self {
            first,
            mass,
            infinite,
        }
    }
}

impl Mechanism {
    fn new(direction: Direction, q: f64, sigma: f64, tail: f64) -> Self {
        let reach = tail_quantile(tail) * sigma;
        // P's mass lies around 0, and with a row in it around 1 too.
        let centre = if direction == Direction::Removed {
            1.0
        } else {
            0.0
        };
        Self {
            direction,
            q,
            variance: sigma * sigma,
            sigma,
            low: -reach,
            high: centre + reach,
        }
    }

    /// Privacy loss ln(dP/dQ) at outcome x.
    fn loss(&self, x: f64) -> f64 {
        let exponent = (2.0 * x - 1.0) / (2.0 * self.variance);
        let ln_ratio = if self.q == 1.0 {
            exponent
        } else if exponent > 600.0 {
            self.q.ln() + exponent
        } else {
            (self.q * exponent.exp_m1()).ln_1p()
        };
        match self.direction {
            Direction::Removed => ln_ratio,
            Direction::Added => -ln_ratio,
        }
    }

    /// The outcome with a given loss, clamped to the range that matters.
    fn outcome(&self, loss: f64) -> f64 {
        let ln_ratio = match self.direction {
            Direction::Removed => loss,
            Direction::Added => -loss,
        };
        let exponent = if self.q == 1.0 {
            ln_ratio
        } else if ln_ratio > 600.0 {
            ln_ratio - self.q.ln()
        } else {
            // ln((e^ℓ - 1 + q)/q) = ln(1 + (e^ℓ - 1)/q); below ln(1-q) there is no outcome.
            let excess = ln_ratio.exp_m1() / self.q;
            if excess <= -1.0 {
                return self.low;
            }
            excess.ln_1p()
        };
        (exponent * self.variance + 0.5).clamp(self.low, self.high)
    }

    /// Density of P.
    fn density(&self, x: f64) -> f64 {
        let scale = 1.0 / (self.sigma * (2.0 * std::f64::consts::PI).sqrt());
        let at = |centre: f64| (-(x - centre) * (x - centre) / (2.0 * self.variance)).exp() * scale;
        match self.direction {
            Direction::Removed => (1.0 - self.q) * at(0.0) + self.q * at(1.0),
            Direction::Added => at(0.0),
        }
    }

    /// Mass of the losses between grid points `below` and `below + grid`, split between the two.
    fn split(&self, below: f64, grid: f64) -> (f64, f64) {
        let (x, y) = (self.outcome(below), self.outcome(below + grid));
        let (from, to) = (x.min(y), x.max(y));
        let panels = ((to - from) / (PANEL * self.sigma)).ceil();
        let half = (to - from) / panels / 2.0;
        let (mut lower, mut upper) = (0.0, 0.0);
        for panel in 0..panels as usize {
            let middle = from + (2.0 * panel as f64 + 1.0) * half;
            for (node, weight) in NODES {
                let x = middle + node * half;
                let mass = weight * half * self.density(x);
                // Rounding of the inverse may put a node a hair outside the bin.
                let above = (self.loss(x) - below).clamp(0.0, grid);
                let share = (-above).exp_m1() / (-grid).exp_m1();
                upper += mass * share;
                lower += mass * (1.0 - share);
            }
        }
        (lower, upper)
    }
}

/// A z with Φ(-z) ≤ `tail`, from Mills' bound Φ(-z) ≤ e^{-z²/2}/(z·sqrt(2π)).
fn tail_quantile(tail: f64) -> f64 {
    let mut z = 1.0_f64;
    while (-z * z / 2.0).exp() / (z * (2.0 * std::f64::consts::PI).sqrt()) > tail {
        z += 0.125;
    }
    z
}
