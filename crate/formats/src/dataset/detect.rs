use serde::de::IgnoredAny;

use super::source::Source;
use super::{Format, delimited, header};

/// Lines looked at.
const SAMPLE: usize = 20;

/// Tells the format from the content, and where that is ambiguous from the file name.
pub(super) fn detect(source: &Source, file_name: Option<&str>) -> Format {
    let extension = file_name
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("csv") => return Format::Csv,
        Some("tsv" | "tab") => return Format::Tsv,
        _ => {}
    }
    let text = source.text.trim_start();
    // `.json` and `.jsonl` are used for both formats, and `.json` for files that are neither.
    let named_json = matches!(extension.as_deref(), Some("json" | "jsonl" | "ndjson"));
    if text.starts_with('{')
        || starts_like_json_list(text)
        || named_json && text.starts_with(['[', '"'])
    {
        return json_or_jsonl(source);
    }
    if tabs_a_line(source).is_some() {
        return Format::Tsv;
    }
    // Prose has commas too, so without a telling name only a recognisable header makes a CSV.
    if (extension.is_none() || named_json)
        && delimited::first_record(source, Format::Csv)
            .is_some_and(|first| first.len() > 1 && header::has_known_name(&first))
    {
        return Format::Csv;
    }
    Format::Text
}

/// `[` followed by a JSON value, not a bracketed remark.
fn starts_like_json_list(text: &str) -> bool {
    text.strip_prefix('[')
        .is_some_and(|rest| rest.trim_start().starts_with(['{', '[', '"', ']']))
}

fn json_or_jsonl(source: &Source) -> Format {
    let complete = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    if complete(source.text) {
        return Format::Json;
    }
    // Several values: one a line, even if some lines are damaged.
    let sample: Vec<&str> = source.lines().take(SAMPLE).map(|(_, line)| line).collect();
    let whole = sample
        .iter()
        .filter(|line| line.trim_start().starts_with(['{', '[']))
        .filter(|l| complete(l));
    if whole.count() * 2 >= sample.len() {
        Format::Jsonl
    } else {
        Format::Json
    }
}

/// The number of tabs if every line has the same, at least one.
pub(super) fn tabs_a_line(source: &Source) -> Option<usize> {
    let mut counts = source
        .lines()
        .take(SAMPLE)
        .map(|(_, line)| line.matches('\t').count());
    let first = counts.next().filter(|&n| n > 0)?;
    counts.all(|n| n == first).then_some(first)
}
