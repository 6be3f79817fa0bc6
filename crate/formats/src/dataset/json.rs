//! JSON documents and JSON lines.

use serde_json::value::RawValue;

use super::rows::{RowsBuilder, TOO_LONG};
use super::source::{LineCounter, Source};
use super::{Format, MAX_ROW, Table};
use crate::json::Pairs;

/// Members that hold the rows of a document, as the hub's row service and common exports name them.
const ROW_LISTS: [&str; 6] = ["data", "rows", "train", "examples", "items", "records"];

/// One value a line.
pub(super) fn read_lines(source: &Source) -> Table {
    let mut rows = RowsBuilder::default();
    for (line, text) in source.lines() {
        element(&mut rows, line, text.trim());
    }
    rows.finish(Format::Jsonl)
}

/// One document.
pub(super) fn read_document(source: &Source) -> Table {
    let mut rows = RowsBuilder::default();
    let text = source.text;
    let body = text.len() - text.trim_start().len();
    if text[body..].starts_with('[') {
        read_list(&mut rows, text, body + 1);
    } else if let Some(start) = list_within(text) {
        read_list(&mut rows, text, start);
    } else {
        // A single object is a single row.
        element(
            &mut rows,
            LineCounter::new(text).line(body),
            text[body..].trim_end(),
        );
    }
    rows.finish(Format::Json)
}

/// Where the list of rows inside an object begins: the offset after its `[`.
fn list_within(text: &str) -> Option<usize> {
    let is_list = |raw: &RawValue| raw.get().starts_with('[');
    match serde_json::from_str::<Pairs<&RawValue>>(text) {
        Ok(members) => {
            let find = |name: &str| members.0.iter().find(|(k, v)| k == name && is_list(v));
            let by_name = ROW_LISTS.iter().find_map(|name| find(name));
            let lists: Vec<_> = members
                .0
                .iter()
                .filter(|(_, v)| holds_objects(v.get()))
                .collect();
            let only = if lists.len() == 1 {
                lists.first().copied()
            } else {
                None
            };
            let (_, raw) = by_name.or(only)?;
            // `raw` borrows from `text`.
            Some(raw.get().as_ptr() as usize - text.as_ptr() as usize + 1)
        }
        // A damaged document: look for the list by its spelling.
        Err(_) => ROW_LISTS.iter().find_map(|name| {
            let key = format!("\"{name}\"");
            let after = text.find(&key)? + key.len();
            let rest = text[after..]
                .trim_start()
                .strip_prefix(':')?
                .trim_start()
                .strip_prefix('[')?;
            Some(text.len() - rest.len())
        }),
    }
}

fn holds_objects(raw: &str) -> bool {
    raw.strip_prefix('[')
        .is_some_and(|rest| rest.trim_start().starts_with('{'))
}

/// Reads the elements of a list from `start`, the offset after its `[`.
fn read_list(rows: &mut RowsBuilder, text: &str, start: usize) {
    let mut lines = LineCounter::new(text);
    // Bytes that damaged elements may cost in all; bounds the work on hostile files.
    let mut budget = text.len().saturating_mul(8).saturating_add(1 << 20);
    let mut at = start;
    loop {
        at += text[at..].len()
            - text[at..]
                .trim_start_matches([' ', '\t', '\r', '\n', ','])
                .len();
        let rest = &text[at..];
        if rest.starts_with(']') {
            return;
        }
        if rest.is_empty() {
            rows.problem(
                lines.line(text.len()),
                "the list is not closed; the file may be cut off",
            );
            return;
        }
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(raw)) => {
                element(rows, lines.line(at), raw.get());
                at += values.byte_offset();
            }
            Some(Err(_)) => {
                // The parser may notice far below; the entry's own start is what one looks for.
                let line = lines.line(at);
                rows.problem(line, "damaged JSON; the entry that starts here is left out");
                let Some(next) = next_element(rest) else {
                    return;
                };
                budget = budget.saturating_sub(rest.len());
                if budget == 0 {
                    rows.problem(line, "too much of the file is damaged; reading stops here");
                    return;
                }
                at += next;
            }
            None => return,
        }
    }
}

/// Offset of the next `{` that opens an entry after the damaged one at the start of `rest`: one that
/// begins a line, or follows `},` or `,` right after a closed entry.
fn next_element(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut fresh = false;
    let mut closed = false;
    for (i, &byte) in (1..).zip(bytes.get(1..).unwrap_or_default()) {
        match byte {
            b'{' if fresh => return Some(i),
            b'\n' => fresh = true,
            b' ' | b'\t' | b'\r' => {}
            b'}' => (closed, fresh) = (true, false),
            b',' if closed => fresh = true,
            _ => (closed, fresh) = (false, false),
        }
    }
    None
}

/// One JSON value as a row: an object by its keys, a list by position, a string as text.
fn element(rows: &mut RowsBuilder, line: u32, raw: &str) {
    // Before anything is copied.
    if raw.len() > MAX_ROW {
        rows.problem(line, TOO_LONG);
        return;
    }
    let cells = match raw.as_bytes().first() {
        Some(b'{') => object(raw),
        Some(b'[') => serde_json::from_str::<Vec<Box<RawValue>>>(raw)
            .ok()
            .and_then(|list| {
                let named = (1..)
                    .zip(&list)
                    .map(|(n, v)| Some((format!("column {n}"), cell(v.get())?)));
                named.collect()
            }),
        Some(b'"') => cell(raw).map(|text| vec![("text".to_owned(), text)]),
        _ => {
            rows.problem(line, "this is no JSON object; every row must be one");
            return;
        }
    };
    match cells {
        Some(cells) => rows.push(line, cells),
        None => rows.problem(line, "damaged JSON; this line is left out"),
    }
}

fn object(raw: &str) -> Option<Vec<(String, String)>> {
    let members: Pairs<Box<RawValue>> = serde_json::from_str(raw).ok()?;
    // The hub's row service wraps each row: {"row_idx": 0, "row": {…}}.
    let wrapped = members.0.iter().any(|(key, _)| key == "row_idx");
    if let Some((_, row)) = members
        .0
        .iter()
        .find(|(key, v)| wrapped && key == "row" && v.get().starts_with('{'))
    {
        let inner: Pairs<Box<RawValue>> = serde_json::from_str(row.get()).ok()?;
        return named_cells(inner);
    }
    match members.0.as_slice() {
        [(key, row)] if key == "row" && row.get().starts_with('{') => {
            named_cells(serde_json::from_str(row.get()).ok()?)
        }
        _ => named_cells(members),
    }
}

fn named_cells(members: Pairs<Box<RawValue>>) -> Option<Vec<(String, String)>> {
    members
        .0
        .into_iter()
        .map(|(key, value)| Some((key, cell(value.get())?)))
        .collect()
}

/// A string's text, nothing for null, and the JSON as written for anything else.
fn cell(raw: &str) -> Option<String> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).ok(),
        _ if raw == "null" => Some(String::new()),
        _ => Some(raw.to_owned()),
    }
}
