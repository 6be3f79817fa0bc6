//! Audits through the whole engine: scores against golden losses, canaries as part of the data set, and the
//! finding with and without noise.

mod common;

use common::{Golden, Silent, decoder, devices};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use vaultlab_engine::EngineError;
use vaultlab_engine::host::Control;
use vaultlab_engine::lora::LoraLayout;
use vaultlab_engine::train::{
    Attack, AuditedRows, MadeUpRow, Trainer, TrainingData, calibrated_scores, row_losses,
};
use vaultlab_formats::examples::Example;
use vaultlab_privacy::audit::{GuessRule, epsilon_lower_bound, p_value};
use vaultlab_privacy::calibrate::noise_multiplier;
use vaultlab_privacy::ledger::{DatasetRows, MemoryStore, RowLedger};
use vaultlab_privacy::randomness::Randomness;
use vaultlab_protocol::{LoraSettings, PrivacySettings, RunSettings, TrainEnd, WeightFormat};

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
            source: Vec::new(),
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
            source: Vec::new(),
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
    let host = Silent;
    pollster::block_on(trainer.run(&host, &Control::default())).expect("runs");
    let ledger = pollster::block_on(RowLedger::read(&store, &base.rows)).expect("reads");
    let spent = ledger.spent(1e-5).expect("accounts");
    assert_eq!(spent.charges.steps(), 2);
    assert!((spent.epsilon - trainer.epsilon().expect("private")).abs() < 1e-9);
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
    let end = pollster::block_on(trainer.run(&Silent, &Control::default())).expect("runs");
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
