use super::{Example, IGNORED};

/// Examples side by side, padded on the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// Rows b, masked filler rows included.
    pub rows: usize,
    /// Tokens a row, t.
    pub width: usize,
    /// `[b, t]` row-major; padding holds the padding id.
    pub input_ids: Vec<u32>,
    /// `[b, t]` row-major; padding holds [`IGNORED`].
    pub labels: Vec<i32>,
    /// Tokens of each row that are no padding; 0 for a filler row.
    pub lengths: Vec<u32>,
}

impl MicroBatch {
    /// Pads `examples` to the longest of them and fills up with masked rows to `rows` rows (none if
    /// there are already as many). Causal attention never sees padding on the right, and masked
    /// rows have no loss, so neither changes the result.
    pub fn new(examples: &[&Example], rows: usize, pad: u32) -> Self {
        Self::of_width(examples, rows, 0, pad)
    }

    /// The same, padded to at least `width` tokens.
    pub fn of_width(examples: &[&Example], rows: usize, width: usize, pad: u32) -> Self {
        let rows = rows.max(examples.len());
        let longest = examples.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        let width = width.max(longest);
        let mut input_ids = vec![pad; rows * width];
        let mut labels = vec![IGNORED; rows * width];
        let mut lengths = vec![0; rows];
        for (row, example) in examples.iter().enumerate() {
            let start = row * width;
            let end = start + example.ids.len();
            input_ids[start..end].copy_from_slice(&example.ids);
            labels[start..end].copy_from_slice(&example.labels);
            lengths[row] = example.ids.len() as u32;
        }
        Self {
            rows,
            width,
            input_ids,
            labels,
            lengths,
        }
    }
}
