//! LoRA adapters: where their parameters lie in one flat vector, and their tensors on the device.

mod layout;
mod pair;

pub use layout::{LoraLayout, LoraModule};
pub use pair::{BlockLora, DeviceAdapter, Dropout, LoraPair};
