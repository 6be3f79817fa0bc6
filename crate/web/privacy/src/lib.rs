//! The planner as a small wasm module for the page's main thread: the same accountant that the engine
//! charges with, answering a slider at once, before any model is there.
//!
//! Every function takes and returns plain values or the plain objects of `vaultlab-protocol`. Errors are
//! thrown as `Error` with a message for the visitor.

mod planner;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vaultlab_privacy::accountant::{self, Phase};
use vaultlab_privacy::calibrate;
use vaultlab_protocol::{PlanPhase, PlanRequest, TracePoint};
use wasm_bindgen::prelude::*;

/// Most points of a trace.
const MOST_POINTS: u32 = 200;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
import type { PlanPhase, PlanReply, PlanRequest, TracePoint } from '../../protocol';
"#;

/// Sends panics to the console with their message.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// ε at δ of `steps` steps of the Poisson-subsampled Gaussian mechanism.
///
/// # Errors
/// When an argument is out of range.
#[wasm_bindgen]
pub fn epsilon(
    #[wasm_bindgen(js_name = samplingRate)] sampling_rate: f64,
    #[wasm_bindgen(js_name = noiseMultiplier)] noise_multiplier: f64,
    steps: u32,
    delta: f64,
) -> Result<f64, JsError> {
    let phase = Phase {
        sampling_rate,
        noise_multiplier,
        steps: u64::from(steps),
        truncation: None,
    };
    Ok(accountant::epsilon(&[phase], delta)?)
}

/// ε at δ of several phases on the same rows.
///
/// # Errors
/// When a phase or δ is out of range.
#[wasm_bindgen(js_name = epsilonOfPhases)]
pub fn epsilon_of_phases(
    #[wasm_bindgen(unchecked_param_type = "PlanPhase[]")] phases: JsValue,
    delta: f64,
) -> Result<f64, JsError> {
    let phases: Vec<PlanPhase> = read(phases)?;
    Ok(accountant::epsilon(&planner::phases(&phases), delta)?)
}

/// The smallest noise multiplier, to 1e-6, whose ε at δ is at most the target.
///
/// # Errors
/// When an argument is out of range, or no noise is enough.
#[wasm_bindgen]
pub fn calibrate(
    #[wasm_bindgen(js_name = targetEpsilon)] target_epsilon: f64,
    #[wasm_bindgen(js_name = samplingRate)] sampling_rate: f64,
    steps: u32,
    delta: f64,
) -> Result<f64, JsError> {
    Ok(calibrate::noise_multiplier(
        target_epsilon,
        sampling_rate,
        u64::from(steps),
        delta,
    )?)
}

/// ε along a run, from step 0 to its end: at most `points` points, and never more than 200.
///
/// # Errors
/// When an argument is out of range.
#[wasm_bindgen(js_name = epsilonTrace, unchecked_return_type = "TracePoint[]")]
pub fn epsilon_trace(
    #[wasm_bindgen(js_name = samplingRate)] sampling_rate: f64,
    #[wasm_bindgen(js_name = noiseMultiplier)] noise_multiplier: f64,
    steps: u32,
    delta: f64,
    points: u32,
) -> Result<JsValue, JsError> {
    let phase = Phase {
        sampling_rate,
        noise_multiplier,
        steps: u64::from(steps),
        truncation: None,
    };
    let trace = calibrate::epsilon_trace(&[], &phase, delta, points.min(MOST_POINTS))?;
    let points: Vec<TracePoint> = trace
        .into_iter()
        .map(|point| TracePoint {
            steps: point.steps as u32,
            epsilon: point.epsilon,
        })
        .collect();
    write(&points)
}

/// σ, ε, noise and advice of a plan.
///
/// # Errors
/// When the request cannot be planned for; a plan that is merely poor comes back with advice.
#[wasm_bindgen(unchecked_return_type = "PlanReply")]
pub fn plan(
    #[wasm_bindgen(unchecked_param_type = "PlanRequest")] request: JsValue,
) -> Result<JsValue, JsError> {
    let request: PlanRequest = read(request)?;
    write(&planner::plan(&request)?)
}

fn read<T: DeserializeOwned>(value: JsValue) -> Result<T, JsError> {
    Ok(serde_wasm_bindgen::from_value(value)?)
}

fn write<T: Serialize>(value: &T) -> Result<JsValue, JsError> {
    // JSON's shapes: objects and not maps, null and not undefined.
    Ok(value.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?)
}
