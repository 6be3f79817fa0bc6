//! 4-bit NormalFloat with double quantisation (QLoRA, Dettmers et al. 2023, sections 3 and
//! appendix E), bit for bit as bitsandbytes computes and stores it.
//!
//! Values are taken row-major in blocks of [`BLOCK`]; each block is scaled by its largest magnitude
//! and rounded to the nearest of [`CODE`]. The first value of a pair is in the **high** nibble. The
//! block scales are then shifted by their mean and quantised to 8 bits in blocks of
//! [`NESTED_BLOCK`]: 4.127 bits a weight.

mod bnb;
mod code;
mod error;
mod quantize;

pub use bnb::{QuantState, Stored4Bit, Stored4BitError, StoredParts, read_bnb};
pub use code::{CODE, nested_code};
pub use error::Nf4Error;
pub use quantize::Nf4Quantizer;

use code::nibble_codes;

/// Values per block.
pub const BLOCK: usize = 64;
/// Block scales per nested block.
pub const NESTED_BLOCK: usize = 256;

/// An NF4 tensor with double quantisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4Tensor {
    /// Row-major shape; linear weights are `[out, in]`.
    pub shape: Vec<usize>,
    /// Two codes a byte, the first in the high nibble.
    pub packed: Vec<u8>,
    /// One index into [`nested_code`] per block of [`BLOCK`] values.
    pub absmax: Vec<u8>,
    /// One scale per [`NESTED_BLOCK`] entries of `absmax`.
    pub nested_absmax: Vec<f32>,
    /// Mean of the block scales, added back after the nested scale.
    pub offset: f32,
}

/// An NF4 tensor whose block scales are plain floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4Plain {
    /// Row-major shape; linear weights are `[out, in]`.
    pub shape: Vec<usize>,
    /// Two codes a byte, the first in the high nibble.
    pub packed: Vec<u8>,
    /// One scale per block of [`BLOCK`] values.
    pub absmax: Vec<f32>,
}

impl Nf4Tensor {
    /// Quantises a whole tensor; see [`Nf4Quantizer`] for one that arrives in pieces.
    ///
    /// # Errors
    /// [`Nf4Error`] if the shape does not hold the values, or a value is not finite.
    pub fn quantize(shape: &[usize], values: &[f32]) -> Result<Self, Nf4Error> {
        let mut quantizer = Nf4Quantizer::new(shape)?;
        quantizer.push(values)?;
        quantizer.finish()
    }

    /// Checks that the lengths fit the shape. The other methods assume it.
    ///
    /// # Errors
    /// [`Nf4Error::WrongLength`] naming the part.
    pub fn check(&self) -> Result<(), Nf4Error> {
        let values = count(&self.shape)?;
        let blocks = values.div_ceil(BLOCK);
        expect("packed", self.packed.len(), values.div_ceil(2))?;
        expect("absmax", self.absmax.len(), blocks)?;
        expect(
            "nested_absmax",
            self.nested_absmax.len(),
            blocks.div_ceil(NESTED_BLOCK),
        )
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a tensor without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The block scales in f32, `nested_code[q] * nested_absmax + offset`.
    pub fn block_scales(&self) -> Vec<f32> {
        let code = nested_code();
        self.absmax
            .chunks(NESTED_BLOCK)
            .zip(&self.nested_absmax)
            .flat_map(|(codes, &scale)| {
                codes
                    .iter()
                    .map(move |&q| code[usize::from(q)] * scale + self.offset)
            })
            .collect()
    }

    /// All values in f32, `CODE[q] * scale`, as bitsandbytes dequantises them.
    pub fn dequantize(&self) -> Vec<f32> {
        dequantize(&self.packed, &self.block_scales(), self.len())
    }
}

impl Nf4Plain {
    /// Checks that the lengths fit the shape.
    ///
    /// # Errors
    /// [`Nf4Error::WrongLength`] naming the part.
    pub fn check(&self) -> Result<(), Nf4Error> {
        let values = count(&self.shape)?;
        expect("packed", self.packed.len(), values.div_ceil(2))?;
        expect("absmax", self.absmax.len(), values.div_ceil(BLOCK))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a tensor without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values in f32.
    pub fn dequantize(&self) -> Vec<f32> {
        dequantize(&self.packed, &self.absmax, self.len())
    }
}

fn dequantize(packed: &[u8], scales: &[f32], values: usize) -> Vec<f32> {
    nibble_codes(packed)
        .take(values)
        .enumerate()
        .map(|(i, code)| CODE[usize::from(code)] * scales[i / BLOCK])
        .collect()
}

fn count(shape: &[usize]) -> Result<usize, Nf4Error> {
    shape
        .iter()
        .try_fold(1usize, |n, &dim| n.checked_mul(dim))
        .ok_or_else(|| Nf4Error::TooLarge {
            shape: shape.to_vec(),
        })
}

fn expect(part: &'static str, found: usize, expected: usize) -> Result<(), Nf4Error> {
    if found == expected {
        Ok(())
    } else {
        Err(Nf4Error::WrongLength {
            part,
            found,
            expected,
        })
    }
}
