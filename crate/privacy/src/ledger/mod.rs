//! What was ever charged to a data set.
//!
//! The ledger of a data set is keyed by its [`DatasetFingerprint`] and composes every run on exactly
//! these rows, so that reloading a page, changing a slider or starting another run resets nothing.
//!
//! Each session (one opening of a run, in one tab or process) owns one [`SessionRecord`] and writes no
//! other; the ledger is the union of all records. So two tabs at once cannot overwrite each other's
//! charges, without locks or transactions in the store: a grow-only counter per session (Shapiro et al.
//! 2011). A charge is written before the noisy sum exists, so a crash can only over-count.

mod id;
mod record;
mod store;

#[cfg(not(target_arch = "wasm32"))]
mod file_store;

use thiserror::Error;

pub use id::{DatasetFingerprint, RunId, SessionId};
pub use record::{LEDGER_VERSION, RunCharge, SessionRecord};
pub use store::{LedgerStore, MemoryStore, StoreError};

#[cfg(not(target_arch = "wasm32"))]
pub use file_store::FileStore;

use crate::accountant::rdp::RdpCurve;
use crate::accountant::{AccountingError, Phase, validate_delta};

/// The ledger cannot be trusted to hold everything that was charged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// A record is not what this program writes. It may stand for any amount, so it cannot be skipped.
    #[error(
        "the privacy ledger of these rows is damaged ({0}); what was spent on them is unknown, so no private step can be taken"
    )]
    Damaged(String),
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

    /// All charges as phases for an accountant.
    pub fn phases(&self) -> Vec<Phase> {
        self.charges().map(RunCharge::phase).collect()
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

    /// ε spent on these rows at `delta`, all runs composed.
    ///
    /// # Errors
    /// When `delta` is out of range.
    pub fn epsilon(&self, delta: f64) -> Result<f64, AccountingError> {
        validate_delta(delta)?;
        Ok(self.rdp(&mut StepCurves::default())?.epsilon(delta))
    }

    /// RDP of all charges.
    pub(crate) fn rdp(&self, curves: &mut StepCurves) -> Result<RdpCurve, AccountingError> {
        let mut total = RdpCurve::zero();
        for phase in self.phases() {
            total.add(&curves.of(&phase)?.times(phase.steps));
        }
        Ok(total)
    }
}

/// RDP of single steps, by sampling rate and noise multiplier: a live run asks again after every step.
#[derive(Default)]
pub(crate) struct StepCurves(Vec<(f64, f64, RdpCurve)>);

impl StepCurves {
    /// One step of the phase's mechanism.
    pub(crate) fn of(&mut self, phase: &Phase) -> Result<&RdpCurve, AccountingError> {
        let (q, sigma) = (phase.sampling_rate, phase.noise_multiplier);
        let known = self.0.iter().position(|(a, b, _)| *a == q && *b == sigma);
        let index = match known {
            Some(index) => index,
            None => {
                self.0.push((q, sigma, RdpCurve::of_step(q, sigma)?));
                self.0.len() - 1
            }
        };
        Ok(&self.0[index].2)
    }
}
