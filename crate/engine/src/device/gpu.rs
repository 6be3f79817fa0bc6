use burn::tensor::{Device, wgpu::WgpuSetup};
use vaultlab_protocol::{DeviceKind, DeviceReport};

use super::{DeviceHealth, OpenDevice};
use crate::EngineError;

/// An adapter and the instance it came from.
pub(super) struct Adapter {
    instance: wgpu::Instance,
    adapter: wgpu::Adapter,
}

/// The fastest adapter there is, software included.
pub(super) async fn find_adapter() -> Result<Adapter, EngineError> {
    let instance = wgpu::Instance::default();
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    match instance.request_adapter(&options).await {
        Ok(adapter) => Ok(Adapter { instance, adapter }),
        Err(error) => Err(EngineError::NoGpu(error.to_string())),
    }
}

/// True for rasterisers that run on the CPU.
pub(super) fn is_software(adapter: &Adapter) -> bool {
    let info = adapter.adapter.get_info();
    let name = info.name.to_lowercase();
    info.device_type == wgpu::DeviceType::Cpu
        || ["swiftshader", "llvmpipe", "lavapipe", "basic render"]
            .iter()
            .any(|s| name.contains(s))
}

/// Opens the adapter with all it grants and registers it with burn.
pub(super) async fn open(found: Adapter, reason: String) -> Result<OpenDevice, EngineError> {
    let software = is_software(&found);
    let Adapter { instance, adapter } = found;
    let info = adapter.get_info();
    let limits = adapter.limits();
    let features = adapter.features()
        - wgpu::Features::MAPPABLE_PRIMARY_BUFFERS
        - wgpu::Features::all_experimental_mask();
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("vaultlab"),
        required_features: features,
        required_limits: limits.clone(),
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    };
    let (device, queue) = adapter
        .request_device(&descriptor)
        .await
        .map_err(|error| EngineError::NoGpu(error.to_string()))?;
    let setup = WgpuSetup {
        backend: info.backend,
        instance,
        adapter,
        device: device.clone(),
        queue,
    };
    let burn_device: Device = Device::wgpu_options()
        .setup(setup)
        .init()
        .map_err(|error| EngineError::NoGpu(format!("{error:?}")))?;
    // After burn, which may set handlers of its own.
    let health = DeviceHealth::watch(&device);
    let name = match info.name.as_str() {
        "" => format!("{:?} adapter", info.backend),
        name => name.to_owned(),
    };
    Ok(OpenDevice {
        device: burn_device,
        report: DeviceReport {
            kind: DeviceKind::Gpu,
            name,
            software,
            reason,
            max_binding_bytes: limits.max_storage_buffer_binding_size as u64,
            max_buffer_bytes: limits.max_buffer_size,
        },
        health,
    })
}
