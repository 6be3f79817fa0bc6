//! 8-bit weights: blocks of 64 values share one f32 scale (absolute-maximum quantisation, as
//! LLM.int8() does per row, Dettmers et al. 2022, section 2), 8.5 bits a weight.
//!
//! Values are taken row-major. A block's scale is `s = absmax / 127` and a value's code the whole
//! number nearest to `x / s`, from -127 to 127, so that `|x - code s| <= s / 2` up to rounding in
//! f32: the error is at most `absmax / 254`, or 0.4 % of the block's largest magnitude. A block whose
//! largest magnitude is below 127 times the smallest subnormal (1.8e-43) becomes zeros.

use thiserror::Error;

/// Values per block.
pub const BLOCK: usize = 64;

/// Why a tensor cannot be quantised, or a quantised one not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Int8Error {
    /// A weight is NaN or infinite.
    #[error("value {index} of the tensor is not finite; the checkpoint is damaged")]
    NotFinite {
        /// Row-major index.
        index: usize,
    },
    /// More or fewer entries than the shape needs.
    #[error("the 8-bit tensor's `{part}` has {found} entries, but its shape needs {expected}")]
    WrongLength {
        /// Which part: values, codes or scales.
        part: &'static str,
        /// Entries found.
        found: usize,
        /// Entries needed.
        expected: usize,
    },
    /// The shape's product overflows.
    #[error("a tensor of shape {shape:?} is too large")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
}

/// A tensor in 8 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Tensor {
    /// Row-major shape; linear weights are `[out, in]`.
    pub shape: Vec<usize>,
    /// One code per value, -127 to 127.
    pub codes: Vec<i8>,
    /// One scale per [`BLOCK`] values.
    pub scales: Vec<f32>,
}

impl Int8Tensor {
    /// Quantises a whole tensor; see [`Int8Quantizer`] for one that arrives in pieces.
    ///
    /// # Errors
    /// [`Int8Error`] if the shape does not hold the values, or a value is not finite.
    pub fn quantize(shape: &[usize], values: &[f32]) -> Result<Self, Int8Error> {
        let mut quantizer = Int8Quantizer::new(shape)?;
        quantizer.push(values)?;
        quantizer.finish()
    }

    /// Checks that the lengths fit the shape, for a tensor that comes from elsewhere.
    ///
    /// # Errors
    /// [`Int8Error::WrongLength`] naming the part, and [`Int8Error::TooLarge`].
    pub fn check(&self) -> Result<(), Int8Error> {
        let values = count(&self.shape)?;
        expect("codes", self.codes.len(), values)?;
        expect("scales", self.scales.len(), values.div_ceil(BLOCK))
    }

    /// All values in f32, `code * scale`.
    pub fn dequantize(&self) -> Vec<f32> {
        let blocks = self.codes.chunks(BLOCK).zip(&self.scales);
        blocks
            .flat_map(|(codes, &scale)| codes.iter().map(move |&q| f32::from(q) * scale))
            .collect()
    }
}

/// Quantises a tensor that arrives in pieces of any length, holding one block of raw values.
#[derive(Clone, Debug)]
pub struct Int8Quantizer {
    shape: Vec<usize>,
    values: usize,
    received: usize,
    carry: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

impl Int8Quantizer {
    /// A quantiser for a tensor of this row-major shape.
    ///
    /// # Errors
    /// [`Int8Error::TooLarge`].
    pub fn new(shape: &[usize]) -> Result<Self, Int8Error> {
        Ok(Self {
            shape: shape.to_vec(),
            values: count(shape)?,
            received: 0,
            carry: Vec::with_capacity(BLOCK),
            codes: Vec::new(),
            scales: Vec::new(),
        })
    }

    /// Takes the next values in row-major order.
    ///
    /// # Errors
    /// [`Int8Error::NotFinite`], and [`Int8Error::WrongLength`] for more values than the shape holds.
    pub fn push(&mut self, mut values: &[f32]) -> Result<(), Int8Error> {
        let received = self.received.saturating_add(values.len());
        if received > self.values {
            return expect("values", received, self.values);
        }
        if let Some(bad) = values.iter().position(|v| !v.is_finite()) {
            return Err(Int8Error::NotFinite {
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
            self.end_carried_block();
        }
        let (blocks, rest) = values.as_chunks::<BLOCK>();
        for block in blocks {
            self.block(block);
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the tensor.
    ///
    /// # Errors
    /// [`Int8Error::WrongLength`] if values are missing.
    pub fn finish(mut self) -> Result<Int8Tensor, Int8Error> {
        expect("values", self.received, self.values)?;
        if !self.carry.is_empty() {
            self.end_carried_block();
        }
        Ok(Int8Tensor {
            shape: self.shape,
            codes: self.codes,
            scales: self.scales,
        })
    }

    fn end_carried_block(&mut self) {
        let mut block = std::mem::take(&mut self.carry);
        self.block(&block);
        block.clear();
        self.carry = block;
    }

    fn block(&mut self, block: &[f32]) {
        let absmax = block.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let scale = absmax / 127.0;
        self.scales.push(scale);
        if scale == 0.0 {
            self.codes.extend(block.iter().map(|_| 0));
            return;
        }
        // Division, not multiplication by the inverse, which overflows for subnormal scales. The
        // clamp matters where a subnormal scale was rounded down.
        let code = |x: &f32| (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        self.codes.extend(block.iter().map(code));
    }
}

fn count(shape: &[usize]) -> Result<usize, Int8Error> {
    shape
        .iter()
        .try_fold(1usize, |n, &dim| n.checked_mul(dim))
        .ok_or_else(|| Int8Error::TooLarge {
            shape: shape.to_vec(),
        })
}

fn expect(part: &'static str, found: usize, expected: usize) -> Result<(), Int8Error> {
    if found == expected {
        return Ok(());
    }
    Err(Int8Error::WrongLength {
        part,
        found,
        expected,
    })
}
