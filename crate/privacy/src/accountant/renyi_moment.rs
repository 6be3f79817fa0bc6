//! The moment A_α that Rényi accounting of the subsampled Gaussian rests on.
//!
//! Mironov, Talwar, Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism" (2019,
//! <https://arxiv.org/abs/1908.10530>): with μ0 = N(0, σ²) and μ = (1-q)·N(0, σ²) + q·N(1, σ²),
//!
//! A_α = E_{x~μ0} [ r(x)^α ],  r(x) = μ(x)/μ0(x) = 1 - q + q·exp((2x-1)/(2σ²)),
//!
//! and the mechanism is (α, ln(A_α)/(α-1))-RDP under add/remove adjacency, both directions included
//! (their Theorem 5: the direction with μ0 in the denominator is the worse).
//!
//! Both evaluations below work on A_α - 1, written as a sum or integral of non-negative terms, so
//! that nothing cancels when A_α is close to 1, which is where accounting lives.

/// ln A_α for an integer order α ≥ 2 (their Section 3.3), q in (0, 1).
///
/// A_α - 1 = Σ_{k=2..α} C(α,k) (1-q)^{α-k} q^k (exp((k²-k)/(2σ²)) - 1).
pub(super) fn log_moment_integer(q: f64, sigma: f64, alpha: u32) -> f64 {
    let n = f64::from(alpha);
    let (ln_q, ln_rest) = (q.ln(), (-q).ln_1p());
    let mut ln_binomial = n.ln();
    let mut terms = Vec::with_capacity(alpha as usize);
    for k in 2..=alpha {
        let k = f64::from(k);
        ln_binomial += ((n - k + 1.0) / k).ln();
        let exponent = (k * k - k) / (2.0 * sigma * sigma);
        terms.push(ln_binomial + k * ln_q + (n - k) * ln_rest + ln_exp_m1(exponent));
    }
    ln_one_plus_exp(ln_sum_exp(&terms))
}

/// The likelihood ratio of one (q, σ) sampled on a grid, to integrate many fractional orders from.
///
/// A_α - 1 = ∫ φ_σ(x) g(x) dx with g = r^α - 1 - α(r-1) ≥ 0 for α ≥ 1, because E[r] = 1. The
/// integrand is analytic in the strip |Im x| < πσ² (r has its first zero there) and Gaussian in its
/// tails, so the trapezoid rule converges exponentially: with step h the relative error is about
/// exp(π²σ²/2 - 2π²σ²/h), below 1e-14 for h = min(σ, σ²)/2 (Trefethen, Weideman 2014, Theorem 5.1).
pub(super) struct RatioGrid {
    /// ln of density times step, at each node.
    ln_weight: Vec<f64>,
    /// u = r - 1 at each node (infinite where it overflows).
    excess: Vec<f64>,
    /// ln r at each node.
    ln_ratio: Vec<f64>,
}

/// Below this noise multiplier the grid would be too fine to pay off; ε is in the hundreds there.
const SMALLEST_GRID_SIGMA: f64 = 0.05;

/// Above this noise multiplier A_α is 1 but for rounding, whatever q.
const LARGEST_GRID_SIGMA: f64 = 1e6;

/// Standard deviations kept beyond the integrand's outermost peaks; the rest is below e^-72 of it.
const TAIL_SIGMAS: f64 = 12.0;

impl RatioGrid {
    /// Samples the ratio for orders up to `largest_alpha`; `None` if σ is too small or large for a grid.
    pub(super) fn new(q: f64, sigma: f64, largest_alpha: f64) -> Option<Self> {
        if !(SMALLEST_GRID_SIGMA..=LARGEST_GRID_SIGMA).contains(&sigma) {
            return None;
        }
        let variance = sigma * sigma;
        let step = sigma.min(variance) / 2.0;
        let low = -TAIL_SIGMAS * sigma;
        let nodes = ((largest_alpha + 2.0 * TAIL_SIGMAS * sigma) / step).ceil() as usize;
        let ln_scale = (step / (sigma * (2.0 * std::f64::consts::PI).sqrt())).ln();
        let mut grid = Self {
            ln_weight: Vec::with_capacity(nodes),
            excess: Vec::with_capacity(nodes),
            ln_ratio: Vec::with_capacity(nodes),
        };
        for node in 0..nodes {
            let x = low + node as f64 * step;
            let exponent = (2.0 * x - 1.0) / (2.0 * variance);
            let excess = q * exponent.exp_m1();
            grid.ln_weight.push(ln_scale - x * x / (2.0 * variance));
            // Past exp's range, 1 - q is invisible beside q·e^exponent.
            let ln_ratio = if excess.is_finite() {
                excess.ln_1p()
            } else {
                q.ln() + exponent
            };
            grid.excess.push(excess);
            grid.ln_ratio.push(ln_ratio);
        }
        Some(grid)
    }

    /// ln A_α for any order α > 1.
    pub(super) fn log_moment(&self, alpha: f64, scratch: &mut Vec<f64>) -> f64 {
        scratch.clear();
        for ((weight, &excess), &ln_ratio) in
            self.ln_weight.iter().zip(&self.excess).zip(&self.ln_ratio)
        {
            scratch.push(weight + ln_bernoulli_gap(excess, ln_ratio, alpha));
        }
        ln_one_plus_exp(ln_sum_exp(scratch))
    }
}

/// ln of (1+u)^α - 1 - αu, the gap in Bernoulli's inequality, given u and ln(1+u).
fn ln_bernoulli_gap(u: f64, ln_ratio: f64, alpha: f64) -> f64 {
    let power = alpha * ln_ratio;
    if u.abs() * alpha < 0.02 {
        // Taylor series of the gap: the direct form would cancel. Terms shrink by at least 0.02 each.
        let mut term = alpha * (alpha - 1.0) / 2.0 * u * u;
        let mut sum = 0.0;
        for k in 3..=9 {
            sum += term;
            term *= (alpha - f64::from(k) + 1.0) / f64::from(k) * u;
        }
        sum.ln()
    } else if power > 40.0 {
        power + (-(alpha * (ln_linear(u, alpha) - power).exp())).ln_1p()
    } else {
        (power.exp_m1() - alpha * u).ln()
    }
}

/// ln((1 + αu)/α) for large u, without overflow of αu.
fn ln_linear(u: f64, alpha: f64) -> f64 {
    if u.is_finite() {
        (1.0 / alpha + u).ln()
    } else {
        f64::NEG_INFINITY
    }
}

/// ln(e^v - 1) for v > 0 without overflow.
fn ln_exp_m1(v: f64) -> f64 {
    if v > 40.0 { v } else { v.exp_m1().ln() }
}

/// ln(1 + e^v) without overflow.
fn ln_one_plus_exp(v: f64) -> f64 {
    if v > 40.0 { v } else { v.exp().ln_1p() }
}

/// ln Σ e^v over the terms.
fn ln_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    largest
        + terms
            .iter()
            .map(|term| (term - largest).exp())
            .sum::<f64>()
            .ln()
}
