//! The one place that picks a device: an adapter with its own limits registered with burn, or the CPU backend.

mod gpu;
mod loss;

use burn::tensor::Device;
use vaultlab_protocol::{DeviceChoice, DeviceKind, DeviceReport, MemoryReport};

use crate::EngineError;
pub use loss::DeviceHealth;

/// An open device and what is known of it.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    /// burn's handle; clone it freely.
    pub device: Device,
    /// What was picked, and why.
    pub report: DeviceReport,
    /// Whether the device is still there.
    pub health: DeviceHealth,
}

/// Opens the device that `choice` asks for.
///
/// `Auto` takes a hardware adapter if there is one and the CPU otherwise; a software adapter is slower than
/// the CPU backend's SIMD and is only taken when asked for with `Gpu`.
///
/// # Errors
/// [`EngineError::NoGpu`] if a GPU was asked for and none opens.
pub async fn open(choice: DeviceChoice) -> Result<OpenDevice, EngineError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu("You chose the CPU.".into())),
        DeviceChoice::Gpu => {
            let adapter = gpu::find_adapter().await?;
            let reason = if gpu::is_software(&adapter) {
                "You chose WebGPU; this adapter is software and will be slow."
            } else {
                "You chose WebGPU."
            };
            gpu::open(adapter, reason.into()).await
        }
        DeviceChoice::Auto => match gpu::find_adapter().await {
            Ok(adapter) if gpu::is_software(&adapter) => Ok(cpu(
                "Only a software GPU adapter is here; the CPU is faster than it.".into(),
            )),
            Ok(adapter) => match gpu::open(adapter, "A hardware GPU is here.".into()).await {
                Ok(open) => Ok(open),
                Err(error) => Ok(cpu(format!("The GPU could not be opened ({error}).",))),
            },
            Err(_) => Ok(cpu("No GPU adapter is available to this program.".into())),
        },
    }
}

fn cpu(reason: String) -> OpenDevice {
    OpenDevice {
        device: Device::flex(),
        report: DeviceReport {
            kind: DeviceKind::Cpu,
            name: "CPU (SIMD)".into(),
            software: false,
            reason,
            max_binding_bytes: 0,
            max_buffer_bytes: 0,
        },
        health: DeviceHealth::default(),
    }
}

/// Follows a job's device memory: `peak` is the highest value at the moments it was asked.
#[derive(Clone, Debug, Default)]
pub struct MemoryMeter {
    peak: u64,
}

impl MemoryMeter {
    /// Reads the allocator's counters. On the CPU device in wasm that is the module's whole memory; natively
    /// the CPU device keeps no counter and reports zeros.
    pub fn sample(&mut self, device: &Device) -> MemoryReport {
        let (in_use, reserved) = match device.memory_pool_usage() {
            Some(usage) => (usage.bytes_in_use, usage.bytes_reserved),
            None => {
                let bytes = wasm_memory_bytes();
                (bytes, bytes)
            }
        };
        self.peak = self.peak.max(in_use);
        MemoryReport {
            in_use,
            reserved,
            peak: self.peak,
        }
    }
}

#[cfg(target_arch = "wasm32")]
fn wasm_memory_bytes() -> u64 {
    const PAGE: u64 = 65536;
    core::arch::wasm32::memory_size(0) as u64 * PAGE
}

#[cfg(not(target_arch = "wasm32"))]
fn wasm_memory_bytes() -> u64 {
    0
}
