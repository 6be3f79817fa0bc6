//! What a run on a file leaves behind: which rows it is charged to, and a statement that can be checked.

mod common;

use common::{Silent, decoder, devices, golden};
use vaultlab_engine::host::Control;
use vaultlab_engine::lab::{RowEncoder, export_adapter, prepare_rows};
use vaultlab_engine::train::{Trainer, TrainingData};
use vaultlab_formats::dataset::read_table;
use vaultlab_formats::tokenizer::Tokenizer;
use vaultlab_privacy::ledger::{MemoryStore, RowLedger};
use vaultlab_privacy::statement::verify;
use vaultlab_protocol::{
    ColumnMapping, DataSettings, LoraSettings, PrivacySettings, RunSettings, WeightFormat,
};

/// Thirty rows of three columns as CSV, and as JSON lines with the columns the other way round.
fn files() -> [(String, &'static str); 2] {
    let numbers = 0..30;
    let csv = numbers
        .clone()
        .map(|i| format!("Question {i},Answer {i},{i}\n"));
    let json = numbers.map(|i| {
        format!("{{\"id\":{i},\"answer\":\"Answer {i}\",\"question\":\"Question {i}\"}}\n")
    });
    [
        (
            format!("question,answer,id\n{}", csv.collect::<String>()),
            "a.csv",
        ),
        (json.collect(), "b.jsonl"),
    ]
}

fn prepare(file: &str, name: &str, prompt: &str, response: &str, held_out: f64) -> TrainingData {
    let tokenizer = Tokenizer::parse(&golden("tokenizer/tokenizer.json"), 2, &[1]).expect("parses");
    let table = read_table(file.as_bytes(), Some(name)).expect("reads");
    let settings = DataSettings {
        mapping: ColumnMapping {
            prompt: Some(prompt.into()),
            response: response.into(),
        },
        template: Default::default(),
        max_tokens: 256,
        held_out,
    };
    let encoder = RowEncoder {
        tokenizer: &tokenizer,
        context: 256,
        has_encoder: false,
    };
    let prepared = prepare_rows(&table, &settings, encoder, &Silent);
    pollster::block_on(prepared).expect("prepares").0
}

/// Another file format, column order, mapping or template makes no new data set of the same rows.
#[test]
fn the_same_rows_are_one_data_set_whatever_is_made_of_them() {
    let [(csv, csv_name), (json, json_name)] = files();
    let first = prepare(&csv, csv_name, "question", "answer", 0.0);
    assert_eq!(first.rows.count(), 30);
    for other in [
        prepare(&json, json_name, "question", "answer", 0.0),
        prepare(&json, json_name, "answer", "question", 0.0),
        prepare(&csv, csv_name, "id", "answer", 0.0),
    ] {
        assert_eq!(other.rows.fingerprint(), first.rows.fingerprint());
    }
    let fewer = prepare(&csv, csv_name, "question", "answer", 0.3);
    assert_eq!(fewer.rows.count(), fewer.train.len() as u64);
    assert!(fewer.rows.count() < 30);
    assert_ne!(fewer.rows.fingerprint(), first.rows.fingerprint());
}

fn run(steps: u32) -> RunSettings {
    RunSettings {
        name: "test".into(),
        privacy: Some(PrivacySettings {
            noise_multiplier: 2.0,
            clip_norm: 1.0,
            delta: 1e-5,
            budget_epsilon: 50.0,
            batch_cap: None,
        }),
        steps,
        logical_batch: 4,
        micro_batch: 4,
        learning_rate: 1e-2,
        warmup_steps: 0,
        weight_decay: 0.0,
        lora: LoraSettings {
            rank: 2,
            alpha: 4.0,
            ..LoraSettings::default()
        },
        evaluate_every: 0,
        checkpoint_every: 0,
        insecure_seed: None,
    }
}

/// The ends of the rows, with ids that the golden model has.
fn small(mut data: TrainingData) -> TrainingData {
    for example in data.train.iter_mut().chain(&mut data.held_out) {
        let first = example.ids.len().saturating_sub(12);
        example.ids.drain(..first);
        example.labels.drain(..first);
        for (id, label) in example.ids.iter_mut().zip(&mut example.labels) {
            *id %= 90;
            if *label >= 0 {
                *label %= 90;
            }
        }
    }
    data
}

/// A run on some rows of a file that another run took all of: the ledger adds both for the shared rows. The
/// exported statement is verified with its adapter, not with another, and no exported file holds a
/// fingerprint of the rows.
#[test]
fn exported_adapters_come_with_a_statement_that_can_be_checked() {
    let [(csv, name), _] = files();
    let [cpu, _] = devices();
    let model = decoder("models/vaultgemma", WeightFormat::F32, cpu);
    let store = MemoryStore::default();
    let train = |data: &TrainingData, steps: u32| {
        let begun = Trainer::begin(&model, data, cpu.health.clone(), run(steps), store.clone());
        let mut trainer = pollster::block_on(begun).expect("begins");
        pollster::block_on(trainer.run(&Silent, &Control::default())).expect("trains");
        trainer.outcome()
    };
    let all = small(prepare(&csv, name, "question", "answer", 0.0));
    let some = small(prepare(&csv, name, "id", "answer", 0.3));
    train(&all, 2);
    let outcome = train(&some, 3);
    let ledger = pollster::block_on(RowLedger::read(&store, &some.rows)).expect("reads");
    let spent = ledger.spent(1e-5).expect("accounts");
    assert_eq!((spent.charges.steps(), spent.charges.runs()), (5, 2));
    assert_eq!(ledger.overlaps()[0].shared_rows, some.rows.count());

    let files = export_adapter(
        &outcome.layout,
        &outcome.parameters,
        &outcome.report,
        "golden",
    )
    .expect("exports");
    let file = |name: &str| {
        let found = files.iter().find(|(file, _)| file == name);
        &found.unwrap_or_else(|| panic!("{name} is exported")).1
    };
    let (statement, weights) = (
        file("privacy_statement.json"),
        file("adapter_model.safetensors"),
    );
    let found = verify(statement, Some(weights));
    assert!(found.verified, "{found:?}");
    assert!(!verify(statement, Some(&weights[1..])).verified);
    let text = String::from_utf8(file("privacy_statement.txt").clone()).expect("UTF-8");
    assert!(text.contains("the 2 runs on record") && text.contains("3 steps"));
    for data in [&all, &some] {
        let fingerprint = data.rows.fingerprint().to_string();
        for (name, bytes) in &files {
            let held = bytes
                .windows(fingerprint.len())
                .any(|window| window == fingerprint.as_bytes());
            assert!(!held, "{name} holds a fingerprint");
        }
    }
}
