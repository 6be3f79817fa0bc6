//! The ledger under crashes, faulty storage, two tabs at once, and files that are not ledgers: it may
//! count too much, never too little.

mod common;

use std::ops::Range;

use common::{Fault, FaultyStore, PLAN, begin, close, fingerprint, rows, run_id, step};
use proptest::prelude::*;
use vaultlab_privacy::ledger::{
    DatasetFingerprint, FileStore, Ledger, LedgerError, LedgerStore, MemoryStore, RowLedger,
    RunCharge, SessionId, SessionRecord,
};
use vaultlab_privacy::session::{PrivacyError, PrivacyPlan};

fn ledger_of(store: &impl LedgerStore) -> Ledger {
    pollster::block_on(Ledger::read(store, &fingerprint())).unwrap()
}

fn row_ledger_of(store: &impl LedgerStore, numbers: Range<u64>) -> RowLedger {
    pollster::block_on(RowLedger::read(store, &rows(numbers))).unwrap()
}

fn record(session: u8, steps: u64) -> SessionRecord {
    let charge = RunCharge {
        run: run_id(session),
        rows: 200,
        expected_batch: 20,
        noise_multiplier: 1.1,
        clip_norm: 0.1,
        steps,
        delta: 1e-5,
        batch_cap: None,
        dimensions: 16,
    };
    SessionRecord {
        fingerprint: fingerprint(),
        session: SessionId::from_bytes([session; 16]),
        charge,
    }
}

fn save(store: &impl LedgerStore, record: &SessionRecord) {
    pollster::block_on(store.save_durably(
        &record.fingerprint,
        &record.session,
        &record.to_bytes(),
    ))
    .unwrap();
}

/// The charge is on record before the noisy sum exists: at the moment of the save nothing is released,
/// and the record saved already counts the step.
#[test]
fn the_charge_comes_first() {
    let store = FaultyStore::new(MemoryStore::default());
    let mut session = begin(PLAN, 1, 0, &store).unwrap();
    for done in 1..=3 {
        step(&mut session).unwrap();
        let saves = store.saves.borrow();
        assert_eq!(saves.len(), done, "one save a step");
        let saved = SessionRecord::parse(saves.last().unwrap(), &fingerprint()).unwrap();
        assert_eq!(saved.charge.steps, done as u64);
    }
}

/// A save that fails, for whatever reason and wherever it broke, gives no gradient; the run can go on
/// once storage works again, and what was kept of the failed save counts.
#[test]
fn no_gradient_without_a_durable_charge() {
    for (fault, expected_steps) in [
        (Fault::Refused, 2),
        (Fault::KeptButReported, 3),
        (Fault::Lost, 2),
    ] {
        let store = FaultyStore::new(MemoryStore::default());
        let mut session = begin(PLAN, 1, 0, &store).unwrap();
        step(&mut session).unwrap();
        store.fault.set(fault);
        let refused = step(&mut session).unwrap_err();
        match fault {
            Fault::Lost => assert_eq!(refused, PrivacyError::Ledger(LedgerError::ChargeLost)),
            _ => assert!(matches!(
                refused,
                PrivacyError::Ledger(LedgerError::Store(_))
            )),
        }
        assert_eq!(session.steps_done(), 1);
        store.fault.set(Fault::None);
        assert_eq!(step(&mut session).unwrap().step(), 2);
        assert_eq!(ledger_of(&store).steps(), expected_steps, "{fault:?}");
        let spent = row_ledger_of(&store, 0..PLAN.rows).spent(PLAN.delta);
        assert!(close(session.epsilon(), spent.unwrap().epsilon));
    }
}

/// A ledger that cannot be read stops training, at the beginning and at any step.
#[test]
fn an_unreadable_ledger_stops_everything() {
    let store = FaultyStore::new(MemoryStore::default());
    let mut session = begin(PLAN, 1, 0, &store).unwrap();
    store.unreadable.set(true);
    assert!(matches!(
        step(&mut session),
        Err(PrivacyError::Ledger(LedgerError::Store(_)))
    ));
    assert!(begin(PLAN, 1, 0, &store).is_err());
    assert!(store.saves.borrow().is_empty());
}

/// A crash after the charge and before the checkpoint: the step is taken again and charged again.
#[test]
fn a_step_repeated_after_a_crash_is_charged_twice() {
    let store = MemoryStore::default();
    let mut crashed = begin(PLAN, 1, 0, store.clone()).unwrap();
    (0..3).for_each(|_| drop(step(&mut crashed).unwrap()));
    drop(crashed);
    let mut resumed = begin(PLAN, 1, 2, store.clone()).unwrap();
    step(&mut resumed).unwrap();
    assert_eq!((resumed.steps_done(), ledger_of(&store).steps()), (3, 4));
}

/// A ledger that was cleared, or left behind: the checkpoint's steps are charged again.
#[test]
fn steps_unknown_to_the_ledger_are_charged() {
    let mut resumed = begin(PLAN, 1, 5, MemoryStore::default()).unwrap();
    let five = PrivacyPlan { steps: 5, ..PLAN }.epsilon().unwrap();
    assert!(close(resumed.epsilon(), five));
    step(&mut resumed).unwrap();
    assert_eq!(resumed.ledger().own().steps(), 6);
}

/// A run keeps its plan; other runs may have others, and all compose.
#[test]
fn runs_compose_and_keep_their_plans() {
    let store = MemoryStore::default();
    step(&mut begin(PLAN, 1, 0, store.clone()).unwrap()).unwrap();
    let other = PrivacyPlan {
        noise_multiplier: 2.0,
        ..PLAN
    };
    assert_eq!(
        begin(other, 1, 1, store.clone()).err(),
        Some(PrivacyError::PlanChanged(run_id(1)))
    );
    let mut second = begin(other, 2, 0, store.clone()).unwrap();
    let one = PrivacyPlan { steps: 1, ..PLAN }.epsilon().unwrap();
    assert!(close(second.epsilon(), one));
    step(&mut second).unwrap();
    let ledger = ledger_of(&store);
    assert_eq!((ledger.steps(), ledger.runs()), (2, 2));
    assert!(second.epsilon() > PrivacyPlan { steps: 1, ..PLAN }.epsilon().unwrap());
    assert_eq!(second.statement().run_steps, 1);
}

/// A data set's ledger is its own.
#[test]
fn other_data_sets_are_not_charged() {
    let store = MemoryStore::default();
    step(&mut begin(PLAN, 1, 0, store.clone()).unwrap()).unwrap();
    let other = DatasetFingerprint::of_rows(["something else"]);
    assert_eq!(
        pollster::block_on(Ledger::read(&store, &other))
            .unwrap()
            .steps(),
        0
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Sessions interleaved at random, of the same run and of others, some crashing at a save: the
    /// ledger never holds fewer steps than were released, and no release passes the budget.
    #[test]
    fn interleaved_sessions_only_over_count(
        script in prop::collection::vec((0..3_usize, 0..8_u8), 1..40), budget in 1.5_f64..4.0,
    ) {
        let plan = PrivacyPlan { steps: 1000, budget_epsilon: budget, ..PLAN };
        let shared = MemoryStore::default();
        let stores = [0, 1, 2].map(|_| FaultyStore::new(shared.clone()));
        // Two tabs on one run, and another run.
        let mut sessions = [(0, 1), (1, 1), (2, 2)].map(|(store, run): (usize, u8)| {
            begin(plan, run, 0, &stores[store]).unwrap()
        });
        let mut released = 0;
        for (actor, luck) in script {
            stores[actor].fault.set(match luck {
                0 => Fault::Refused,
                1 => Fault::KeptButReported,
                2 => Fault::Lost,
                _ => Fault::None,
            });
            if step(&mut sessions[actor]).is_ok() {
                released += 1;
                prop_assert!(sessions[actor].epsilon() <= budget);
            }
            prop_assert!(ledger_of(&shared).steps() >= u64::from(released));
        }
        let spent = PrivacyPlan { steps: released, ..plan }.epsilon().unwrap();
        prop_assert!(spent <= budget * (1.0 + 1e-4));
    }

    /// Random bytes are refused, and never a panic.
    #[test]
    fn random_bytes_are_no_ledger(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SessionRecord::parse(&bytes, &fingerprint()).is_err());
    }

    /// One byte of a record changed: refused, or still a possible record; never a panic.
    #[test]
    fn mangled_records_do_not_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = record(1, 7).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
            prop_assert!(SessionRecord::parse(&bytes, &fingerprint()).is_err());
        } else if let Ok(read) = SessionRecord::parse(&bytes, &fingerprint()) {
            prop_assert!(read.charge.phase().validate().is_ok());
        }
    }

    /// What is written is read back exactly, floats to the last bit.
    #[test]
    fn records_round_trip(
        sigma in 1e-3_f64..1e3, clip in 1e-6_f64..1e6, batch in 1..=200_u64, steps in any::<u64>(), delta in 1e-12_f64..0.1,
    ) {
        let mut written = record(1, steps);
        written.charge = RunCharge {
            noise_multiplier: sigma, clip_norm: clip, expected_batch: batch, delta, ..written.charge
        };
        prop_assert_eq!(SessionRecord::parse(&written.to_bytes(), &fingerprint()).unwrap(), written);
    }
}

/// A record that is damaged in any way known is refused with its reason, and stops the whole ledger: it
/// may stand for any number of steps.
#[test]
fn damaged_records_are_never_skipped() {
    let text = String::from_utf8(record(1, 7).to_bytes()).unwrap();
    let swapped = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        SessionRecord::parse(text.replace(from, to).as_bytes(), &fingerprint())
    };
    assert_eq!(
        swapped("\"version\":2", "\"version\":3"),
        Err(LedgerError::Newer(3))
    );
    for (from, to) in [
        ("\"version\":2,", ""),
        ("\"steps\":7", "\"steps\":-7"),
        ("\"steps\":7,", ""),
        ("\"expectedBatch\":20", "\"expectedBatch\":0"),
        ("\"expectedBatch\":20", "\"expectedBatch\":201"),
        ("\"noiseMultiplier\":1.1", "\"noiseMultiplier\":0.0"),
        ("0101", "01zz"),
        ("0101", "01"),
    ] {
        assert!(
            matches!(swapped(from, to), Err(LedgerError::Damaged(_))),
            "{from} to {to}"
        );
    }
    let elsewhere = DatasetFingerprint::of_rows(["other"]);
    assert!(matches!(
        SessionRecord::parse(text.as_bytes(), &elsewhere),
        Err(LedgerError::Damaged(_))
    ));

    let store = MemoryStore::default();
    save(&store, &record(1, 7));
    let broken = SessionId::from_bytes([9; 16]);
    pollster::block_on(store.save_durably(&fingerprint(), &broken, b"{}")).unwrap();
    assert!(matches!(
        begin(PLAN, 1, 0, store),
        Err(PrivacyError::Ledger(LedgerError::Damaged(_)))
    ));
}

/// Merging takes the larger of two records of one session, whatever comes first.
#[test]
fn merging_takes_the_larger() {
    let mut ledger = Ledger::default();
    [record(1, 3), record(1, 5), record(1, 4), record(2, 1)]
        .into_iter()
        .for_each(|record| ledger.merge(record));
    assert_eq!((ledger.steps(), ledger.runs()), (6, 2));
}

/// The fingerprint ignores the order of rows and sees everything else: content, count, cut. The empty
/// set's is SHA-256 of nothing.
#[test]
fn fingerprints_see_rows_not_order() {
    let of = |rows: &[&str]| DatasetFingerprint::of_rows(rows);
    assert_eq!(of(&["a", "b", "c"]), of(&["c", "a", "b"]));
    let different = [
        of(&["a", "b"]),
        of(&["a", "a", "b"]),
        of(&["ab"]),
        of(&["a"]),
        of(&["a", ""]),
        of(&[]),
    ];
    for (index, one) in different.iter().enumerate() {
        assert!(different[index + 1..].iter().all(|other| other != one));
    }
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(of(&[]).to_string(), empty);
    assert_eq!(empty.parse::<DatasetFingerprint>().unwrap(), of(&[]));
    assert!("E3".parse::<DatasetFingerprint>().is_err());
}

/// Files: what one store saved another reads; a half-written temporary file is no record; a session's
/// later record replaces its earlier one.
#[test]
fn files_keep_the_ledger() {
    let folder =
        std::env::temp_dir().join(format!("vaultlab-ledger-{}", SessionId::random().unwrap()));
    let store = FileStore::new(&folder);
    assert_eq!(ledger_of(&store), Ledger::default());
    [record(1, 3), record(2, 4), record(1, 5)]
        .iter()
        .for_each(|record| save(&store, record));
    let of_data_set = folder.join(fingerprint().to_string());
    std::fs::write(of_data_set.join("torn.tmp"), b"{\"ver").unwrap();
    assert_eq!(ledger_of(&FileStore::new(&folder)).steps(), 9);

    let mut session = begin(PLAN, 3, 0, FileStore::new(&folder)).unwrap();
    step(&mut session).unwrap();
    assert_eq!(ledger_of(&store).steps(), 10);

    std::fs::write(of_data_set.join("foreign.json"), b"{}").unwrap();
    assert!(matches!(
        step(&mut session),
        Err(PrivacyError::Ledger(LedgerError::Damaged(_)))
    ));
    std::fs::remove_dir_all(&folder).unwrap();
    let file = folder.with_extension("file");
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(
        begin(PLAN, 1, 0, FileStore::new(&file)),
        Err(PrivacyError::Ledger(LedgerError::Store(_)))
    ));
    std::fs::remove_file(&file).unwrap();
}
