use std::collections::HashMap;

use vaultlab_formats::checkpoint::Header;
use vaultlab_formats::examples::Example;

use crate::FAMILIES;

/// The golden files, by their path under `tests/golden`.
pub struct GoldenFiles(pub HashMap<String, Vec<u8>>);

/// Every file the checks read, by its path under `tests/golden`.
pub fn file_names() -> Vec<String> {
    let mut names: Vec<String> = FAMILIES
        .iter()
        .flat_map(|family| {
            ["config.json", "model.safetensors", "golden.safetensors"]
                .map(|file| format!("models/{family}/{file}"))
        })
        .collect();
    for adapter in ["dp/adapter", "lora/vaultgemma"] {
        names.push(format!("{adapter}/adapter_config.json"));
        names.push(format!("{adapter}/adapter_model.safetensors"));
    }
    names.extend(
        [
            "dp/golden.safetensors",
            "lora/vaultgemma/golden.safetensors",
            "quant/vaultgemma_bnb4/golden.safetensors",
        ]
        .map(String::from),
    );
    names
}

impl GoldenFiles {
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("the golden file {name} was not given"))
    }

    pub(crate) fn tensors(&self, name: &str) -> Golden<'_> {
        let bytes = self.bytes(name);
        Golden {
            bytes,
            header: Header::parse_file(bytes).unwrap_or_else(|error| panic!("{name}: {error}")),
        }
    }
}

/// A file of golden tensors.
pub(crate) struct Golden<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl Golden<'_> {
    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.header
            .read_f32(self.bytes, name)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn i64(&self, name: &str) -> Vec<i64> {
        let bytes = self
            .header
            .bytes(self.bytes, name)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|value| i64::from_le_bytes(*value))
            .collect()
    }

    /// Token ids, `[rows, width]` or flat.
    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.i64(name).into_iter().map(|id| id as u32).collect()
    }

    /// True where a position is no padding.
    pub fn mask(&self) -> Vec<bool> {
        self.i64("attention_mask")
            .into_iter()
            .map(|m| m == 1)
            .collect()
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.header.tensor("input_ids").expect("a batch").shape[0] as usize
    }

    /// Rows of the right-padded batch, without their padding.
    pub fn examples(&self) -> Vec<Example> {
        let width = self.ids("input_ids").len() / self.rows();
        let (ids, labels, mask) = (self.ids("input_ids"), self.i64("labels"), self.mask());
        (0..self.rows())
            .map(|row| {
                let start = row * width;
                let length = mask[start..start + width].iter().filter(|&&m| m).count();
                Example {
                    ids: ids[start..start + length].to_vec(),
                    labels: labels[start..start + length]
                        .iter()
                        .map(|&label| label as i32)
                        .collect(),
                    source: Vec::new(),
                    truncated: false,
                }
            })
            .collect()
    }
}
