//! What the engine's tests share: golden files, devices, comparisons.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use vaultlab_engine::EngineError;
use vaultlab_engine::device::{self, OpenDevice};
use vaultlab_engine::host::Host;
use vaultlab_engine::weights::{MemorySource, ModelFiles};
use vaultlab_formats::checkpoint::Header;
use vaultlab_protocol::{DeviceChoice, Event, WeightFormat};

/// A file of golden tensors.
pub struct Golden {
    bytes: Vec<u8>,
    header: Header,
}

impl Golden {
    pub fn open(name: &str) -> Self {
        let bytes = golden(name);
        let header = Header::parse_file(&bytes).expect("golden files are whole");
        Self { bytes, header }
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.header
            .read_f32(&self.bytes, name)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn i64(&self, name: &str) -> Vec<i64> {
        let bytes = self
            .header
            .bytes(&self.bytes, name)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        bytes
            .chunks(8)
            .map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")))
            .collect()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        let entry = self
            .header
            .tensor(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        entry.shape.iter().map(|&n| n as usize).collect()
    }
}

pub fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Both devices, opened once. The GPU is whatever adapter is there; in CI that is lavapipe.
pub fn devices() -> [&'static OpenDevice; 2] {
    static DEVICES: OnceLock<[OpenDevice; 2]> = OnceLock::new();
    DEVICES
        .get_or_init(|| {
            [DeviceChoice::Cpu, DeviceChoice::Gpu].map(|choice| {
                pollster::block_on(device::open(choice))
                    .expect("a Vulkan adapter is installed (mesa-vulkan-drivers)")
            })
        })
        .each_ref()
}

/// A golden model on a device. The golden models have the reference tokenizer, whose vocabulary is larger than
/// some of theirs, so only the weights are loaded here.
pub fn decoder(
    folder: &str,
    format: WeightFormat,
    open: &OpenDevice,
) -> vaultlab_engine::model::Decoder {
    let mut files = ModelFiles::default();
    files.insert(
        "model.safetensors",
        Box::new(MemorySource(golden(&format!("{folder}/model.safetensors")))),
    );
    let config =
        vaultlab_formats::config::ModelConfig::parse(&golden(&format!("{folder}/config.json")))
            .expect("the golden configuration is valid");
    pollster::block_on(vaultlab_engine::weights::load_decoder(
        &files,
        &config,
        format,
        &open.device,
        &mut |_, _| Ok(()),
    ))
    .expect("the golden model loads")
}

/// Largest difference over the reference's largest value (at least 1), and where it is.
pub fn relative_error(found: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(found.len(), reference.len(), "lengths differ");
    let scale = reference
        .iter()
        .fold(1.0f64, |a, &b| a.max(f64::from(b.abs())));
    found
        .iter()
        .zip(reference)
        .map(|(&a, &b)| {
            assert!(a.is_finite(), "a value is not finite");
            f64::from((a - b).abs())
        })
        .fold(0.0, f64::max)
        / scale
}

pub fn assert_close(what: &str, found: &[f32], reference: &[f32], tolerance: f64) {
    let error = relative_error(found, reference);
    assert!(
        error <= tolerance,
        "{what}: relative error {error:e} exceeds {tolerance:e}"
    );
}

/// A host that keeps nothing and shows nothing.
pub struct Silent;

impl Host for Silent {
    fn emit(&self, _event: Event) {}

    fn emit_files(&self, _event: Event, _files: Vec<Vec<u8>>) {}

    async fn breathe(&self) {}

    fn now_ms(&self) -> f64 {
        0.0
    }

    async fn save_checkpoint(&self, _bytes: Vec<u8>) -> Result<(), EngineError> {
        Ok(())
    }
}
