use std::collections::HashMap;

use vaultlab_formats::checkpoint::Header;
use vaultlab_formats::examples::{Example, PaddedIds};

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
    for adapter in ["dp/adapter", "lora/vaultgemma", "lora/t5gemma"] {
        names.push(format!("{adapter}/adapter_config.json"));
        names.push(format!("{adapter}/adapter_model.safetensors"));
    }
    names.extend(
        [
            "dp/golden.safetensors",
            "lora/vaultgemma/golden.safetensors",
            "lora/t5gemma/golden.safetensors",
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

    /// True for what an encoder-decoder computed: labels of the decoder beside the encoder's ids.
    fn is_translation(&self) -> bool {
        self.shape("labels") != self.shape("input_ids")
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        let entry = self.header.tensor(name);
        let entry = entry.unwrap_or_else(|error| panic!("{name}: {error}"));
        entry.shape.iter().map(|&n| n as usize).collect()
    }

    /// True where a position of `input_ids` is no padding.
    pub fn mask(&self) -> Vec<bool> {
        self.i64("attention_mask")
            .into_iter()
            .map(|m| m == 1)
            .collect()
    }

    /// True where the logits count: at no padding, for a translation where there is a label.
    pub fn logits_mask(&self) -> Vec<bool> {
        match self.is_translation() {
            false => self.mask(),
            true => self.i64("labels").into_iter().map(|l| l >= 0).collect(),
        }
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.shape("input_ids")[0]
    }

    /// What the decoder reads, `[rows, width]`: the ids, or the labels moved right behind the start token.
    pub fn decoder_ids(&self) -> Vec<u32> {
        if !self.is_translation() {
            return self.ids("input_ids");
        }
        let width = self.shape("labels")[1];
        let labels = self.i64("labels");
        let rows = labels.chunks(width).flat_map(|row| {
            let before = row[..width - 1].iter().map(|&label| label.max(0) as u32);
            std::iter::once(2).chain(before)
        });
        rows.collect()
    }

    /// What an encoder reads; as wide as the ids.
    pub fn source(&self) -> PaddedIds {
        let (width, ids) = (self.shape("input_ids")[1], self.ids("input_ids"));
        let mask = self.mask();
        let length = |row: &[bool]| row.iter().filter(|&&there| there).count() as u32;
        PaddedIds {
            width,
            ids,
            lengths: mask.chunks(width).map(length).collect(),
        }
    }

    /// Rows of the right-padded batch, without their padding.
    pub fn examples(&self) -> Vec<Example> {
        let source = self.source();
        let width = self.shape("labels")[1];
        let labels: Vec<i32> = self
            .i64("labels")
            .into_iter()
            .map(|label| label as i32)
            .collect();
        (0..self.rows())
            .map(|row| {
                let start = row * source.width;
                let ids = source.ids[start..start + source.lengths[row] as usize].to_vec();
                let labels = &labels[row * width..(row + 1) * width];
                if self.is_translation() {
                    let end = labels.iter().position(|&label| label < 0);
                    let labels = &labels[..end.unwrap_or(width)];
                    return Example::translation(ids, labels, 2, 0);
                }
                Example {
                    labels: labels[..ids.len()].to_vec(),
                    source: Vec::new(),
                    ids,
                    truncated: false,
                }
            })
            .collect()
    }
}
