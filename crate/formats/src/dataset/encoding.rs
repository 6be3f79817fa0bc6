use std::borrow::Cow;

use super::DatasetError;

/// The bytes as UTF-8. Spreadsheet programs export "Unicode text" as UTF-16 with a byte-order mark;
/// everything else is passed on as it is.
pub(super) fn to_utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DatasetError> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return Ok(Cow::Borrowed(bytes)),
    };
    let (units, rest) = bytes[2..].as_chunks::<2>();
    let mut text = String::with_capacity(units.len());
    let mut line = 1;
    for decoded in char::decode_utf16(units.iter().map(|&pair| unit(pair))) {
        let c = decoded.map_err(|_| DatasetError::NotUtf16 { line })?;
        line += u32::from(c == '\n');
        text.push(c);
    }
    if !rest.is_empty() {
        return Err(DatasetError::NotUtf16 { line });
    }
    Ok(Cow::Owned(text.into_bytes()))
}

/// UTF-16 without a mark: Latin letters then have a zero in every other byte.
pub(super) fn looks_like_utf16(start: &[u8]) -> bool {
    let (pairs, _) = start.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    pairs.len() >= 4 && first.max(second) * 2 > pairs.len() && first.min(second) * 8 < pairs.len()
}
