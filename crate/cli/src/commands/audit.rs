use serde_json::{Value, json};
use vaultlab_engine::host::Control;
use vaultlab_engine::lab::{Audit, export_adapter};
use vaultlab_privacy::audit::{AuditCounts, epsilon_lower_bound, most_it_can_show, p_value};
use vaultlab_privacy::ledger::FileStore;
use vaultlab_protocol::{
    AuditSettings, CanaryKind, DeviceChoice, SecretCandidates, SecretSettings,
};

use super::finetune::{ledger_folder, rows, settings};
use super::open;
use crate::args;
use crate::host::Terminal;
use crate::{Failure, files};

/// Trains once with canaries among the rows, attacks the adapter, and reports both bounds on ε.
pub async fn run(args: args::Audit, device: DeviceChoice) -> Result<Value, Failure> {
    let audit = audit_settings(&args)?;
    let training = &args.training;
    let (open, model) = open::model(&training.model, training.weights, device).await?;
    let host = Terminal::new(None);
    let (data, _, data_settings) = rows(training, &model, &host).await?;
    let seed = training.insecure_seed;
    let prepared = Audit::prepare(&model, &data, &data_settings, &audit, seed)?;
    let store = FileStore::new(ledger_folder(training.ledger.clone())?);
    // Calibrated for the rows as they are trained, canaries included.
    let run = settings(training, prepared.data(), &store).await?;
    let health = open.health.clone();
    let begun = std::time::Instant::now();
    let audited = prepared
        .run(run, health, &store, &host, &Control::default())
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    let outcome = audited.outcome;
    if let Some(out) = &args.out {
        let base = training.model.display().to_string();
        for (name, bytes) in
            export_adapter(&outcome.layout, &outcome.parameters, &outcome.report, &base)?
        {
            files::write(&out.join(name), &bytes)?;
        }
    }
    let report = audited
        .report
        .ok_or("the audit was stopped before its attack")?;
    let mean = |included: bool| {
        let of = report
            .scores
            .iter()
            .filter(|canary| canary.included == included);
        let scores: Vec<f64> = of.map(|canary| canary.score).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    };
    Ok(json!({
        "epsilon_lower": report.epsilon_lower,
        "epsilon_upper": report.epsilon_upper,
        "delta": report.delta,
        "confidence": report.confidence,
        "refuted": report.refuted,
        "most_it_can_show": report.most_it_can_show,
        "canaries": report.canaries,
        "included": report.included,
        "guesses": report.guesses,
        "correct": report.correct,
        "mean_score_included": mean(true),
        "mean_score_left_out": mean(false),
        "exposures": report.exposures,
        "rows": report.rows,
        "steps": report.steps,
        "privacy": outcome.report.privacy,
        "without_privacy": outcome.report.without_privacy,
        "statement": report.statement,
        "seconds": seconds,
        "attack_seconds": report.attack_ms / 1e3,
        "out": args.out,
        "device": open.report,
    }))
}

/// The bound that counts prove, without any model.
pub fn bound(args: &args::AuditBound) -> Result<Value, Failure> {
    let counts = AuditCounts {
        canaries: args.canaries,
        guesses: args.guesses,
        correct: args.correct,
    };
    let (delta, significance) = (args.delta, args.significance);
    let lower = epsilon_lower_bound(counts, delta, significance)?;
    let most = most_it_can_show(args.canaries, args.guesses, delta, significance)?;
    Ok(json!({
        "epsilon_lower": lower,
        "delta": delta,
        "confidence": 1.0 - significance,
        "p_value_at_epsilon_0": p_value(counts, 0.0, delta)?,
        "most_it_can_show": most,
        "canaries": args.canaries,
        "guesses": args.guesses,
        "correct": args.correct,
    }))
}

fn audit_settings(args: &args::Audit) -> Result<AuditSettings, Failure> {
    let kind = match (&args.canary_prompt, &args.canary_response) {
        (Some(prompt), Some(response)) => CanaryKind::Phrase {
            prompt: prompt.clone(),
            response: response.clone(),
        },
        _ => CanaryKind::RandomTokens {
            prompt_tokens: args.prompt_tokens,
            response_tokens: args.response_tokens,
        },
    };
    let candidates = match &args.candidates {
        Some(path) => {
            let texts = String::from_utf8(files::read(path)?)
                .map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
            SecretCandidates::Listed {
                texts: texts
                    .lines()
                    .filter(|line| !line.is_empty())
                    .map(String::from)
                    .collect(),
            }
        }
        None => SecretCandidates::Digits {
            at_most: args.candidates_at_most,
        },
    };
    let secret = |text: &args::SecretText| SecretSettings {
        prompt: text.prompt.clone(),
        before: text.before.clone(),
        secret: text.secret.clone(),
        after: text.after.clone(),
        candidates: candidates.clone(),
        plant: args.plant,
    };
    Ok(AuditSettings {
        canaries: args.canaries,
        guesses: args.guesses.unwrap_or(args.canaries),
        kind,
        delta: args.training.delta,
        secrets: args.secret.iter().map(secret).collect(),
    })
}
