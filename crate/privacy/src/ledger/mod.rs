//! What was ever charged to a data set's rows.
//!
//! A data set is known by its [`DatasetFingerprint`], and beside its charges the ledger keeps a hash of each
//! of its rows ([`DatasetRows`]), so that runs on data sets that merely overlap are composed for the rows
//! they share ([`RowLedger`]). Reloading a page, changing a slider, adding a row or starting another run
//! resets nothing.
//!
//! Each session (one opening of a run, in one tab or process) owns one [`SessionRecord`] and writes no
//! other; the [`Ledger`] is the union of all records. So two tabs at once cannot overwrite each other's
//! charges, without locks or transactions in the store: a grow-only counter per session (Shapiro et al.
//! 2011). Row hashes are on record before the first charge, and a charge before the noisy sum exists, so a
//! crash can only over-count.

mod charges;
mod id;
mod record;
mod row_ledger;
mod rows;
mod store;

#[cfg(not(target_arch = "wasm32"))]
mod file_store;

use thiserror::Error;

pub use charges::Charges;
pub(crate) use charges::accounted_delta;
pub use id::{DatasetFingerprint, RunId, SessionId};
pub use record::{LEDGER_VERSION, RunCharge, SessionRecord};
pub(crate) use row_ledger::RowLedgerReader;
pub use row_ledger::{Overlap, RowLedger, Spent};
pub use rows::{DatasetRows, ROWS_VERSION};
pub use store::{LedgerStore, MemoryStore, StoreError};

#[cfg(not(target_arch = "wasm32"))]
pub use file_store::FileStore;

/// The ledger cannot be trusted to hold everything that was charged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// A record is not what this program writes. It may stand for any amount, so it cannot be skipped.
    #[error(
        "the privacy ledger of these rows is damaged ({0}); what was spent on them is unknown, so no private step can be taken"
    )]
    Damaged(String),
    /// A record of a data set's rows is not what this program writes, so what it shares with others is unknown.
    #[error(
        "the record of the rows of a data set in the privacy ledger is damaged ({0}); which of its charges count for \
         these rows is unknown, so no private step can be taken"
    )]
    DamagedRows(&'static str),
    /// A record was written by a newer version of this program.
    #[error(
        "the privacy ledger of these rows has version {0}, newer than this program; update the program"
    )]
    Newer(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A charge was written, but reading it back does not show it.
    #[error(
        "a charge was written to the privacy ledger but is not there when read back; the storage cannot be relied on"
    )]
    ChargeLost,
}

/// Everything charged to one data set: one record per session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    records: Vec<SessionRecord>,
}

impl Ledger {
    /// Reads and merges all records of a data set; empty if there are none.
    ///
    /// # Errors
    /// When the store fails, or any record is damaged or newer.
    pub async fn read<S: LedgerStore>(
        store: &S,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self::default();
        for bytes in store.load(fingerprint).await? {
            ledger.merge(SessionRecord::parse(&bytes, fingerprint)?);
        }
        Ok(ledger)
    }

    /// Adds a session's record; of two records of one session the larger counts.
    pub fn merge(&mut self, record: SessionRecord) {
        match self
            .records
            .iter_mut()
            .find(|known| known.session == record.session)
        {
            None => self.records.push(record),
            Some(known) if known.charge.steps < record.charge.steps => *known = record,
            Some(_) => {}
        }
    }

    /// The record of a session, if it ever charged.
    pub fn session(&self, session: &SessionId) -> Option<&SessionRecord> {
        self.records
            .iter()
            .find(|record| record.session == *session)
    }

    /// All charges, one per session that charged.
    pub fn charges(&self) -> impl Iterator<Item = &RunCharge> {
        self.records.iter().map(|record| &record.charge)
    }

    /// Steps charged over all runs.
    pub fn steps(&self) -> u64 {
        self.charges()
            .fold(0, |sum, charge| sum.saturating_add(charge.steps))
    }

    /// Number of different runs charged.
    pub fn runs(&self) -> usize {
        let mut runs: Vec<RunId> = self.charges().map(|charge| charge.run).collect();
        runs.sort_unstable();
        runs.dedup();
        runs.len()
    }
}
