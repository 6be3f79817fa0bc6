//! Where records are kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use super::{DatasetFingerprint, SessionId};

/// The store could not read or write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the privacy ledger could not be {action}: {reason}; free some space or allow this site to store data"
)]
pub struct StoreError {
    /// "read" or "written".
    pub action: &'static str,
    /// What the platform said.
    pub reason: String,
}

impl StoreError {
    /// Reading failed.
    pub fn reading(reason: impl ToString) -> Self {
        Self {
            action: "read",
            reason: reason.to_string(),
        }
    }

    /// Writing failed.
    pub fn writing(reason: impl ToString) -> Self {
        Self {
            action: "written",
            reason: reason.to_string(),
        }
    }
}

/// Durable storage of ledger records, keyed by data set and session.
///
/// Two sessions never write under the same key, so a store needs neither locks nor transactions across
/// calls. It must be sequentially consistent: what one session has saved, every later `load` shows.
#[allow(async_fn_in_trait)] // A session stays on its thread; its futures need not be `Send`.
pub trait LedgerStore {
    /// Every record kept for the data set, one per session, in any order; empty if there is none.
    ///
    /// # Errors
    /// When the store cannot be read. "Nothing there" is no error, and an error must never look like it.
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Writes the record of one session, replacing its earlier one as a whole. Returns only once the
    /// record would survive a crash or a closed tab.
    ///
    /// # Errors
    /// When the record may not be durable.
    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError>;
}

impl<S: LedgerStore> LedgerStore for &S {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        S::load(self, fingerprint).await
    }

    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError> {
        S::save_durably(self, fingerprint, session, record).await
    }
}

/// A store in memory, shared by its clones. Durable only as long as the process: for tests, and for
/// front ends that keep the bytes themselves.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Records>>);

type Records = BTreeMap<(DatasetFingerprint, SessionId), Vec<u8>>;

impl LedgerStore for MemoryStore {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_data_set = records
            .iter()
            .filter(|((owner, _), _)| owner == fingerprint);
        Ok(of_data_set.map(|(_, record)| record.clone()).collect())
    }

    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.insert((*fingerprint, *session), record.to_vec());
        Ok(())
    }
}
