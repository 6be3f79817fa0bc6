use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{CheckpointError, Header};

/// `model.safetensors.index.json`: which file holds which tensor of a sharded checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    /// Tensor name to file name.
    pub files_by_tensor: BTreeMap<String, String>,
    /// Bytes of all tensors, if stated.
    pub total_size: Option<u64>,
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: BTreeMap<String, String>,
    #[serde(default)]
    metadata: Option<RawMetadata>,
}

#[derive(Deserialize)]
struct RawMetadata {
    /// Some writers store a float.
    #[serde(default)]
    total_size: Option<serde_json::Number>,
}

impl ShardIndex {
    /// Parses the index.
    ///
    /// # Errors
    /// [`CheckpointError::BadIndex`] for damaged JSON, an empty map, or a file name that is not a
    /// plain `*.safetensors` name in the same folder.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let bad = |detail: String| CheckpointError::BadIndex { detail };
        let raw: RawIndex = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if raw.weight_map.is_empty() {
            return Err(bad("it names no tensor".to_owned()));
        }
        for file in raw.weight_map.values() {
            // The name becomes part of a URL or a path.
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if !file.ends_with(".safetensors") || !file.chars().all(plain) || file.starts_with('.')
            {
                return Err(bad(format!("`{}` is no shard name", file.escape_debug())));
            }
        }
        let total_size = raw
            .metadata
            .and_then(|m| m.total_size)
            .and_then(|n| n.as_u64());
        Ok(Self {
            files_by_tensor: raw.weight_map,
            total_size,
        })
    }

    /// The shard files, each once, sorted.
    pub fn files(&self) -> Vec<&str> {
        let names: BTreeSet<&str> = self.files_by_tensor.values().map(String::as_str).collect();
        names.into_iter().collect()
    }

    /// Checks that a shard holds every tensor the index places in it.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`].
    pub fn check_shard(&self, file: &str, header: &Header) -> Result<(), CheckpointError> {
        for (name, _) in self.files_by_tensor.iter().filter(|(_, f)| *f == file) {
            header.tensor(name)?;
        }
        Ok(())
    }
}
