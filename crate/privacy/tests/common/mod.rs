//! What the session and ledger tests share.
#![allow(dead_code)] // each test binary uses its own part

use std::cell::{Cell, RefCell};

use vaultlab_privacy::ledger::{
    DatasetFingerprint, DatasetRows, LedgerStore, MemoryStore, RunId, SessionId, StoreError,
};
use vaultlab_privacy::randomness::Randomness;
use vaultlab_privacy::session::{
    HostSum, PrivacyError, PrivacyPlan, PrivateSession, ReleasedGradient,
};

/// 200 rows in batches of 20, σ = 1: ε 8 after about 200 steps.
pub const PLAN: PrivacyPlan = PrivacyPlan {
    rows: 200,
    expected_batch: 20,
    noise_multiplier: 1.0,
    clip_norm: 0.5,
    steps: 12,
    delta: 1e-4,
    budget_epsilon: 8.0,
    batch_cap: None,
};

pub const SEED: Randomness = Randomness::InsecureSeed(3);

/// Coordinates of the gradients in these tests.
pub const DIMENSIONS: usize = 16;

/// The data set of the rows with these numbers.
pub fn rows(numbers: impl IntoIterator<Item = u64>) -> DatasetRows {
    DatasetRows::of_rows(numbers.into_iter().map(u64::to_le_bytes))
}

/// The data set that [`begin`] uses for [`PLAN`].
pub fn fingerprint() -> DatasetFingerprint {
    rows(0..PLAN.rows).fingerprint()
}

/// ε as sessions account it and as plans state it: the same mechanisms, grouped and discretised alike up to
/// the accountant's grid.
pub fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * b
}

pub fn run_id(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

/// Begins a run in test mode, on rows 0, 1, … as many as the plan has.
pub fn begin<S: LedgerStore>(
    plan: PrivacyPlan,
    run: u8,
    done: u32,
    store: S,
) -> Result<PrivateSession<S>, PrivacyError> {
    begin_on(rows(0..plan.rows), plan, run, done, store)
}

/// Begins a run in test mode on the given rows.
pub fn begin_on<S: LedgerStore>(
    rows: DatasetRows,
    plan: PrivacyPlan,
    run: u8,
    done: u32,
    store: S,
) -> Result<PrivateSession<S>, PrivacyError> {
    pollster::block_on(PrivateSession::begin(
        plan,
        rows,
        run_id(run),
        done,
        SEED,
        store,
    ))
}

/// One step with a sum that depends on the rows drawn.
pub fn step<S: LedgerStore>(
    session: &mut PrivateSession<S>,
) -> Result<ReleasedGradient, PrivacyError> {
    let step = session.open_step()?;
    let mut sum = HostSum::new(step.grid(), DIMENSIONS);
    for &row in step.rows() {
        // A gradient along one axis.
        sum.add_row(&[(row % DIMENSIONS, &[1.0])]);
    }
    pollster::block_on(step.release(sum))
}

/// What goes wrong at a save.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The write fails and nothing is kept.
    Refused,
    /// The write is kept, but reported as failed: a crash between the two.
    KeptButReported,
    /// The write is reported as kept, and is not.
    Lost,
}

/// A store with faults, that records what was on disk when.
pub struct FaultyStore {
    pub kept: MemoryStore,
    pub fault: Cell<Fault>,
    pub unreadable: Cell<bool>,
    pub saves: RefCell<Vec<Vec<u8>>>,
}

impl FaultyStore {
    pub fn new(kept: MemoryStore) -> Self {
        Self {
            kept,
            fault: Cell::new(Fault::None),
            unreadable: Cell::new(false),
            saves: RefCell::default(),
        }
    }
}

impl LedgerStore for FaultyStore {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        if self.unreadable.get() {
            return Err(StoreError::reading("no disk"));
        }
        self.kept.load(fingerprint).await
    }

    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.saves.borrow_mut().push(record.to_vec());
        let fault = self.fault.get();
        if matches!(fault, Fault::None | Fault::KeptButReported) {
            self.kept.save_durably(fingerprint, session, record).await?;
        }
        match fault {
            Fault::Refused | Fault::KeptButReported => Err(StoreError::writing("disk full")),
            Fault::None | Fault::Lost => Ok(()),
        }
    }

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        if self.unreadable.get() {
            return Err(StoreError::reading("no disk"));
        }
        self.kept.data_sets().await
    }

    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if self.unreadable.get() {
            return Err(StoreError::reading("no disk"));
        }
        self.kept.load_rows(fingerprint).await
    }

    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.kept.save_rows_durably(fingerprint, record).await
    }
}
