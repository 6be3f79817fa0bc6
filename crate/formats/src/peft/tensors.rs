//! `adapter_model.safetensors` to weights by module path.

use std::collections::BTreeMap;

use super::{AdapterConfig, LoraWeights, PeftError};
use crate::checkpoint::{Header, TensorEntry};

/// What PEFT puts before a module path.
pub(super) const PREFIX: &str = "base_model.model.";
/// Suffix of A.
pub(super) const A: &str = ".lora_A.weight";
/// Suffix of B.
pub(super) const B: &str = ".lora_B.weight";

/// A and B of one layer, found in the header of an adapter's tensor file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptedLayer {
    /// Module path, e.g. `model.decoder.layers.0.cross_attn.q_proj`.
    pub path: String,
    /// Rank, by the configuration and by both tensors.
    pub rank: usize,
    /// Input width.
    pub inputs: u64,
    /// Output width.
    pub outputs: u64,
}

impl AdaptedLayer {
    fn tensor(&self, half: &str) -> String {
        format!("{PREFIX}{}{half}", self.path)
    }
}

/// Checks the header of `adapter_model.safetensors`: every tensor is half of a layer, both halves are
/// there, and their shapes fit the configured rank. Sorted by path.
///
/// # Errors
/// [`PeftError`] naming the tensor or layer.
pub fn check_header(
    config: &AdapterConfig,
    header: &Header,
) -> Result<Vec<AdaptedLayer>, PeftError> {
    let mut halves: BTreeMap<&str, [Option<&TensorEntry>; 2]> = BTreeMap::new();
    for tensor in header.tensors() {
        let (path, half) = place(&tensor.name)?;
        halves.entry(path).or_default()[half] = Some(tensor);
    }
    if halves.is_empty() {
        return Err(PeftError::Missing {
            key: "lora_A and lora_B tensors",
        });
    }
    let layer = |(path, [a, b]): (&str, [Option<&TensorEntry>; 2])| {
        let lacks = |part| PeftError::HalfLayer {
            path: path.to_owned(),
            part,
        };
        let a = a.ok_or_else(|| lacks("lora_A"))?;
        let b = b.ok_or_else(|| lacks("lora_B"))?;
        let rank = config.rank_of(path)?;
        let expected = rank as u64;
        match (a.shape.as_slice(), b.shape.as_slice()) {
            (&[a_rank, inputs], &[outputs, b_rank]) if (a_rank, b_rank) == (expected, expected) => {
                Ok(AdaptedLayer {
                    path: path.to_owned(),
                    rank,
                    inputs,
                    outputs,
                })
            }
            _ => Err(PeftError::WrongRank {
                path: path.to_owned(),
                a: a.shape.clone(),
                b: b.shape.clone(),
                rank,
            }),
        }
    };
    halves.into_iter().map(layer).collect()
}

pub(super) fn read(
    config: &AdapterConfig,
    file: &[u8],
) -> Result<BTreeMap<String, LoraWeights>, PeftError> {
    let header = Header::parse_file(file)?;
    let mut modules = BTreeMap::new();
    for layer in check_header(config, &header)? {
        let weights = LoraWeights {
            rank: layer.rank,
            inputs: layer.inputs as usize,
            outputs: layer.outputs as usize,
            a: header.read_f32(file, &layer.tensor(A))?,
            b: header.read_f32(file, &layer.tensor(B))?,
            scale: config.scale_of(&layer.path)?,
        };
        if weights.a.iter().chain(&weights.b).any(|v| !v.is_finite()) {
            return Err(PeftError::NotFinite { path: layer.path });
        }
        modules.insert(layer.path, weights);
    }
    Ok(modules)
}

/// Module path of a tensor, and 0 for A or 1 for B.
fn place(name: &str) -> Result<(&str, usize), PeftError> {
    let refuse = |key: &str, advice| {
        Err(PeftError::Unsupported {
            key: key.to_owned(),
            value: format!("`{name}`"),
            advice,
        })
    };
    if name.contains("lora_embedding_") {
        return refuse("lora_embedding", "train it on linear layers only");
    }
    if name.contains("lora_magnitude_vector") {
        return refuse("use_dora", "train it without DoRA");
    }
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return Err(PeftError::LeftOver {
            name: name.to_owned(),
        });
    };
    if let Some(path) = rest.strip_suffix(A) {
        Ok((path, 0))
    } else if let Some(path) = rest.strip_suffix(B) {
        Ok((path, 1))
    } else {
        Err(PeftError::LeftOver {
            name: name.to_owned(),
        })
    }
}
