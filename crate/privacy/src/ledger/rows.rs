//! The rows of a data set as hashes: what tells whether two data sets share rows.

use std::cmp::Ordering;
use std::fmt;

use sha2::{Digest, Sha256};

use super::{DatasetFingerprint, LedgerError};

/// Version of the stored form.
pub const ROWS_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"VLABROWS";
const HEADER: usize = MAGIC.len() + 4 + 8;
const HASH: usize = 32;

/// SHA-256 of each row of a data set, sorted. The fingerprint is SHA-256 of their concatenation.
///
/// Kept beside the ledger on the same device and nowhere else: a hash can confirm a guess of a row.
#[derive(Clone, PartialEq, Eq)]
pub struct DatasetRows {
    hashes: Vec<[u8; HASH]>,
    fingerprint: DatasetFingerprint,
    former_name: Option<DatasetFingerprint>,
}

impl DatasetRows {
    /// The rows, each given as its canonical bytes, in any order. A row that occurs twice counts twice.
    ///
    /// The caller decides what "the same row" means by what it puts into the bytes; they must be
    /// unambiguous (two different rows never the same bytes).
    pub fn of_rows<R: AsRef<[u8]>>(rows: impl IntoIterator<Item = R>) -> Self {
        let mut hashes: Vec<[u8; HASH]> = rows
            .into_iter()
            .map(|row| Sha256::digest(row.as_ref()).into())
            .collect();
        hashes.sort_unstable();
        Self::of_sorted(hashes)
    }

    fn of_sorted(hashes: Vec<[u8; HASH]>) -> Self {
        let mut digest = Sha256::new();
        for hash in &hashes {
            digest.update(hash);
        }
        Self {
            hashes,
            fingerprint: DatasetFingerprint::from_bytes(digest.finalize().into()),
            former_name: None,
        }
    }

    /// The same rows, known to an earlier version of the program under another name: charges on record under
    /// that name alone count for all of these rows.
    pub fn formerly(self, name: DatasetFingerprint) -> Self {
        Self {
            former_name: Some(name),
            ..self
        }
    }

    /// The name that an earlier version of the program gave these rows, if another.
    pub(super) fn former_name(&self) -> Option<DatasetFingerprint> {
        self.former_name
    }

    /// The data set's name in the ledger.
    pub fn fingerprint(&self) -> DatasetFingerprint {
        self.fingerprint
    }

    /// Number of rows, repeated ones counted.
    pub fn count(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// These rows and `others`, as one data set. A row that both have counts twice.
    pub fn joined_with(&self, others: &Self) -> Self {
        let mut hashes = self.hashes.clone();
        hashes.extend_from_slice(&others.hashes);
        hashes.sort_unstable();
        Self::of_sorted(hashes)
    }

    /// The stored form: magic, version (u32), number of rows (u64), hashes; integers little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + HASH * self.hashes.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&ROWS_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.count().to_le_bytes());
        bytes.extend_from_slice(self.hashes.as_flattened());
        bytes
    }

    /// Reads the stored form of the rows that should have `fingerprint`.
    ///
    /// # Errors
    /// [`LedgerError::DamagedRows`] unless every byte is as written: length, order, and the digest, which
    /// must be the fingerprint; [`LedgerError::Newer`] for a later version.
    pub fn parse(bytes: &[u8], fingerprint: &DatasetFingerprint) -> Result<Self, LedgerError> {
        let damaged = LedgerError::DamagedRows;
        let (header, body) = bytes
            .split_at_checked(HEADER)
            .ok_or(damaged("it is cut short"))?;
        let (magic, rest) = header.split_at(MAGIC.len());
        let (version, count) = rest.split_at(4);
        if magic != MAGIC {
            return Err(damaged("it does not begin as one"));
        }
        let version = u32::from_le_bytes(version.try_into().expect("four bytes"));
        if version > ROWS_VERSION {
            return Err(LedgerError::Newer(u64::from(version)));
        }
        let count = u64::from_le_bytes(count.try_into().expect("eight bytes"));
        let (hashes, rest) = body.as_chunks::<HASH>();
        if version != ROWS_VERSION || !rest.is_empty() || hashes.len() as u64 != count {
            return Err(damaged("its length is not what it says"));
        }
        let rows = Self::of_sorted(hashes.to_vec());
        if rows.fingerprint != *fingerprint || !rows.hashes.is_sorted() {
            return Err(damaged("its digest is not the data set's"));
        }
        Ok(rows)
    }

    /// The rows that `other` has too.
    pub(super) fn shared_with(&self, other: &Self) -> Shared {
        let mut shared = Shared {
            rows: 0,
            places: Vec::new(),
        };
        let (mut mine, mut theirs) = (0, 0);
        while let (Some(a), Some(b)) = (self.hashes.get(mine), other.hashes.get(theirs)) {
            match a.cmp(b) {
                Ordering::Less => mine += 1,
                Ordering::Greater => theirs += 1,
                Ordering::Equal => {
                    let here = run_length(&self.hashes[mine..]);
                    let there = run_length(&other.hashes[theirs..]);
                    shared.rows += here.min(there) as u64;
                    shared.places.push(mine);
                    mine += here;
                    theirs += there;
                }
            }
        }
        shared
    }
}

/// How often the first hash is repeated.
fn run_length(sorted: &[[u8; HASH]]) -> usize {
    sorted.iter().take_while(|hash| **hash == sorted[0]).count()
}

/// What two data sets have in common, as one of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// Rows that both have; a row that both repeat counts as often as both have it.
    pub rows: u64,
    /// Where the shared hashes begin among our sorted ones, increasing.
    pub places: Vec<usize>,
}

impl fmt::Debug for DatasetRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatasetRows({} rows)", self.count())
    }
}
