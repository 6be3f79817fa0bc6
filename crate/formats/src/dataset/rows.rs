use std::collections::HashMap;

use super::{Format, LineProblem, Table};

/// More columns than this are no training data, and would make the table quadratic.
const MAX_COLUMNS: usize = 256;

/// The problem of a row beyond [`super::MAX_ROW`].
pub(super) const TOO_LONG: &str = "the row is longer than a megabyte";

/// Collects rows whose columns become known as they are read.
#[derive(Default)]
pub(super) struct RowsBuilder {
    columns: Vec<String>,
    index: HashMap<String, usize>,
    rows: Vec<Vec<String>>,
    problems: Vec<LineProblem>,
}

impl RowsBuilder {
    pub(super) fn problem(&mut self, line: u32, message: impl Into<String>) {
        self.problems.push(LineProblem {
            line,
            message: message.into(),
        });
    }

    /// Adds a row of named cells; a repeated name overwrites.
    pub(super) fn push(&mut self, line: u32, cells: Vec<(String, String)>) {
        let mut row = vec![String::new(); self.columns.len()];
        for (name, value) in cells {
            let column = match self.index.get(&name) {
                Some(&column) => column,
                None if self.columns.len() < MAX_COLUMNS => {
                    self.columns.push(name.clone());
                    self.index.insert(name, self.columns.len() - 1);
                    self.columns.len() - 1
                }
                None => {
                    self.problem(
                        line,
                        format!("the file has more than {MAX_COLUMNS} columns"),
                    );
                    return;
                }
            };
            if column >= row.len() {
                row.resize(column + 1, String::new());
            }
            row[column] = value;
        }
        if row.iter().any(|cell| !cell.is_empty()) {
            self.rows.push(row);
        } else {
            self.problem(line, "the row is empty");
        }
    }

    pub(super) fn finish(mut self, format: Format) -> Table {
        for row in &mut self.rows {
            row.resize(self.columns.len(), String::new());
        }
        Table {
            format,
            columns: self.columns,
            rows: self.rows,
            problems: self.problems,
        }
    }
}
