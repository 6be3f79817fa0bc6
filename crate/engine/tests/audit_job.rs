//! The audit job from end to end on the demo model: canaries in words and in tokens, planted secrets, early ends.

mod common;

use std::cell::RefCell;
use std::path::PathBuf;

use common::devices;
use vaultlab_engine::EngineError;
use vaultlab_engine::host::{Control, Host, Wish};
use vaultlab_engine::lab::{Audit, Audited, LoadedModel, load_model};
use vaultlab_engine::train::TrainingData;
use vaultlab_engine::weights::{MemorySource, ModelFiles};
use vaultlab_formats::examples::{Encoded, Row, encode_row};
use vaultlab_formats::template::InstructionTemplate;
use vaultlab_privacy::ledger::{DatasetRows, MemoryStore};
use vaultlab_protocol::{
    AuditSettings, CanaryKind, ColumnMapping, DataSettings, Event, LoraSettings, PromptTemplate,
    RunSettings, SecretCandidates, SecretSettings, WeightFormat,
};

/// Keeps what it hears; states a wish at the first step.
#[derive(Default)]
struct Recorder {
    events: RefCell<Vec<Event>>,
    wish: Option<(Wish, Control)>,
}

impl Host for Recorder {
    fn emit(&self, event: Event) {
        if let (Event::Step(_), Some((wish, control))) = (&event, &self.wish) {
            control.set(*wish);
        }
        self.events.borrow_mut().push(event);
    }

    fn emit_files(&self, _event: Event, _files: Vec<Vec<u8>>) {}

    async fn breathe(&self) {}

    fn now_ms(&self) -> f64 {
        0.0
    }

    async fn save_checkpoint(&self, _bytes: Vec<u8>) -> Result<(), EngineError> {
        panic!("an audit's checkpoint would take the place of a real run's");
    }
}

/// Without privacy: what is learnt in few steps must show.
fn run(steps: u32, batch: u32) -> RunSettings {
    RunSettings {
        name: "audited".into(),
        privacy: None,
        steps,
        logical_batch: batch,
        micro_batch: 8,
        learning_rate: 1e-2,
        warmup_steps: 2,
        weight_decay: 0.0,
        lora: LoraSettings {
            dropout: 0.0,
            ..LoraSettings::default()
        },
        evaluate_every: 0,
        checkpoint_every: 0,
        insecure_seed: Some(5),
    }
}

/// The demo model, which has a tokenizer of its own.
fn demo() -> LoadedModel {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../www/models/demo");
    let mut files = ModelFiles::default();
    for name in [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        let bytes = std::fs::read(folder.join(name)).expect("the demo model is there");
        files.insert(name, Box::new(MemorySource(bytes)));
    }
    let [cpu, _] = devices();
    let (name, host, control) = ("demo".to_owned(), Recorder::default(), Control::default());
    let model = load_model(name, WeightFormat::F32, &files, cpu, &host, &control);
    pollster::block_on(model).expect("loads")
}

fn demo_settings() -> DataSettings {
    DataSettings {
        mapping: ColumnMapping {
            prompt: Some("input".into()),
            response: "output".into(),
        },
        template: PromptTemplate {
            before_prompt: String::new(),
            before_response: " ".into(),
        },
        max_tokens: 64,
        held_out: 0.0,
    }
}

/// A few of the demo's kind of rows.
fn demo_rows(model: &LoadedModel) -> TrainingData {
    let template = InstructionTemplate {
        before_prompt: String::new(),
        before_response: " ".into(),
    };
    let row = |i: usize| Row {
        prompt: Some(format!("locker code of nurse {i}?")),
        response: format!("{i}{i}{i}{i}."),
    };
    let train = (0..4).map(
        |i| match encode_row(&model.tokenizer, &template, &row(i), 128) {
            Ok(Encoded::Example(example)) => example,
            other => panic!("{other:?}"),
        },
    );
    TrainingData {
        train: train.collect(),
        held_out: Vec::new(),
        rows: DatasetRows::of_rows((0..4_u8).map(|i| [i])),
    }
}

fn demo_audit(kind: CanaryKind, secrets: Vec<SecretSettings>) -> AuditSettings {
    AuditSettings {
        canaries: 6,
        guesses: 4,
        kind,
        delta: 1e-6,
        secrets,
    }
}

fn random_tokens() -> CanaryKind {
    CanaryKind::RandomTokens {
        prompt_tokens: 4,
        response_tokens: 4,
    }
}

fn audit(model: &LoadedModel, settings: &AuditSettings, steps: u32, host: &Recorder) -> Audited {
    let [cpu, _] = devices();
    let data = demo_rows(model);
    let prepared =
        Audit::prepare(model, &data, &demo_settings(), settings, Some(6)).expect("prepares");
    let control = host
        .wish
        .as_ref()
        .map_or_else(Control::default, |(_, control)| control.clone());
    let run = run(steps, data.train.len() as u32);
    let store = MemoryStore::default();
    let audited = prepared.run(run, cpu.health.clone(), store, host, &control);
    pollster::block_on(audited).expect("runs")
}

/// The job from end to end: canaries in words, a planted secret and its candidates, training, attack, report.
/// A secret that is trained on for 120 steps among few rows comes first of 61 candidates; one in no row does
/// not stand out.
#[test]
fn the_job_reports_both_bounds_and_exposure() {
    let model = demo();
    let secret = |code: &str, plant| SecretSettings {
        prompt: "locker code of cook Tema?".into(),
        before: String::new(),
        secret: code.into(),
        after: ".".into(),
        candidates: SecretCandidates::Digits { at_most: 60 },
        plant,
    };
    let listed = SecretSettings {
        candidates: SecretCandidates::Listed {
            texts: ["7391", "5804", "6820", "5804"].map(String::from).to_vec(),
        },
        ..secret("7391", false)
    };
    let kind = CanaryKind::Phrase {
        prompt: "locker code of guard @@@@?".into(),
        response: "####.".into(),
    };
    let settings = demo_audit(
        kind,
        vec![secret("7391", true), secret("2604", false), listed],
    );
    let host = Recorder::default();
    let audited = audit(&model, &settings, 120, &host);
    let report = audited.report.expect("was not stopped");
    assert_eq!((report.canaries, report.guesses, report.steps), (6, 4, 120));
    assert_eq!(report.rows, 4 + report.included + 1);
    let truly_included = report
        .scores
        .iter()
        .filter(|canary| canary.included)
        .count();
    assert_eq!(truly_included as u32, report.included);
    assert!(report.correct <= 4 && report.epsilon_lower <= report.most_it_can_show);
    assert_eq!((report.epsilon_upper, report.refuted), (None, false));
    assert!(report.statement.contains("proves nothing about safety"));
    let [planted, absent, listed] = report.exposures[..] else {
        panic!("three secrets");
    };
    assert_eq!(
        (planted.candidates, planted.sampled, planted.rank),
        (61, true, 1)
    );
    assert!(planted.bits > 5.9 && planted.at_least_bits.is_some_and(|bits| bits > 4.0));
    assert!(planted.bits > planted.bits_before);
    // The listed secret is the planted one again.
    assert_eq!(
        [planted.trained, absent.trained, listed.trained],
        [true, false, true]
    );
    assert!(absent.rank > 1, "{absent:?}");
    // The secret and two others: the list repeats one and names the secret itself.
    assert_eq!(
        (listed.candidates, listed.sampled, listed.rank),
        (3, false, 1)
    );
    assert!((listed.bits - 3_f64.log2()).abs() < 1e-12);
    let events = host.events.borrow();
    let ends = events
        .iter()
        .filter(|event| matches!(event, Event::TrainEnded { .. }))
        .count();
    assert_eq!(ends, 1);
    assert!(events.iter().any(
        |event| matches!(event, Event::Progress { stage, .. } if stage.starts_with("Attack"))
    ));
}

/// A wish to pause ends training early and the attack is made all the same; a wish to stop ends the audit
/// with the adapter but without a finding. Neither keeps a checkpoint ([`Recorder`] would panic).
#[test]
fn pausing_attacks_early_and_stopping_finds_nothing() {
    let model = demo();
    let settings = demo_audit(random_tokens(), Vec::new());
    let wishing = |wish| Recorder {
        wish: Some((wish, Control::default())),
        ..Recorder::default()
    };
    let paused = audit(&model, &settings, 20, &wishing(Wish::Pause));
    assert_eq!(paused.report.expect("was attacked").steps, 1);
    let stopped = audit(&model, &settings, 20, &wishing(Wish::Stop));
    assert!(stopped.report.is_none());
    assert!(!stopped.outcome.parameters.is_empty());
}

/// The same seed gives the same audit; settings that cannot be are refused.
#[test]
fn impossible_audits_are_refused() {
    let model = demo();
    let data = demo_rows(&model);
    let prepare = |settings: &AuditSettings| {
        Audit::prepare(&model, &data, &demo_settings(), settings, Some(7))
            .map(|audit| audit.data().rows.fingerprint())
    };
    let good = demo_audit(random_tokens(), Vec::new());
    assert_eq!(prepare(&good).expect("fine"), prepare(&good).expect("fine"));
    let secret = SecretSettings {
        prompt: "?".into(),
        before: String::new(),
        secret: "no digits".into(),
        after: String::new(),
        candidates: SecretCandidates::Digits { at_most: 5 },
        plant: false,
    };
    let phrase = |response: &str| CanaryKind::Phrase {
        prompt: "?".into(),
        response: response.into(),
    };
    let bad = [
        AuditSettings {
            canaries: 0,
            guesses: 0,
            ..good.clone()
        },
        AuditSettings {
            guesses: 7,
            ..good.clone()
        },
        AuditSettings {
            delta: 0.0,
            ..good.clone()
        },
        AuditSettings {
            kind: phrase("always the same"),
            ..good.clone()
        },
        AuditSettings {
            kind: phrase(&"# ".repeat(200)),
            ..good.clone()
        },
        AuditSettings {
            kind: CanaryKind::RandomTokens {
                prompt_tokens: 4,
                response_tokens: 0,
            },
            ..good.clone()
        },
        AuditSettings {
            kind: CanaryKind::RandomTokens {
                prompt_tokens: 4,
                response_tokens: 400,
            },
            ..good.clone()
        },
        AuditSettings {
            secrets: vec![secret.clone()],
            ..good.clone()
        },
        AuditSettings {
            secrets: vec![SecretSettings {
                candidates: SecretCandidates::Listed {
                    texts: vec!["no digits".into()],
                },
                ..secret
            }],
            ..good.clone()
        },
    ];
    for settings in bad {
        assert!(prepare(&settings).is_err(), "{settings:?}");
    }
}
