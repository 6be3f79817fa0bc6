use thiserror::Error;

use super::LineProblem;

/// Why a data file cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DatasetError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// A spreadsheet, archive or other binary file.
    #[error("this is {kind}, not UTF-8 text; export the rows as CSV or JSON first")]
    Binary {
        /// What it looks like.
        kind: &'static str,
    },
    /// Not UTF-8.
    #[error("the text is not UTF-8 (line {line}); save the file as UTF-8 and try again")]
    NotUtf8 {
        /// First line that is not, from 1.
        line: u32,
    },
    /// UTF-16 by its byte-order mark, but not throughout.
    #[error("the text is not valid UTF-16 (line {line}); save the file as UTF-8 and try again")]
    NotUtf16 {
        /// First line that is not, from 1.
        line: u32,
    },
    /// A preset's file lacks a column.
    #[error("the file has no column `{column}`; it is not the one this preset is for")]
    MissingColumn {
        /// Name of the column.
        column: String,
    },
    /// No row could be read.
    #[error("no row could be read as {format}{}", .first.as_ref().map_or_else(String::new, |p| format!("; line {}: {}", p.line, p.message)))]
    NoRows {
        /// Format the file was taken for.
        format: &'static str,
        /// The first problem met.
        first: Option<LineProblem>,
    },
}
