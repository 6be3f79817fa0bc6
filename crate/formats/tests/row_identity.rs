//! A row is known by its cells, not by the file it came in; and different rows are never taken for one.

use std::collections::BTreeSet;

use proptest::prelude::*;
use vaultlab_formats::dataset::{Format, Table, read_table};

fn identities(file: &str, name: &str) -> Vec<Vec<u8>> {
    let table = read_table(file.as_bytes(), Some(name)).unwrap();
    (0..table.rows.len())
        .map(|row| table.row_identity(row))
        .collect()
}

/// One row as CSV, TSV, JSON and JSONL, columns in any order, Windows line ends, a byte-order mark, cells
/// that other rows lack: always the same bytes.
#[test]
fn the_file_does_not_matter() {
    let csv = identities("prompt,response\nHello,World\nA,B\n", "a.csv");
    for (file, name) in [
        ("response,prompt\r\nWorld,Hello\r\nB,A\r\n", "b.csv"),
        ("\u{feff}prompt\tresponse\nHello\tWorld\nA\tB\n", "c.tsv"),
        (
            r#"[{"response":"World","prompt":"Hello"},{"prompt":"A","response":"B"}]"#,
            "d.json",
        ),
        (
            "{\"prompt\":\"Hello\",\"response\":\"World\"}\n{\"prompt\":\" A\",\"response\":\"B\\r\\n\",\"note\":\"\"}\n",
            "e.jsonl",
        ),
        (
            "prompt,note,response\nHello,,World\nA,,B\nC,new,D\n",
            "f.csv",
        ),
    ] {
        assert_eq!(identities(file, name)[..2], csv, "{name}");
    }
    let text = identities("One line\nAnother line\n", "g.txt");
    assert_eq!(
        text,
        identities(
            "{\"text\":\"One line\"}\n{\"text\":\"Another line\"}\n",
            "h.jsonl"
        )
    );
}

/// The encoding by hand.
#[test]
fn the_encoding_is_as_documented() {
    let csv = identities("b,a\ny,xx\n", "a.csv");
    let mut expected = b"vaultlab row 1".to_vec();
    for text in ["a", "xx", "b", "y"] {
        expected.extend([text.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(text.as_bytes());
    }
    assert_eq!(csv, [expected]);
}

proptest! {
    /// Different sets of cells have different bytes, however alike their texts run together.
    #[test]
    fn different_rows_differ(
        first in prop::collection::btree_map("[ab]{1,2}", "[ab\u{1}\n]{0,3}", 1..4),
        second in prop::collection::btree_map("[ab]{1,2}", "[ab\u{1}\n]{0,3}", 1..4),
    ) {
        let identity = |cells: &std::collections::BTreeMap<String, String>| Table {
            format: Format::Json,
            columns: cells.keys().cloned().collect(),
            rows: vec![cells.values().cloned().collect()],
            problems: Vec::new(),
        }.row_identity(0);
        let cells = |cells: &std::collections::BTreeMap<String, String>| -> BTreeSet<(String, String)> {
            cells.iter()
                .map(|(name, cell)| (name.clone(), cell.trim().to_owned()))
                .filter(|(_, cell)| !cell.is_empty())
                .collect()
        };
        prop_assert_eq!(identity(&first) == identity(&second), cells(&first) == cells(&second));
    }
}
