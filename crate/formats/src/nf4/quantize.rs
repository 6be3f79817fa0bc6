use super::code::{nearest, nearest_codes, nested_midpoints};
use super::{BLOCK, NESTED_BLOCK, Nf4Error, Nf4Plain, Nf4Tensor, count};

/// Quantises a tensor that arrives in pieces of any length.
///
/// Holds the 4-bit codes, one f32 per block, and at most one block of raw values.
#[derive(Clone, Debug)]
pub struct Nf4Quantizer {
    shape: Vec<usize>,
    values: usize,
    /// Values of a block that is not complete yet.
    carry: Vec<f32>,
    packed: Vec<u8>,
    absmax: Vec<f32>,
    /// Values received.
    received: usize,
}

impl Nf4Quantizer {
    /// A quantiser for a tensor of this row-major shape.
    ///
    /// # Errors
    /// [`Nf4Error::TooLarge`].
    pub fn new(shape: &[usize]) -> Result<Self, Nf4Error> {
        Ok(Self {
            shape: shape.to_vec(),
            values: count(shape)?,
            carry: Vec::with_capacity(BLOCK),
            packed: Vec::new(),
            absmax: Vec::new(),
            received: 0,
        })
    }

    /// Takes the next values in row-major order.
    ///
    /// # Errors
    /// [`Nf4Error::NotFinite`], and [`Nf4Error::WrongLength`] for more values than the shape holds.
    pub fn push(&mut self, mut values: &[f32]) -> Result<(), Nf4Error> {
        let received = self.received.saturating_add(values.len());
        if received > self.values {
            return Err(self.wrong_length(received));
        }
        if let Some(bad) = values.iter().position(|v| !v.is_finite()) {
            return Err(Nf4Error::NotFinite {
                index: self.received + bad,
            });
        }
        self.received = received;
        if !self.carry.is_empty() {
            let (head, rest) = values.split_at(values.len().min(BLOCK - self.carry.len()));
            self.carry.extend_from_slice(head);
            values = rest;
            if self.carry.len() < BLOCK {
                return Ok(());
            }
            let block = std::mem::take(&mut self.carry);
            self.block(&block);
        }
        let (blocks, rest) = values.as_chunks::<BLOCK>();
        for block in blocks {
            self.block(block);
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the tensor and quantises the block scales.
    ///
    /// # Errors
    /// [`Nf4Error::WrongLength`] if values are missing.
    pub fn finish(self) -> Result<Nf4Tensor, Nf4Error> {
        let Nf4Plain {
            shape,
            packed,
            absmax,
        } = self.finish_plain()?;
        let offset = mean(&absmax);
        let (absmax, nested_absmax) = quantize_scales(&absmax, offset);
        Ok(Nf4Tensor {
            shape,
            packed,
            absmax,
            nested_absmax,
            offset,
        })
    }

    /// Ends the tensor and keeps the block scales as floats.
    ///
    /// # Errors
    /// [`Nf4Error::WrongLength`] if values are missing.
    pub fn finish_plain(mut self) -> Result<Nf4Plain, Nf4Error> {
        if self.received != self.values {
            return Err(self.wrong_length(self.received));
        }
        if !self.carry.is_empty() {
            let block = std::mem::take(&mut self.carry);
            self.block(&block);
        }
        Ok(Nf4Plain {
            shape: self.shape,
            packed: self.packed,
            absmax: self.absmax,
        })
    }

    fn wrong_length(&self, found: usize) -> Nf4Error {
        Nf4Error::WrongLength {
            part: "values",
            found,
            expected: self.values,
        }
    }

    /// Quantises one block: full, or the last one.
    fn block(&mut self, block: &[f32]) {
        let absmax = block.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        // A block of zeros has no scale; any finite factor keeps it zero.
        let inverse = if absmax > 0.0 { 1.0 / absmax } else { 0.0 };
        // Zeros beyond a short last block give codes that are not stored.
        let mut scaled = [0.0f32; BLOCK];
        for (to, from) in scaled.iter_mut().zip(block) {
            *to = from * inverse;
        }
        let codes = nearest_codes(&scaled);
        for pair in codes[..block.len()].chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            self.packed.push((pair[0] << 4 | low) as u8);
        }
        self.absmax.push(absmax);
    }
}

/// Mean in f64, rounded once. torch sums in f32, so its offset can differ in the last bit.
fn mean(values: &[f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    (values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64) as f32
}

fn quantize_scales(absmax: &[f32], offset: f32) -> (Vec<u8>, Vec<f32>) {
    let mut codes = Vec::with_capacity(absmax.len());
    let mut scales = Vec::with_capacity(absmax.len().div_ceil(NESTED_BLOCK));
    for block in absmax.chunks(NESTED_BLOCK) {
        let scale = block.iter().fold(0.0f32, |m, v| m.max((v - offset).abs()));
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        codes.extend(
            block
                .iter()
                .map(|v| nearest(nested_midpoints(), (v - offset) * inverse)),
        );
        scales.push(scale);
    }
    (codes, scales)
}
