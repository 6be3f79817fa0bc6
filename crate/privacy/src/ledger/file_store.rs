//! Records as files: `<folder>/<fingerprint>/<session>.json`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{DatasetFingerprint, LedgerStore, SessionId, StoreError};

/// A folder of ledgers. A record is written to a temporary file, synced, renamed over the old one, and
/// the folder synced, so that a crash leaves the old record or the new one, never a torn one.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: PathBuf,
}

impl FileStore {
    /// A store in `folder`, which is created at the first charge.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    fn folder_of(&self, fingerprint: &DatasetFingerprint) -> PathBuf {
        self.folder.join(fingerprint.to_string())
    }
}

impl LedgerStore for FileStore {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        read_records(&self.folder_of(fingerprint)).map_err(StoreError::reading)
    }

    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError> {
        write_record(&self.folder_of(fingerprint), &session.to_string(), record)
            .map_err(StoreError::writing)
    }
}

fn read_records(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // A temporary file is a charge that was never acknowledged, so nothing was released for it.
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            records.push(fs::read(path)?);
        }
    }
    Ok(records)
}

fn write_record(folder: &Path, session: &str, record: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!("{session}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(record)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(format!("{session}.json")))?;
    sync_folder(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Makes renames and new entries in a folder durable; only Unix knows how (and needs) to.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}
