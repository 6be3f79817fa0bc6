use super::source::Source;
use super::{Format, Table};

/// A row per paragraph if blank lines separate any, else a row per line.
pub(super) fn read(source: &Source) -> Table {
    let mut paragraphs: Vec<Vec<&str>> = vec![Vec::new()];
    for line in source.text.lines() {
        match paragraphs.last_mut() {
            Some(last) if !line.trim().is_empty() => last.push(line.trim_end()),
            Some(last) if !last.is_empty() => paragraphs.push(Vec::new()),
            _ => {}
        }
    }
    paragraphs.retain(|lines| !lines.is_empty());
    let texts: Vec<String> = if paragraphs.len() > 1 {
        paragraphs.iter().map(|lines| lines.join("\n")).collect()
    } else {
        paragraphs.concat().into_iter().map(str::to_owned).collect()
    };
    Table {
        format: Format::Text,
        columns: vec!["text".to_owned()],
        rows: texts.into_iter().map(|text| vec![text]).collect(),
        problems: Vec::new(),
    }
}
