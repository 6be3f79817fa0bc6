//! Weights to IEEE half precision, with a record of what did not fit.
//!
//! Values are rounded to nearest, ties to even: at most 2^-11 of a value's magnitude is lost from
//! 6.1e-5 up, and at most 3.0e-8 below. Magnitudes that would round beyond 65504 become 65504, since an
//! infinity would make the whole model NaN; they are counted. So are values too small for anything but
//! zero (2.98e-8 and below). NaN and infinity are refused: they mean a damaged checkpoint.

use half::f16;
use thiserror::Error;

/// A weight is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("value {index} of the tensor is not finite; the checkpoint is damaged")]
pub struct NotFinite {
    /// Row-major index in the tensor.
    pub index: usize,
}

/// Converts a tensor that arrives in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HalfConverter {
    received: usize,
    /// Values whose magnitude was cut to 65504.
    pub saturated: usize,
    /// Values other than zero that became zero.
    pub flushed: usize,
}

impl HalfConverter {
    /// Appends the bits of the next values to `out`.
    ///
    /// # Errors
    /// [`NotFinite`]; `out` then holds the values before it.
    pub fn push(&mut self, values: &[f32], out: &mut Vec<u16>) -> Result<(), NotFinite> {
        out.reserve(values.len());
        for &value in values {
            if !value.is_finite() {
                return Err(NotFinite {
                    index: self.received,
                });
            }
            self.received += 1;
            let mut half = f16::from_f32(value);
            if half.is_infinite() {
                self.saturated += 1;
                half = if value > 0.0 { f16::MAX } else { f16::MIN };
            }
            self.flushed += usize::from(value != 0.0 && half.to_bits() & 0x7fff == 0);
            out.push(half.to_bits());
        }
        Ok(())
    }
}
