//! Data files (JSON, JSONL, CSV, TSV, plain text) as a table of text.
//!
//! A line that cannot be read becomes a [`LineProblem`] and reading goes on after it. Problems and
//! errors never quote the file: its rows are private.

mod delimited;
mod detect;
mod error;
mod guess;
mod header;
mod identity;
mod json;
mod plain;
mod rows;
mod source;

pub use error::DatasetError;
pub use guess::{ColumnGuess, guess_columns};

use source::Source;

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

/// Reads a data file. `file_name` helps to tell the formats apart; pasted text has none.
///
/// # Errors
/// [`DatasetError`] if the file as a whole is no readable text, or holds no row at all.
pub fn read_table(bytes: &[u8], file_name: Option<&str>) -> Result<Table, DatasetError> {
    let source = Source::decode(bytes)?;
    let format = detect::detect(&source, file_name);
    let mut table = match format {
        Format::Json => json::read_document(&source),
        Format::Jsonl => json::read_lines(&source),
        Format::Csv | Format::Tsv => delimited::read(&source, format),
        Format::Text => plain::read(&source),
    };
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
