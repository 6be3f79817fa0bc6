//! Audits through the whole engine: scores against golden losses, canaries as part of the data set, and the
//! finding with and without noise.

mod common;

use std::cell::RefCell;
use std::path::PathBuf;

use common::{Golden, decoder, devices};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use vaultlab_engine::EngineError;
use vaultlab_engine::host::{Control, Host, Wish};
use vaultlab_engine::lab::{Audit, Audited, LoadedModel, load_model};
use vaultlab_engine::lora::LoraLayout;
use vaultlab_engine::train::{
    Attack, AuditedRows, MadeUpRow, Trainer, TrainingData, calibrated_scores, row_losses,
};
use vaultlab_engine::weights::{MemorySource, ModelFiles};
use vaultlab_formats::examples::{Encoded, Example, Row, encode_row};
use vaultlab_formats::template::InstructionTemplate;
use vaultlab_privacy::audit::{GuessRule, epsilon_lower_bound, p_value};
use vaultlab_privacy::calibrate::noise_multiplier;
use vaultlab_privacy::ledger::{DatasetRows, MemoryStore, RowLedger};
use vaultlab_privacy::randomness::Randomness;
use vaultlab_protocol::{
    AuditSettings, CanaryKind, ColumnMapping, DataSettings, Event, LoraSettings, PrivacySettings,
    PromptTemplate, RunSettings, SecretCandidates, SecretSettings, TrainEnd, WeightFormat,
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

/// A row of random tokens of the golden model's vocabulary, the last `targets` of which are learnt.
fn random_row(random: &mut ChaCha20Rng, tokens: usize, targets: usize) -> MadeUpRow {
    let mut ids = vec![2];
    ids.extend((0..tokens).map(|_| random.random_range(4..128_u32)));
    let mut labels: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    labels[..=tokens - targets].fill(-100);
    let identity = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    MadeUpRow {
        example: Example {
            ids,
            labels,
            truncated: false,
        },
        identity,
    }
}

/// So many rows as training data.
fn rows(random: &mut ChaCha20Rng, count: usize) -> (TrainingData, Vec<Vec<u8>>) {
    let rows: Vec<MadeUpRow> = (0..count).map(|_| random_row(random, 8, 4)).collect();
    let identities: Vec<Vec<u8>> = rows.iter().map(|row| row.identity.clone()).collect();
    let data = TrainingData {
        train: rows.into_iter().map(|row| row.example).collect(),
        held_out: Vec::new(),
        rows: DatasetRows::of_rows(&identities),
    };
    (data, identities)
}

fn run(privacy: Option<PrivacySettings>, steps: u32, batch: u32) -> RunSettings {
    RunSettings {
        name: "audited".into(),
        privacy,
        steps,
        logical_batch: batch,
        micro_batch: 40,
        learning_rate: 2e-2,
        warmup_steps: 2,
        weight_decay: 0.0,
        lora: LoraSettings {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            ..LoraSettings::default()
        },
        evaluate_every: 0,
        checkpoint_every: 0,
        insecure_seed: Some(5),
    }
}

async fn go_on(_done: usize) -> Result<(), EngineError> {
    Ok(())
}

/// The sum of a row's token losses is the golden mean times the golden count, however rows share passes;
/// and an adapter that changes nothing (B = 0) scores every row exactly zero.
#[test]
fn row_losses_equal_the_golden_ones() {
    let golden = Golden::open("models/vaultgemma/golden.safetensors");
    let shape = golden.shape("input_ids");
    let ids = golden.i64("input_ids");
    let mask = golden.i64("attention_mask");
    let labels = golden.i64("labels");
    let example = |row: usize| {
        let there = row * shape[1]..(row + 1) * shape[1];
        let length = mask[there.clone()].iter().sum::<i64>() as usize;
        Example {
            ids: ids[there.clone()][..length]
                .iter()
                .map(|&id| id as u32)
                .collect(),
            labels: labels[there][..length]
                .iter()
                .map(|&label| label as i32)
                .collect(),
            truncated: false,
        }
    };
    let examples: Vec<Example> = (0..shape[0]).map(example).collect();
    let examples: Vec<&Example> = examples.iter().collect();
    let means = golden.f32("row_loss");
    let counts = golden.i64("row_tokens");
    for open in devices() {
        let model = decoder("models/vaultgemma", WeightFormat::F32, open);
        for at_once in [1, 8] {
            let found = row_losses(&model, None, &examples, at_once, go_on);
            let found = pollster::block_on(found).expect("computes");
            for (row, found) in found.into_iter().enumerate() {
                let expected = f64::from(means[row]) * counts[row] as f64;
                assert!(
                    (found - expected).abs() < 1e-4 * expected,
                    "row {row} on {}: {found} against {expected}",
                    open.report.name
                );
            }
        }
        let layout = LoraLayout::new(&model.config, &LoraSettings::default()).expect("fits");
        let fresh = layout.initial_values(&mut ChaCha20Rng::seed_from_u64(1));
        let adapter = layout.upload(&fresh, &model.device());
        let scores = calibrated_scores(&model, &adapter, &examples, 4, go_on);
        let scores = pollster::block_on(scores).expect("computes");
        assert!(scores.iter().all(|score| score.abs() < 1e-4), "{scores:?}");
    }
}

/// Included canaries and planted rows are rows like any other: number, fingerprint and ledger count them, and
/// whoever reads the ledger of the rows alone finds the audit's charges on them.
#[test]
fn canaries_are_part_of_the_data_set() {
    let mut random = ChaCha20Rng::seed_from_u64(2);
    let (base, mut identities) = rows(&mut random, 12);
    let canaries: Vec<MadeUpRow> = (0..10).map(|_| random_row(&mut random, 8, 4)).collect();
    let planted = random_row(&mut random, 8, 4);
    let audited = AuditedRows::draw(
        &base,
        canaries.clone(),
        vec![planted.clone()],
        GuessRule::balanced(10),
        Randomness::InsecureSeed(3),
    )
    .expect("draws");
    let coins = audited.coins();
    let included = canaries.iter().zip(&coins).filter(|&(_, &coin)| coin);
    let added: Vec<MadeUpRow> = included
        .map(|(row, _)| row.clone())
        .chain([planted])
        .collect();
    assert!(
        (2..=10).contains(&added.len()),
        "a seed with canaries on both sides"
    );
    identities.extend(added.iter().map(|row| row.identity.clone()));
    let data = audited.data();
    assert_eq!(data.train.len(), 12 + added.len());
    assert_eq!(
        data.train[12..],
        added
            .iter()
            .map(|row| row.example.clone())
            .collect::<Vec<_>>()
    );
    assert_eq!(
        data.rows.fingerprint(),
        DatasetRows::of_rows(&identities).fingerprint()
    );

    let [cpu, _] = devices();
    let model = decoder("models/vaultgemma", WeightFormat::F32, cpu);
    let privacy = PrivacySettings {
        noise_multiplier: 2.0,
        clip_norm: 1.0,
        delta: 1e-5,
        budget_epsilon: 100.0,
        batch_cap: None,
    };
    let store = MemoryStore::default();
    let settings = run(Some(privacy), 2, 6);
    let trainer = Trainer::begin(&model, data, cpu.health.clone(), settings, store.clone());
    let mut trainer = pollster::block_on(trainer).expect("begins");
    let host = Quiet;
    pollster::block_on(trainer.run(&host, &Control::default())).expect("runs");
    let ledger = pollster::block_on(RowLedger::read(&store, &base.rows)).expect("reads");
    let spent = ledger.spent(1e-5).expect("accounts");
    assert_eq!(spent.charges.steps(), 2);
    assert!((spent.epsilon - trainer.epsilon().expect("private")).abs() < 1e-9);
}

/// Keeps nothing.
struct Quiet;

impl Host for Quiet {
    fn emit(&self, _event: Event) {}

    fn emit_files(&self, _event: Event, _files: Vec<Vec<u8>>) {}

    async fn breathe(&self) {}

    fn now_ms(&self) -> f64 {
        0.0
    }

    async fn save_checkpoint(&self, _bytes: Vec<u8>) -> Result<(), EngineError> {
        Ok(())
    }
}

/// δ of the claims, small enough that its part in a p-value stays below 10^-6.
const DELTA: f64 = 1e-9;

/// Trains on 10 rows and 60 canaries that are nearly all there is to learn, and attacks.
fn attack(private: bool) -> Attack {
    let [cpu, _] = devices();
    let model = decoder("models/vaultgemma", WeightFormat::F32, cpu);
    let mut random = ChaCha20Rng::seed_from_u64(4);
    let (base, _) = rows(&mut random, 10);
    let canaries: Vec<MadeUpRow> = (0..60).map(|_| random_row(&mut random, 8, 6)).collect();
    let rule = GuessRule::balanced(50);
    let audited = AuditedRows::draw(
        &base,
        canaries,
        Vec::new(),
        rule,
        Randomness::InsecureSeed(5),
    );
    let audited = audited.expect("draws");
    let (steps, batch) = (20, audited.data().train.len() as u32);
    let privacy = private.then(|| PrivacySettings {
        noise_multiplier: noise_multiplier(1.0, 1.0, u64::from(steps), DELTA).expect("in range"),
        clip_norm: 1.0,
        delta: DELTA,
        budget_epsilon: 1.001,
        batch_cap: None,
    });
    let settings = run(privacy, steps, batch);
    let store = MemoryStore::default();
    let trainer = Trainer::begin(&model, audited.data(), cpu.health.clone(), settings, store);
    let mut trainer = pollster::block_on(trainer).expect("begins");
    let end = pollster::block_on(trainer.run(&Quiet, &Control::default())).expect("runs");
    assert_eq!(end, TrainEnd::Finished);
    let outcome = trainer.outcome();
    let adapter = outcome.layout.upload(&outcome.parameters, &model.device());
    pollster::block_on(audited.attack(&model, &adapter, 40, go_on)).expect("attacks")
}

/// Without noise the canaries are memorised and the claim of ε = 1 is refuted at p < 10^-6: of 50 guesses a
/// mechanism with ε = 1 gets all right with probability below 1.6·10^-7.
#[test]
fn without_noise_the_audit_refutes_epsilon_one() {
    let Attack { counts, scores } = attack(false);
    let p = p_value(counts, 1.0, DELTA).expect("counts");
    assert!(p < 1e-6, "{counts:?}, p {p}, scores {scores:?}");
    assert!(epsilon_lower_bound(counts, DELTA, 0.05).expect("counts") > 2.0);
}

/// With noise calibrated to ε = 1 it is not refuted. A Gaussian mechanism with ε = 1 at this δ lets no attacker
/// guess a coin right more often than 53.7 % (μ = 0.182), so that the 43 of 50 right guesses which would refute
/// it at 5 % have probability below 2·10^-6.
#[test]
fn with_noise_the_audit_does_not_refute_epsilon_one() {
    let Attack { counts, .. } = attack(true);
    let bound = epsilon_lower_bound(counts, DELTA, 0.05).expect("counts");
    assert!(bound < 1.0, "{counts:?}: {bound}");
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
    let (name, control) = ("demo".to_owned(), Control::default());
    let model = load_model(name, WeightFormat::F32, &files, cpu, &Quiet, &control);
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
    let run = RunSettings {
        micro_batch: 8,
        ..run(None, steps, data.train.len() as u32)
    };
    let store = MemoryStore::default();
    let audited = prepared.run(run, cpu.health.clone(), store, host, &control);
    pollster::block_on(audited).expect("runs")
}

/// The job from end to end: canaries in words, a planted secret and its candidates, training, attack, report.
/// A secret that is trained on for 70 steps among few rows comes first of 61 candidates; one in no row does
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
    let audited = audit(&model, &settings, 70, &host);
    let report = audited.report.expect("was not stopped");
    assert_eq!((report.canaries, report.guesses, report.steps), (6, 4, 70));
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
