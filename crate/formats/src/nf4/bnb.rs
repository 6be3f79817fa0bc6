//! Tensors of a checkpoint that bitsandbytes has already quantised.
//!
//! Beside `W` (N/2 × 1 bytes) stand `W.absmax`, `W.quant_map` and
//! `W.quant_state.bitsandbytes__nf4`, and with double quantisation `W.nested_absmax` and
//! `W.nested_quant_map`.

use serde::Deserialize;

use super::{BLOCK, CODE, NESTED_BLOCK, Nf4Error, Nf4Plain, Nf4Tensor, nested_code};
use crate::checkpoint::{CheckpointError, Dtype, Header};

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
    let fp4 = format!("{name}.quant_state.bitsandbytes__fp4");
    if header.tensor(&fp4).is_ok() {
        let value = "fp4".to_owned();
        return Err(Nf4Error::Unsupported {
            key: "quant_type",
            value,
            expected: "nf4",
        }
        .into());
    }
    let state_name = format!("{name}{}", QuantState::SUFFIX);
    if header.tensor(&state_name).is_err() {
        return Ok(None);
    }
    let state = QuantState::parse(header.bytes(file, &state_name)?)?;
    let stored = header.tensor(name)?;
    if stored.dtype != Dtype::U8 {
        let value = stored.dtype.to_string();
        return Err(Nf4Error::Unsupported {
            key: "storage",
            value,
            expected: "U8",
        }
        .into());
    }
    let part = |suffix: &str| format!("{name}.{suffix}");
    table(
        "quant_map",
        &CODE,
        &header.read_f32(file, &part("quant_map"))?,
    )?;
    let packed = header.bytes(file, name)?.to_vec();
    let Some(offset) = state.nested_offset else {
        let absmax = header.read_f32(file, &part("absmax"))?;
        let tensor = Nf4Plain {
            shape: state.shape,
            packed,
            absmax,
        };
        tensor.check()?;
        return Ok(Some(Stored4Bit::Plain(tensor)));
    };
    table(
        "nested_quant_map",
        nested_code(),
        &header.read_f32(file, &part("nested_quant_map"))?,
    )?;
    let tensor = Nf4Tensor {
        shape: state.shape,
        packed,
        absmax: header.bytes(file, &part("absmax"))?.to_vec(),
        nested_absmax: header.read_f32(file, &part("nested_absmax"))?,
        offset: offset as f32,
    };
    tensor.check()?;
    Ok(Some(Stored4Bit::Double(tensor)))
}

fn table(part: &'static str, standard: &[f32], found: &[f32]) -> Result<(), Nf4Error> {
    if found == standard {
        Ok(())
    } else {
        Err(Nf4Error::ForeignTable { part })
    }
}
