//! Whether the first record of a delimited file names the columns.

use super::guess;

/// True if a cell is a usual column name.
pub(super) fn has_known_name(record: &[String]) -> bool {
    record.iter().any(|cell| guess::is_known_name(cell))
}

/// Column names, and whether the first record is a header.
pub(super) fn columns(records: &[&[String]], width: usize) -> (Vec<String>, bool) {
    let Some((first, rest)) = records.split_first() else {
        return (Vec::new(), false);
    };
    if first.len() == width && is_header(first, rest) {
        return (unique(first), true);
    }
    // The MTNT corpora: identifier, source, target, no header.
    if width == 3
        && records
            .iter()
            .all(|r| r.first().is_some_and(|id| is_number(id)))
    {
        return (
            ["id", "source", "target"].map(str::to_owned).to_vec(),
            false,
        );
    }
    ((1..=width).map(|n| format!("column {n}")).collect(), false)
}

fn is_header(first: &[String], rest: &[&[String]]) -> bool {
    if !first.iter().any(|cell| !cell.trim().is_empty()) || !first.iter().all(|c| could_be_name(c))
    {
        return false;
    }
    if has_known_name(first) {
        return true;
    }
    if first.len() < 2 || rest.is_empty() {
        return false;
    }
    // Unknown short names above longer or numeric cells.
    let data = || rest.iter().flat_map(|row| row.iter());
    let mean = |lengths: (usize, usize)| lengths.0 as f64 / lengths.1.max(1) as f64;
    let sum = |acc: (usize, usize), cell: &String| (acc.0 + cell.len(), acc.1 + 1);
    let numeric_column = (0..first.len()).any(|i| {
        rest.iter()
            .all(|row| row.get(i).is_some_and(|cell| is_number(cell)))
    });
    numeric_column || mean(data().fold((0, 0), sum)) >= 1.5 * mean(first.iter().fold((0, 0), sum))
}

fn could_be_name(cell: &str) -> bool {
    let cell = cell.trim();
    cell.len() <= 48
        && !cell.contains('\n')
        && !cell.ends_with(['.', '?', '!'])
        && cell.split_whitespace().count() <= 4
        && !is_number(cell)
}

fn is_number(cell: &str) -> bool {
    cell.trim().parse::<f64>().is_ok()
}

/// Names as written; empty and repeated ones are made distinct.
fn unique(cells: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(cells.len());
    for (i, cell) in cells.iter().enumerate() {
        let cell = cell.trim();
        let base = if cell.is_empty() {
            format!("column {}", i + 1)
        } else {
            cell.to_owned()
        };
        let mut name = base.clone();
        let mut copy = 2;
        while names.contains(&name) {
            name = format!("{base} ({copy})");
            copy += 1;
        }
        names.push(name);
    }
    names
}
