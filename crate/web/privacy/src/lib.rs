//! The planner as a small wasm module for the page's main thread: the same accountant that the engine
//! charges with, answering a slider at once, before any model is there.
//!
//! Every function takes and returns plain values or the plain objects of `vaultlab-protocol`. Errors are
//! thrown as `Error` with a message for the visitor.

mod planner;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vaultlab_privacy::accountant::{self, Adjacency, Phase, pld, rdp};
use vaultlab_privacy::calibrate;
use vaultlab_protocol::{PlanPhase, PlanRequest, TracePoint};
use wasm_bindgen::prelude::*;

/// Most points of a trace.
const MOST_POINTS: u32 = 200;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
import type { PlanPhase, PlanReply, PlanRequest, TracePoint } from '../../protocol';
"#;

/// Smallest δ on a curve.
const SMALLEST_DELTA: f64 = 1e-12;

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

/// Bounds on ε at δ of several phases on the same rows: `[lower, upper]`, of which the upper is what
/// counts. Under add/remove adjacency, or replace-one.
///
/// # Errors
/// When a phase or δ is out of range.
#[wasm_bindgen(js_name = epsilonBounds)]
pub fn epsilon_bounds(
    #[wasm_bindgen(unchecked_param_type = "PlanPhase[]")] phases: JsValue,
    delta: f64,
    #[wasm_bindgen(js_name = replaceOne)] replace_one: bool,
) -> Result<Vec<f64>, JsError> {
    let phases: Vec<PlanPhase> = read(phases)?;
    let bounds = pld::epsilon(&planner::phases(&phases), delta, adjacency(replace_one))?;
    Ok(vec![bounds.lower, bounds.upper])
}

/// ε at δ by Rényi accounting, for comparison: larger as a rule, never counted.
///
/// # Errors
/// When a phase or δ is out of range, or a phase's batches are truncated.
#[wasm_bindgen(js_name = renyiEpsilon)]
pub fn renyi_epsilon(
    #[wasm_bindgen(unchecked_param_type = "PlanPhase[]")] phases: JsValue,
    delta: f64,
) -> Result<f64, JsError> {
    let phases: Vec<PlanPhase> = read(phases)?;
    Ok(rdp::epsilon(&planner::phases(&phases), delta)?)
}

/// The curve δ(ε) of several phases, from ε = 0 to where δ is 1e-12: ε and δ in turn, `points` times, and
/// never more than 200 times.
///
/// # Errors
/// When a phase is out of range.
#[wasm_bindgen(js_name = deltaCurve)]
pub fn delta_curve(
    #[wasm_bindgen(unchecked_param_type = "PlanPhase[]")] phases: JsValue,
    points: u32,
    #[wasm_bindgen(js_name = replaceOne)] replace_one: bool,
) -> Result<Vec<f64>, JsError> {
    let phases: Vec<PlanPhase> = read(phases)?;
    let phases = planner::phases(&phases);
    let adjacency = adjacency(replace_one);
    let end = pld::epsilon(&phases, SMALLEST_DELTA, adjacency)?.upper;
    let last = points.clamp(2, MOST_POINTS) - 1;
    let epsilons: Vec<f64> = (0..=last)
        .map(|point| end.min(f64::MAX) * f64::from(point) / f64::from(last))
        .collect();
    let curve = pld::curve(&phases, &epsilons, adjacency)?;
    let pairs = curve.iter().map(|point| [point.epsilon, point.delta.upper]);
    Ok(pairs.flatten().collect())
}

/// ε at δ, replace-one adjacency, had every batch been of exactly `batch` of `rows` rows: a what-if.
///
/// # Errors
/// When an argument is out of range.
#[wasm_bindgen(js_name = fixedSizeEpsilon)]
pub fn fixed_size_epsilon(
    batch: u32,
    rows: u32,
    #[wasm_bindgen(js_name = noiseMultiplier)] noise_multiplier: f64,
    steps: u32,
    delta: f64,
) -> Result<f64, JsError> {
    let (batch, rows, steps) = (u64::from(batch), u64::from(rows), u64::from(steps));
    Ok(pld::fixed_size_epsilon(batch, rows, noise_multiplier, steps, delta)?.upper)
}

/// The accountant of a run in progress, which keeps its transforms between questions.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct LiveAccountant(accountant::LiveAccountant);

#[wasm_bindgen]
impl LiveAccountant {
    /// An accountant that was not asked yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// ε at δ after several phases on the same rows.
    ///
    /// # Errors
    /// When a phase or δ is out of range.
    pub fn epsilon(
        &mut self,
        #[wasm_bindgen(unchecked_param_type = "PlanPhase[]")] phases: JsValue,
        delta: f64,
    ) -> Result<f64, JsError> {
        let phases: Vec<PlanPhase> = read(phases)?;
        Ok(self.0.epsilon(&planner::phases(&phases), delta)?)
    }
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

fn adjacency(replace_one: bool) -> Adjacency {
    if replace_one {
        Adjacency::ReplaceOne
    } else {
        Adjacency::AddRemove
    }
}

fn read<T: DeserializeOwned>(value: JsValue) -> Result<T, JsError> {
    Ok(serde_wasm_bindgen::from_value(value)?)
}

fn write<T: Serialize>(value: &T) -> Result<JsValue, JsError> {
    // JSON's shapes: objects and not maps, null and not undefined.
    Ok(value.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?)
}
