//! Metadata values.

use super::reader::Reader;
use super::{Stop, bad};

/// A metadata value; arrays keep their elements by type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// A 32-bit float.
    F32(f32),
    /// A 64-bit float.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// A list of texts, e.g. the tokens.
    Texts(Vec<String>),
    /// A list of floats, e.g. the scores.
    Floats(Vec<f32>),
    /// A list of integers (booleans count as 0 and 1).
    Integers(Vec<i64>),
}

impl Value {
    /// The value as a whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(n) => Some(n),
            Self::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// The value as a float. An f32 is taken at its shortest decimal: 1e-6 was written as 1e-6.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(x) => x.to_string().parse().ok(),
            Self::F64(x) => Some(x),
            _ => None,
        }
    }

    /// The value as true or false.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The value as text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, Stop> {
        let number = reader.u32()?;
        if number == ARRAY {
            return list(reader);
        }
        scalar(reader, number)
    }
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

fn scalar(reader: &mut Reader, number: u32) -> Result<Value, Stop> {
    Ok(match number {
        0 => Value::Unsigned(u64::from(reader.array::<1>()?[0])),
        1 => Value::Signed(i64::from(i8::from_le_bytes(reader.array()?))),
        2 => Value::Unsigned(u64::from(u16::from_le_bytes(reader.array()?))),
        3 => Value::Signed(i64::from(i16::from_le_bytes(reader.array()?))),
        4 => Value::Unsigned(u64::from(reader.u32()?)),
        5 => Value::Signed(i64::from(i32::from_le_bytes(reader.array()?))),
        6 => Value::F32(f32::from_le_bytes(reader.array()?)),
        7 => match reader.array::<1>()?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(bad(reader, format!("{other} is neither true nor false"))),
        },
        TEXT => Value::Text(reader.text()?),
        10 => Value::Unsigned(reader.u64()?),
        11 => Value::Signed(i64::from_le_bytes(reader.array()?)),
        12 => Value::F64(f64::from_le_bytes(reader.array()?)),
        other => return Err(bad(reader, format!("value type {other} does not exist"))),
    })
}

/// An array. Capacity follows the bytes that are there, never the count the file claims.
fn list(reader: &mut Reader) -> Result<Value, Stop> {
    let number = reader.u32()?;
    let count = reader.u64()?;
    let width = match number {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        TEXT | 10..=12 => 8,
        ARRAY => return Err(bad(reader, "arrays of arrays are not used".to_owned())),
        other => return Err(bad(reader, format!("value type {other} does not exist"))),
    };
    // Every element takes at least `width` bytes, so a lying count stops here.
    reader.expect_elements(count, width)?;
    match number {
        TEXT => {
            let mut texts = Vec::new();
            for _ in 0..count {
                texts.push(reader.text()?);
            }
            Ok(Value::Texts(texts))
        }
        6 | 12 => {
            let mut floats = Vec::new();
            for _ in 0..count {
                floats.push(match scalar(reader, number)? {
                    Value::F32(x) => x,
                    Value::F64(x) => x as f32,
                    _ => f32::NAN,
                });
            }
            Ok(Value::Floats(floats))
        }
        _ => {
            let mut integers = Vec::new();
            for _ in 0..count {
                let integer = match scalar(reader, number)? {
                    Value::Signed(n) => Some(n),
                    Value::Unsigned(n) => i64::try_from(n).ok(),
                    Value::Bool(b) => Some(i64::from(b)),
                    _ => None,
                };
                let out_of_range = || bad(reader, "an integer is too large".to_owned());
                integers.push(integer.ok_or_else(out_of_range)?);
            }
            Ok(Value::Integers(integers))
        }
    }
}
