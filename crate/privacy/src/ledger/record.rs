//! The stored form of a session's charges: versioned JSON.

use serde::{Deserialize, Serialize};

use super::{DatasetFingerprint, LedgerError, RunId, SessionId};
use crate::accountant::{Phase, Truncation};
use crate::noise::TOTAL_VARIATION;

/// Version of the stored form. Version 2 added `batchCap` and `dimensions`, which a reader must not overlook.
pub const LEDGER_VERSION: u64 = 2;

/// Steps charged for a run by one session, with all that determines their cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunCharge {
    /// The run.
    pub run: RunId,
    /// Rows N sampled from.
    pub rows: u64,
    /// Expected logical batch B; the sampling rate is B/N.
    pub expected_batch: u64,
    /// Noise multiplier σ.
    pub noise_multiplier: f64,
    /// Clipping norm C. It does not change the cost; it documents what the noise was scaled to.
    pub clip_norm: f64,
    /// Steps charged.
    pub steps: u64,
    /// δ the run's ε is stated at.
    pub delta: f64,
    /// Largest batch, if larger draws are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_cap: Option<u64>,
    /// Coordinates that noise was drawn for at each step; 0 where it was not recorded.
    #[serde(default)]
    pub dimensions: u64,
}

impl RunCharge {
    /// Sampling rate q = B/N.
    pub fn sampling_rate(&self) -> f64 {
        self.expected_batch as f64 / self.rows as f64
    }

    /// The charge as an accountant sees it.
    pub fn phase(&self) -> Phase {
        Phase {
            sampling_rate: self.sampling_rate(),
            noise_multiplier: self.noise_multiplier,
            steps: self.steps,
            truncation: self.truncation(),
        }
    }

    /// Total-variation distance between the noise as it was drawn and as it is accounted, all steps and
    /// coordinates together ([`crate::noise`]).
    pub fn sampler_error(&self) -> f64 {
        self.steps as f64 * self.dimensions as f64 * TOTAL_VARIATION
    }

    /// A cap that no draw can reach cuts nothing.
    fn truncation(&self) -> Option<Truncation> {
        self.batch_cap
            .filter(|&cap| cap < self.rows)
            .map(|cap| Truncation {
                rows: self.rows,
                cap,
            })
    }

    /// True if both charges are for steps of the same mechanism.
    pub fn same_mechanism(&self, other: &Self) -> bool {
        (self.rows, self.expected_batch) == (other.rows, other.expected_batch)
            && self.noise_multiplier == other.noise_multiplier
            && self.clip_norm == other.clip_norm
            && self.batch_cap == other.batch_cap
    }

    fn problem(&self) -> Option<&'static str> {
        if self.expected_batch == 0 || self.expected_batch > self.rows {
            Some("impossible sampling rate")
        } else if self.batch_cap == Some(0) {
            Some("impossible cap on batches")
        } else if self.phase().validate().is_err() {
            Some("impossible noise multiplier")
        } else {
            None
        }
    }
}

/// What one session has charged to one data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// The data set.
    pub fingerprint: DatasetFingerprint,
    /// The session; the only writer of this record.
    pub session: SessionId,
    /// Its charges so far.
    pub charge: RunCharge,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    #[serde(flatten)]
    record: SessionRecord,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl SessionRecord {
    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            version: LEDGER_VERSION,
            record: *self,
        };
        serde_json::to_vec(&stored)
            .expect("a record of numbers and hexadecimal text always serialises")
    }

    /// Reads the stored form of a record that should belong to `fingerprint`.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] for anything but a complete, possible record of this data set;
    /// [`LedgerError::Newer`] for a later version.
    pub fn parse(bytes: &[u8], fingerprint: &DatasetFingerprint) -> Result<Self, LedgerError> {
        // serde's message names fields and offsets; a ledger holds no private text.
        let damaged = |error: serde_json::Error| LedgerError::Damaged(error.to_string());
        let Version { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if version > LEDGER_VERSION {
            return Err(LedgerError::Newer(version));
        }
        let record = serde_json::from_slice::<Stored>(bytes)
            .map_err(damaged)?
            .record;
        if record.fingerprint != *fingerprint {
            return Err(LedgerError::Damaged("a record of another data set".into()));
        }
        match record.charge.problem() {
            Some(problem) => Err(LedgerError::Damaged(problem.into())),
            None => Ok(record),
        }
    }
}
