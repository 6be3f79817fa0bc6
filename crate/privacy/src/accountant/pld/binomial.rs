//! Tails of the binomial distribution.

/// P\[Bin(n, p) ≥ k\], to about 1e-11 relative; zero below 1e-300.
pub(super) fn at_least(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    if (k as f64) < n as f64 * p {
        // The smaller tail is the one that can be summed without loss.
        return 1.0 - at_least(n - k + 1, n, 1.0 - p);
    }
    let (count, chosen) = (n as f64, k as f64);
    let ln_first = ln_choose(count, chosen) + chosen * p.ln() + (count - chosen) * (-p).ln_1p();
    // Terms fall at least geometrically from here, beyond the mean.
    let odds = p / (1.0 - p);
    let (mut sum, mut term, mut next) = (0.0, 1.0, chosen);
    while term > sum * 1e-17 && next <= count {
        sum += term;
        term *= (count - next) / (next + 1.0) * odds;
        next += 1.0;
    }
    (ln_first.exp() * sum).min(1.0)
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// ln n!, by Stirling's series above 16 (the next term is below 1e-15 there).
fn ln_factorial(n: f64) -> f64 {
    if n < 16.0 {
        return (2..=n as u32).map(|factor| f64::from(factor).ln()).sum();
    }
    let square = n * n;
    let series = (1.0 / 12.0
        - (1.0 / 360.0
            - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / (1188.0 * square)) / square) / square)
            / square)
        / n;
    (n + 0.5) * n.ln() - n + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::at_least;

    /// Against exact rational sums (Python's fractions), both tails and the ends.
    #[test]
    fn tails_match_exact_sums() {
        for (k, n, p, expected) in [
            (80, 899, 64.0 / 900.0, EXACT[0]),
            (112, 899, 64.0 / 900.0, EXACT[1]),
            (40, 899, 64.0 / 900.0, EXACT[2]),
            (3, 7, 0.25, EXACT[3]),
        ] {
            let found = at_least(k, n, p);
            assert!(
                (found / expected - 1.0).abs() < 1e-11,
                "{found} not {expected}"
            );
        }
        assert_eq!(
            (
                at_least(0, 5, 0.0),
                at_least(6, 5, 0.5),
                at_least(5, 5, 1.0)
            ),
            (1.0, 0.0, 1.0)
        );
    }

    const EXACT: [f64; 4] = [
        0.024441348053463863,
        8.323711591220687e-09,
        0.9996311843144321,
        0.24359130859375,
    ];
}
