//! Blocks of 32 values, plain floats, and tensors that arrive in pieces.

use half::{bf16, f16};

use super::{GgufError, TensorKind, k_quants};

/// All values of a tensor's bytes, in f32: code times scale (plus minimum) computed in f32, as
/// ggml's reference dequantisation does.
///
/// # Errors
/// [`GgufError::PartialBlock`].
pub fn dequantize(kind: TensorKind, bytes: &[u8]) -> Result<Vec<f32>, GgufError> {
    let mut chunks = BlockChunks::new(kind);
    let mut out = Vec::with_capacity(bytes.len() / kind.block_bytes() * kind.block_values());
    chunks.push(bytes, &mut out);
    chunks.finish()?;
    Ok(out)
}

/// Converts a tensor that arrives in pieces cut anywhere, even inside a block.
#[derive(Clone, Debug)]
pub struct BlockChunks {
    kind: TensorKind,
    /// First bytes of a block whose rest has not come yet.
    carry: Vec<u8>,
}

impl BlockChunks {
    /// A converter for values of this type.
    pub fn new(kind: TensorKind) -> Self {
        Self {
            kind,
            carry: Vec::with_capacity(kind.block_bytes()),
        }
    }

    /// Appends the values completed by `bytes` to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<f32>) {
        let width = self.kind.block_bytes();
        if !self.carry.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(width - self.carry.len()));
            self.carry.extend_from_slice(head);
            bytes = rest;
            if self.carry.len() < width {
                return;
            }
            append(self.kind, &self.carry, out);
            self.carry.clear();
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % width);
        out.reserve(whole.len() / width * self.kind.block_values());
        append(self.kind, whole, out);
        self.carry.extend_from_slice(rest);
    }

    /// Ends the tensor.
    ///
    /// # Errors
    /// [`GgufError::PartialBlock`] if the last block is incomplete.
    pub fn finish(self) -> Result<(), GgufError> {
        if self.carry.is_empty() {
            return Ok(());
        }
        Err(GgufError::PartialBlock {
            kind: self.kind.name(),
            bytes: self.carry.len(),
        })
    }
}

/// Appends the values of whole blocks.
fn append(kind: TensorKind, bytes: &[u8], out: &mut Vec<f32>) {
    match kind {
        TensorKind::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        TensorKind::F16 => blocks::<2>(bytes, out, |b, out| out.push(half_at(b, 0))),
        TensorKind::BF16 => blocks::<2>(bytes, out, |b, out| {
            out.push(bf16::from_le_bytes(*b).to_f32());
        }),
        TensorKind::Q4_0 => blocks::<18>(bytes, out, |b, out| {
            let scale = half_at(b, 0);
            nibbles(&b[2..], out, |q, _| (f32::from(q) - 8.0) * scale);
        }),
        TensorKind::Q4_1 => blocks::<20>(bytes, out, |b, out| {
            let (scale, minimum) = (half_at(b, 0), half_at(b, 2));
            nibbles(&b[4..], out, |q, _| f32::from(q) * scale + minimum);
        }),
        TensorKind::Q5_0 => blocks::<22>(bytes, out, |b, out| {
            let (scale, high) = (half_at(b, 0), bits_at(b, 2));
            nibbles(&b[6..], out, |q, i| {
                (f32::from(fifth_bit(q, high, i)) - 16.0) * scale
            });
        }),
        TensorKind::Q5_1 => blocks::<24>(bytes, out, |b, out| {
            let (scale, minimum, high) = (half_at(b, 0), half_at(b, 2), bits_at(b, 4));
            nibbles(&b[8..], out, |q, i| {
                f32::from(fifth_bit(q, high, i)) * scale + minimum
            });
        }),
        TensorKind::Q8_0 => blocks::<34>(bytes, out, |b, out| {
            let scale = half_at(b, 0);
            out.extend(b[2..].iter().map(|&q| f32::from(q.cast_signed()) * scale));
        }),
        TensorKind::Q2_K => blocks(bytes, out, k_quants::q2),
        TensorKind::Q3_K => blocks(bytes, out, k_quants::q3),
        TensorKind::Q4_K => blocks(bytes, out, k_quants::q4),
        TensorKind::Q5_K => blocks(bytes, out, k_quants::q5),
        TensorKind::Q6_K => blocks(bytes, out, k_quants::q6),
    }
}

fn blocks<const N: usize>(
    bytes: &[u8],
    out: &mut Vec<f32>,
    block: impl Fn(&[u8; N], &mut Vec<f32>),
) {
    for bytes in bytes.as_chunks::<N>().0 {
        block(bytes, out);
    }
}

/// The sixteen low nibbles are values 0 to 15, the high ones 16 to 31.
fn nibbles(codes: &[u8], out: &mut Vec<f32>, value: impl Fn(u8, usize) -> f32) {
    out.extend(codes.iter().enumerate().map(|(i, q)| value(q & 15, i)));
    out.extend(codes.iter().enumerate().map(|(i, q)| value(q >> 4, i + 16)));
}

fn fifth_bit(code: u8, high: u32, i: usize) -> u8 {
    code | (((high >> i) & 1) << 4) as u8
}

/// The f16 at an offset, in f32.
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn bits_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}
