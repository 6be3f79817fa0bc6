use super::DatasetError;
use super::encoding::looks_like_utf16;

/// The text of a data file, without byte-order mark.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, DatasetError> {
        if let Some(kind) = binary_kind(bytes) {
            return Err(DatasetError::Binary { kind });
        }
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|e| DatasetError::NotUtf8 {
            line: 1 + newlines(&bytes[..e.valid_up_to()]),
        })?;
        if text.trim().is_empty() {
            return Err(DatasetError::Empty);
        }
        Ok(Self { text })
    }

    /// Lines that are not blank, with their numbers.
    pub(super) fn lines(self) -> impl Iterator<Item = (u32, &'a str)> {
        (1..)
            .zip(self.text.lines())
            .filter(|(_, line)| !line.trim().is_empty())
    }
}

fn newlines(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|&&b| b == b'\n').count() as u32
}

/// Line numbers of offsets, counted from the offset asked for last.
pub(super) struct LineCounter<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
}

impl<'a> LineCounter<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            line: 1,
        }
    }

    /// Line of a byte offset, from 1.
    pub(super) fn line(&mut self, offset: usize) -> u32 {
        let bytes = self.text.as_bytes();
        let offset = offset.min(bytes.len());
        if offset >= self.offset {
            self.line += newlines(&bytes[self.offset..offset]);
        } else {
            self.line -= newlines(&bytes[offset..self.offset]);
        }
        self.offset = offset;
        self.line
    }
}

/// Recognises files that people drop by mistake.
fn binary_kind(bytes: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "a spreadsheet or zip archive"),
        (b"\xD0\xCF\x11\xE0", "an old spreadsheet or document"),
        (b"PAR1", "a Parquet file"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"%PDF-", "a PDF"),
        (b"SQLite format 3\0", "a database"),
    ];
    let known = SIGNATURES
        .iter()
        .find(|(start, _)| bytes.starts_with(start));
    let start = &bytes[..bytes.len().min(4096)];
    known
        .map(|(_, kind)| *kind)
        .or_else(|| looks_like_utf16(start).then_some("UTF-16 text without a byte-order mark"))
        .or_else(|| start.contains(&0).then_some("a binary file"))
}
