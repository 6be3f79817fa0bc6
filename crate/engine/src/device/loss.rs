use std::sync::{Arc, Mutex};

use crate::EngineError;

/// Hears of a lost device and of errors that wgpu reports outside any call.
#[derive(Clone, Debug, Default)]
pub struct DeviceHealth {
    failure: Arc<Mutex<Option<Failure>>>,
}

#[derive(Clone, Debug)]
enum Failure {
    Lost(String),
    OutOfMemory(String),
}

impl DeviceHealth {
    /// Registers with the device.
    pub(super) fn watch(device: &wgpu::Device) -> Self {
        let health = Self::default();
        let lost = health.clone();
        device.set_device_lost_callback(move |reason, message| {
            lost.fail(Failure::Lost(format!("{reason:?}: {message}")));
        });
        let errors = health.clone();
        device.on_uncaptured_error(Arc::new(move |error| match error {
            wgpu::Error::OutOfMemory { .. } => errors.fail(Failure::OutOfMemory(error.to_string())),
            other => errors.fail(Failure::Lost(other.to_string())),
        }));
        health
    }

    /// The first failure is the cause; later ones follow from it.
    fn fail(&self, failure: Failure) {
        if let Ok(mut slot) = self.failure.lock() {
            slot.get_or_insert(failure);
        }
    }

    /// Fails once the device has: results read after that cannot be trusted.
    ///
    /// # Errors
    /// [`EngineError::DeviceLost`] or [`EngineError::OutOfMemory`].
    pub fn check(&self) -> Result<(), EngineError> {
        match self.failure.lock().ok().and_then(|slot| slot.clone()) {
            None => Ok(()),
            Some(Failure::Lost(message)) => Err(EngineError::DeviceLost(message)),
            Some(Failure::OutOfMemory(message)) => Err(EngineError::OutOfMemory(format!(
                "the device has no memory left ({message}); use a smaller micro-batch, shorter rows or NF4 weights"
            ))),
        }
    }
}
