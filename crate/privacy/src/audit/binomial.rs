//! Binomial probabilities for up to millions of trials, tails in log space.

use std::f64::consts::TAU;

/// Probabilities below e^-650 are left out where only sums of many matter.
const NEGLIGIBLE: f64 = -650.0;

/// The number of successes in `trials` independent trials, given the log-odds of one: ε is the log-odds
/// of a right answer in ε-randomised response. Log-odds keep both probabilities exact near 0 and 1.
#[derive(Clone, Copy)]
pub(super) struct Binomial {
    trials: u64,
    log_odds: f64,
}

impl Binomial {
    pub fn new(trials: u64, log_odds: f64) -> Self {
        Self { trials, log_odds }
    }

    /// Probability of one success.
    fn success(self) -> f64 {
        1.0 / (1.0 + (-self.log_odds).exp())
    }

    /// Probability of one failure.
    fn failure(self) -> f64 {
        1.0 / (1.0 + self.log_odds.exp())
    }

    fn mean(self) -> f64 {
        self.trials as f64 * self.success()
    }

    /// ln P[X = k], for k ≤ trials.
    ///
    /// The saddle-point form of Loader (2000), "Fast and accurate computation of binomial probabilities":
    /// no large logarithms cancel, so the error is near 1e-15 of the deviance rather than of ln trials!.
    pub fn ln_pmf(self, k: u64) -> f64 {
        let n = self.trials as f64;
        let (hits, misses) = (k as f64, (self.trials - k) as f64);
        if misses == 0.0 {
            return -n * (-self.log_odds).exp().ln_1p();
        }
        if hits == 0.0 {
            return -n * self.log_odds.exp().ln_1p();
        }
        stirling_error(n)
            - stirling_error(hits)
            - stirling_error(misses)
            - deviance(hits, n * self.success())
            - deviance(misses, n * self.failure())
            + 0.5 * (n / (TAU * hits * misses)).ln()
    }

    /// P[X ≥ k]. The smaller of the two tails is summed, so that it keeps its relative precision.
    pub fn at_least(self, k: u64) -> f64 {
        if k == 0 {
            return 1.0;
        }
        if k > self.trials {
            return 0.0;
        }
        if k as f64 > self.mean() {
            self.upper_tail(k).min(1.0)
        } else {
            (1.0 - self.lower_tail(k - 1)).clamp(0.0, 1.0)
        }
    }

    /// Σ P[X = j] over j ≥ k, for k above the mean: the terms fall from the first on.
    fn upper_tail(self, k: u64) -> f64 {
        let odds = self.log_odds.exp();
        let (mut term, mut sum) = (1.0_f64, 1.0_f64);
        for j in k..self.trials {
            term *= (self.trials - j) as f64 / (j + 1) as f64 * odds;
            sum += term;
            if term < sum * 1e-18 {
                break;
            }
        }
        (self.ln_pmf(k) + sum.ln()).exp()
    }

    /// Σ P[X = j] over j ≤ k, for k below the mean.
    fn lower_tail(self, k: u64) -> f64 {
        let (mut term, mut sum) = (1.0_f64, 1.0_f64);
        for j in (1..=k).rev() {
            term *= self.ratio_below(j);
            sum += term;
            if term < sum * 1e-18 {
                break;
            }
        }
        (self.ln_pmf(k) + sum.ln()).exp()
    }

    /// P[X = j - 1] / P[X = j], for j ≥ 1.
    fn ratio_below(self, j: u64) -> f64 {
        j as f64 / (self.trials - j + 1) as f64 * (-self.log_odds).exp()
    }

    /// max over i = 1..=v of P[v - i ≤ X < v] / i, for 1 ≤ v ≤ trials.
    ///
    /// This is the largest mean of the probabilities just below v. They rise to the mode and then fall, so
    /// the mean rises until a probability lies below it, and never again after.
    pub fn steepest_below(self, v: u64) -> f64 {
        let mut k = v - 1;
        if self.ln_pmf(k) < NEGLIGIBLE && k as f64 > self.mean() {
            k = self.last_that_matters(k);
        }
        let mut count = (v - k) as f64;
        let mut term = self.ln_pmf(k).exp();
        let mut sum = term;
        let mut best = sum / count;
        while k > 0 {
            term *= self.ratio_below(k);
            k -= 1;
            if term < best {
                break;
            }
            sum += term;
            count += 1.0;
            best = best.max(sum / count);
        }
        best
    }

    /// The largest k below `above`, not below the mean, whose probability is not negligible.
    fn last_that_matters(self, above: u64) -> u64 {
        let (mut low, mut high) = (self.mean() as u64, above);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.ln_pmf(middle) < NEGLIGIBLE {
                high = middle;
            } else {
                low = middle;
            }
        }
        low
    }
}

/// ln n! − ln(sqrt(2πn) (n/e)^n), for n ≥ 1.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let factorial: f64 = (2..=n as u32).map(f64::from).product();
        return factorial.ln() - (0.5 * (TAU * n).ln() + n * n.ln() - n);
    }
    let square = n * n;
    let series = 1.0 / 1680.0 - 1.0 / (1188.0 * square);
    let series = 1.0 / 1260.0 - series / square;
    let series = 1.0 / 360.0 - series / square;
    (1.0 / 12.0 - series / square) / n
}

/// x ln(x/mean) + mean − x, the deviance, without cancellation where x is near the mean.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    let v = difference / (x + mean);
    if v.abs() >= 0.1 {
        return x * (x / mean).ln() - difference;
    }
    let mut sum = difference * v;
    let mut power = 2.0 * x * v;
    for j in 1..1000 {
        power *= v * v;
        let next = sum + power / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::Binomial;

    /// ln n! by summation.
    fn ln_factorial(n: u64) -> f64 {
        (2..=n).map(|i| (i as f64).ln()).sum()
    }

    /// The saddle-point form against ln-factorials, over sizes and odds.
    #[test]
    fn probabilities_equal_the_textbook_formula() {
        for (n, log_odds) in [(1_u64, 0.3), (10, 0.0), (40, -2.0), (300, 1.0), (2000, 4.0)] {
            let law = Binomial::new(n, log_odds);
            let mut total = 0.0;
            for k in 0..=n {
                let expected = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
                    + k as f64 * law.success().ln()
                    + (n - k) as f64 * law.failure().ln();
                let found = law.ln_pmf(k);
                assert!(
                    (found - expected).abs() < 1e-10 * expected.abs().max(1.0),
                    "n {n} k {k}: {found} against {expected}"
                );
                total += found.exp();
            }
            assert!((total - 1.0).abs() < 1e-11, "n {n}: {total}");
        }
    }

    /// Tails and the steepest mean against sums over every term.
    #[test]
    fn tails_equal_plain_sums() {
        for (n, log_odds) in [(7_u64, 0.0), (60, 1.5), (500, 0.5), (500, -3.0)] {
            let law = Binomial::new(n, log_odds);
            let pmf: Vec<f64> = (0..=n).map(|k| law.ln_pmf(k).exp()).collect();
            for v in 1..=n {
                let tail: f64 = pmf[v as usize..].iter().rev().sum();
                let found = law.at_least(v);
                assert!(
                    (found - tail).abs() <= 1e-9 * tail.max(1e-4),
                    "n {n} v {v}: {found} against {tail}"
                );
                let (mut sum, mut steepest) = (0.0, 0.0_f64);
                for i in 1..=v {
                    sum += pmf[(v - i) as usize];
                    steepest = steepest.max(sum / i as f64);
                }
                let found = law.steepest_below(v);
                assert!(
                    (found - steepest).abs() <= 1e-11 * steepest,
                    "n {n} v {v}: {found} against {steepest}"
                );
            }
        }
    }
}
