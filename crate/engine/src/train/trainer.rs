use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use vaultlab_formats::examples::Example;
use vaultlab_privacy::ledger::{DatasetRows, LedgerStore, RunId};
use vaultlab_privacy::randomness::{Randomness, random_bytes};
use vaultlab_privacy::session::PrivacyError;
use vaultlab_privacy::session::{
    PlainPlan, PlainSession, PrivacyPlan, PrivateSession, ReleasedGradient,
};
use vaultlab_protocol::{
    AdapterReport, EvaluationReport, Event, PrivacySummary, RunSettings, StepReport, TrainEnd,
};

use super::checkpoint::CheckpointHeader;
use super::step_gradients::StepGradients;
use super::{
    AdamW, AdamWState, BatchReadings, Checkpoint, Clipping, FloatSum, GridSum, held_out_loss,
    learning_rate,
};
use crate::EngineError;
use crate::device::{DeviceHealth, MemoryMeter};
use crate::host::{Control, Host, Wish};
use crate::lora::LoraLayout;
use crate::model::Decoder;

/// Rows ready to train on.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Rows the sampler draws from.
    pub train: Vec<Example>,
    /// Rows held out for evaluation.
    pub held_out: Vec<Example>,
    /// Identities of the training rows, for the ledger; one for each of `train`.
    pub rows: DatasetRows,
}

/// An adapter as training leaves it.
#[derive(Clone, Debug)]
pub struct TrainOutcome {
    /// Where its parameters lie.
    pub layout: LoraLayout,
    /// Its parameters.
    pub parameters: Vec<f32>,
    /// What the page shows of it.
    pub report: AdapterReport,
}

/// One run: the model, the rows, the adapter and its optimiser, and the session that releases gradients.
pub struct Trainer<'a, S: LedgerStore> {
    model: &'a Decoder,
    data: &'a TrainingData,
    health: DeviceHealth,
    run: RunSettings,
    run_id: RunId,
    layout: LoraLayout,
    parameters: Vec<f32>,
    optimizer: AdamWState,
    session: Session<S>,
    dropout_key: u32,
    memory: MemoryMeter,
}

/// Private, or labelled as not.
enum Session<S: LedgerStore> {
    Private(Box<PrivateSession<S>>),
    Plain(PlainSession),
}

/// A step that was taken.
struct StepResult {
    readings: BatchReadings,
    /// L2 norm of the sum before any noise. Not covered by ε.
    signal_norm: f64,
    released: ReleasedGradient,
}

impl<'a, S: LedgerStore> Trainer<'a, S> {
    /// A new run with a fresh adapter.
    ///
    /// # Errors
    /// [`EngineError::Settings`] and [`EngineError::Privacy`] for a plan that cannot be run.
    pub async fn begin(
        model: &'a Decoder,
        data: &'a TrainingData,
        health: DeviceHealth,
        run: RunSettings,
        store: S,
    ) -> Result<Self, EngineError> {
        let layout = LoraLayout::new(&model.config, &run.lora)?;
        let mut rng = match run.insecure_seed {
            Some(seed) => ChaCha20Rng::seed_from_u64(u64::from(seed)),
            None => ChaCha20Rng::from_seed(random_bytes().map_err(PrivacyError::from)?),
        };
        let parameters = layout.initial_values(&mut rng);
        let optimizer = AdamWState::new(parameters.len());
        let run_id = RunId::random().map_err(PrivacyError::from)?;
        Self::assemble(
            model, data, health, run, run_id, layout, parameters, optimizer, store,
        )
        .await
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`EngineError::Resume`] if it belongs to another model or other rows, and as [`Self::begin`].
    pub async fn resume(
        model: &'a Decoder,
        data: &'a TrainingData,
        health: DeviceHealth,
        checkpoint: Checkpoint,
        store: S,
    ) -> Result<Self, EngineError> {
        checkpoint.check(&model.config, data.rows.fingerprint())?;
        let Checkpoint {
            header,
            parameters,
            optimizer,
        } = checkpoint;
        let layout = LoraLayout::new(&model.config, &header.run.lora)?;
        if layout.parameters() != parameters.len() {
            return Err(EngineError::Resume(
                "the checkpoint's adapter does not fit its own settings".into(),
            ));
        }
        Self::assemble(
            model,
            data,
            health,
            header.run,
            header.run_id,
            layout,
            parameters,
            optimizer,
            store,
        )
        .await
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of the struct, for its two constructors"
    )]
    async fn assemble(
        model: &'a Decoder,
        data: &'a TrainingData,
        health: DeviceHealth,
        run: RunSettings,
        run_id: RunId,
        layout: LoraLayout,
        parameters: Vec<f32>,
        optimizer: AdamWState,
        store: S,
    ) -> Result<Self, EngineError> {
        check(&run, data)?;
        let randomness = run
            .insecure_seed
            .map_or(Randomness::Secure, Randomness::InsecureSeed);
        let rows = data.train.len() as u64;
        let expected_batch = u64::from(run.logical_batch);
        let done = optimizer.step;
        let session = match &run.privacy {
            Some(privacy) => {
                let plan = PrivacyPlan {
                    rows,
                    expected_batch,
                    noise_multiplier: privacy.noise_multiplier,
                    clip_norm: privacy.clip_norm,
                    steps: run.steps,
                    delta: privacy.delta,
                    budget_epsilon: privacy.budget_epsilon,
                    batch_cap: privacy.batch_cap.map(u64::from),
                };
                let session =
                    PrivateSession::begin(plan, data.rows.clone(), run_id, done, randomness, store);
                Session::Private(Box::new(session.await?))
            }
            None => {
                let plan = PlainPlan {
                    rows,
                    expected_batch,
                    steps: run.steps,
                };
                Session::Plain(PlainSession::begin(plan, done, randomness)?)
            }
        };
        let dropout_key = match run.insecure_seed {
            Some(seed) => seed,
            None => u32::from_le_bytes(random_bytes().map_err(PrivacyError::from)?),
        };
        let memory = MemoryMeter::default();
        Ok(Self {
            model,
            data,
            health,
            run,
            run_id,
            layout,
            parameters,
            optimizer,
            session,
            dropout_key,
            memory,
        })
    }

    /// Trains until the plan is finished, the budget is spent, or the visitor pauses or stops.
    ///
    /// # Errors
    /// A step that fails charges at most itself, and leaves the adapter of the last finished step.
    pub async fn run<H: Host>(
        &mut self,
        host: &H,
        control: &Control,
    ) -> Result<TrainEnd, EngineError> {
        if self.optimizer.step == 0 {
            self.evaluate(host, control).await?;
        }
        let (begun, first) = (host.now_ms(), self.optimizer.step);
        loop {
            match control.wish() {
                Wish::Pause => return self.ended(host, TrainEnd::Paused).await,
                Wish::Stop => return self.ended(host, TrainEnd::Stopped).await,
                Wish::GoOn => {}
            }
            let step_begun = host.now_ms();
            let result = match self.step(host, control).await {
                Ok(result) => result,
                Err(EngineError::Cancelled) => return self.ended(host, TrainEnd::Stopped).await,
                Err(EngineError::Privacy(PrivacyError::BudgetSpent { .. })) => {
                    return self.ended(host, TrainEnd::BudgetSpent).await;
                }
                Err(EngineError::Privacy(PrivacyError::PlanFinished { .. })) => {
                    return self.ended(host, TrainEnd::Finished).await;
                }
                Err(error) => return Err(error),
            };
            let now = host.now_ms();
            let mut report = self.report(&result, now - step_begun);
            let done = f64::from(self.optimizer.step - first);
            report.eta_seconds =
                (now - begun) / done * f64::from(self.run.steps - self.optimizer.step) / 1e3;
            host.emit(Event::Step(report));
            let due = |every: u32| every > 0 && self.optimizer.step.is_multiple_of(every);
            let (evaluate, keep) = (due(self.run.evaluate_every), due(self.run.checkpoint_every));
            if keep {
                self.keep(host).await?;
            }
            if evaluate && self.optimizer.step < self.run.steps {
                self.evaluate(host, control).await?;
            }
            host.breathe().await;
        }
    }

    /// Takes one step: sample, gradients, clip, sum, charge, noise, update.
    async fn step<H: Host>(
        &mut self,
        host: &H,
        control: &Control,
    ) -> Result<StepResult, EngineError> {
        let step = self.optimizer.step + 1;
        let health = &self.health;
        let mut gradients = StepGradients {
            model: self.model,
            data: self.data,
            layout: &self.layout,
            parameters: &self.parameters,
            micro_batch: self.run.micro_batch as usize,
            dropout: self.run.lora.dropout,
            dropout_key: self.dropout_key ^ step.wrapping_mul(0x9e37_79b1),
            memory: &mut self.memory,
        };
        let pause = async || {
            host.breathe().await;
            health.check()?;
            control.check()
        };
        let (parameters, device) = (self.layout.parameters(), self.model.device());
        let result = match &mut self.session {
            Session::Private(session) => {
                let open = session.open_step()?;
                let mut sum = GridSum::new(open.grid(), parameters, &device);
                let readings = gradients.sum(open.rows(), &mut sum, pause).await?;
                let signal_norm = sum.norm().await?;
                // Whatever failed on the device meanwhile must not be charged and released.
                health.check()?;
                let released = open.release(sum).await?;
                // Nor may what failed on it since be used.
                health.check()?;
                StepResult {
                    readings,
                    signal_norm,
                    released,
                }
            }
            Session::Plain(session) => {
                let open = session.open_step()?;
                let mut sum = FloatSum::new(parameters, Clipping::None, &device);
                let readings = gradients.sum(open.rows(), &mut sum, pause).await?;
                let sum = sum.read().await?;
                health.check()?;
                StepResult {
                    readings,
                    signal_norm: l2_norm(&sum),
                    released: open.release(&sum),
                }
            }
        };
        let rate = self.learning_rate(step);
        let adamw = AdamW {
            weight_decay: self.run.weight_decay,
            ..AdamW::default()
        };
        adamw.step(
            &mut self.parameters,
            result.released.values(),
            &mut self.optimizer,
            rate,
        );
        Ok(result)
    }

    fn learning_rate(&self, step: u32) -> f64 {
        learning_rate(
            step,
            self.run.steps,
            self.run.warmup_steps,
            self.run.learning_rate,
        )
    }

    fn report(&mut self, result: &StepResult, step_ms: f64) -> StepReport {
        let StepResult {
            readings,
            signal_norm,
            released,
        } = result;
        let rows = readings.norms.len();
        let finite: Vec<f64> = readings
            .norms
            .iter()
            .copied()
            .filter(|norm| norm.is_finite())
            .collect();
        let noise = released.expected_noise_norm();
        let clip = self.run.privacy.as_ref().map(|privacy| privacy.clip_norm);
        let clipped =
            |clip: f64| finite.iter().filter(|&&norm| norm > clip).count() as f64 / rows as f64;
        StepReport {
            step: self.optimizer.step,
            steps: self.run.steps,
            rows: rows as u32,
            loss: (rows > 0).then(|| readings.losses.iter().sum::<f64>() / rows as f64),
            median_norm: median(finite.clone()),
            clipped_share: clip.filter(|_| rows > 0).map(clipped),
            non_finite: readings.non_finite(),
            noise_to_signal: (noise > 0.0 && *signal_norm > 0.0).then(|| noise / signal_norm),
            learning_rate: self.learning_rate(self.optimizer.step),
            epsilon: self.epsilon(),
            tokens_per_second: readings.tokens as f64 / (step_ms / 1e3).max(1e-9),
            step_ms,
            eta_seconds: 0.0,
            memory: self.memory.sample(&self.model.device()),
        }
    }

    /// ε spent on the rows; `None` without privacy.
    pub fn epsilon(&self) -> Option<f64> {
        match &self.session {
            Session::Private(session) => Some(session.epsilon()),
            Session::Plain(_) => None,
        }
    }

    async fn evaluate<H: Host>(&mut self, host: &H, control: &Control) -> Result<(), EngineError> {
        if self.data.held_out.is_empty() {
            return Ok(());
        }
        let adapter = self.layout.upload(&self.parameters, &self.model.device());
        let examples: Vec<&Example> = self.data.held_out.iter().collect();
        let pause = async || {
            host.breathe().await;
            control.check()
        };
        let loss = held_out_loss(
            self.model,
            Some(&adapter),
            &examples,
            self.run.micro_batch as usize,
            pause,
        );
        match loss.await {
            Ok(Some(loss)) => host.emit(Event::Evaluation(EvaluationReport {
                step: self.optimizer.step,
                loss,
                rows: examples.len() as u32,
            })),
            // A stop during the evaluation is handled by the loop that comes next.
            Ok(None) | Err(EngineError::Cancelled) => {}
            Err(error) => return Err(error),
        }
        self.health.check()
    }

    async fn keep<H: Host>(&self, host: &H) -> Result<(), EngineError> {
        host.save_checkpoint(self.checkpoint().to_bytes()?).await?;
        host.emit(Event::CheckpointSaved {
            step: self.optimizer.step,
        });
        Ok(())
    }

    async fn ended<H: Host>(&mut self, host: &H, end: TrainEnd) -> Result<TrainEnd, EngineError> {
        self.keep(host).await?;
        if end != TrainEnd::Paused && self.optimizer.step > 0 {
            // A wish to stop has been heard; the closing evaluation may take its time.
            self.evaluate(host, &Control::default()).await?;
        }
        Ok(end)
    }

    /// The run as it stands.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            header: CheckpointHeader::new(
                self.run.clone(),
                self.run_id,
                self.data.rows.fingerprint(),
                self.optimizer.step,
                &self.model.config,
            ),
            parameters: self.parameters.clone(),
            optimizer: self.optimizer.clone(),
        }
    }

    /// Steps done.
    pub fn steps_done(&self) -> u32 {
        self.optimizer.step
    }

    /// The adapter and its guarantee.
    pub fn outcome(&self) -> TrainOutcome {
        let privacy = match &self.session {
            Session::Plain(_) => None,
            Session::Private(session) => {
                let statement = session.statement();
                Some(PrivacySummary {
                    epsilon: statement.epsilon,
                    delta: statement.delta,
                    noise_multiplier: statement.noise_multiplier,
                    clip_norm: statement.clip_norm,
                    sampling_rate: statement.sampling_rate,
                    steps: statement.run_steps as u32,
                    accountant: statement.accountant.clone(),
                    statement: statement.to_string(),
                    statement_json: statement.to_json(),
                })
            }
        };
        let report = AdapterReport {
            name: self.run.name.clone(),
            lora: self.run.lora.clone(),
            parameters: self.layout.parameters() as u64,
            without_privacy: privacy.is_none(),
            privacy,
        };
        TrainOutcome {
            layout: self.layout.clone(),
            parameters: self.parameters.clone(),
            report,
        }
    }
}

fn check(run: &RunSettings, data: &TrainingData) -> Result<(), EngineError> {
    let problem = if data.train.is_empty() {
        "there are no training rows"
    } else if run.steps == 0 {
        "the run needs at least one step"
    } else if run.micro_batch == 0 {
        "the micro-batch needs at least one row"
    } else if !(run.learning_rate > 0.0 && run.learning_rate.is_finite()) {
        "the learning rate must be positive and finite"
    } else if !(0.0..1.0).contains(&run.lora.dropout) {
        "dropout must lie between 0 and 1, 1 excluded"
    } else if !(run.weight_decay >= 0.0 && run.weight_decay.is_finite()) {
        "weight decay must be zero or positive"
    } else {
        return Ok(());
    };
    Err(EngineError::Settings(problem.into()))
}

fn l2_norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum::<f64>()
        .sqrt()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
