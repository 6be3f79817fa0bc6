use super::{GgufError, Stop, bad};

/// Longest text of a header; chat templates are a few kilobytes.
const MAX_TEXT: u64 = 16 << 20;

/// Most elements of all lists of a header together; Gemma 3's vocabulary takes 786,432.
const MAX_ELEMENTS: u64 = 1 << 22;

/// Reads little-endian values from a prefix of the file.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    elements_left: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            elements_left: MAX_ELEMENTS,
        }
    }

    /// Offset from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        self.at as u64
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let end = self
            .at
            .checked_add(length)
            .ok_or_else(|| bad(self, "a length overflows".to_owned()))?;
        let slice = self
            .bytes
            .get(self.at..end)
            .ok_or(Stop::NeedMore(end as u64))?;
        self.at = end;
        Ok(slice)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, Stop> {
        let length = self.u64()?;
        if length > MAX_TEXT {
            return Err(bad(self, format!("a text of {length} bytes")));
        }
        let bytes = self.take(length as usize)?;
        // Vocabularies converted from other models hold broken UTF-8; Gemma's do not.
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| bad(self, "a text is not UTF-8".to_owned()))
    }

    /// Stops unless `count` elements of at least `width` bytes can follow.
    pub(super) fn expect_elements(&mut self, count: u64, width: u64) -> Result<(), Stop> {
        let left = self.elements_left.checked_sub(count);
        self.elements_left = left.unwrap_or(0);
        let end = left
            .and(count.checked_mul(width))
            .and_then(|bytes| bytes.checked_add(self.offset()))
            .filter(|&end| end <= super::MAX_HEADER)
            .ok_or_else(|| {
                Stop::Error(GgufError::BadHeader {
                    offset: self.offset(),
                    detail: format!("{count} entries do not fit a header"),
                })
            })?;
        if end > self.bytes.len() as u64 {
            return Err(Stop::NeedMore(end));
        }
        Ok(())
    }
}
