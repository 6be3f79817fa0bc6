//! The golden files under `tests/golden/` of the repository.
#![allow(dead_code, missing_docs)]

use vaultlab_formats::checkpoint::Header;

pub fn golden(path: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/");
    std::fs::read(format!("{root}{path}")).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A safetensors file in memory.
pub struct Tensors {
    pub header: Header,
    pub file: Vec<u8>,
}

impl Tensors {
    pub fn open(path: &str) -> Self {
        let file = golden(path);
        Self {
            header: Header::parse_file(&file).unwrap(),
            file,
        }
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.header.read_f32(&self.file, name).unwrap()
    }

    pub fn bytes(&self, name: &str) -> &[u8] {
        self.header.bytes(&self.file, name).unwrap()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.header
            .tensor(name)
            .unwrap()
            .shape
            .iter()
            .map(|&n| n as usize)
            .collect()
    }
}
