//! Whole training runs on the golden VaultGemma: budget, pause and resume, dropout, charge before release.

mod common;

use std::cell::RefCell;

use common::{decoder, devices};
use vaultlab_engine::EngineError;
use vaultlab_engine::host::{Control, Host, Wish};
use vaultlab_engine::train::{Checkpoint, Trainer, TrainingData};
use vaultlab_formats::examples::Example;
use vaultlab_privacy::accountant::{Phase, epsilon};
use vaultlab_privacy::ledger::{
    DatasetFingerprint, DatasetRows, Ledger, LedgerStore, MemoryStore, SessionId, StoreError,
};
use vaultlab_protocol::{
    Event, LoraSettings, PrivacySettings, RunSettings, StepReport, TrainEnd, WeightFormat,
};

/// Records events; wishes `wish` once `after` steps were reported.
struct Recorder {
    steps: RefCell<Vec<StepReport>>,
    losses: RefCell<Vec<f64>>,
    checkpoint: RefCell<Vec<u8>>,
    wish: Option<(u32, Wish, Control)>,
}

impl Recorder {
    fn new(wish: Option<(u32, Wish, Control)>) -> Self {
        Self {
            steps: RefCell::default(),
            losses: RefCell::default(),
            checkpoint: RefCell::default(),
            wish,
        }
    }
}

impl Host for Recorder {
    fn emit(&self, event: Event) {
        match event {
            Event::Step(step) => {
                if let Some((after, wish, control)) = &self.wish
                    && step.step == *after
                {
                    control.set(*wish);
                }
                self.steps.borrow_mut().push(step);
            }
            Event::Evaluation(evaluation) => self.losses.borrow_mut().push(evaluation.loss),
            _ => {}
        }
    }

    fn emit_files(&self, _event: Event, _files: Vec<Vec<u8>>) {}

    async fn breathe(&self) {}

    fn now_ms(&self) -> f64 {
        0.0
    }

    async fn save_checkpoint(&self, bytes: Vec<u8>) -> Result<(), EngineError> {
        self.checkpoint.replace(bytes);
        Ok(())
    }
}

/// Rows that all end in the same three ids after a prompt of their own: a pattern to learn.
fn data() -> TrainingData {
    let example = |i: u32| {
        let length = 3 + (i % 4);
        let mut ids = vec![2];
        ids.extend((0..length).map(|j| 4 + (i * 31 + j * 17) % 90));
        let mut labels = vec![-100; ids.len()];
        for id in [50, 60, 1] {
            ids.push(id);
            labels.push(id as i32);
        }
        Example {
            ids,
            labels,
            source: Vec::new(),
            truncated: false,
        }
    };
    TrainingData {
        train: (0..40).map(example).collect(),
        held_out: (40..50).map(example).collect(),
        rows: DatasetRows::of_rows((0..40u8).map(|i| [i])),
    }
}

fn run(privacy: Option<PrivacySettings>) -> RunSettings {
    RunSettings {
        name: "test".into(),
        privacy,
        steps: 6,
        logical_batch: 10,
        micro_batch: 4,
        learning_rate: 1e-2,
        warmup_steps: 2,
        weight_decay: 0.01,
        lora: LoraSettings {
            rank: 4,
            alpha: 8.0,
            dropout: 0.1,
            ..LoraSettings::default()
        },
        evaluate_every: 0,
        checkpoint_every: 0,
        insecure_seed: Some(11),
    }
}

fn private(budget_epsilon: f64) -> PrivacySettings {
    PrivacySettings {
        noise_multiplier: 1.0,
        clip_norm: 1.0,
        delta: 1e-5,
        budget_epsilon,
        batch_cap: None,
    }
}

fn spent(steps: u64) -> f64 {
    epsilon(
        &[Phase {
            sampling_rate: 0.25,
            noise_multiplier: 1.0,
            steps,
            truncation: None,
        }],
        1e-5,
    )
    .expect("accounts")
}

#[test]
fn a_paused_and_resumed_run_equals_one_that_was_not() {
    let data = data();
    for open in devices() {
        let model = decoder("models/vaultgemma", WeightFormat::F32, open);
        for privacy in [Some(private(100.0)), None] {
            let begin = |store| {
                Trainer::begin(
                    &model,
                    &data,
                    open.health.clone(),
                    run(privacy.clone()),
                    store,
                )
            };
            let whole = Recorder::new(None);
            let mut trainer = pollster::block_on(begin(MemoryStore::default())).expect("begins");
            let end = pollster::block_on(trainer.run(&whole, &Control::default())).expect("runs");
            assert_eq!(end, TrainEnd::Finished);
            let expected = trainer.outcome().parameters;

            let control = Control::default();
            let paused = Recorder::new(Some((3, Wish::Pause, control.clone())));
            let store = MemoryStore::default();
            let mut trainer = pollster::block_on(begin(store.clone())).expect("begins");
            let end = pollster::block_on(trainer.run(&paused, &control)).expect("runs");
            assert_eq!((end, trainer.steps_done()), (TrainEnd::Paused, 3));
            drop(trainer);
            let checkpoint = Checkpoint::from_bytes(&paused.checkpoint.borrow()).expect("reads");
            let resumed = Recorder::new(None);
            let mut trainer = pollster::block_on(Trainer::resume(
                &model,
                &data,
                open.health.clone(),
                checkpoint,
                store,
            ))
            .expect("resumes");
            let end = pollster::block_on(trainer.run(&resumed, &Control::default())).expect("runs");
            assert_eq!(end, TrainEnd::Finished);
            // The same kernels on the same values in the same order: equal to the last bit.
            assert_eq!(
                trainer.outcome().parameters,
                expected,
                "on {}",
                open.report.name
            );
            if privacy.is_some() {
                let total = resumed
                    .steps
                    .borrow()
                    .last()
                    .and_then(|step| step.epsilon)
                    .expect("private");
                assert!(
                    (total - spent(6)).abs() < 1e-9,
                    "both halves are charged, once each"
                );
            }
        }
    }
}

#[test]
fn training_stops_by_itself_before_the_budget_is_passed() {
    let data = data();
    let [cpu, _] = devices();
    let model = decoder("models/vaultgemma", WeightFormat::F32, cpu);
    // Enough for four steps, not for five.
    let budget = (spent(4) + spent(5)) / 2.0;
    let store = MemoryStore::default();
    let settings = run(Some(private(budget)));
    let begin = || {
        Trainer::begin(
            &model,
            &data,
            cpu.health.clone(),
            settings.clone(),
            store.clone(),
        )
    };
    let recorder = Recorder::new(None);
    let mut trainer = pollster::block_on(begin()).expect("begins");
    let end = pollster::block_on(trainer.run(&recorder, &Control::default())).expect("runs");
    assert_eq!((end, trainer.steps_done()), (TrainEnd::BudgetSpent, 4));
    assert!(
        recorder
            .steps
            .borrow()
            .iter()
            .all(|step| step.epsilon.expect("private") <= budget)
    );

    // A new run on the same rows finds the budget spent: starting over resets nothing.
    let mut trainer = pollster::block_on(begin()).expect("begins");
    let end =
        pollster::block_on(trainer.run(&Recorder::new(None), &Control::default())).expect("runs");
    assert_eq!((end, trainer.steps_done()), (TrainEnd::BudgetSpent, 0));
    let ledger = pollster::block_on(Ledger::read(&store, &data.rows.fingerprint())).expect("reads");
    assert_eq!(ledger.steps(), 4);
}

#[test]
fn without_privacy_the_pattern_is_learnt_and_the_report_says_so() {
    let data = data();
    for open in devices() {
        let model = decoder("models/vaultgemma", WeightFormat::Nf4, open);
        let settings = RunSettings {
            steps: 25,
            logical_batch: 40,
            micro_batch: 20,
            ..run(None)
        };
        let recorder = Recorder::new(None);
        let store = MemoryStore::default();
        let trainer = Trainer::begin(&model, &data, open.health.clone(), settings, store.clone());
        let mut trainer = pollster::block_on(trainer).expect("begins");
        pollster::block_on(trainer.run(&recorder, &Control::default())).expect("runs");
        let losses = recorder.losses.borrow();
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(
            last < 0.7 * first,
            "held-out loss went from {first} to {last} on {}",
            open.report.name
        );
        let report = trainer.outcome().report;
        assert!(report.without_privacy && report.privacy.is_none());
        let ledger =
            pollster::block_on(Ledger::read(&store, &data.rows.fingerprint())).expect("reads");
        assert_eq!(ledger.steps(), 0);
    }
}

/// A store that cannot write.
#[derive(Clone)]
struct Broken;

impl LedgerStore for Broken {
    async fn load(&self, _fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(Vec::new())
    }

    async fn save_durably(
        &self,
        _fingerprint: &DatasetFingerprint,
        _session: &SessionId,
        _record: &[u8],
    ) -> Result<(), StoreError> {
        Err(StoreError::writing("the disk is full"))
    }

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        Ok(Vec::new())
    }

    async fn load_rows(
        &self,
        _fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn save_rows_durably(
        &self,
        _fingerprint: &DatasetFingerprint,
        _record: &[u8],
    ) -> Result<(), StoreError> {
        Err(StoreError::writing("the disk is full"))
    }
}

#[test]
fn a_step_that_cannot_be_charged_changes_nothing() {
    let data = data();
    let [cpu, _] = devices();
    let model = decoder("models/vaultgemma", WeightFormat::F32, cpu);
    let trainer = Trainer::begin(
        &model,
        &data,
        cpu.health.clone(),
        run(Some(private(10.0))),
        Broken,
    );
    let mut trainer = pollster::block_on(trainer).expect("begins");
    let before = trainer.outcome().parameters;
    let result = pollster::block_on(trainer.run(&Recorder::new(None), &Control::default()));
    assert!(matches!(result, Err(EngineError::Privacy(_))), "{result:?}");
    assert_eq!(trainer.outcome().parameters, before);
}

#[test]
fn settings_out_of_range_are_refused() {
    let data = data();
    let [cpu, _] = devices();
    let model = decoder("models/vaultgemma", WeightFormat::F32, cpu);
    let good = run(Some(private(10.0)));
    let bad = [
        RunSettings {
            steps: 0,
            ..good.clone()
        },
        RunSettings {
            micro_batch: 0,
            ..good.clone()
        },
        RunSettings {
            logical_batch: 0,
            ..good.clone()
        },
        RunSettings {
            logical_batch: 41,
            ..good.clone()
        },
        RunSettings {
            learning_rate: f64::NAN,
            ..good.clone()
        },
        RunSettings {
            lora: LoraSettings {
                rank: 0,
                ..LoraSettings::default()
            },
            ..good.clone()
        },
        RunSettings {
            lora: LoraSettings {
                targets: vec!["lm_head".into()],
                ..Default::default()
            },
            ..good.clone()
        },
        RunSettings {
            privacy: Some(PrivacySettings {
                delta: 1.0,
                ..private(10.0)
            }),
            ..good.clone()
        },
        RunSettings {
            privacy: Some(PrivacySettings {
                clip_norm: 0.0,
                ..private(10.0)
            }),
            ..good.clone()
        },
    ];
    for settings in bad {
        let begun = Trainer::begin(
            &model,
            &data,
            cpu.health.clone(),
            settings.clone(),
            MemoryStore::default(),
        );
        assert!(pollster::block_on(begun).is_err(), "{settings:?}");
    }
}
