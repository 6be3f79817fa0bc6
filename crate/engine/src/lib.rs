//! Gemma-family models that run and are fine-tuned with LoRA under differential privacy, on burn and wgpu.
//!
//! One engine, two devices: WGSL kernels on the GPU, and the same operations as burn tensor compositions on the CPU.
//! Nothing here knows the DOM or a file system; the program around the engine implements [`host::Host`].

pub mod device;
mod error;
pub mod generate;
pub mod host;
pub mod kernels;
pub mod lab;
pub mod lora;
pub mod model;
pub mod ops;
pub mod train;
pub mod weights;

pub use error::EngineError;
