use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Which device the visitor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum DeviceChoice {
    /// Hardware WebGPU first, the CPU second; a software adapter never by itself.
    Auto,
    /// WebGPU (or Vulkan natively), a software adapter included.
    Gpu,
    /// burn's SIMD CPU backend.
    Cpu,
}

/// Which of the two devices is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum DeviceKind {
    /// WGSL kernels through wgpu.
    Gpu,
    /// The portable definitions on burn's CPU backend.
    Cpu,
}

/// What was picked, and why.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct DeviceReport {
    /// The device in use.
    pub kind: DeviceKind,
    /// Adapter name as the driver gives it, or "CPU (SIMD)".
    pub name: String,
    /// True when the adapter is a software rasteriser (SwiftShader, llvmpipe).
    pub software: bool,
    /// One sentence: why this device.
    pub reason: String,
    /// Largest storage binding in bytes; 0 on the CPU.
    #[ts(type = "number")]
    pub max_binding_bytes: u64,
    /// Largest buffer in bytes; 0 on the CPU.
    #[ts(type = "number")]
    pub max_buffer_bytes: u64,
}

/// Device memory as the allocator reports it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct MemoryReport {
    /// Bytes in live tensors now.
    #[ts(type = "number")]
    pub in_use: u64,
    /// Bytes held from the device, live or pooled.
    #[ts(type = "number")]
    pub reserved: u64,
    /// Highest `in_use` seen at the sampling points of the job so far.
    #[ts(type = "number")]
    pub peak: u64,
}
