//! What makes two rows the same row.

use super::Table;

/// Begins every identity; a later rule would have another, so that its rows are not taken for these.
const RULE: &[u8] = b"vaultlab row 1";

impl Table {
    /// The bytes by which the row at `index` is known, whatever file it came in and whatever use is made
    /// of it: two rows have the same bytes exactly if they are the same row.
    ///
    /// A row is its set of cells, each with its column's name. It does not matter in which order columns
    /// stand, what format the file has, or which columns a mapping takes. An empty cell is no cell, so that
    /// a row stays the same when another row brings a new column into the file. Line ends count as `\n`, and
    /// white space around a cell or name as nothing.
    ///
    /// Encoding: a label, then for each cell in the order of (name, text) both texts, each preceded by its
    /// length in bytes (64-bit little-endian).
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_identity(&self, index: usize) -> Vec<u8> {
        let mut cells: Vec<(String, String)> = self
            .columns
            .iter()
            .zip(&self.rows[index])
            .map(|(name, cell)| (plain(name), plain(cell)))
            .filter(|(_, cell)| !cell.is_empty())
            .collect();
        cells.sort_unstable();
        let mut bytes = RULE.to_vec();
        for text in cells.iter().flat_map(|(name, cell)| [name, cell]) {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}

/// A text without what file formats differ in.
fn plain(text: &str) -> String {
    text.trim().replace("\r\n", "\n").replace('\r', "\n")
}
