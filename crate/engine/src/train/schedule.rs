use std::f64::consts::PI;

/// Learning rate of `step` (from 1) of `steps`: a linear warm-up to `peak`, then half a cosine down to zero.
///
/// The first step already moves (peak / warm-up), unlike transformers' schedule, whose first rate is zero: under
/// privacy every step is paid for.
pub fn learning_rate(step: u32, steps: u32, warmup: u32, peak: f64) -> f64 {
    if step <= warmup {
        return peak * f64::from(step) / f64::from(warmup.max(1));
    }
    let after = f64::from(step - warmup - 1);
    let length = f64::from(steps.saturating_sub(warmup).max(1));
    peak * 0.5 * (1.0 + (PI * (after / length).min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::learning_rate;

    #[test]
    fn warms_up_linearly_then_falls_to_nearly_zero() {
        let rates: Vec<f64> = (1..=100)
            .map(|step| learning_rate(step, 100, 10, 1.0))
            .collect();
        assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[9] - 1.0).abs() < 1e-12);
        assert!(
            (rates[10] - 1.0).abs() < 1e-12,
            "the cosine starts at the peak"
        );
        assert!(rates[10..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[99] > 0.0 && rates[99] < 0.001);
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        assert!((learning_rate(1, 5, 0, 0.3) - 0.3).abs() < 1e-12);
    }
}
