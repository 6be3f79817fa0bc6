use std::path::PathBuf;

use serde_json::{Value, json};
use vaultlab_engine::EngineError;
use vaultlab_engine::host::Control;
use vaultlab_engine::lab::{LoadedModel, RowEncoder, export_adapter, prepare_rows};
use vaultlab_engine::train::{Checkpoint, Trainer, TrainingData};
use vaultlab_formats::dataset::{guess_columns, read_table};
use vaultlab_privacy::accountant::{self, AccountingError, Phase, Truncation};
use vaultlab_privacy::calibrate::Target;
use vaultlab_privacy::ledger::{FileStore, RowLedger, RunCharge, RunId};
use vaultlab_privacy::session::{PrivacyError, PrivacyPlan};
use vaultlab_protocol::{
    ColumnMapping, DataSettings, DeviceChoice, LoraSettings, PrivacySettings, RowsReport,
    RunSettings,
};

use super::open;
use crate::args::{Finetune, Training};
use crate::host::Terminal;
use crate::{Failure, files};

/// Trains an adapter and writes it in PEFT form.
pub async fn run(args: Finetune, device: DeviceChoice) -> Result<Value, Failure> {
    let (open, model) = open::model(&args.training.model, args.training.weights, device).await?;
    let checkpoint = args.out.join("checkpoint.safetensors");
    let host = Terminal::new(Some(checkpoint.clone()));
    let (data, rows, _) = rows(&args.training, &model, &host).await?;
    let store = FileStore::new(ledger_folder(args.training.ledger.clone())?);
    let health = open.health.clone();
    let mut trainer = if args.resume {
        let checkpoint = Checkpoint::from_bytes(&files::read(&checkpoint)?)?;
        Trainer::resume(&model.decoder, &data, health, checkpoint, &store).await?
    } else {
        let run = settings(&args.training, &data, &store).await?;
        Trainer::begin(&model.decoder, &data, health, run, &store).await?
    };
    let end = trainer.run(&host, &Control::default()).await?;
    let outcome = trainer.outcome();
    let base = args.training.model.display().to_string();
    for (name, bytes) in
        export_adapter(&outcome.layout, &outcome.parameters, &outcome.report, &base)?
    {
        files::write(&args.out.join(name), &bytes)?;
    }
    let private = match &outcome.report.privacy {
        None => None,
        Some(privacy) => {
            let alone = Phase {
                sampling_rate: privacy.sampling_rate,
                noise_multiplier: privacy.noise_multiplier,
                steps: u64::from(privacy.steps),
                truncation: args.training.batch_cap.map(|cap| Truncation {
                    rows: data.train.len() as u64,
                    cap: u64::from(cap),
                }),
            };
            Some(json!({
                "epsilon": accountant::epsilon(&[alone], privacy.delta)?,
                "epsilon_all_runs_on_these_rows": privacy.epsilon,
                "delta": privacy.delta,
                "noise_multiplier": privacy.noise_multiplier,
                "clip_norm": privacy.clip_norm,
                "sampling_rate": privacy.sampling_rate,
                "steps": privacy.steps,
                "adjacency": "add_remove",
                "accountant": privacy.accountant,
                "statement": privacy.statement,
            }))
        }
    };
    let evaluations = host.evaluations.into_inner();
    Ok(json!({
        "out": args.out,
        "end": end,
        "steps": trainer.steps_done(),
        "privacy": private,
        "without_privacy": outcome.report.without_privacy,
        "held_out_loss": evaluations.iter().map(|e| json!({"step": e.step, "loss": e.loss})).collect::<Vec<_>>(),
        "rows": public(&rows)?,
        "parameters": outcome.report.parameters,
        "last_step": host.steps.into_inner().pop(),
        "device": open.report,
    }))
}

/// What is known of the rows, without the fingerprint: output is logged, and a fingerprint can confirm a guess of
/// the rows.
fn public(rows: &RowsReport) -> Result<Value, Failure> {
    let mut report = serde_json::to_value(rows)?;
    if let Some(fields) = report.as_object_mut() {
        fields.remove("fingerprint");
        fields.remove("preview");
    }
    Ok(report)
}

/// Reads, splits and tokenises the data file.
pub(super) async fn rows(
    args: &Training,
    model: &LoadedModel,
    host: &Terminal,
) -> Result<(TrainingData, RowsReport, DataSettings), Failure> {
    let name = args.data.file_name().and_then(|name| name.to_str());
    let table = read_table(&files::read(&args.data)?, name)?;
    for problem in &table.problems {
        eprintln!("warning: line {}: {}", problem.line, problem.message);
    }
    let guess = guess_columns(&table);
    let mapping = match (&args.response_column, guess) {
        (Some(response), _) => ColumnMapping {
            prompt: args.prompt_column.clone(),
            response: response.clone(),
        },
        (None, Some(guess)) => ColumnMapping {
            prompt: args.prompt_column.clone().or(guess.prompt),
            response: guess.response,
        },
        (None, None) => {
            return Err(
                "no response column could be guessed; name one with --response-column".into(),
            );
        }
    };
    let settings = DataSettings {
        mapping,
        template: Default::default(),
        max_tokens: args.max_tokens,
        held_out: args.held_out,
    };
    let (data, report) = prepare_rows(&table, &settings, RowEncoder::of(model), host).await?;
    Ok((data, report, settings))
}

/// The run's settings, its noise multiplier calibrated for the target ε.
pub(super) async fn settings(
    args: &Training,
    data: &TrainingData,
    store: &FileStore,
) -> Result<RunSettings, Failure> {
    let rows = data.train.len() as u32;
    let logical_batch = args.batch.unwrap_or(rows.min(32));
    if logical_batch == 0 || logical_batch > rows {
        let message = format!("the logical batch must have 1 to {rows} rows, not {logical_batch}");
        return Err(EngineError::Settings(message).into());
    }
    let privacy = match args.target_epsilon.filter(|_| !args.no_privacy) {
        None => None,
        Some(target) => {
            let mut plan = PrivacyPlan {
                rows: u64::from(rows),
                expected_batch: u64::from(logical_batch),
                noise_multiplier: 1.0, // until it is calibrated
                clip_norm: args.clip,
                steps: args.steps,
                delta: args.delta,
                budget_epsilon: args.budget.unwrap_or(target),
                batch_cap: args.batch_cap.map(u64::from),
            };
            plan.validate().map_err(PrivacyError::from)?;
            let ledger = RowLedger::read(store, &data.rows).await?;
            plan.noise_multiplier = noise_multiplier(&plan, target, args.budget, &ledger)?;
            // Runs before this one on these rows, or on some of them, count. Without a budget of its own, the run
            // may cost what was asked for on top of them; the total is reported.
            let planned = RunCharge {
                run: RunId::random()?,
                rows: plan.rows,
                expected_batch: plan.expected_batch,
                noise_multiplier: plan.noise_multiplier,
                clip_norm: plan.clip_norm,
                steps: u64::from(plan.steps),
                delta: plan.delta,
                batch_cap: plan.batch_cap,
                dimensions: 0,
            };
            let total = ledger.spent_with(&planned, args.delta)?.epsilon;
            Some(PrivacySettings {
                noise_multiplier: plan.noise_multiplier,
                clip_norm: args.clip,
                delta: args.delta,
                budget_epsilon: args.budget.unwrap_or(total * (1.0 + 1e-9)),
                batch_cap: args.batch_cap,
            })
        }
    };
    Ok(RunSettings {
        name: "adapter".into(),
        privacy,
        steps: args.steps,
        logical_batch,
        micro_batch: args.micro_batch,
        learning_rate: args.learning_rate,
        warmup_steps: args.warmup,
        weight_decay: args.weight_decay,
        lora: LoraSettings {
            rank: args.rank,
            alpha: args.alpha,
            dropout: args.dropout,
            targets: args
                .targets
                .clone()
                .unwrap_or(LoraSettings::default().targets),
        },
        evaluate_every: args.evaluate_every,
        checkpoint_every: 10,
        insecure_seed: args.insecure_seed,
    })
}

/// Where ledgers are kept: one place per user, so that no run on the same rows is forgotten.
pub(super) fn ledger_folder(chosen: Option<PathBuf>) -> Result<PathBuf, EngineError> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    chosen
        .or_else(|| variable("XDG_DATA_HOME").map(|folder| folder.join("vaultlab/ledger")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".local/share/vaultlab/ledger")))
        .or_else(|| variable("APPDATA").map(|folder| folder.join("vaultlab/ledger")))
        .ok_or_else(|| {
            EngineError::Settings(
                "there is no home folder for the ledger; name one with --ledger".into(),
            )
        })
}

/// The least noise with which the run alone costs at most `target`, and, with all that its rows bore before, at most
/// `budget`.
fn noise_multiplier(
    plan: &PrivacyPlan,
    target: f64,
    budget: Option<f64>,
    ledger: &RowLedger,
) -> Result<f64, AccountingError> {
    let (delta, phase) = (plan.accounted_delta(), plan.phase());
    let alone = Target::new(target, delta).noise_multiplier(&phase)?;
    let Some(budget) = budget else {
        return Ok(alone);
    };
    let earlier = ledger.spent(plan.delta)?.charges.phases();
    let fitted = Target::new(budget, delta)
        .after(&earlier)
        .noise_multiplier(&phase)?;
    Ok(alone.max(fitted))
}
