use sha2::{Digest, Sha256};

use super::Row;

/// Indices of rows, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Rows the private step samples from.
    pub train: Vec<usize>,
    /// Rows held out for evaluation.
    pub held_out: Vec<usize>,
}

/// The bytes a row is identified by: two rows have the same bytes exactly if they are equal. Each
/// text is preceded by its length (64-bit little-endian); a row without prompt starts with 0, one
/// with a prompt with 1.
pub fn canonical(row: &Row) -> Vec<u8> {
    let mut bytes = vec![u8::from(row.prompt.is_some())];
    for text in row.prompt.iter().chain(std::iter::once(&row.response)) {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// Holds out about the share `held_out` (0 to 0.5) of the rows.
///
/// A row is held out if the first 64 bits of SHA-256(label, seed, canonical row), as a fraction,
/// are below the share. So its side depends on its own text and the seed alone: not on file order,
/// and not on any other row, which the add-or-remove-one-row guarantee needs. Equal rows stay on
/// one side. The held-out count is therefore random around its mean, and can be 0 for few rows.
pub fn split_held_out(rows: &[Row], held_out: f64, seed: u64) -> Split {
    let share = if held_out.is_finite() {
        held_out.clamp(0.0, 0.5)
    } else {
        0.0
    };
    let mut split = Split::default();
    for (index, row) in rows.iter().enumerate() {
        let side = if fraction(row, seed) < share {
            &mut split.held_out
        } else {
            &mut split.train
        };
        side.push(index);
    }
    split
}

fn fraction(row: &Row, seed: u64) -> f64 {
    let mut hash = Sha256::new();
    hash.update(b"vaultlab held-out split 1");
    hash.update(seed.to_le_bytes());
    hash.update(canonical(row));
    let digest: [u8; 32] = hash.finalize().into();
    let first = digest
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    // 53 bits, so that the fraction is exact and below 1.
    (first >> 11) as f64 / (1u64 << 53) as f64
}
