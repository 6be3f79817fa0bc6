//! Tensors of a checkpoint that bitsandbytes has already quantised.
//!
//! Beside `W` (N/2 × 1 bytes) stand `W.absmax`, `W.quant_map` and
//! `W.quant_state.bitsandbytes__nf4`, and with double quantisation `W.nested_absmax` and
//! `W.nested_quant_map`.

use serde::Deserialize;

use super::{BLOCK, CODE, NESTED_BLOCK, Nf4Error, Nf4Plain, Nf4Tensor, nested_code};
use crate::checkpoint::{CheckpointError, Dtype, Header, to_f32};

/// A 4-bit tensor as a checkpoint stores it.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored4Bit {
    /// With double quantisation.
    Double(Nf4Tensor),
    /// With plain block scales.
    Plain(Nf4Plain),
}

impl Stored4Bit {
    /// All values in f32.
    pub fn dequantize(&self) -> Vec<f32> {
        match self {
            Self::Double(tensor) => tensor.dequantize(),
            Self::Plain(tensor) => tensor.dequantize(),
        }
    }
}

/// The JSON that bitsandbytes stores beside a 4-bit tensor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct QuantState {
    /// `nf4` or `fp4`.
    pub quant_type: String,
    /// Values per block.
    pub blocksize: usize,
    /// Type the weights had, e.g. `float32`.
    pub dtype: String,
    /// Shape the weights had.
    pub shape: Vec<usize>,
    /// Scales per nested block; with double quantisation only.
    #[serde(default)]
    pub nested_blocksize: Option<usize>,
    /// Type the scales had.
    #[serde(default)]
    pub nested_dtype: Option<String>,
    /// Mean of the scales.
    #[serde(default)]
    pub nested_offset: Option<f64>,
}

impl QuantState {
    /// Suffix of the tensor that holds it.
    pub const SUFFIX: &str = ".quant_state.bitsandbytes__nf4";

    /// Parses the JSON and refuses every layout but NF4 with the standard block sizes.
    ///
    /// # Errors
    /// [`Nf4Error::BadState`] and [`Nf4Error::Unsupported`].
    pub fn parse(json: &[u8]) -> Result<Self, Nf4Error> {
        let state: Self = serde_json::from_slice(json).map_err(|e| Nf4Error::BadState {
            detail: e.to_string(),
        })?;
        if state.quant_type != "nf4" {
            return Err(Nf4Error::Unsupported {
                key: "quant_type",
                value: state.quant_type,
                expected: "nf4",
            });
        }
        if state.blocksize != BLOCK {
            return Err(Nf4Error::Unsupported {
                key: "blocksize",
                value: state.blocksize.to_string(),
                expected: "64",
            });
        }
        if let Some(size) = state.nested_blocksize
            && size != NESTED_BLOCK
        {
            return Err(Nf4Error::Unsupported {
                key: "nested_blocksize",
                value: size.to_string(),
                expected: "256",
            });
        }
        Ok(state)
    }
}

/// Why a stored 4-bit tensor cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stored4BitError {
    /// A part is missing or cut off.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The parts do not fit together.
    #[error(transparent)]
    Nf4(#[from] Nf4Error),
}

/// The bytes of the tensors that make up one 4-bit tensor, as stored (little-endian).
#[derive(Clone, Copy, Debug)]
pub struct StoredParts<'a> {
    /// `W.quant_state.bitsandbytes__nf4`.
    pub state: &'a [u8],
    /// `W`.
    pub packed: &'a [u8],
    /// `W.absmax`.
    pub absmax: &'a [u8],
    /// `W.quant_map`.
    pub quant_map: &'a [u8],
    /// `W.nested_absmax` and `W.nested_quant_map`, with double quantisation.
    pub nested: Option<(&'a [u8], &'a [u8])>,
}

impl Stored4Bit {
    /// Puts a tensor together from its parts.
    ///
    /// # Errors
    /// [`Stored4BitError`] for foreign tables, lengths that do not fit, and scales that are not finite.
    pub fn from_parts(parts: StoredParts) -> Result<Self, Stored4BitError> {
        let state = QuantState::parse(parts.state)?;
        let floats = |bytes: &[u8]| to_f32(Dtype::F32, bytes);
        table("quant_map", &CODE, &floats(parts.quant_map)?)?;
        let packed = parts.packed.to_vec();
        let (offset, (nested_absmax, nested_map)) = match (state.nested_offset, parts.nested) {
            (None, None) => {
                let tensor = Nf4Plain {
                    shape: state.shape,
                    packed,
                    absmax: floats(parts.absmax)?,
                };
                tensor.check()?;
                finite(&tensor.absmax)?;
                return Ok(Self::Plain(tensor));
            }
            (Some(offset), Some(nested)) => (offset as f32, nested),
            _ => {
                let detail = "the state and the scales disagree on double quantisation".to_owned();
                return Err(Nf4Error::BadState { detail }.into());
            }
        };
        table("nested_quant_map", nested_code(), &floats(nested_map)?)?;
        let tensor = Nf4Tensor {
            shape: state.shape,
            packed,
            absmax: parts.absmax.to_vec(),
            nested_absmax: floats(nested_absmax)?,
            offset,
        };
        tensor.check()?;
        finite(&tensor.nested_absmax)?;
        finite(&[offset])?;
        Ok(Self::Double(tensor))
    }

    /// Row-major shape of the weights.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Double(tensor) => &tensor.shape,
            Self::Plain(tensor) => &tensor.shape,
        }
    }
}

/// Reads the 4-bit tensor `name` (e.g. `model.layers.0.mlp.up_proj.weight`) from a whole file.
/// `None` if the tensor is not stored in 4 bits.
///
/// # Errors
/// [`Stored4BitError`] for missing parts, foreign tables or lengths that do not fit.
pub fn read_bnb(
    header: &Header,
    file: &[u8],
    name: &str,
) -> Result<Option<Stored4Bit>, Stored4BitError> {
    let unsupported = |key, value, expected| Nf4Error::Unsupported {
        key,
        value,
        expected,
    };
    let fp4 = format!("{name}.quant_state.bitsandbytes__fp4");
    if header.tensor(&fp4).is_ok() {
        return Err(unsupported("quant_type", "fp4".to_owned(), "nf4").into());
    }
    let state = format!("{name}{}", QuantState::SUFFIX);
    if header.tensor(&state).is_err() {
        return Ok(None);
    }
    let stored = header.tensor(name)?;
    if stored.dtype != Dtype::U8 {
        return Err(unsupported("storage", stored.dtype.to_string(), "U8").into());
    }
    let part = |suffix: &str| header.bytes(file, &format!("{name}.{suffix}"));
    let nested = match part("nested_absmax") {
        Ok(absmax) => Some((absmax, part("nested_quant_map")?)),
        Err(CheckpointError::MissingTensor { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let parts = StoredParts {
        state: header.bytes(file, &state)?,
        packed: header.bytes(file, name)?,
        absmax: part("absmax")?,
        quant_map: part("quant_map")?,
        nested,
    };
    Stored4Bit::from_parts(parts).map(Some)
}

fn table(part: &'static str, standard: &[f32], found: &[f32]) -> Result<(), Nf4Error> {
    if found == standard {
        Ok(())
    } else {
        Err(Nf4Error::ForeignTable { part })
    }
}

fn finite(scales: &[f32]) -> Result<(), Nf4Error> {
    if scales.iter().all(|s| s.is_finite()) {
        return Ok(());
    }
    let detail = "a block scale is not finite".to_owned();
    Err(Nf4Error::BadState { detail })
}
