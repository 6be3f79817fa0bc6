//! Composition of discretised losses by FFT, under an exponential tilt.
//!
//! A plain FFT has an absolute error of about 1e-16, useless for δ = 1e-12. So each mass pₖ at loss yₖ
//! is first tilted to pₖ·e^{θyₖ - K}, K = ln Σ pₖ·e^{θyₖ}: with θ near the best Chernoff exponent for δ,
//! the tilted sum concentrates around the ε sought, in a window of some standard deviations, and all
//! errors are relative to δ itself. (Saddle-point tilting; in FFT convolution since Grübel, Hermesmeier
//! 1999.)

use rustfft::FftPlanner;
use rustfft::num_complex::Complex64;

use super::loss::LossDistribution;

/// Half the window, in standard deviations of the tilted sum.
const WINDOW_SIGMAS: f64 = 12.0;

/// Largest transform. A window that needs more falls back to RDP's bound.
const LARGEST_TRANSFORM: usize = 1 << 20;

/// Losses of steps to be summed.
pub(super) struct Composition {
    grid: f64,
    tilt: f64,
    parts: Vec<(LossDistribution, Tilted, u64)>,
}

/// Where the tilted sum lies, and the ε sought.
struct Window {
    low: f64,
    high: f64,
}

/// A tilted distribution's log normaliser, mean and variance; and its masses.
struct Tilted {
    ln_norm: f64,
    mean: f64,
    variance: f64,
    mass: Vec<f64>,
}

impl Composition {
    pub(super) fn new(grid: f64, tilt: f64) -> Self {
        Self {
            grid,
            tilt,
            parts: Vec::new(),
        }
    }

    /// Adds `steps` independent losses.
    pub(super) fn add(&mut self, loss: LossDistribution, steps: u64) {
        let tilted = tilt(&loss, self.grid, self.tilt);
        self.parts.push((loss, tilted, steps));
    }

    /// Width of the window that [`Self::epsilon`] will use.
    pub(super) fn span(&self, loose: f64) -> f64 {
        let Window { low, high } = self.window(loose);
        high - low
    }

    fn sum(&self, part: impl Fn(&Tilted) -> f64) -> f64 {
        self.parts
            .iter()
            .map(|(_, tilted, steps)| part(tilted) * *steps as f64)
            .sum()
    }

    fn window(&self, loose: f64) -> Window {
        let mean = self.sum(|tilted| tilted.mean);
        let reach = WINDOW_SIGMAS * self.deviation() + 4.0 * self.grid;
        Window {
            low: mean - reach,
            high: (mean + reach).max(loose),
        }
    }

    fn deviation(&self) -> f64 {
        self.sum(|tilted| tilted.variance).sqrt()
    }

    /// Upper bound on the smallest ε ≥ 0 with δ(ε) ≤ `delta`; `loose` if none below it is found.
    pub(super) fn epsilon(&self, delta: f64, loose: f64) -> f64 {
        let ln_norm = self.sum(|tilted| tilted.ln_norm);
        let infinite: f64 = self
            .parts
            .iter()
            .map(|(loss, _, steps)| loss.infinite * *steps as f64)
            .sum();

        let Window { low, high } = self.window(loose);
        let needed = (high - low) / self.grid;
        if needed.is_nan() || needed >= LARGEST_TRANSFORM as f64 - 4.0 {
            return loose;
        }
        let points = (needed.ceil() as usize + 2).next_power_of_two();
        let low = (low / self.grid).floor() as i64;
        let high = (low + points as i64 - 1) as f64 * self.grid;
        let Some(ln_beyond) = self.ln_tail(high) else {
            return loose;
        };
        let sum = self.convolve(points, low);

        // δ(ε) ≤ e^{ln_norm}·(Σ_{y>ε} p̃(y)·e^{-θy}·(1 - e^{ε-y}) + P̃(beyond)·e^{-θ·high}) + infinite.
        // Scaled by e^{θ·shift} so that nothing leaves f64's range.
        let shift = self.sum(|tilted| tilted.mean).max(0.0);
        let beyond = (ln_beyond - self.tilt * (high - shift)).exp();
        let allowed = ((delta - infinite).ln() - ln_norm + self.tilt * shift).exp() - beyond;
        if allowed.is_nan() || allowed <= 0.0 {
            return loose;
        }
        self.solve(&sum, low, shift, allowed).min(loose)
    }

    /// Walks down from the top of the window until δ(ε) reaches what is allowed.
    fn solve(&self, sum: &[f64], low: i64, shift: f64, allowed: f64) -> f64 {
        // With w(y') = p̃(y')·e^{-θ(y'-shift)}: Σ_{y'>y} w(y'), and Σ_{y'>y} w(y')·e^{y-y'}.
        let (mut plain, mut discounted) = (0.0, 0.0);
        for index in (0..sum.len()).rev() {
            let y = (low + index as i64) as f64 * self.grid;
            if plain - discounted > allowed {
                // Between this point and the one above, δ(ε) = plain - e^{ε-y}·discounted.
                let above = ((plain - allowed) / discounted).ln();
                return (y + above.clamp(0.0, self.grid)).max(0.0);
            }
            if y <= 0.0 {
                return 0.0;
            }
            let weight = sum[index] * (-self.tilt * (y - shift)).exp();
            plain += weight;
            discounted = (discounted + weight) * (-self.grid).exp();
        }
        // The whole window is above the ε sought: its lower end is a bound.
        (low as f64 * self.grid).max(0.0)
    }

    /// ln of a Chernoff bound on the tilted sum's mass above `y`.
    fn ln_tail(&self, y: f64) -> Option<f64> {
        let deviation = self.deviation();
        // For a Gaussian the best exponent is (y - mean)/variance; a few around it are tried.
        [1.0, 2.0, 4.0, 8.0, 12.0]
            .into_iter()
            .map(|sigmas| {
                let extra = sigmas / deviation;
                let ln_moment: f64 = self
                    .parts
                    .iter()
                    .map(|(loss, tilted, steps)| {
                        (ln_moment(loss, self.grid, self.tilt + extra) - tilted.ln_norm)
                            * *steps as f64
                    })
                    .sum();
                ln_moment - extra * y
            })
            .filter(|bound| bound.is_finite())
            .min_by(f64::total_cmp)
    }

    /// The tilted sum's masses on the window that starts at grid point `low`, each with head-room for
    /// the transforms' rounding; masses from outside the window are folded in, which only adds.
    fn convolve(&self, points: usize, low: i64) -> Vec<f64> {
        let mut planner = FftPlanner::<f64>::new();
        let forward = planner.plan_fft_forward(points);
        // Several times what a transform of masses that sum to 1 errs by in one of its values.
        let unit = 4.0 * f64::EPSILON * f64::from(points.trailing_zeros());
        let mut spectrum = vec![Complex64::new(1.0, 0.0); points];
        let mut amplified = vec![1.0; points];
        let mut offset = 0_i128;
        for (loss, tilted, steps) in &self.parts {
            let mut buffer = vec![Complex64::new(0.0, 0.0); points];
            for (index, &mass) in tilted.mass.iter().enumerate() {
                buffer[index % points].re += mass;
            }
            forward.process(&mut buffer);
            for ((product, errors), factor) in spectrum.iter_mut().zip(&mut amplified).zip(&buffer)
            {
                *product *= power(*factor, *steps);
                *errors += *steps as f64 / factor.norm().max(unit);
            }
            offset += i128::from(loss.first) * i128::from(*steps);
        }
        // An error e in a factor f makes one of about steps·e/f, relative, in the product.
        let error: f64 = spectrum
            .iter()
            .zip(&amplified)
            .map(|(value, errors)| value.norm() * errors)
            .sum();
        let energy: f64 = spectrum.iter().map(|value| value.norm_sqr()).sum();
        let rounding = unit * (error / points as f64 + (energy / points as f64).sqrt());
        planner.plan_fft_inverse(points).process(&mut spectrum);
        let scale = 1.0 / points as f64;
        (0..points)
            .map(|index| {
                let source = (i128::from(low) + index as i128 - offset).rem_euclid(points as i128);
                (spectrum[source as usize].re * scale).max(0.0) + rounding
            })
            .collect()
    }
}

/// Tilts a step's losses.
fn tilt(loss: &LossDistribution, grid: f64, tilt: f64) -> Tilted {
    let ln_norm = ln_moment(loss, grid, tilt);
    let at = |index: usize| (loss.first + index as i64) as f64 * grid;
    let mass: Vec<f64> = (loss.mass.iter().enumerate())
        .map(|(index, &mass)| {
            if mass > 0.0 {
                mass * (tilt * at(index) - ln_norm).exp()
            } else {
                0.0
            }
        })
        .collect();
    let mean: f64 = mass
        .iter()
        .enumerate()
        .map(|(index, mass)| mass * at(index))
        .sum();
    let variance = mass
        .iter()
        .enumerate()
        .map(|(index, mass)| mass * (at(index) - mean).powi(2))
        .sum();
    Tilted {
        ln_norm,
        mean,
        variance,
        mass,
    }
}

/// ln Σ p·e^{θy}.
fn ln_moment(loss: &LossDistribution, grid: f64, tilt: f64) -> f64 {
    let at = |index: usize| tilt * (loss.first + index as i64) as f64 * grid;
    let present = || {
        loss.mass
            .iter()
            .enumerate()
            .filter(|(_, mass)| **mass > 0.0)
    };
    let largest = present()
        .map(|(index, mass)| mass.ln() + at(index))
        .fold(f64::NEG_INFINITY, f64::max);
    largest
        + present()
            .map(|(index, mass)| (mass.ln() + at(index) - largest).exp())
            .sum::<f64>()
            .ln()
}

/// A complex number to a power, by repeated squaring.
fn power(mut base: Complex64, mut exponent: u64) -> Complex64 {
    let mut result = Complex64::new(1.0, 0.0);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}
