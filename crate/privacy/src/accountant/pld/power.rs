//! Powers of spectra: one frequency of a sum of many steps, and what rounding may do to it.

use rustfft::num_complex::Complex64;

use super::compose::Spectrum;

/// The sum's spectrum at a frequency, and a bound on its error, where the steps' are off by `unit`.
pub(super) fn whole(
    parts: &[(&[Spectrum; 2], u64)],
    side: usize,
    k: usize,
    unit: f64,
    cutoffs: &[f64],
) -> (Complex64, f64) {
    let (mut value, mut errors) = (Complex64::new(1.0, 0.0), 0.0);
    for ((spectra, steps), cutoff) in parts.iter().zip(cutoffs) {
        let factor = spectra[side].values[k] + spectra[side].atom;
        let size = factor.norm_sqr();
        if size < *cutoff {
            return (Complex64::new(0.0, 0.0), 0.0);
        }
        value *= power(factor, *steps);
        // An error e in a factor f makes one of about steps·e/f, relative, in the power; rounding in the
        // power itself, one of 2·sqrt(5)·ε/2 for each multiplication, doubled by each squaring after it.
        errors += *steps as f64 * (unit / size.sqrt().max(unit) + 4.0 * f64::EPSILON);
    }
    (value, value.norm() * errors)
}

/// The same, over the atoms' product and less 1: Π(1 + r/a)^T - 1, r the spectrum of all but the atom a.
pub(super) fn apart(
    parts: &[(&[Spectrum; 2], u64)],
    side: usize,
    k: usize,
    unit: f64,
) -> (Complex64, f64) {
    let (mut value, mut errors, mut change) = (Complex64::new(0.0, 0.0), 0.0, 0.0);
    for (spectra, steps) in parts {
        let Spectrum { values, atom, .. } = &spectra[side];
        let base = values[k] / *atom;
        let grown = power_less_one(base, *steps);
        value = value + grown + value * grown;
        let (count, size) = (*steps as f64, base.norm());
        let squarings = f64::from(64 - steps.leading_zeros()) + 4.0;
        let rounding = 8.0 * f64::EPSILON * squarings * size;
        errors += count * (unit / atom + rounding) / (base + 1.0).norm().max(unit);
        change += count * size;
    }
    let wrong = (value + 1.0).norm() * errors + 8.0 * f64::EPSILON * change.min(1.0);
    (value, wrong)
}

/// (1 + x)^exponent - 1, without loss where x is small.
fn power_less_one(mut base: Complex64, mut exponent: u64) -> Complex64 {
    let mut result = Complex64::new(0.0, 0.0);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result + base + result * base;
        }
        base = base * 2.0 + base * base;
        exponent >>= 1;
    }
    result
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
