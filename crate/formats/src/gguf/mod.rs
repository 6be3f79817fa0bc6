//! GGUF, the file format of llama.cpp (versions 2 and 3, little-endian): metadata, tensor infos and
//! the tokenizer in one header, then quantised tensors.
//!
//! [`Gguf::parse`] works on the first bytes of a stream and says how many more it needs;
//! [`Gguf::model_config`] and [`Gguf::tensors_for`] then give the same configuration and tensor
//! names that a safetensors checkpoint of the model has, and [`BlockChunks`] turns tensor bytes that
//! arrive in pieces into f32. Norm weights are stored plus one; [`MappedTensor::minus_one`] says
//! where that is to be undone.

mod dequant;
mod error;
mod k_quants;
mod kind;
mod model;
mod reader;
mod value;
mod vocab;

pub use dequant::{BlockChunks, dequantize};
pub use error::GgufError;
pub use kind::TensorKind;
pub use model::MappedTensor;
pub use value::Value;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use reader::Reader;

/// Most bytes a header may have; that of Gemma 3, with 262,144 tokens, has about eight million.
pub const MAX_HEADER: u64 = 128 << 20;
/// Most tensors a file may have.
const MAX_TENSORS: u64 = 1 << 16;

/// Why reading stopped before the end of the header.
#[derive(Debug)]
enum Stop {
    /// The header needs at least this many bytes from the start of the file.
    NeedMore(u64),
    Error(GgufError),
}

impl From<GgufError> for Stop {
    fn from(error: GgufError) -> Self {
        Self::Error(error)
    }
}

fn bad(reader: &Reader, detail: String) -> Stop {
    Stop::Error(GgufError::BadHeader {
        offset: reader.offset(),
        detail,
    })
}

/// One tensor of a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// Name in the file, e.g. `blk.0.attn_q.weight`.
    pub name: String,
    /// How its values are stored.
    pub kind: TensorKind,
    /// Row-major shape, slowest dimension first (the file lists the fastest first).
    pub shape: Vec<u64>,
    /// Where its bytes are, counted from the start of the file.
    pub range: Range<u64>,
}

impl GgufTensor {
    /// Number of values.
    pub fn values(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// Header of a GGUF file. Guaranteed: every byte range matches its type and shape, and no two
/// overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// Version of the format, 2 or 3.
    pub version: u32,
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Bytes tensors are aligned to.
    pub alignment: u64,
    /// Offset of the first tensor byte.
    pub data_start: u64,
    tensors: Vec<GgufTensor>,
}

/// What [`Gguf::parse`] found in the first bytes of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Prefix {
    /// The whole header.
    Complete(Box<Gguf>),
    /// The header goes on: read at least this many bytes from the start of the file and ask again.
    /// The answer at least doubles, so that asking again stays cheap.
    NeedMore(u64),
}

impl Gguf {
    /// Parses the header from the first bytes of a file; bytes after it are ignored.
    ///
    /// # Errors
    /// [`GgufError`] for other files, other versions, damage, and tensor types that cannot be read.
    pub fn parse(start: &[u8]) -> Result<Prefix, GgufError> {
        match header(&mut Reader::new(start)) {
            Ok(gguf) => Ok(Prefix::Complete(Box::new(gguf))),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::NeedMore(end)) if end > MAX_HEADER => {
                Err(GgufError::HeaderTooLong { limit: MAX_HEADER })
            }
            Err(Stop::NeedMore(end)) => {
                let double = (start.len() as u64).saturating_mul(2).min(MAX_HEADER);
                Ok(Prefix::NeedMore(end.max(double)))
            }
        }
    }

    /// Parses a whole file held in memory, and checks that it holds every tensor.
    ///
    /// # Errors
    /// As [`Gguf::parse`], [`GgufError::HeaderTooLong`] and [`GgufError::WrongLength`].
    pub fn parse_file(file: &[u8]) -> Result<Self, GgufError> {
        match Self::parse(file)? {
            Prefix::Complete(gguf) => {
                gguf.check_file_len(file.len() as u64)?;
                Ok(*gguf)
            }
            Prefix::NeedMore(_) => Err(GgufError::HeaderTooLong {
                limit: MAX_HEADER.min(file.len() as u64),
            }),
        }
    }

    /// Tensors in file order.
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// The tensor of this name, if the file has it.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// The fewest bytes the whole file can have.
    pub fn file_len(&self) -> u64 {
        let end = self.tensors.iter().map(|t| t.range.end).max();
        end.unwrap_or(self.data_start)
    }

    /// Compares with the length the server or the file system reports; padding may follow the last
    /// tensor.
    ///
    /// # Errors
    /// [`GgufError::WrongLength`].
    pub fn check_file_len(&self, found: u64) -> Result<(), GgufError> {
        let expected = self.file_len();
        if (expected..=expected.saturating_add(self.alignment)).contains(&found) {
            return Ok(());
        }
        Err(GgufError::WrongLength { expected, found })
    }
}

fn header(reader: &mut Reader) -> Result<Gguf, Stop> {
    if reader.array::<4>()? != *b"GGUF" {
        return Err(GgufError::NotGguf.into());
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version { version }.into());
    }
    let (tensor_count, pairs) = (reader.u64()?, reader.u64()?);
    if tensor_count > MAX_TENSORS || pairs > MAX_TENSORS {
        return Err(bad(
            reader,
            format!("{tensor_count} tensors and {pairs} metadata entries"),
        ));
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..pairs {
        let key = reader.text()?;
        let value = Value::read(reader)?;
        if metadata.insert(key, value).is_some() {
            return Err(bad(reader, "a metadata key stands twice".to_owned()));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(value) => value
            .as_u64()
            .filter(|n| n.is_power_of_two() && *n <= 1 << 20)
            .ok_or_else(|| bad(reader, "the alignment is no power of two".to_owned()))?,
    };
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(tensor(reader)?);
    }
    let data_start = reader.offset().next_multiple_of(alignment);
    for tensor in &mut tensors {
        place(tensor, data_start, alignment)?;
    }
    tensors.sort_by_key(|t| (t.range.start, t.range.end));
    check_distinct(&tensors)?;
    Ok(Gguf {
        version,
        metadata,
        alignment,
        data_start,
        tensors,
    })
}

/// Reads a tensor's entry; its range counts from the start of the data until [`place`] moves it.
fn tensor(reader: &mut Reader) -> Result<GgufTensor, Stop> {
    let name = reader.text()?;
    let wrong = |detail: String| GgufError::BadTensor {
        name: name.clone(),
        detail,
    };
    let dimensions = reader.u32()?;
    if !(1..=4).contains(&dimensions) {
        return Err(wrong(format!("{dimensions} dimensions")).into());
    }
    let mut shape = (0..dimensions)
        .map(|_| reader.u64())
        .collect::<Result<Vec<_>, _>>()?;
    let number = reader.u32()?;
    let offset = reader.u64()?;
    let kind = TensorKind::from_number(number).ok_or_else(|| GgufError::UnsupportedType {
        name: name.clone(),
        kind: kind::foreign_name(number),
    })?;
    let block = kind.block_values() as u64;
    if !shape[0].is_multiple_of(block) {
        return Err(wrong(format!(
            "rows of {} values are no whole blocks of {block}",
            shape[0]
        ))
        .into());
    }
    let bytes = shape
        .iter()
        .try_fold(1u64, |n, &dim| n.checked_mul(dim))
        .and_then(|n| (n / block).checked_mul(kind.block_bytes() as u64))
        .and_then(|bytes| offset.checked_add(bytes))
        .filter(|&end| end <= 1 << 48)
        .ok_or_else(|| wrong("its size overflows".to_owned()))?;
    shape.reverse();
    Ok(GgufTensor {
        name,
        kind,
        shape,
        range: offset..bytes,
    })
}

fn place(tensor: &mut GgufTensor, data_start: u64, alignment: u64) -> Result<(), GgufError> {
    if !tensor.range.start.is_multiple_of(alignment) {
        return Err(GgufError::BadTensor {
            name: tensor.name.clone(),
            detail: format!(
                "its offset {} is not aligned to {alignment}",
                tensor.range.start
            ),
        });
    }
    tensor.range = tensor.range.start + data_start..tensor.range.end + data_start;
    Ok(())
}

/// Refuses sorted tensors that share bytes or names.
fn check_distinct(tensors: &[GgufTensor]) -> Result<(), GgufError> {
    let mut names = HashSet::new();
    let mut end = 0;
    for tensor in tensors {
        let wrong = |detail: &str| GgufError::BadTensor {
            name: tensor.name.clone(),
            detail: detail.to_owned(),
        };
        if !names.insert(tensor.name.as_str()) {
            return Err(wrong("the name stands twice"));
        }
        if tensor.range.start < end {
            return Err(wrong("its bytes overlap the tensor before it"));
        }
        end = tensor.range.end;
    }
    Ok(())
}
