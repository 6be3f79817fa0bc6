//! A process that dies at any read or write of its ledger, before or after the bytes are kept: what was
//! released is always on record.

mod common;

use std::cell::Cell;

use common::{PLAN, begin_on, rows, step};
use vaultlab_privacy::ledger::{
    DatasetFingerprint, DatasetRows, LedgerStore, MemoryStore, RowLedger, SessionId, StoreError,
};
use vaultlab_privacy::session::{PrivacyError, PrivacyPlan};

/// When a process dies.
#[derive(Clone, Copy, PartialEq)]
enum Death {
    /// Before the operation has any effect.
    Before,
    /// After a write was kept, before the writer hears of it.
    After,
}

/// A store whose process dies at the operation with a given number, and answers nothing from then on.
struct Mortal {
    kept: MemoryStore,
    left: Cell<u32>,
    death: Death,
}

impl Mortal {
    /// `Ok(true)`: go on; `Ok(false)`: take effect, but die.
    fn operation(&self) -> Result<bool, StoreError> {
        let dead = || StoreError::writing("the process died");
        let left = self.left.get().checked_sub(1).ok_or_else(dead)?;
        self.left.set(left);
        match (left, self.death) {
            (0, Death::Before) => Err(dead()),
            (0, Death::After) => Ok(false),
            _ => Ok(true),
        }
    }
}

fn survived(alive: bool) -> Result<(), StoreError> {
    if alive {
        Ok(())
    } else {
        Err(StoreError::writing("the process died"))
    }
}

impl LedgerStore for Mortal {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        survived(self.operation()?)?;
        self.kept.load(fingerprint).await
    }

    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let alive = self.operation()?;
        self.kept.save_durably(fingerprint, session, record).await?;
        survived(alive)
    }

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        survived(self.operation()?)?;
        self.kept.data_sets().await
    }

    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        survived(self.operation()?)?;
        self.kept.load_rows(fingerprint).await
    }

    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let alive = self.operation()?;
        self.kept.save_rows_durably(fingerprint, record).await?;
        survived(alive)
    }
}

fn ledger_of(store: &MemoryStore, rows: &DatasetRows) -> RowLedger {
    pollster::block_on(RowLedger::read(store, rows)).unwrap()
}

/// Takes steps until the process dies or the plan ends; how many were released.
fn train(rows: &DatasetRows, plan: PrivacyPlan, run: u8, done: u32, store: &Mortal) -> u32 {
    let Ok(mut session) = begin_on(rows.clone(), plan, run, done, store) else {
        return 0;
    };
    let mut released = 0;
    while step(&mut session).is_ok() {
        released += 1;
    }
    released
}

/// A run of three steps on rows that partly were used before, killed at every operation in turn, resumed
/// from a checkpoint that may be a step behind, and killed again: the record always holds every release,
/// and the rows that it counts for, as another data set that shares rows sees it too.
#[test]
fn the_record_holds_every_release_whenever_the_process_dies() {
    let plan = PrivacyPlan { steps: 3, ..PLAN };
    let (mine, other, third) = (rows(0..200), rows(150..350), rows(199..399));
    let mut most = 0;
    for death in [Death::Before, Death::After] {
        for first in 0..60 {
            let kept = MemoryStore::default();
            step(&mut begin_on(other.clone(), plan, 1, 0, kept.clone()).unwrap()).unwrap();
            let life = |left: u32| Mortal {
                kept: kept.clone(),
                left: Cell::new(left),
                death,
            };
            let released = train(&mine, plan, 2, 0, &life(first));
            most = most.max(released);
            let check = |released: u32| {
                let own = ledger_of(&kept, &mine);
                assert!(own.own().steps() >= u64::from(released), "died at {first}");
                let spent = own.spent(plan.delta).unwrap();
                let all = PrivacyPlan {
                    steps: released + 1,
                    ..plan
                };
                assert!(spent.epsilon >= all.epsilon().unwrap() * (1.0 - 1e-4));
                // Row 199 is in all three data sets.
                let seen = ledger_of(&kept, &third).spent(plan.delta).unwrap();
                assert!(seen.charges.steps() > u64::from(released));
                assert!(ledger_of(&kept, &third).incomparable().is_empty());
            };
            check(released);
            // The checkpoint was written, or was not, after the last step.
            let done = released.saturating_sub(first % 2);
            let again = train(&mine, plan, 2, done, &life(first / 2));
            check(released + again);
            let whole = train(&mine, plan, 2, done, &life(u32::MAX));
            check(released + again + whole);
        }
    }
    assert_eq!(most, 3, "the longest life takes all steps");
}

/// With a budget of four steps in all, however often the process dies and starts again, no more than four
/// are released, over both data sets that share rows.
#[test]
fn dying_never_buys_budget() {
    let four = PrivacyPlan { steps: 4, ..PLAN }.epsilon().unwrap();
    let plan = PrivacyPlan {
        steps: 100,
        budget_epsilon: four * 1.0001,
        ..PLAN
    };
    let data_sets = [rows(0..200), rows(100..300)];
    for seed in 0..40_u32 {
        let kept = MemoryStore::default();
        let mut released = 0;
        for life in 0..12 {
            let store = Mortal {
                kept: kept.clone(),
                left: Cell::new(5 + (seed * 7 + life * 13) % 29),
                death: if (seed + life) % 2 == 0 {
                    Death::Before
                } else {
                    Death::After
                },
            };
            // Always from the beginning: a cheat that forgets its checkpoints.
            let rows = &data_sets[(seed + life) as usize % 2];
            released += train(rows, plan, life as u8, 0, &store);
        }
        assert!(released <= 4, "seed {seed}: {released}");
        let mut end = begin_on(data_sets[0].clone(), plan, 99, 0, kept).unwrap();
        while released < 4 && step(&mut end).is_ok() {
            released += 1;
        }
        assert!(matches!(
            step(&mut end),
            Err(PrivacyError::BudgetSpent { .. })
        ));
    }
}
