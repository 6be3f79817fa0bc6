use vaultlab_formats::examples::Example;
use vaultlab_privacy::ledger::LedgerStore;
use vaultlab_protocol::{EvaluationReport, Event, RunSettings};

use super::{HeldAdapter, NamedSource, State, only_file};
use crate::EngineError;
use crate::host::{Control, Host};
use crate::train::{Checkpoint, TrainOutcome, Trainer, held_out_loss};

/// Rows per forward pass of an evaluation outside training.
const EVALUATION_ROWS: usize = 8;

impl State {
    pub(super) async fn train<S: LedgerStore, H: Host>(
        &mut self,
        run: RunSettings,
        store: S,
        host: &H,
        control: &Control,
    ) -> Result<(), EngineError> {
        let health = self.device()?.health.clone();
        let trainer =
            Trainer::begin(&self.model()?.decoder, self.rows()?, health, run, store).await?;
        let outcome = run_to_end(trainer, host, control).await?;
        self.hold(outcome)
    }

    pub(super) async fn resume<S: LedgerStore, H: Host>(
        &mut self,
        files: Vec<NamedSource>,
        store: S,
        host: &H,
        control: &Control,
    ) -> Result<(), EngineError> {
        let checkpoint = Checkpoint::from_bytes(&only_file(files, "a checkpoint").await?)?;
        let health = self.device()?.health.clone();
        let trainer = Trainer::resume(
            &self.model()?.decoder,
            self.rows()?,
            health,
            checkpoint,
            store,
        )
        .await?;
        let outcome = run_to_end(trainer, host, control).await?;
        self.hold(outcome)
    }

    pub(super) fn hold(&mut self, outcome: TrainOutcome) -> Result<(), EngineError> {
        let device = self.device()?.device.clone();
        let adapter = HeldAdapter::new(outcome.layout, outcome.parameters, outcome.report, &device);
        self.adapters.insert(adapter.report.name.clone(), adapter);
        Ok(())
    }

    pub(super) async fn evaluate<H: Host>(
        &self,
        adapter: Option<String>,
        host: &H,
        control: &Control,
    ) -> Result<(), EngineError> {
        let (model, rows) = (self.model()?, self.rows()?);
        let adapter = match adapter {
            Some(name) => Some(&self.adapter(&name)?.tensors),
            None => None,
        };
        let examples: Vec<&Example> = rows.held_out.iter().collect();
        let pause = async || {
            host.breathe().await;
            control.check()
        };
        let loss =
            held_out_loss(&model.decoder, adapter, &examples, EVALUATION_ROWS, pause).await?;
        let loss =
            loss.ok_or_else(|| EngineError::Data("no rows are held out for evaluation".into()))?;
        self.device()?.health.check()?;
        host.emit(Event::Evaluation(EvaluationReport {
            step: 0,
            loss,
            rows: examples.len() as u32,
        }));
        Ok(())
    }
}

/// Runs the trainer; its adapter counts however the run ended.
async fn run_to_end<S: LedgerStore, H: Host>(
    mut trainer: Trainer<'_, S>,
    host: &H,
    control: &Control,
) -> Result<TrainOutcome, EngineError> {
    let end = trainer.run(host, control).await?;
    let outcome = trainer.outcome();
    host.emit(Event::TrainEnded {
        end,
        step: trainer.steps_done(),
        adapter: outcome.report.clone(),
    });
    Ok(outcome)
}
