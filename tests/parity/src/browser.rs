//! The checks as a wasm module.

use std::collections::HashMap;

use js_sys::{Function, Uint8Array};
use serde::Serialize;
use vaultlab_engine::device;
use vaultlab_protocol::{DeviceChoice, DeviceReport};
use wasm_bindgen::prelude::*;

use crate::{Check, GoldenFiles, file_names, run};

#[derive(Serialize)]
struct Report {
    device: DeviceReport,
    checks: Vec<Check>,
}

/// Runs the checks on `device` ("gpu" or "cpu") for the families named; `load(name)` gives a golden file's bytes.
///
/// # Errors
/// If a file cannot be loaded, the device cannot be opened, or the engine fails.
#[wasm_bindgen(js_name = runParity)]
pub async fn run_parity(
    device: String,
    families: Vec<String>,
    load: Function,
) -> Result<JsValue, JsError> {
    console_error_panic_hook::set_once();
    let choice = if device == "cpu" {
        DeviceChoice::Cpu
    } else {
        DeviceChoice::Gpu
    };
    let mut files = HashMap::new();
    for name in file_names() {
        let failed = |_| JsError::new(&format!("{name} could not be loaded"));
        let promise = load
            .call1(&JsValue::NULL, &JsValue::from_str(&name))
            .map_err(failed)?;
        let bytes = wasm_bindgen_futures::JsFuture::from(js_sys::Promise::resolve(&promise)).await;
        files.insert(
            name.clone(),
            Uint8Array::new(&bytes.map_err(failed)?).to_vec(),
        );
    }
    let open = device::open(choice).await?;
    let families: Vec<&str> = families.iter().map(String::as_str).collect();
    let checks = run(&GoldenFiles(files), &families, &open).await?;
    let report = Report {
        device: open.report,
        checks,
    };
    Ok(report.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?)
}
