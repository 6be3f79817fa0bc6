//! Data sets that share rows: a charge counts for every row of the data set it was made on, and for no
//! other, whatever the data sets, and whatever the storage does meanwhile.

mod common;

use std::collections::BTreeSet;

use common::{PLAN, begin_on, close, rows, run_id, step};
use proptest::prelude::*;
use vaultlab_privacy::accountant::{AccountingError, Phase, epsilon};
use vaultlab_privacy::ledger::{
    Charges, DatasetRows, LedgerError, LedgerStore, MemoryStore, RowLedger, RunCharge, RunId,
    SessionId, SessionRecord,
};
use vaultlab_privacy::session::{PrivacyError, PrivacyPlan};

fn ledger_of(store: &impl LedgerStore, rows: &DatasetRows) -> RowLedger {
    pollster::block_on(RowLedger::read(store, rows)).unwrap()
}

/// A charge of one of four mechanisms; on so few rows that a batch is never more.
fn charge(session: u8, mechanism: u8, steps: u64) -> RunCharge {
    RunCharge {
        run: run_id(session % 3),
        rows: 40,
        expected_batch: 1 + u64::from(mechanism % 2),
        noise_multiplier: 1.0,
        clip_norm: 0.5,
        steps,
        delta: 1e-5,
        batch_cap: (mechanism >= 2).then_some(30),
        dimensions: 16,
    }
}

fn save_charge(store: &MemoryStore, rows: &DatasetRows, session: u8, charge: RunCharge) {
    let record = SessionRecord {
        fingerprint: rows.fingerprint(),
        session: SessionId::from_bytes([session; 16]),
        charge,
    };
    pollster::block_on(store.save_durably(
        &record.fingerprint,
        &record.session,
        &record.to_bytes(),
    ))
    .unwrap();
}

fn save_rows(store: &MemoryStore, rows: &DatasetRows) {
    pollster::block_on(store.save_rows_durably(&rows.fingerprint(), &rows.to_bytes())).unwrap();
}

/// Steps of each mechanism: what ε depends on.
fn steps_by_mechanism(charges: &Charges) -> Vec<(u64, Option<u64>, u64)> {
    let mut steps: Vec<(u64, Option<u64>, u64)> = Vec::new();
    for charge in charges.iter() {
        let key = (charge.expected_batch, charge.batch_cap);
        match steps
            .iter_mut()
            .find(|(batch, cap, _)| (*batch, *cap) == key)
        {
            Some(known) => known.2 += charge.steps,
            None => steps.push((key.0, key.1, charge.steps)),
        }
    }
    steps.sort_unstable();
    steps
}

fn is_within(less: &[(u64, Option<u64>, u64)], more: &[(u64, Option<u64>, u64)]) -> bool {
    less.iter().all(|(batch, cap, steps)| {
        let same = |(b, c, s): &&(u64, Option<u64>, u64)| (b, c) == (batch, cap) && s >= steps;
        more.iter().find(same).is_some()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Against brute force: add up, for each single row, the charges of all data sets that hold it. Every
    /// row's charges are within one of the combinations that the ledger accounts for, and every combination
    /// is what some row really bears.
    #[test]
    fn rows_bear_the_charges_of_all_their_data_sets(
        sets in prop::collection::vec(
            (prop::collection::btree_set(0..12_u64, 1..9), prop::collection::vec((0..4_u8, 1..50_u64), 0..3)),
            1..6,
        ),
        asked in prop::collection::btree_set(0..12_u64, 1..9),
    ) {
        let store = MemoryStore::default();
        let mut session = 0;
        let mut made: Vec<(BTreeSet<u64>, RunCharge)> = Vec::new();
        for (numbers, charges) in sets {
            let rows = rows(numbers.iter().copied());
            save_rows(&store, &rows);
            for (mechanism, steps) in charges {
                let charge = charge(session, mechanism, steps);
                save_charge(&store, &rows, session, charge);
                made.push((numbers.clone(), charge));
                session += 1;
            }
        }
        let ledger = ledger_of(&store, &rows(asked.iter().copied()));
        let found: Vec<_> = ledger.combinations().iter().map(steps_by_mechanism).collect();
        let of_row = |row: u64| {
            let charges = made.iter().filter(|(numbers, _)| numbers.contains(&row));
            steps_by_mechanism(&Charges::new(charges.map(|(_, charge)| charge)))
        };
        let expected: Vec<_> = asked.iter().map(|&row| of_row(row)).collect();
        for row in &expected {
            prop_assert!(found.iter().any(|combination| is_within(row, combination)));
        }
        for combination in &found {
            prop_assert!(expected.contains(combination));
        }
        prop_assert!(ledger.incomparable().is_empty());
        for overlap in ledger.overlaps() {
            prop_assert!(overlap.shared_rows > 0 && overlap.shared_rows <= overlap.rows);
        }
    }

    /// The same charges in another order, from other sessions, merged twice: the same ledger entry.
    #[test]
    fn charges_have_no_order(
        charges in prop::collection::vec((0..3_u8, 0..4_u8, 1..50_u64), 1..8), turn in 0..8_usize,
    ) {
        let made: Vec<RunCharge> =
            charges.iter().map(|&(run, mechanism, steps)| charge(run, mechanism, steps)).collect();
        let mut turned = made.clone();
        turned.rotate_left(turn % made.len());
        let (one, other) = (Charges::new(&made), Charges::new(&turned));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.phases(), other.phases());
        prop_assert_eq!(one.steps(), made.iter().map(|charge| charge.steps).sum::<u64>());
        prop_assert_eq!(Charges::new(one.iter()), one);
    }

    /// What is written of rows is read back; one byte changed or cut off is damage, whatever byte.
    #[test]
    fn row_records_are_checked(
        numbers in prop::collection::vec(0..50_u64, 0..20), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let rows = rows(numbers);
        let name = rows.fingerprint();
        let bytes = rows.to_bytes();
        prop_assert_eq!(&DatasetRows::parse(&bytes, &name).unwrap(), &rows);
        let at = at.index(bytes.len());
        prop_assert!(DatasetRows::parse(&bytes[..at], &name).is_err());
        let mut changed = bytes;
        changed[at] ^= flip;
        prop_assert!(DatasetRows::parse(&changed, &name).is_err());
        changed[at] ^= flip;
        changed.push(0);
        prop_assert!(DatasetRows::parse(&changed, &name).is_err());
    }
}

/// ε of overlapping data sets is that of the row in most of them: 60 shared rows bear both runs, and the
/// others one.
#[test]
fn shared_rows_bear_both_runs() {
    let store = MemoryStore::default();
    let (first, second) = (rows(0..200), rows(140..340));
    save_rows(&store, &first);
    save_charge(
        &store,
        &first,
        1,
        RunCharge {
            rows: 200,
            ..charge(1, 1, 40)
        },
    );
    let alone = ledger_of(&store, &first).spent(1e-5).unwrap();

    let ledger = ledger_of(&store, &second);
    let [overlap] = ledger.overlaps() else {
        panic!("one overlap")
    };
    assert_eq!(
        (overlap.fingerprint, overlap.shared_rows, overlap.rows),
        (first.fingerprint(), 60, 200)
    );
    assert_eq!((overlap.ledger.steps(), overlap.ledger.runs()), (40, 1));
    let spent = ledger.spent(1e-5).unwrap();
    assert_eq!(
        spent, alone,
        "the shared rows bear what was charged to the first"
    );

    save_rows(&store, &second);
    save_charge(
        &store,
        &second,
        2,
        RunCharge {
            rows: 200,
            ..charge(2, 1, 30)
        },
    );
    for data_set in [&first, &second] {
        let both = ledger_of(&store, data_set).spent(1e-5).unwrap();
        assert_eq!((both.charges.steps(), both.charges.runs()), (70, 2));
        let phase = |steps| Phase {
            steps,
            ..charge(0, 1, 0).phase()
        };
        let q = 2.0 / 200.0;
        let together = Phase {
            sampling_rate: q,
            ..phase(70)
        };
        assert!(close(both.epsilon, epsilon(&[together], 1e-5).unwrap()));
    }
    let apart = ledger_of(&store, &rows(340..400));
    assert!(apart.overlaps().is_empty());
    assert_eq!(apart.spent(1e-5).unwrap().epsilon, 0.0);
}

/// Rows that are repeated count as often as both data sets have them, and are one row to the ledger.
#[test]
fn repeated_rows_are_counted() {
    let store = MemoryStore::default();
    let first = rows([1, 1, 1, 2, 3]);
    save_rows(&store, &first);
    save_charge(&store, &first, 1, charge(1, 0, 5));
    let ledger = ledger_of(&store, &rows([1, 1, 4]));
    assert_eq!(ledger.overlaps()[0].shared_rows, 2);
    assert_eq!(ledger.spent(1e-5).unwrap().charges.steps(), 5);
}

/// More combinations than are told apart are counted as one that bears everything.
#[test]
fn many_combinations_only_over_count() {
    let store = MemoryStore::default();
    for number in 0..20_u8 {
        let one = rows([u64::from(number), 1000 + u64::from(number)]);
        save_rows(&store, &one);
        let own_mechanism = RunCharge {
            noise_multiplier: 1.0 + f64::from(number),
            ..charge(number, 0, 3)
        };
        save_charge(&store, &one, number, own_mechanism);
    }
    let few = ledger_of(&store, &rows(0..5)).combinations();
    assert_eq!(few.len(), 5);
    assert!(few.iter().all(|charges| charges.steps() == 3));
    let many = ledger_of(&store, &rows(0..20)).combinations();
    assert_eq!(many.len(), 1);
    assert_eq!(many[0].steps(), 60);
}

/// A record of rows that is damaged stops every private step it may bear on; one that is missing counts in
/// full for the same data set, and is reported for others.
#[test]
fn damage_and_gaps_never_lower_epsilon() {
    let store = MemoryStore::default();
    let (old, new) = (rows(0..200), rows(100..300));
    save_charge(
        &store,
        &old,
        1,
        RunCharge {
            rows: 200,
            ..charge(1, 1, 40)
        },
    );
    let same = ledger_of(&store, &old);
    assert_eq!(same.spent(1e-5).unwrap().charges.steps(), 40);
    let other = ledger_of(&store, &new);
    assert_eq!(other.incomparable(), [old.fingerprint()]);
    assert!(other.overlaps().is_empty());
    let session = begin_on(new.clone(), PLAN, 2, 0, store.clone()).unwrap();
    assert_eq!(session.statement().incomparable_data_sets, 1);

    // A session on the old rows records them; from then on they are comparable, also to a session that began before.
    let mut late = session;
    step(&mut begin_on(old.clone(), PLAN, 3, 0, store.clone()).unwrap()).unwrap();
    step(&mut late).unwrap();
    assert!(late.ledger().incomparable().is_empty());
    assert_eq!(late.spent().charges.steps(), 42);

    pollster::block_on(store.save_rows_durably(&old.fingerprint(), b"VLABROWS")).unwrap();
    for data_set in [&new, &old] {
        let end = begin_on(data_set.clone(), PLAN, 4, 0, store.clone())
            .and_then(|mut session| step(&mut session));
        assert!(matches!(
            end,
            Err(PrivacyError::Ledger(LedgerError::DamagedRows(_)))
        ));
    }
    let (name, session) = (new.fingerprint(), SessionId::from_bytes([9; 16]));
    pollster::block_on(store.save_durably(&name, &session, b"{")).unwrap();
    save_rows(&store, &old);
    assert!(matches!(
        begin_on(old, PLAN, 4, 0, store).err(),
        Some(PrivacyError::Ledger(LedgerError::Damaged(_)))
    ));
}

/// Charges that an earlier version of the program recorded under the name it gave these rows count in full.
#[test]
fn a_former_name_counts() {
    let store = MemoryStore::default();
    let former = rows(1000..1001);
    save_charge(
        &store,
        &former,
        1,
        RunCharge {
            rows: 200,
            ..charge(1, 1, 40)
        },
    );
    let now = rows(0..200).formerly(former.fingerprint());
    let ledger = ledger_of(&store, &now);
    assert!(ledger.incomparable().is_empty());
    assert_eq!(ledger.overlaps()[0].shared_rows, 200);
    assert_eq!(ledger.spent(1e-5).unwrap().charges.steps(), 40);
    let mut session = begin_on(now, PLAN, 2, 0, store).unwrap();
    step(&mut session).unwrap();
    assert_eq!(session.spent().charges.steps(), 41);
}

/// The budget is that of the rows: a run on other rows stops when the shared ones have spent it.
#[test]
fn the_budget_holds_for_shared_rows() {
    let store = MemoryStore::default();
    let plan = PrivacyPlan {
        budget_epsilon: PrivacyPlan { steps: 9, ..PLAN }.epsilon().unwrap() * 1.0001,
        ..PLAN
    };
    let mut first = begin_on(rows(0..200), plan, 1, 0, store.clone()).unwrap();
    (0..5).for_each(|_| drop(step(&mut first).unwrap()));
    let mut second = begin_on(rows(199..399), plan, 2, 0, store.clone()).unwrap();
    (0..4).for_each(|_| drop(step(&mut second).unwrap()));
    for session in [&mut first, &mut second] {
        assert!(matches!(
            step(session),
            Err(PrivacyError::BudgetSpent { .. })
        ));
    }
    let mut third = begin_on(
        rows(0..199).clone(),
        PrivacyPlan { rows: 199, ..plan },
        3,
        0,
        store,
    )
    .unwrap();
    step(&mut third).unwrap();
    assert_eq!(
        third.spent().charges.steps(),
        6,
        "five of the first, one of its own"
    );
}

/// The plan's number of rows is the data set's: another sampling rate would be accounted otherwise.
#[test]
fn a_plan_for_other_rows_is_refused() {
    let refused = begin_on(rows(0..199), PLAN, 1, 0, MemoryStore::default());
    assert!(matches!(
        refused.err(),
        Some(PrivacyError::OtherRows {
            planned: 200,
            given: 199
        })
    ));
}

/// The noise sampler's error comes out of δ: with more of it than the first share covers, ε is that at a
/// visibly smaller δ, and with more than any share covers, infinite.
#[test]
fn the_sampler_error_comes_out_of_delta() {
    let with = |dimensions: u64, steps: u64| {
        let charge = RunCharge {
            dimensions,
            steps,
            noise_multiplier: 4.0,
            ..charge(1, 1, 0)
        };
        let mut asked = Vec::new();
        let epsilon = Charges::new([&charge]).epsilon_by(1e-5, |_, delta| {
            asked.push(delta);
            Ok::<f64, AccountingError>(2.0)
        });
        (epsilon.unwrap(), asked)
    };
    let (epsilon, asked) = with(1 << 30, 1000);
    assert_eq!((epsilon, asked.len()), (2.0, 1));
    assert!(asked[0] < 1e-5 && asked[0] > 1e-5 * (1.0 - 1e-11));
    // (1 + e²)·2^63·2^30·2^-122 = 1.6e-8 needs more than 2^-20·δ, and no more than δ/4.
    let (epsilon, asked) = with(1 << 30, 1 << 63);
    assert_eq!(epsilon, 2.0);
    let left = asked.last().unwrap();
    let error = (1.0 + 2.0_f64.exp()) * 2.0_f64.powi(63 + 30 - 122);
    assert!(1e-5 - left >= error && asked.len() > 2);
    assert_eq!(with(1 << 50, 1 << 63).0, f64::INFINITY);
}

/// Runs keep their identity through the ledger.
#[test]
fn runs_are_told_apart() {
    let charges = Charges::new(&[charge(0, 0, 1), charge(1, 0, 2), charge(3, 0, 4)]);
    assert_eq!((charges.runs(), charges.steps()), (2, 7));
    let of_first: Vec<RunId> = charges.iter().map(|charge| charge.run).collect();
    assert_eq!(of_first, [run_id(0), run_id(1)]);
}
