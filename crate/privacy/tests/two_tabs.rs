//! Two sessions on the same rows, or on data sets that share some, whose reads and writes of the store
//! interleave in every way: both may reach for the last step of the budget, and at most one may get it.

mod common;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use common::{PLAN, begin, begin_on, fingerprint, rows};
use vaultlab_privacy::grid::Grid;
use vaultlab_privacy::ledger::{
    DatasetFingerprint, Ledger, LedgerStore, MemoryStore, RowLedger, SessionId, StoreError,
};
use vaultlab_privacy::session::{HostSum, PrivacyError, PrivacyPlan, ReleasedGradient};

/// A store that lets another task run before charges are read and before they are written, and with
/// `at_rows` before every other operation too.
struct Interruptible {
    store: MemoryStore,
    at_rows: bool,
}

impl Interruptible {
    fn at_charges(store: MemoryStore) -> Self {
        Self {
            store,
            at_rows: false,
        }
    }

    fn always(store: MemoryStore) -> Self {
        Self {
            store,
            at_rows: true,
        }
    }

    async fn pause_at_rows(&self) {
        if self.at_rows {
            Pause(false).await;
        }
    }
}

impl LedgerStore for Interruptible {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        Pause(false).await;
        self.store.load(fingerprint).await
    }

    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError> {
        Pause(false).await;
        self.store.save_durably(fingerprint, session, record).await
    }

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        self.pause_at_rows().await;
        self.store.data_sets().await
    }

    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.pause_at_rows().await;
        self.store.load_rows(fingerprint).await
    }

    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.pause_at_rows().await;
        self.store.save_rows_durably(fingerprint, record).await
    }
}

/// Pending once, then ready.
struct Pause(bool);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

type Outcome = Result<ReleasedGradient, PrivacyError>;

/// Polls both futures in the order that the bits of `schedule` give, then to their ends.
fn interleave(
    first: impl Future<Output = Outcome>,
    second: impl Future<Output = Outcome>,
    schedule: u64,
) -> [Outcome; 2] {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut ends = [None, None];
    let mut context = Context::from_waker(Waker::noop());
    for turn in 0..128 {
        let who = if turn < 64 {
            (schedule >> turn & 1) as usize
        } else {
            turn % 2
        };
        if ends[who].is_none() {
            let polled = if who == 0 {
                first.as_mut().poll(&mut context)
            } else {
                second.as_mut().poll(&mut context)
            };
            if let Poll::Ready(end) = polled {
                ends[who] = Some(end);
            }
        }
    }
    ends.map(|end| end.expect("128 turns are enough for 20 pauses each"))
}

/// A release pauses three times (read, write, read), so it takes four polls; all 2^8 schedules of eight
/// turns include every interleaving. The budget allows one step more, and both sessions ask for it.
#[test]
fn at_most_one_gets_the_last_step() {
    let one = PrivacyPlan { steps: 1, ..PLAN }.epsilon().unwrap();
    let two = PrivacyPlan { steps: 2, ..PLAN }.epsilon().unwrap();
    let plan = PrivacyPlan {
        budget_epsilon: (one + two) / 2.0,
        ..PLAN
    };
    let (mut got_one, mut got_none) = (0, 0);
    for schedule in 0..1_u64 << 8 {
        let store = MemoryStore::default();
        let mut sessions =
            [1, 2].map(|run| begin(plan, run, 0, Interruptible::at_charges(store.clone())));
        let [Ok(a), Ok(b)] = &mut sessions else {
            panic!("both begin")
        };
        let sum = || HostSum::new(Grid::of_plan(&plan), 4);
        let ends = interleave(
            a.open_step().unwrap().release(sum()),
            b.open_step().unwrap().release(sum()),
            schedule,
        );
        let released = ends.iter().filter(|end| end.is_ok()).count();
        let ledger = pollster::block_on(Ledger::read(&store, &fingerprint())).unwrap();
        assert!(released <= 1, "schedule {schedule:b}");
        assert!(ledger.steps() >= released as u64);
        for end in ends {
            assert!(matches!(end, Ok(_) | Err(PrivacyError::BudgetSpent { .. })));
        }
        got_one += u32::from(released == 1);
        got_none += u32::from(released == 0);
    }
    // Schedules that run one after the other, and schedules in which both wrote before either looked.
    assert!(got_one > 0 && got_none > 0, "{got_one} {got_none}");
}

/// With budget for both, both are released in every interleaving, and both are on record: neither
/// session's write can undo the other's.
#[test]
fn no_charge_is_overwritten() {
    for schedule in 0..1_u64 << 8 {
        let store = MemoryStore::default();
        // Two tabs that resumed the same run.
        let mut sessions =
            [1, 1].map(|run| begin(PLAN, run, 0, Interruptible::at_charges(store.clone())));
        let [Ok(a), Ok(b)] = &mut sessions else {
            panic!("both begin")
        };
        let sum = || HostSum::new(Grid::of_plan(&PLAN), 4);
        let ends = interleave(
            a.open_step().unwrap().release(sum()),
            b.open_step().unwrap().release(sum()),
            schedule,
        );
        assert!(ends.iter().all(Result::is_ok), "schedule {schedule:b}");
        let ledger = pollster::block_on(Ledger::read(&store, &fingerprint())).unwrap();
        assert_eq!(ledger.steps(), 2, "schedule {schedule:b}");
    }
}

/// Schedules of two tasks of some `most` turns each: one takes i turns, the other j, then the first to its
/// end, then the other; and the same with the tasks exchanged. Every second pair, so that each i has its turn.
fn schedules(most: u32) -> impl Iterator<Item = u64> {
    let ones = |count: u32| (1_u64 << count) - 1;
    (0..=most)
        .flat_map(move |i| (i % 2..=most).step_by(2).map(move |j| (i, j)))
        .map(move |(i, j)| ones(j) << i | ones(64 - i - j - most) << (i + j + most))
        .flat_map(|schedule| [schedule, !schedule])
}

/// Data sets that share one row, on neither of which anything is on record yet: row hashes and charges of both
/// sessions interleave at every point, and at most one gets the last step that the shared row has.
#[test]
fn at_most_one_gets_the_last_step_of_a_shared_row() {
    let one = PrivacyPlan { steps: 1, ..PLAN }.epsilon().unwrap();
    let plan = PrivacyPlan {
        budget_epsilon: one * 1.0001,
        ..PLAN
    };
    let data_sets = [rows(0..200), rows(199..399)];
    let (mut got_one, mut got_none) = (0, 0);
    for schedule in schedules(14) {
        let store = MemoryStore::default();
        let mut run = 0;
        let mut sessions = data_sets.clone().map(|rows| {
            run += 1;
            begin_on(rows, plan, run, 0, Interruptible::always(store.clone()))
        });
        let [Ok(a), Ok(b)] = &mut sessions else {
            panic!("both begin")
        };
        let grid = Grid::of_plan(&plan);
        let ends = interleave(
            a.open_step().unwrap().release(HostSum::new(grid, 4)),
            b.open_step().unwrap().release(HostSum::new(grid, 4)),
            schedule,
        );
        let released = ends.iter().filter(|end| end.is_ok()).count();
        assert!(released <= 1, "schedule {schedule:b}");
        let shared = pollster::block_on(RowLedger::read(&store, &data_sets[0])).unwrap();
        let spent = shared.spent(plan.delta).unwrap();
        assert!(spent.charges.steps() >= released as u64);
        for end in ends {
            assert!(matches!(end, Ok(_) | Err(PrivacyError::BudgetSpent { .. })));
        }
        got_one += u32::from(released == 1);
        got_none += u32::from(released == 0);
    }
    assert!(got_one > 0 && got_none > 0, "{got_one} {got_none}");
}
