//! Where records are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Durable storage of charges, keyed by data set and session, and of each data set's row hashes.
///
/// Two sessions never write different bytes under the same key, so a store needs neither locks nor
/// transactions across calls. It must be sequentially consistent: what one session has saved, every later
/// read of any session shows.
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

    /// Every data set that has a record of either kind, each once, in any order.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError>;

    /// The data set's row hashes as they were saved, if they were.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes the data set's row hashes. Two sessions may do so at once, with the same bytes. Returns only
    /// once the record would survive a crash or a closed tab.
    ///
    /// # Errors
    /// When the record may not be durable.
    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
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

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        S::data_sets(self).await
    }

    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        S::load_rows(self, fingerprint).await
    }

    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        record: &[u8],
    ) -> Result<(), StoreError> {
        S::save_rows_durably(self, fingerprint, record).await
    }
}

/// A store in memory, shared by its clones. Durable only as long as the process: for tests, and for
/// front ends that keep the bytes themselves.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Records>>);

#[derive(Debug, Default)]
struct Records {
    charges: BTreeMap<(DatasetFingerprint, SessionId), Vec<u8>>,
    rows: BTreeMap<DatasetFingerprint, Vec<u8>>,
}

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LedgerStore for MemoryStore {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        let records = self.records();
        let of_data_set = records
            .charges
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
        self.records()
            .charges
            .insert((*fingerprint, *session), record.to_vec());
        Ok(())
    }

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        let records = self.records();
        let charged = records.charges.keys().map(|(owner, _)| *owner);
        let all: BTreeSet<DatasetFingerprint> =
            charged.chain(records.rows.keys().copied()).collect();
        Ok(all.into_iter().collect())
    }

    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records().rows.get(fingerprint).cloned())
    }

    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.records().rows.insert(*fingerprint, record.to_vec());
        Ok(())
    }
}
