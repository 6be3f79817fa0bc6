use super::rows::TOO_LONG;
use super::source::Source;
use super::{Format, LineProblem, MAX_ROW, Table};

/// A row per paragraph if blank lines separate any, else a row per line.
pub(super) fn read(source: &Source) -> Table {
    let mut paragraphs: Vec<Vec<(u32, &str)>> = vec![Vec::new()];
    for (number, line) in (1..).zip(source.text.lines()) {
        match paragraphs.last_mut() {
            Some(last) if !line.trim().is_empty() => last.push((number, line.trim_end())),
            Some(last) if !last.is_empty() => paragraphs.push(Vec::new()),
            _ => {}
        }
    }
    paragraphs.retain(|lines| !lines.is_empty());
    let texts: Vec<Vec<(u32, &str)>> = if paragraphs.len() > 1 {
        paragraphs
    } else {
        paragraphs.concat().into_iter().map(|l| vec![l]).collect()
    };
    let mut table = Table {
        format: Format::Text,
        columns: vec!["text".to_owned()],
        rows: Vec::new(),
        problems: Vec::new(),
    };
    for lines in texts {
        let bytes: usize = lines.iter().map(|(_, text)| text.len() + 1).sum();
        if bytes > MAX_ROW + 1 {
            table.problems.push(LineProblem {
                line: lines[0].0,
                message: TOO_LONG.to_owned(),
            });
        } else {
            let texts: Vec<&str> = lines.into_iter().map(|(_, text)| text).collect();
            table.rows.push(vec![texts.join("\n")]);
        }
    }
    table
}
