//! CSV and TSV.

use csv::{ReaderBuilder, StringRecord, Terminator};

use super::rows::TOO_LONG;
use super::source::{LineCounter, Source};
use super::{Format, LineProblem, MAX_ROW, Table, detect, header};

/// Records looked at to tell a header and the number of columns.
const SAMPLE: usize = 50;

/// How a file separates its cells.
#[derive(Clone, Copy)]
struct Dialect {
    delimiter: u8,
    quoting: bool,
}

impl Dialect {
    fn of(source: &Source, format: Format) -> Self {
        match format {
            // Tab-separated corpora hold stray quotes: where all lines agree without quoting, trust
            // them. (A file whose every quoted cell breaks its line between tabs is misread so.)
            Format::Tsv => Self {
                delimiter: b'\t',
                quoting: !same_tabs_everywhere(source),
            },
            _ => Self {
                delimiter: csv_delimiter(source),
                quoting: true,
            },
        }
    }
}

/// A record with the line it starts on.
struct Record {
    line: u32,
    cells: Vec<String>,
    /// Offset of the line after its first.
    next_line: usize,
    /// Offset after the record.
    end: usize,
    /// False if the file ends inside a quoted cell.
    closed: bool,
}

pub(super) fn read(source: &Source, format: Format) -> Table {
    let dialect = Dialect::of(source, format);
    let sample: Vec<Record> = Records::new(source.text, dialect).take(SAMPLE).collect();
    let sampled: Vec<&[String]> = sample.iter().map(|r| r.cells.as_slice()).collect();
    let width = usual_width(&sampled);
    let (columns, has_header) = match sampled.first() {
        // A header says how many columns there are, whatever the rows do.
        Some(first) if first.len() != width && header::has_known_name(first) => {
            header::columns(&sampled, first.len())
        }
        _ => header::columns(&sampled, width),
    };
    rows(source, dialect, format, columns, has_header)
}

/// Reads a file whose columns are known.
pub(super) fn read_rows(
    source: &Source,
    format: Format,
    columns: Vec<String>,
    has_header: bool,
) -> Table {
    rows(
        source,
        Dialect::of(source, format),
        format,
        columns,
        has_header,
    )
}

fn rows(
    source: &Source,
    dialect: Dialect,
    format: Format,
    columns: Vec<String>,
    has_header: bool,
) -> Table {
    let mut table = Table {
        format,
        columns,
        rows: Vec::new(),
        problems: Vec::new(),
    };
    let mut records = Records::new(source.text, dialect);
    if has_header {
        records.next();
    }
    // Bytes that going back may cost in all; bounds the work on hostile files.
    let mut budget = source.text.len().saturating_mul(8).saturating_add(1 << 20);
    while let Some(record) = records.next() {
        if record.closed && record.cells.len() == table.columns.len() {
            if record.cells.iter().map(String::len).sum::<usize>() > MAX_ROW {
                table
                    .problems
                    .push(problem(record.line, TOO_LONG.to_owned()));
            } else if record.cells.iter().any(|cell| !cell.is_empty()) {
                table.rows.push(record.cells);
            } else {
                table
                    .problems
                    .push(problem(record.line, "the row is empty".to_owned()));
            }
            continue;
        }
        table.problems.push(problem(
            record.line,
            complaint(&record, table.columns.len()),
        ));
        // An unclosed quote swallows the lines after it; take them up again one by one.
        let swallowed = record.end.saturating_sub(record.next_line);
        if swallowed > 0 && swallowed <= budget {
            budget -= swallowed;
            records.restart(record.next_line);
        }
    }
    table
}

/// The first record, to look for a header.
pub(super) fn first_record(source: &Source, format: Format) -> Option<Vec<String>> {
    Records::new(source.text, Dialect::of(source, format))
        .next()
        .map(|r| r.cells)
}

fn problem(line: u32, message: String) -> LineProblem {
    LineProblem { line, message }
}

fn complaint(record: &Record, width: usize) -> String {
    if record.closed {
        format!(
            "{} cells where the file has {width} columns",
            record.cells.len()
        )
    } else {
        "a quoted cell is not closed".to_owned()
    }
}

fn usual_width(records: &[&[String]]) -> usize {
    let mut counts = std::collections::BTreeMap::new();
    for record in records {
        *counts.entry(record.len()).or_insert(0usize) += 1;
    }
    counts
        .into_iter()
        .max_by_key(|&(_, n)| n)
        .map_or(0, |(width, _)| width)
}

fn same_tabs_everywhere(source: &Source) -> bool {
    detect::tabs_a_line(source).is_some_and(|tabs| {
        source
            .lines()
            .all(|(_, line)| line.matches('\t').count() == tabs)
    })
}

/// The likeliest delimiter of the first record.
fn csv_delimiter(source: &Source) -> u8 {
    let cells = |delimiter| {
        let dialect = Dialect {
            delimiter,
            quoting: true,
        };
        Records::new(source.text, dialect)
            .next()
            .map_or(0, |record| record.cells.len())
    };
    // The comma wins ties.
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|&d| cells(d))
        .unwrap_or(b',')
}

/// The records of a text.
struct Records<'a> {
    text: &'a str,
    dialect: Dialect,
    lines: LineCounter<'a>,
    reader: csv::Reader<&'a [u8]>,
    /// Offset in `text` at which `reader` started.
    base: usize,
}

impl<'a> Records<'a> {
    fn new(text: &'a str, dialect: Dialect) -> Self {
        let reader = reader(text, dialect);
        Self {
            text,
            dialect,
            lines: LineCounter::new(text),
            reader,
            base: 0,
        }
    }

    fn restart(&mut self, at: usize) {
        self.base = at;
        self.reader = reader(&self.text[at..], self.dialect);
    }
}

fn reader(text: &str, dialect: Dialect) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(dialect.delimiter)
        .quoting(dialect.quoting)
        .terminator(if dialect.quoting {
            Terminator::CRLF
        } else {
            Terminator::Any(b'\n')
        })
        .from_reader(text.as_bytes())
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let record = self.any_record()?;
            let blank = matches!(record.cells.as_slice(), [only] if only.trim().is_empty());
            if !blank || !record.closed {
                return Some(record);
            }
        }
    }
}

impl Records<'_> {
    /// The next record, blank lines included.
    fn any_record(&mut self) -> Option<Record> {
        let mut record = StringRecord::new();
        let from = self.base + self.reader.position().byte() as usize;
        // Text in memory, any number of cells: reading cannot fail.
        if !self.reader.read_record(&mut record).unwrap_or(false) {
            return None;
        }
        let end = self.base + self.reader.position().byte() as usize;
        let raw = self.text.get(from..end)?;
        // Blank lines before a record are part of its bytes.
        let blank = raw.len() - raw.trim_start_matches(['\r', '\n']).len();
        let start = from + blank;
        let raw = &raw[blank..];
        let Dialect { delimiter, quoting } = self.dialect;
        let cells: Vec<String> = if quoting {
            record.iter().map(str::to_owned).collect()
        } else {
            // Lines end at `\n` here, so that of Windows leave a `\r`.
            let last = record.len().saturating_sub(1);
            let trim = |i, cell: &'_ str| {
                unquoted(if i == last {
                    cell.trim_end_matches('\r')
                } else {
                    cell
                })
            };
            record
                .iter()
                .enumerate()
                .map(|(i, cell)| trim(i, cell))
                .collect()
        };
        Some(Record {
            line: self.lines.line(start),
            cells,
            next_line: raw.find('\n').map_or(end, |i| start + i + 1),
            end,
            closed: !quoting || end < self.text.len() || is_closed(raw, delimiter),
        })
    }
}

/// A cell that is quoted as a whole, without its quotes; any other as it stands.
fn unquoted(cell: &str) -> String {
    let inner = cell.strip_prefix('"').and_then(|c| c.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.replace("\"\"", "").contains('"') => inner.replace("\"\"", "\""),
        _ => cell.to_owned(),
    }
}

/// False if a record ends inside a quoted cell, read as the csv crate reads it.
fn is_closed(record: &str, delimiter: u8) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        CellStart,
        Plain,
        Quoted,
        /// After a quote inside a quoted cell: its end, or half of a doubled quote.
        AfterQuote,
    }
    let end = record
        .bytes()
        .fold(At::CellStart, |at, byte| match (at, byte) {
            (At::Quoted, b'"') => At::AfterQuote,
            (At::Quoted, _) => At::Quoted,
            (At::CellStart | At::AfterQuote, b'"') => At::Quoted,
            (_, b'\n' | b'\r') => At::CellStart,
            (_, byte) if byte == delimiter => At::CellStart,
            _ => At::Plain,
        });
    end != At::Quoted
}
