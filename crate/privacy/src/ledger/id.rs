//! The names in a ledger: data sets, runs, sessions. All are bytes written as lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::DatasetRows;
use crate::randomness::{NoRandomness, random_bytes};

/// Text that is not the hexadecimal form of a ledger name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected {0} lower-case hexadecimal digits")]
pub struct NotHexadecimal(usize);

macro_rules! hexadecimal_name {
    ($(#[$docs:meta])* $name:ident, $bytes:literal) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The name with these bytes.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NotHexadecimal;

            fn from_str(text: &str) -> Result<Self, NotHexadecimal> {
                let mut bytes = [0; $bytes];
                parse_hexadecimal(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hexadecimal_name! {
    /// SHA-256 of a data set's rows, whatever their order; the key of its ledger.
    DatasetFingerprint, 32
}

hexadecimal_name! {
    /// One training run, through all its pauses and resumptions.
    RunId, 16
}

hexadecimal_name! {
    /// One opening of a run, from begin to pause, crash or end. Never reused.
    SessionId, 16
}

impl DatasetFingerprint {
    /// Fingerprint of the rows, each given as its canonical bytes; see [`DatasetRows::of_rows`].
    pub fn of_rows<R: AsRef<[u8]>>(rows: impl IntoIterator<Item = R>) -> Self {
        DatasetRows::of_rows(rows).fingerprint()
    }
}

impl RunId {
    /// A fresh name.
    ///
    /// # Errors
    /// When the platform's CSPRNG fails.
    pub fn random() -> Result<Self, NoRandomness> {
        random_bytes().map(Self)
    }
}

impl SessionId {
    /// A fresh name; always from the platform's CSPRNG, in test mode too, since it must never recur.
    ///
    /// # Errors
    /// When the platform's CSPRNG fails.
    pub fn random() -> Result<Self, NoRandomness> {
        random_bytes().map(Self)
    }
}

fn parse_hexadecimal(text: &str, bytes: &mut [u8]) -> Result<(), NotHexadecimal> {
    let wrong = NotHexadecimal(2 * bytes.len());
    if text.len() != 2 * bytes.len() {
        return Err(wrong);
    }
    let digit = |character: u8| match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(wrong),
    };
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}
