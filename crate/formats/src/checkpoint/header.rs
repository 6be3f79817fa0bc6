use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::Dtype;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::CheckpointError;
use crate::json::Pairs;

/// Length field before the JSON header.
const PREFIX: usize = 8;
/// The format's own limit on the JSON header.
const MAX_HEADER: u64 = 100_000_000;

/// One tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Name.
    pub name: String,
    /// Type of the values.
    pub dtype: Dtype,
    /// Row-major shape.
    pub shape: Vec<u64>,
    /// Where its bytes are, counted from the start of the file.
    pub range: Range<u64>,
}

impl TensorEntry {
    /// Number of values.
    pub fn values(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Refuses any other shape than `expected`.
    ///
    /// # Errors
    /// [`CheckpointError::WrongShape`].
    pub fn expect_shape(&self, expected: &[usize]) -> Result<(), CheckpointError> {
        let expected: Vec<u64> = expected.iter().map(|&n| n as u64).collect();
        if self.shape == expected {
            return Ok(());
        }
        Err(CheckpointError::WrongShape {
            name: self.name.clone(),
            found: self.shape.clone(),
            expected,
        })
    }
}

/// The header of a safetensors file.
///
/// Parsed from the first bytes of a stream: ask [`Header::bytes_needed`] how many, then
/// [`Header::parse`]. Guaranteed: every tensor's byte range matches its type and shape, and the
/// ranges follow each other without gap or overlap up to [`Header::file_len`].
#[derive(Clone, Debug)]
pub struct Header {
    /// Free-form `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    tensors: Vec<TensorEntry>,
    by_name: HashMap<String, usize>,
    data_start: u64,
    file_len: u64,
}

#[derive(Deserialize)]
struct RawEntry {
    dtype: Dtype,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Header {
    /// How many bytes from the start of the file [`Header::parse`] needs, given some first bytes.
    /// With fewer than eight bytes the answer is eight: ask again then.
    ///
    /// # Errors
    /// [`CheckpointError::NotSafetensors`] if the length field is implausible.
    pub fn bytes_needed(start: &[u8]) -> Result<usize, CheckpointError> {
        let Some(prefix) = start.first_chunk::<PREFIX>() else {
            return Ok(PREFIX);
        };
        let length = u64::from_le_bytes(*prefix);
        if !(2..=MAX_HEADER).contains(&length) {
            return Err(CheckpointError::NotSafetensors { length });
        }
        Ok(PREFIX + length as usize)
    }

    /// Parses the header; bytes after it are ignored.
    ///
    /// # Errors
    /// [`CheckpointError`] for a header that is cut off, damaged or inconsistent.
    pub fn parse(start: &[u8]) -> Result<Self, CheckpointError> {
        let needed = Self::bytes_needed(start)?;
        let json = start
            .get(PREFIX..needed)
            .ok_or(CheckpointError::Truncated {
                needed: needed as u64,
                found: start.len() as u64,
            })?;
        let bad = |e: serde_json::Error| CheckpointError::BadHeader {
            detail: e.to_string(),
        };
        let members: Pairs<Box<RawValue>> = serde_json::from_slice(json).map_err(bad)?;

        let data_start = needed as u64;
        let mut metadata = BTreeMap::new();
        let mut tensors = Vec::with_capacity(members.0.len());
        for (name, raw) in members.0 {
            if name == "__metadata__" {
                metadata = serde_json::from_str(raw.get()).map_err(bad)?;
                continue;
            }
            let entry: RawEntry =
                serde_json::from_str(raw.get()).map_err(|e| CheckpointError::BadTensor {
                    name: name.clone(),
                    detail: e.to_string(),
                })?;
            tensors.push(entry.check(name, data_start)?);
        }
        tensors.sort_by(|a, b| {
            (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name))
        });
        let file_len = contiguous(&tensors, data_start)?;
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (i, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name.clone(), i).is_some() {
                return Err(CheckpointError::BadTensor {
                    name: tensor.name.clone(),
                    detail: "the name stands twice".to_owned(),
                });
            }
        }
        Ok(Self {
            metadata,
            tensors,
            by_name,
            data_start,
            file_len,
        })
    }

    /// Parses a whole file held in memory, and checks its length.
    ///
    /// # Errors
    /// As [`Header::parse`], and [`CheckpointError::WrongLength`].
    pub fn parse_file(file: &[u8]) -> Result<Self, CheckpointError> {
        let header = Self::parse(file)?;
        header.check_file_len(file.len() as u64)?;
        Ok(header)
    }

    /// Tensors in file order.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<&TensorEntry, CheckpointError> {
        self.by_name
            .get(name)
            .map(|&i| &self.tensors[i])
            .ok_or_else(|| CheckpointError::MissingTensor {
                name: name.to_owned(),
            })
    }

    /// The bytes of a tensor in a whole file held in memory.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`], and [`CheckpointError::Truncated`] for a short `file`.
    pub fn bytes<'f>(&self, file: &'f [u8], name: &str) -> Result<&'f [u8], CheckpointError> {
        let range = &self.tensor(name)?.range;
        let slice = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok());
        slice
            .and_then(|(from, to)| file.get(from..to))
            .ok_or(CheckpointError::Truncated {
                needed: range.end,
                found: file.len() as u64,
            })
    }

    /// The values of a tensor in a whole file held in memory, as f32.
    ///
    /// # Errors
    /// As [`Header::bytes`], and [`CheckpointError::NotFloat`].
    pub fn read_f32(&self, file: &[u8], name: &str) -> Result<Vec<f32>, CheckpointError> {
        super::to_f32(self.tensor(name)?.dtype, self.bytes(file, name)?)
    }

    /// Offset of the first tensor byte.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Length the whole file must have.
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Compares with the length the server or the file system reports.
    ///
    /// # Errors
    /// [`CheckpointError::WrongLength`].
    pub fn check_file_len(&self, found: u64) -> Result<(), CheckpointError> {
        if found == self.file_len {
            return Ok(());
        }
        Err(CheckpointError::WrongLength {
            expected: self.file_len,
            found,
        })
    }
}

impl RawEntry {
    fn check(self, name: String, data_start: u64) -> Result<TensorEntry, CheckpointError> {
        let (from, to) = self.data_offsets;
        let bad = |detail: String| CheckpointError::BadTensor {
            name: name.clone(),
            detail,
        };
        let bits = self
            .shape
            .iter()
            .try_fold(1u64, |n, &dim| n.checked_mul(dim))
            .and_then(|n| n.checked_mul(self.dtype.bitsize() as u64))
            .ok_or_else(|| bad("its size overflows".to_owned()))?;
        if bits % 8 != 0 {
            return Err(bad(format!("{bits} bits are no whole bytes")));
        }
        let length = to.checked_sub(from).ok_or_else(|| {
            bad(format!(
                "its bytes end at {to}, before they start at {from}"
            ))
        })?;
        if length != bits / 8 {
            return Err(bad(format!(
                "{length} bytes where type and shape need {}",
                bits / 8
            )));
        }
        let end = to
            .checked_add(data_start)
            .ok_or_else(|| bad("its offsets overflow".to_owned()))?;
        Ok(TensorEntry {
            name,
            dtype: self.dtype,
            shape: self.shape,
            range: data_start + from..end,
        })
    }
}

/// Checks that sorted tensors follow each other; returns where the last one ends.
fn contiguous(tensors: &[TensorEntry], data_start: u64) -> Result<u64, CheckpointError> {
    let mut end = data_start;
    for tensor in tensors {
        if tensor.range.start != end {
            let what = if tensor.range.start < end {
                "overlap"
            } else {
                "leave a gap after"
            };
            return Err(CheckpointError::BadTensor {
                name: tensor.name.clone(),
                detail: format!("its bytes {what} the tensor before it"),
            });
        }
        end = tensor.range.end;
    }
    Ok(end)
}
