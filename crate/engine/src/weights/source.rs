use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use crate::EngineError;

/// A future that stays on its thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A file that can be read in ranges: on disk, in memory, picked in a browser or behind a URL.
pub trait ByteSource {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// The bytes of `range`, all of them.
    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>, EngineError>>;
}

/// The whole of a small file.
///
/// # Errors
/// As [`ByteSource::read`].
pub async fn read_all(source: &dyn ByteSource) -> Result<Vec<u8>, EngineError> {
    source.read(0..source.size()).await
}

/// Bytes in memory.
#[derive(Clone, Debug)]
pub struct MemorySource(pub Vec<u8>);

impl ByteSource for MemorySource {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>, EngineError>> {
        let bytes = self
            .0
            .get(range.start as usize..range.end as usize)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| EngineError::Source("the file is shorter than expected".into()));
        Box::pin(std::future::ready(bytes))
    }
}

/// The files of a model, by name.
#[derive(Default)]
pub struct ModelFiles {
    files: BTreeMap<String, Box<dyn ByteSource>>,
}

impl ModelFiles {
    /// Adds a file; of two with one name the later counts.
    pub fn insert(&mut self, name: impl Into<String>, source: Box<dyn ByteSource>) {
        self.files.insert(name.into(), source);
    }

    /// The file of this name.
    ///
    /// # Errors
    /// [`EngineError::Model`], naming the files that are there.
    pub fn get(&self, name: &str) -> Result<&dyn ByteSource, EngineError> {
        self.find(name).ok_or_else(|| {
            let there: Vec<&str> = self.files.keys().map(String::as_str).collect();
            EngineError::Model(format!(
                "{name} is missing; the model needs config.json, tokenizer.json and its safetensors, and these files \
                 were given: {}",
                if there.is_empty() { "none".to_owned() } else { there.join(", ") }
            ))
        })
    }

    /// The file of this name, if it is there.
    pub fn find(&self, name: &str) -> Option<&dyn ByteSource> {
        self.files.get(name).map(Box::as_ref)
    }

    /// Names ending in `suffix`.
    pub fn ending_in(&self, suffix: &str) -> Vec<&str> {
        self.files
            .keys()
            .map(String::as_str)
            .filter(|name| name.ends_with(suffix))
            .collect()
    }
}
