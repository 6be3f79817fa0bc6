use serde_json::{Value, json};
use vaultlab_privacy::accountant::{self, Adjacency, Phase, Truncation, pld, rdp};
use vaultlab_privacy::calibrate::{Target, renyi_noise_multiplier};

use crate::Failure;
use crate::args::{Accountant, AccountantChoice, Calibrate, Epsilon};

/// Name of the Rényi accountant in answers.
const RENYI: &str = "Rényi DP (Mironov, Talwar, Zhang 2019)";

/// ε of the Poisson-subsampled Gaussian.
pub fn epsilon(args: &Epsilon) -> Result<Value, Failure> {
    let mut phases = args.phases.clone();
    if let (Some(sampling_rate), Some(noise_multiplier), Some(steps)) =
        (args.sampling_rate, args.noise_multiplier, args.steps)
    {
        phases.push(Phase {
            sampling_rate,
            noise_multiplier,
            steps,
            truncation: None,
        });
    }
    truncate(&mut phases, &args.accountant);
    let (epsilon, error) = spent(&phases, args.delta, &args.accountant)?;
    let mut answer = json!({
        "epsilon": epsilon,
        "error": error,
        "delta": args.delta,
        "phases": phases,
    });
    describe(&mut answer, &args.accountant);
    if let [only] = phases.as_slice() {
        answer["sampling_rate"] = json!(only.sampling_rate);
        answer["noise_multiplier"] = json!(only.noise_multiplier);
        answer["steps"] = json!(only.steps);
    }
    Ok(answer)
}

/// The smallest noise multiplier for a target ε.
pub fn calibrate(args: &Calibrate) -> Result<Value, Failure> {
    let mut phases = args.earlier.clone();
    phases.push(Phase {
        sampling_rate: args.sampling_rate,
        noise_multiplier: 1.0,
        steps: args.steps,
        truncation: None,
    });
    truncate(&mut phases, &args.accountant);
    let run = phases.len() - 1;
    let sigma = match args.accountant.accountant {
        AccountantChoice::Pld => Target::new(args.target_epsilon, args.delta)
            .after(&phases[..run])
            .under(args.accountant.adjacency.into())
            .noise_multiplier(&phases[run])?,
        AccountantChoice::Rdp => {
            only_add_remove(&args.accountant)?;
            let (target, delta) = (args.target_epsilon, args.delta);
            renyi_noise_multiplier(target, delta, &phases[..run], &phases[run])?
        }
    };
    phases[run].noise_multiplier = sigma;
    let (epsilon, error) = spent(&phases, args.delta, &args.accountant)?;
    let mut answer = json!({
        "noise_multiplier": sigma,
        "epsilon": epsilon,
        "error": error,
        "target_epsilon": args.target_epsilon,
        "delta": args.delta,
        "sampling_rate": args.sampling_rate,
        "steps": args.steps,
        "phases": phases,
    });
    describe(&mut answer, &args.accountant);
    Ok(answer)
}

/// ε, and how far it may be above the true one; Rényi accounting does not tell.
fn spent(
    phases: &[Phase],
    delta: f64,
    accountant: &Accountant,
) -> Result<(f64, Option<f64>), Failure> {
    match accountant.accountant {
        AccountantChoice::Pld => {
            let bounds = pld::epsilon(phases, delta, accountant.adjacency.into())?;
            Ok((bounds.upper, Some(bounds.error())))
        }
        AccountantChoice::Rdp => {
            only_add_remove(accountant)?;
            Ok((rdp::epsilon(phases, delta)?, None))
        }
    }
}

fn only_add_remove(accountant: &Accountant) -> Result<(), Failure> {
    match accountant.adjacency.into() {
        Adjacency::AddRemove => Ok(()),
        Adjacency::ReplaceOne => {
            Err("Rényi accounting covers add-remove adjacency only; use --accountant pld".into())
        }
    }
}

/// Caps every phase's batches, if a cap was given.
fn truncate(phases: &mut [Phase], accountant: &Accountant) {
    if let (Some(cap), Some(rows)) = (accountant.cap, accountant.rows) {
        for phase in phases {
            phase.truncation = Some(Truncation { rows, cap });
        }
    }
}

fn describe(answer: &mut Value, accountant: &Accountant) {
    answer["adjacency"] = json!(match accountant.adjacency.into() {
        Adjacency::AddRemove => "add_remove",
        Adjacency::ReplaceOne => "replace_one",
    });
    answer["accountant"] = json!(match accountant.accountant {
        AccountantChoice::Pld => accountant::ACCOUNTANT,
        AccountantChoice::Rdp => RENYI,
    });
    if let (Some(cap), Some(rows)) = (accountant.cap, accountant.rows) {
        answer["cap"] = json!(cap);
        answer["rows"] = json!(rows);
    }
}
