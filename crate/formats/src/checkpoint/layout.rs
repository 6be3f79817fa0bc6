//! How a checkpoint stores each tensor its model needs.

use std::collections::{BTreeSet, HashMap};

use safetensors::Dtype;

use super::{CheckpointError, Header, TensorEntry};
use crate::config::TensorSpec;
use crate::nf4::{BLOCK, NESTED_BLOCK, QuantState};

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As floats: F32, F16 or BF16.
    Float(Dtype),
    /// As bitsandbytes NF4.
    Nf4 {
        /// True if the block scales are quantised too.
        double: bool,
    },
}

/// A tensor the model needs, found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Name and shape the model gives it.
    pub spec: TensorSpec,
    /// Which of the files holds it, counted from 0.
    pub file: usize,
    /// How it is stored.
    pub storage: Storage,
}

/// A checkpoint of one or more files, matched with the tensors its model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The tensors the model needs, in its order.
    pub tensors: Vec<StoredTensor>,
    /// Names the model has no place for, sorted; passed over when loading.
    pub left_over: Vec<String>,
}

/// What belongs to an NF4 tensor beside its packed values, below its name.
const NF4_PARTS: [&str; 4] = [
    ".absmax",
    ".quant_map",
    ".nested_absmax",
    ".nested_quant_map",
];

impl Layout {
    /// Finds every tensor of `specs` in the headers of a checkpoint's files, with the right shape
    /// and in a form that can be read.
    ///
    /// # Errors
    /// [`CheckpointError`] naming the tensor that is missing, of another shape, stored twice, or
    /// stored in a way that is not supported (fp4, 8-bit, float8, NF4 in anything but bytes).
    pub fn of(headers: &[&Header], specs: Vec<TensorSpec>) -> Result<Self, CheckpointError> {
        let mut entries = HashMap::new();
        for (file, header) in headers.iter().enumerate() {
            for tensor in header.tensors() {
                if entries
                    .insert(tensor.name.as_str(), (file, tensor))
                    .is_some()
                {
                    return Err(CheckpointError::BadTensor {
                        name: tensor.name.clone(),
                        detail: "two files of the checkpoint hold it".to_owned(),
                    });
                }
            }
        }
        let mut left_over: BTreeSet<&str> = entries.keys().copied().collect();
        let mut tensors = Vec::with_capacity(specs.len());
        for spec in specs {
            let found = entries.get(spec.name.as_str());
            let &(file, entry) = found.ok_or_else(|| CheckpointError::MissingTensor {
                name: spec.name.clone(),
            })?;
            let storage = Parts {
                entries: &entries,
                entry,
            }
            .storage(&spec)?;
            left_over.remove(spec.name.as_str());
            if matches!(storage, Storage::Nf4 { .. }) {
                for part in NF4_PARTS.iter().chain([&QuantState::SUFFIX]) {
                    left_over.remove(format!("{}{part}", spec.name).as_str());
                }
            }
            tensors.push(StoredTensor {
                spec,
                file,
                storage,
            });
        }
        let left_over = left_over.into_iter().map(str::to_owned).collect();
        Ok(Self { tensors, left_over })
    }

    /// True if any tensor is stored in 4 bits.
    pub fn is_nf4(&self) -> bool {
        let nf4 = |t: &StoredTensor| matches!(t.storage, Storage::Nf4 { .. });
        self.tensors.iter().any(nf4)
    }
}

struct Parts<'a> {
    entries: &'a HashMap<&'a str, (usize, &'a TensorEntry)>,
    entry: &'a TensorEntry,
}

impl Parts<'_> {
    fn storage(&self, spec: &TensorSpec) -> Result<Storage, CheckpointError> {
        if self.part(".quant_state.bitsandbytes__fp4").is_some() {
            return Err(self.refuse(
                "bitsandbytes fp4".to_owned(),
                "use an NF4 or plain checkpoint",
            ));
        }
        if self.part(QuantState::SUFFIX).is_some() {
            return self.nf4(spec);
        }
        match self.entry.dtype {
            dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                self.entry.expect_shape(&spec.shape)?;
                Ok(Storage::Float(dtype))
            }
            Dtype::I8 => Err(self.refuse(
                "8-bit integers (LLM.int8)".to_owned(),
                "use an NF4 or plain checkpoint; 8-bit weights are made from plain ones here",
            )),
            other => Err(self.refuse(other.to_string(), "F32, F16, BF16 and bitsandbytes NF4 are")),
        }
    }

    fn nf4(&self, spec: &TensorSpec) -> Result<Storage, CheckpointError> {
        if self.entry.dtype != Dtype::U8 {
            return Err(self.refuse(
                format!("NF4 in {}", self.entry.dtype),
                "save it with bnb_4bit_quant_storage = uint8",
            ));
        }
        let values = spec
            .shape
            .iter()
            .try_fold(1u64, |n, &dim| n.checked_mul(dim as u64))
            .ok_or_else(|| self.damaged("", "its size overflows"))?;
        let blocks = values.div_ceil(BLOCK as u64);
        let double = self.part(".nested_absmax").is_some();
        let scales = if double { Dtype::U8 } else { Dtype::F32 };
        if self.entry.values() != values.div_ceil(2) {
            return Err(CheckpointError::WrongShape {
                name: self.entry.name.clone(),
                found: self.entry.shape.clone(),
                expected: vec![values.div_ceil(2), 1],
            });
        }
        self.expect(".absmax", scales, blocks)?;
        self.expect(".quant_map", Dtype::F32, 16)?;
        if double {
            self.expect(
                ".nested_absmax",
                Dtype::F32,
                blocks.div_ceil(NESTED_BLOCK as u64),
            )?;
            self.expect(".nested_quant_map", Dtype::F32, 256)?;
        }
        Ok(Storage::Nf4 { double })
    }

    fn part(&self, suffix: &str) -> Option<&TensorEntry> {
        let name = format!("{}{suffix}", self.entry.name);
        self.entries.get(name.as_str()).map(|(_, entry)| *entry)
    }

    fn expect(&self, suffix: &str, dtype: Dtype, values: u64) -> Result<(), CheckpointError> {
        let part = self
            .part(suffix)
            .ok_or_else(|| CheckpointError::MissingTensor {
                name: format!("{}{suffix}", self.entry.name),
            })?;
        if (part.dtype, part.values()) == (dtype, values) {
            return Ok(());
        }
        let found = format!(
            "it has {} {} values where {values} {dtype} are needed",
            part.values(),
            part.dtype
        );
        Err(self.damaged(suffix, &found))
    }

    fn damaged(&self, suffix: &str, detail: &str) -> CheckpointError {
        CheckpointError::BadTensor {
            name: format!("{}{suffix}", self.entry.name),
            detail: detail.to_owned(),
        }
    }

    fn refuse(&self, storage: String, advice: &'static str) -> CheckpointError {
        CheckpointError::UnsupportedStorage {
            name: self.entry.name.clone(),
            storage,
            advice,
        }
    }
}
