//! Files as the engine reads them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use vaultlab_engine::EngineError;
use vaultlab_engine::weights::{ByteSource, ModelFiles};

/// A file on disk.
pub struct DiskSource {
    path: PathBuf,
    size: u64,
}

impl DiskSource {
    /// The file at `path`.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let size = fs::metadata(path)
            .map_err(|error| failed(path, &error))?
            .len();
        Ok(Self {
            path: path.to_owned(),
            size,
        })
    }

    fn read_now(&self, range: Range<u64>) -> Result<Vec<u8>, EngineError> {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| failed(&self.path, &error))
    }
}

impl ByteSource for DiskSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(
        &self,
        range: Range<u64>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, EngineError>> + '_>> {
        Box::pin(std::future::ready(self.read_now(range)))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> EngineError {
    EngineError::Source(format!("{} cannot be read: {error}", path.display()))
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    fs::read(path).map_err(|error| failed(path, &error))
}

/// Writes a file as a whole: under another name first, so that a crash leaves the old one.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let failed = |error: std::io::Error| {
        EngineError::Source(format!("{} cannot be written: {error}", path.display()))
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).map_err(failed)?;
    fs::rename(&partial, path).map_err(failed)
}

/// The files of a model folder.
pub fn model_files(folder: &Path) -> Result<ModelFiles, EngineError> {
    let mut files = ModelFiles::default();
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| failed(folder, &error))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned);
        if let (Some(name), true) = (name, path.is_file()) {
            files.insert(name, Box::new(DiskSource::open(&path)?));
        }
    }
    Ok(files)
}
