//! Typed access to the members of a configuration object.

use serde_json::{Map, Value};

use super::ConfigError;

/// A JSON object with the path it was found at, so that errors can name the full key.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Map<String, Value>, path: &'a str) -> Self {
        Self { object, path }
    }

    /// The key with its path, as errors name it.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value, unless the key is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|v| !v.is_null())
    }

    /// True if the key is there at all, null included.
    pub(super) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    pub(super) fn missing(&self, key: &str) -> ConfigError {
        ConfigError::Missing { key: self.key(key) }
    }

    fn wrong(&self, key: &str, expected: &'static str) -> ConfigError {
        ConfigError::WrongType {
            key: self.key(key),
            expected,
        }
    }

    /// A whole number from 1 to 2^24, wide enough for every dimension of the family.
    pub(super) fn size(&self, key: &str) -> Result<usize, ConfigError> {
        const LARGEST: u64 = 1 << 24;
        let value = self.get(key).ok_or_else(|| self.missing(key))?;
        let number = whole(value).ok_or_else(|| self.wrong(key, "a whole number"))?;
        if !(1..=LARGEST).contains(&number) {
            return Err(ConfigError::OutOfRange {
                key: self.key(key),
                value: number.to_string(),
                expected: "from 1 to 16777216",
            });
        }
        Ok(number as usize)
    }

    /// A finite number above zero, if the key holds one.
    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value.as_f64().ok_or_else(|| self.wrong(key, "a number"))?;
        if !(number.is_finite() && number > 0.0) {
            return Err(ConfigError::OutOfRange {
                key: self.key(key),
                value: number.to_string(),
                expected: "a finite number above zero",
            });
        }
        Ok(Some(number))
    }

    /// Like [`Self::positive`], for keys that must be there.
    pub(super) fn need_positive(&self, key: &str) -> Result<f64, ConfigError> {
        self.positive(key)?.ok_or_else(|| self.missing(key))
    }

    /// A number, or `null` for "not used". The key itself must be there.
    pub(super) fn nullable_positive(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        if !self.has(key) {
            return Err(self.missing(key));
        }
        self.positive(key)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.get(key)
            .map(|v| v.as_str().ok_or_else(|| self.wrong(key, "a string")))
            .transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.get(key)
            .map(|v| v.as_bool().ok_or_else(|| self.wrong(key, "true or false")))
            .transpose()
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<&'a [Value]>, ConfigError> {
        self.get(key)
            .map(|v| {
                v.as_array()
                    .map(Vec::as_slice)
                    .ok_or_else(|| self.wrong(key, "a list"))
            })
            .transpose()
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        self.get(key)
            .map(|v| v.as_object().ok_or_else(|| self.wrong(key, "an object")))
            .transpose()
    }

    /// A token id, if the key holds one.
    pub(super) fn token(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        self.get(key)
            .map(|v| token(v).ok_or_else(|| self.wrong(key, "a token id")))
            .transpose()
    }

    /// One token id or a list of them; empty if the key is missing or null.
    pub(super) fn tokens(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let wrong = || self.wrong(key, "a token id or a list of token ids");
        let mut ids = match value {
            Value::Array(list) => list
                .iter()
                .map(token)
                .collect::<Option<Vec<_>>>()
                .ok_or_else(wrong)?,
            single => vec![token(single).ok_or_else(wrong)?],
        };
        let mut seen = std::collections::BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        Ok(ids)
    }
}

fn token(value: &Value) -> Option<u32> {
    whole(value).and_then(|n| u32::try_from(n).ok())
}

/// A whole number, also when Python wrote it as `256.0`.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|f| f.fract() == 0.0 && (0.0..9.0e15).contains(f))
            .map(|f| f as u64)
    })
}
