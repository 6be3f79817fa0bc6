//! Data files (JSON, JSONL, CSV, TSV, plain text) as a table of text.
//!
//! A line that cannot be read becomes a [`LineProblem`] and reading goes on after it. Problems and
//! errors never quote the file: its rows are private.

mod delimited;
mod detect;
mod encoding;
mod error;
mod guess;
mod header;
mod identity;
mod json;
mod plain;
mod preset;
mod rows;
mod source;

pub use error::DatasetError;
pub use guess::{ColumnGuess, guess_columns};
pub use preset::{Preset, PresetSource, presets};

use source::Source;

/// Most bytes of one row: far beyond any context, and a bound for hostile lines. Longer rows are left
/// out with a problem.
pub const MAX_ROW: usize = 1 << 20;

/// Format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document: a list of objects, or an object that holds one (`data`, `rows`, …).
    Json,
    /// One JSON value a line.
    Jsonl,
    /// Comma-separated values (RFC 4180); semicolons are recognised.
    Csv,
    /// Tab-separated values.
    Tsv,
    /// Plain text: a row per line, or per paragraph if blank lines separate them.
    Text,
}

impl Format {
    /// Short lower-case name: json, jsonl, csv, tsv or text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Text => "text",
        }
    }
}

/// A line that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// Line in the file, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// A data file read as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Format found.
    pub format: Format,
    /// Column names in file order.
    pub columns: Vec<String>,
    /// A cell per column; cells a row lacks are empty.
    pub rows: Vec<Vec<String>>,
    /// Lines left out, in file order.
    pub problems: Vec<LineProblem>,
}

impl Table {
    /// The first rows only.
    #[must_use]
    pub fn first(mut self, rows: usize) -> Self {
        self.rows.truncate(rows);
        self
    }
}

/// Reads a data file. UTF-8 with or without byte-order mark, or UTF-16 with one. `file_name` helps to tell the formats apart; pasted text has none.
///
/// # Errors
/// [`DatasetError`] if the file as a whole is no readable text, or holds no row at all.
pub fn read_table(bytes: &[u8], file_name: Option<&str>) -> Result<Table, DatasetError> {
    let bytes = encoding::to_utf8(bytes)?;
    let source = Source::decode(&bytes)?;
    let format = detect::detect(&source, file_name);
    let table = match format {
        Format::Json => json::read_document(&source),
        Format::Jsonl => json::read_lines(&source),
        Format::Csv | Format::Tsv => delimited::read(&source, format),
        Format::Text => plain::read(&source),
    };
    checked(table)
}

/// Reads a tab-separated file whose first line is a row like the others.
///
/// # Errors
/// As [`read_table`]; lines with another number of cells are problems.
pub fn read_headerless(bytes: &[u8], columns: &[&str]) -> Result<Table, DatasetError> {
    let bytes = encoding::to_utf8(bytes)?;
    let source = Source::decode(&bytes)?;
    let columns = columns.iter().map(|&name| name.to_owned()).collect();
    checked(delimited::read_rows(&source, Format::Tsv, columns, false))
}

/// A table that holds something, its problems in file order.
fn checked(mut table: Table) -> Result<Table, DatasetError> {
    let format = table.format;
    if table.rows.is_empty() {
        let first = table.problems.into_iter().next();
        return Err(DatasetError::NoRows {
            format: format.name(),
            first,
        });
    }
    table.problems.sort_by_key(|p| p.line);
    Ok(table)
}
