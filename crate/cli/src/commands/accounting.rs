use serde_json::{Value, json};
use vaultlab_privacy::accountant::{self, Phase};
use vaultlab_privacy::calibrate;

use crate::Failure;
use crate::args::{Calibrate, Epsilon};

/// ε of T steps of the Poisson-subsampled Gaussian.
pub fn epsilon(args: &Epsilon) -> Result<Value, Failure> {
    let phase = Phase {
        sampling_rate: args.sampling_rate,
        noise_multiplier: args.noise_multiplier,
        steps: args.steps,
        truncation: None,
    };
    let epsilon = accountant::epsilon(&[phase], args.delta)?;
    Ok(json!({
        "epsilon": epsilon,
        "delta": args.delta,
        "sampling_rate": args.sampling_rate,
        "noise_multiplier": args.noise_multiplier,
        "steps": args.steps,
        "adjacency": "add_remove",
        "accountant": accountant::ACCOUNTANT,
    }))
}

/// The smallest noise multiplier for a target ε.
pub fn calibrate(args: &Calibrate) -> Result<Value, Failure> {
    let sigma = calibrate::noise_multiplier(
        args.target_epsilon,
        args.sampling_rate,
        args.steps,
        args.delta,
    )?;
    let phase = Phase {
        sampling_rate: args.sampling_rate,
        noise_multiplier: sigma,
        steps: args.steps,
        truncation: None,
    };
    Ok(json!({
        "noise_multiplier": sigma,
        "epsilon": accountant::epsilon(&[phase], args.delta)?,
        "target_epsilon": args.target_epsilon,
        "delta": args.delta,
        "sampling_rate": args.sampling_rate,
        "steps": args.steps,
        "adjacency": "add_remove",
        "accountant": accountant::ACCOUNTANT,
    }))
}
