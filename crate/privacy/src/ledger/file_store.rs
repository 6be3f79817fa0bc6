//! Records as files: `<folder>/<fingerprint>/<session>.json` and `<folder>/<fingerprint>/rows.bin`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{DatasetFingerprint, LedgerStore, SessionId, StoreError};

const ROWS: &str = "rows.bin";

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
        let folder = self.folder_of(fingerprint);
        write_durably(&folder, &format!("{session}.json"), session, record)
            .map_err(StoreError::writing)
    }

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        read_data_sets(&self.folder).map_err(StoreError::reading)
    }

    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match fs::read(self.folder_of(fingerprint).join(ROWS)) {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::reading(error)),
        }
    }

    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        record: &[u8],
    ) -> Result<(), StoreError> {
        // Another session may be writing the same record; each takes a temporary file of its own.
        let writer = SessionId::random().map_err(StoreError::writing)?;
        write_durably(&self.folder_of(fingerprint), ROWS, &writer, record)
            .map_err(StoreError::writing)
    }
}

/// The entries of a folder; none if there is no such folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn read_data_sets(folder: &Path) -> io::Result<Vec<DatasetFingerprint>> {
    let named = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    // What is not named like a data set is not ours.
    Ok(entries(folder)?.into_iter().filter_map(named).collect())
}

fn read_records(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    // A temporary file is a charge that was never acknowledged, so nothing was released for it.
    let records = entries(folder)?.into_iter().filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    records.map(fs::read).collect()
}

fn write_durably(folder: &Path, name: &str, writer: &SessionId, record: &[u8]) -> io::Result<()> {
    create_durably(folder)?;
    let temporary = folder.join(format!("{writer}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(record)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    sync_folder(folder)?;
    // The folder itself may have been created by another process that has not synced it yet.
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Creates a folder and those it lies in, each made durable in its own parent.
fn create_durably(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    create_durably(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

/// Makes renames and new entries in a folder durable; only Unix knows how (and needs) to.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let here = folder.as_os_str().is_empty();
    if cfg!(unix) {
        File::open(if here { Path::new(".") } else { folder })?.sync_all()
    } else {
        Ok(())
    }
}
