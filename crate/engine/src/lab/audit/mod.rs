//! The audit job: train once with canaries among the rows, attack the adapter, report both bounds on ε.

mod canaries;
mod report;
mod secrets;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use vaultlab_privacy::audit::GuessRule;
use vaultlab_privacy::ledger::LedgerStore;
use vaultlab_privacy::randomness::{Randomness, random_bytes};
use vaultlab_privacy::session::PrivacyError;
use vaultlab_protocol::{
    AuditReport, AuditSettings, DataSettings, Event, ExposureReport, RunSettings, TrainEnd,
};

use super::{LoadedModel, State};
use crate::EngineError;
use crate::device::DeviceHealth;
use crate::host::{Control, Host, Wish};
use crate::train::{AuditedRows, MadeUpRow, TrainOutcome, Trainer, TrainingData};
use secrets::Secret;

/// Rows of a forward pass for every row of a training step's micro-batch: no gradient is kept.
const FORWARD_ROWS: usize = 4;

/// An audit whose coins are thrown.
pub struct Audit<'m> {
    model: &'m LoadedModel,
    rows: AuditedRows,
    secrets: Vec<Secret>,
    delta: f64,
}

/// What became of an audit.
pub struct Audited {
    /// The adapter, canaries learnt and all.
    pub outcome: TrainOutcome,
    /// The finding; `None` if training was stopped.
    pub report: Option<AuditReport>,
}

impl<'m> Audit<'m> {
    /// Makes canaries and secrets up in the form of `settings`, and throws the coins.
    ///
    /// With `insecure_seed` canaries, coins and candidates follow from it, for tests.
    ///
    /// # Errors
    /// [`EngineError::Settings`] for an audit that cannot be made.
    pub fn prepare(
        model: &'m LoadedModel,
        base: &TrainingData,
        settings: &DataSettings,
        audit: &AuditSettings,
        insecure_seed: Option<u32>,
    ) -> Result<Self, EngineError> {
        let (mut random, randomness) = match insecure_seed {
            Some(seed) => {
                let own = u64::from(seed) | 0xa0d1_0000_0000_0000;
                (
                    ChaCha20Rng::seed_from_u64(own),
                    Randomness::InsecureSeed(seed),
                )
            }
            None => {
                let key = random_bytes().map_err(PrivacyError::from)?;
                (ChaCha20Rng::from_seed(key), Randomness::Secure)
            }
        };
        if !(audit.delta > 0.0 && audit.delta < 1.0) {
            return Err(EngineError::Settings(
                "an audit's delta must lie between 0 and 1".into(),
            ));
        }
        let count = audit.canaries as usize;
        let canaries = canaries::make(&audit.kind, count, model, settings, &mut random)?;
        let secrets = audit.secrets.iter();
        let secrets = secrets
            .map(|secret| Secret::new(secret, model, settings, &mut random))
            .collect::<Result<Vec<_>, _>>()?;
        let planted: Vec<MadeUpRow> = secrets
            .iter()
            .filter(|secret| secret.plant)
            .map(|secret| secret.row.clone())
            .collect();
        let rule = GuessRule::balanced(audit.guesses as usize);
        let rows = AuditedRows::draw(base, canaries, planted, rule, randomness)?;
        Ok(Self {
            model,
            rows,
            secrets,
            delta: audit.delta,
        })
    }

    /// The rows to train on, included canaries and planted secrets among them.
    pub fn data(&self) -> &TrainingData {
        self.rows.data()
    }

    /// Trains once and attacks the adapter. A wish to pause ends training early, and the attack is made on the
    /// adapter as it stands: an audit has no checkpoint to go on from, for a stored coin is no coin. A wish to
    /// stop ends the audit without a finding.
    ///
    /// # Errors
    /// As training, and [`EngineError::Cancelled`] when the attack is stopped.
    pub async fn run<S: LedgerStore, H: Host>(
        &self,
        run: RunSettings,
        health: DeviceHealth,
        store: S,
        host: &H,
        control: &Control,
    ) -> Result<Audited, EngineError> {
        let decoder = &self.model.decoder;
        let begun = Trainer::begin(decoder, self.data(), health.clone(), run.clone(), store);
        let mut trainer = begun.await?;
        let end = trainer.run(&WithoutCheckpoints(host), control).await?;
        let (outcome, steps) = (trainer.outcome(), trainer.steps_done());
        host.emit(Event::TrainEnded {
            end: if end == TrainEnd::Paused {
                TrainEnd::Stopped
            } else {
                end
            },
            step: steps,
            adapter: outcome.report.clone(),
        });
        if control.wish() == Wish::Stop {
            host.emit(Event::Warning {
                message:
                    "The audit was stopped before the adapter was attacked, so it found nothing."
                        .into(),
            });
            return Ok(Audited {
                outcome,
                report: None,
            });
        }
        let report = self
            .attack(&run, &outcome, steps, &health, host, control)
            .await?;
        Ok(Audited {
            outcome,
            report: Some(report),
        })
    }

    async fn attack<H: Host>(
        &self,
        run: &RunSettings,
        outcome: &TrainOutcome,
        steps: u32,
        health: &DeviceHealth,
        host: &H,
        control: &Control,
    ) -> Result<AuditReport, EngineError> {
        let decoder = &self.model.decoder;
        let adapter = outcome
            .layout
            .upload(&outcome.parameters, &decoder.device());
        let rows_at_once = FORWARD_ROWS * run.micro_batch as usize;
        let coins = self.rows.coins();
        let total = 2 * coins.len() + self.secrets.iter().map(Secret::rows).sum::<usize>();
        let begun = host.now_ms();
        let progress = async |done: usize| {
            let elapsed = (host.now_ms() - begun) / 1e3;
            host.emit(Event::Progress {
                stage: "Attacking the adapter".into(),
                done: done as u64,
                total: total as u64,
                unit: "rows".into(),
                eta_seconds: Some(elapsed / done.max(1) as f64 * total.saturating_sub(done) as f64),
            });
            host.breathe().await;
            health.check()?;
            control.check()
        };
        let attack = self
            .rows
            .attack(decoder, &adapter, rows_at_once, progress)
            .await?;
        let mut done = 2 * coins.len();
        let mut exposures: Vec<ExposureReport> = Vec::with_capacity(self.secrets.len());
        for secret in &self.secrets {
            let pause = async |here| progress(done + here).await;
            let found = secret.expose(self.model, &adapter, self.data(), rows_at_once, pause);
            exposures.push(found.await?);
            done += secret.rows();
        }
        health.check()?;
        report::Finding {
            run,
            rows: self.data().train.len() as u64,
            steps,
            delta: self.delta,
            coins: &coins,
            attack: &attack,
        }
        .report(exposures, host.now_ms() - begun)
    }
}

impl State {
    pub(super) async fn audit<S: LedgerStore, H: Host>(
        &mut self,
        run: RunSettings,
        audit: &AuditSettings,
        store: S,
        host: &H,
        control: &Control,
    ) -> Result<(), EngineError> {
        let health = self.device()?.health.clone();
        let settings = self
            .data_settings
            .as_ref()
            .ok_or_else(|| EngineError::NotReady("no rows are prepared yet".into()))?;
        let prepared = Audit::prepare(
            self.model()?,
            self.rows()?,
            settings,
            audit,
            run.insecure_seed,
        )?;
        let audited = prepared.run(run, health, store, host, control).await?;
        self.hold(audited.outcome)?;
        if let Some(report) = audited.report {
            host.emit(Event::Audit(report));
        }
        Ok(())
    }
}

/// The front end, without checkpoints: an audit's would take the place of a real run's.
struct WithoutCheckpoints<'h, H>(&'h H);

impl<H: Host> Host for WithoutCheckpoints<'_, H> {
    fn emit(&self, event: Event) {
        if !matches!(event, Event::CheckpointSaved { .. }) {
            self.0.emit(event);
        }
    }

    fn emit_files(&self, event: Event, files: Vec<Vec<u8>>) {
        self.0.emit_files(event, files);
    }

    async fn breathe(&self) {
        self.0.breathe().await;
    }

    fn now_ms(&self) -> f64 {
        self.0.now_ms()
    }

    async fn save_checkpoint(&self, _bytes: Vec<u8>) -> Result<(), EngineError> {
        Ok(())
    }
}
