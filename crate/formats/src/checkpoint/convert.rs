use half::{bf16, f16};
use safetensors::Dtype;

use super::CheckpointError;

/// Bytes per value of the types that can be weights.
fn width(dtype: Dtype) -> Result<usize, CheckpointError> {
    match dtype {
        Dtype::F32 => Ok(4),
        Dtype::F16 | Dtype::BF16 => Ok(2),
        _ => Err(CheckpointError::NotFloat { dtype }),
    }
}

/// Appends whole little-endian values; `bytes` is a multiple of the width. Exact for all three.
fn append(dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        Dtype::F16 => out.extend(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32()),
        ),
        _ => out.extend(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32()),
        ),
    }
}

/// Converts a whole tensor.
///
/// # Errors
/// [`CheckpointError::NotFloat`] and [`CheckpointError::PartialValue`].
pub fn to_f32(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, CheckpointError> {
    let width = width(dtype)?;
    if !bytes.len().is_multiple_of(width) {
        return Err(CheckpointError::PartialValue {
            dtype,
            bytes: bytes.len() as u64,
        });
    }
    let mut out = Vec::with_capacity(bytes.len() / width);
    append(dtype, bytes, &mut out);
    Ok(out)
}

/// Converts a tensor that arrives in pieces cut anywhere, even inside a value.
#[derive(Clone, Debug)]
pub struct FloatChunks {
    dtype: Dtype,
    width: usize,
    /// First bytes of a value whose rest has not come yet.
    carry: Vec<u8>,
}

impl FloatChunks {
    /// A converter for values of this type.
    ///
    /// # Errors
    /// [`CheckpointError::NotFloat`].
    pub fn new(dtype: Dtype) -> Result<Self, CheckpointError> {
        Ok(Self {
            dtype,
            width: width(dtype)?,
            carry: Vec::with_capacity(4),
        })
    }

    /// Appends the values completed by `bytes` to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<f32>) {
        if !self.carry.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(self.width - self.carry.len()));
            self.carry.extend_from_slice(head);
            bytes = rest;
            if self.carry.len() < self.width {
                return;
            }
            append(self.dtype, &self.carry, out);
            self.carry.clear();
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % self.width);
        out.reserve(whole.len() / self.width);
        append(self.dtype, whole, out);
        self.carry.extend_from_slice(rest);
    }

    /// Ends the tensor.
    ///
    /// # Errors
    /// [`CheckpointError::PartialValue`] if the last value is incomplete.
    pub fn finish(self) -> Result<(), CheckpointError> {
        if self.carry.is_empty() {
            return Ok(());
        }
        Err(CheckpointError::PartialValue {
            dtype: self.dtype,
            bytes: self.carry.len() as u64,
        })
    }
}
