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

pub(super) fn read(
    config: &AdapterConfig,
    file: &[u8],
) -> Result<BTreeMap<String, LoraWeights>, PeftError> {
    let header = Header::parse_file(file)?;
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
    let mut modules = BTreeMap::new();
    for (path, [a, b]) in halves {
        let lacks = |part| PeftError::HalfLayer {
            path: path.to_owned(),
            part,
        };
        let a = a.ok_or_else(|| lacks("lora_A"))?;
        let b = b.ok_or_else(|| lacks("lora_B"))?;
        let rank = config.rank_of(path)?;
        let wrong = || PeftError::WrongRank {
            path: path.to_owned(),
            a: a.shape.clone(),
            b: b.shape.clone(),
            rank,
        };
        let (&[a_rank, inputs], &[outputs, b_rank]) = (a.shape.as_slice(), b.shape.as_slice())
        else {
            return Err(wrong());
        };
        if (a_rank, b_rank) != (rank as u64, rank as u64) {
            return Err(wrong());
        }
        let weights = LoraWeights {
            rank,
            inputs: inputs as usize,
            outputs: outputs as usize,
            a: header.read_f32(file, &a.name)?,
            b: header.read_f32(file, &b.name)?,
            scale: config.scale_of(path)?,
        };
        if weights.a.iter().chain(&weights.b).any(|v| !v.is_finite()) {
            return Err(PeftError::NotFinite {
                path: path.to_owned(),
            });
        }
        modules.insert(path.to_owned(), weights);
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
