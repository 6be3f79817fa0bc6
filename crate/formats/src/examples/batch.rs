use super::{Example, IGNORED};

/// Sequences of ids side by side, padded on the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaddedIds {
    /// Ids a row.
    pub width: usize,
    /// `[rows, width]` row-major.
    pub ids: Vec<u32>,
    /// Ids of each row that are no padding; 0 for a filler row.
    pub lengths: Vec<u32>,
}

impl PaddedIds {
    /// Pads `sequences` to the longest of them and adds rows of padding up to `rows`.
    pub fn new(sequences: &[&[u32]], rows: usize, pad: u32) -> Self {
        let rows = rows.max(sequences.len());
        let width = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let mut ids = vec![pad; rows * width];
        let mut lengths = vec![0; rows];
        for (row, sequence) in sequences.iter().enumerate() {
            let start = row * width;
            ids[start..start + sequence.len()].copy_from_slice(sequence);
            lengths[row] = sequence.len() as u32;
        }
        Self {
            width,
            ids,
            lengths,
        }
    }

    /// One sequence without padding.
    pub fn one(ids: &[u32]) -> Self {
        Self::new(&[ids], 1, 0)
    }
}

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
    /// What an encoder reads. Its rows have no width of their own if no example has a source.
    pub source: PaddedIds,
}

impl MicroBatch {
    /// Pads `examples` to the longest of them and fills up with masked rows to `rows` rows (none if
    /// there are already as many). Causal attention never sees padding on the right, the encoder's
    /// lengths keep it from its own, and masked rows have no loss, so none of it changes the result.
    pub fn new(examples: &[&Example], rows: usize, pad: u32) -> Self {
        let ids: Vec<&[u32]> = examples.iter().map(|e| e.ids.as_slice()).collect();
        let sources: Vec<&[u32]> = examples.iter().map(|e| e.source.as_slice()).collect();
        let PaddedIds {
            width,
            ids: input_ids,
            lengths,
        } = PaddedIds::new(&ids, rows, pad);
        let mut labels = vec![IGNORED; input_ids.len()];
        for (row, example) in examples.iter().enumerate() {
            let start = row * width;
            labels[start..start + example.labels.len()].copy_from_slice(&example.labels);
        }
        Self {
            rows: lengths.len(),
            width,
            input_ids,
            labels,
            lengths,
            source: PaddedIds::new(&sources, rows, pad),
        }
    }
}
