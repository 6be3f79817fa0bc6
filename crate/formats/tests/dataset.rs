//! Data files: every format, their usual damage, and round trips.

use proptest::prelude::*;
use serde_json::json;
use vaultlab_formats::dataset::{
    DatasetError, Format, LineProblem, MAX_ROW, PresetSource, Table, guess_columns, presets,
    read_headerless, read_table,
};

fn read(text: &str, name: Option<&str>) -> Table {
    read_table(text.as_bytes(), name).unwrap_or_else(|e| panic!("{name:?}: {e}"))
}

fn rows<const N: usize>(table: &Table) -> Vec<[&str; N]> {
    table
        .rows
        .iter()
        .map(|row| std::array::from_fn(|i| row[i].as_str()))
        .inspect(|_| assert_eq!(table.columns.len(), N))
        .collect()
}

fn lines(table: &Table) -> Vec<u32> {
    table.problems.iter().map(|p| p.line).collect()
}

fn guess(table: &Table) -> (Option<String>, String) {
    let guess = guess_columns(table).unwrap();
    (guess.prompt, guess.response)
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn a_json_list_of_objects() {
    let text = r#"[
  {"instruction": "Answer this question truthfully", "input": "What is X?", "output": "Y \"quoted\"\n\u00e9"},
  {"instruction": "Answer this question truthfully", "input": "What is Z?", "output": null, "score": 1.50},
  {"output": {"a": [1, 2]}, "extra": true}
]"#;
    let table = read(text, Some("cards.json"));
    assert_eq!(table.format, Format::Json);
    assert_eq!(
        table.columns,
        ["instruction", "input", "output", "score", "extra"]
    );
    assert_eq!(table.rows[0][2], "Y \"quoted\"\né");
    assert_eq!(
        table.rows[1],
        [
            "Answer this question truthfully",
            "What is Z?",
            "",
            "1.50",
            ""
        ]
    );
    assert_eq!(table.rows[2], ["", "", r#"{"a": [1, 2]}"#, "", "true"]);
    assert!(table.problems.is_empty());
    assert_eq!(read(text, None), table, "pasted");
    assert_eq!(read(text, Some("cards.jsonl")), table, "a wrong ending");
}

#[test]
fn lists_inside_a_document() {
    let expected = [["q", "a"], ["r", "b"]];
    for text in [
        r#"{"version": 1, "data": [{"question": "q", "answer": "a"}, {"question": "r", "answer": "b"}]}"#,
        r#"{"features": [], "rows": [{"row_idx": 0, "row": {"question": "q", "answer": "a"}, "truncated_cells": []},
            {"row_idx": 1, "row": {"question": "r", "answer": "b"}, "truncated_cells": []}], "num_rows_total": 2}"#,
        r#"{"rows": [{"row": {"question": "q", "answer": "a"}}, {"row": {"question": "r", "answer": "b"}}]}"#,
        r#"{"my cards": [{"question": "q", "answer": "a"}, {"question": "r", "answer": "b"}]}"#,
    ] {
        let table = read(text, Some("x.json"));
        assert_eq!(table.columns, ["question", "answer"], "{text}");
        assert_eq!(rows::<2>(&table), expected);
    }
    let single = read(r#"{"question": "q", "answer": "a"}"#, None);
    assert_eq!(rows::<2>(&single), [["q", "a"]]);
}

#[test]
fn json_lines() {
    let text = "{\"prompt\": \"p1\", \"completion\": \"c1\"}\r\n\r\n{\"prompt\": \"p2\", \"completion\": \"c2\"}\r\n";
    for name in [None, Some("x.jsonl"), Some("x.json"), Some("x.txt")] {
        let table = read(text, name);
        assert_eq!(table.format, Format::Jsonl, "{name:?}");
        assert_eq!(rows::<2>(&table), [["p1", "c1"], ["p2", "c2"]]);
    }
    let lists = read("[\"a\", \"b\"]\n[\"c\", \"d\"]\n", None);
    assert_eq!(
        (lists.format, rows::<2>(&lists)),
        (Format::Jsonl, vec![["a", "b"], ["c", "d"]])
    );
}

#[test]
fn mangled_json_lines_are_problems_by_number() {
    let text = "{\"q\": \"1\", \"a\": \"secret\"}\n{\"q\": \"2\", \"a\": \"secret\n\n17\n{\"q\": \"3\", \"a\": \"x\"}\n{\"q\": \"\\ud800\", \"a\": \"x\"}\n{}\n";
    let table = read(text, Some("x.jsonl"));
    assert_eq!(table.rows.len(), 2);
    assert_eq!(lines(&table), [2, 4, 6, 7]);
    assert!(table.problems.iter().all(|p| !p.message.contains("secret")));
    let first_bad = read(&format!("{{\"q\": \n{text}"), None);
    assert_eq!((first_bad.format, first_bad.rows.len()), (Format::Jsonl, 2));
}

#[test]
fn a_mangled_entry_of_a_list_costs_only_itself() {
    let good = |n: u32| format!("{{\"q\": \"question {n}\", \"a\": \"answer {n}\"}}");
    let bad = [
        "{\"q\": \"no end, \"a\": \"x\"}",
        "{\"q\": \"missing comma\" \"a\": \"x\"}",
        "{\"q\": \"unclosed\", \"a\": [1, 2",
        "{\"q\": \"unclosed\", \"a\": \"x\"",
        "{q: 1}",
        "nonsense",
        "42",
    ];
    for bad in bad {
        let pretty = format!(
            "[\n  {},\n  {bad},\n  {},\n  {}\n]\n",
            good(1),
            good(2),
            good(3)
        );
        let table = read(&pretty, Some("x.json"));
        assert_eq!(rows::<2>(&table).len(), 3, "{bad}");
        assert_eq!(table.problems[0].line, 3, "{bad}");
        let dense = format!("[{},{bad},{},{}]", good(1), good(2), good(3));
        let table = read(&dense, Some("x.json"));
        assert!(table.rows.len() >= 2, "{bad}");
        assert_eq!(table.problems[0].line, 1);
        let wrapped = read(&format!("{{\"data\": {pretty}}}"), Some("x.json"));
        if bad.ends_with("[1, 2") {
            // The document's own brackets close the entry; what is missing shows at the end.
            assert_eq!(wrapped.problems.len(), 1);
        } else {
            assert_eq!(wrapped.rows, read(&pretty, Some("x.json")).rows, "{bad}");
        }
    }
}

#[test]
fn a_list_cut_off_keeps_what_is_whole() {
    let text =
        "[\n{\"q\": \"1\", \"a\": \"x\"},\n{\"q\": \"2\", \"a\": \"x\"},\n{\"q\": \"3\", \"a";
    let table = read(text, Some("x.json"));
    assert_eq!(rows::<2>(&table), [["1", "x"], ["2", "x"]]);
    assert_eq!(table.problems.first().unwrap().line, 4);
}

#[test]
fn csv_with_quotes_newlines_and_bom() {
    let text = "\u{feff}question,answer\r\n\"a, \"\"b\"\"\",\"line 1\nline 2\"\r\n\r\nplain,\r\n";
    let table = read(text, Some("x.csv"));
    assert_eq!(table.format, Format::Csv);
    assert_eq!(table.columns, ["question", "answer"]);
    assert_eq!(
        rows::<2>(&table),
        [["a, \"b\"", "line 1\nline 2"], ["plain", ""]]
    );
    assert_eq!(read(text, None), table, "pasted");
    let semicolons = read("question;answer\na, b;c\n", Some("x.csv"));
    assert_eq!(rows::<2>(&semicolons), [["a, b", "c"]]);
}

#[test]
fn mangled_csv_lines_are_problems_by_number() {
    let text = "question,answer\nq1,a1\nq2\nq3,a3,extra\n\nq4,a4\n\"q5,a5\nq6,a6\nq7,a7\n";
    let table = read(text, Some("x.csv"));
    assert_eq!(
        rows::<2>(&table),
        [["q1", "a1"], ["q4", "a4"], ["q6", "a6"], ["q7", "a7"]]
    );
    assert_eq!(lines(&table), [3, 4, 7]);
    assert_eq!(table.problems[2].message, "a quoted cell is not closed");
    // A quote that a later one happens to close swallows lines; they are taken up again.
    let text = "question,answer\n\"q1,a1\nq2,a2\nq3,\"a3\"\nq4,a4\n";
    let table = read(text, Some("x.csv"));
    assert_eq!(
        rows::<2>(&table),
        [["q2", "a2"], ["q3", "a3"], ["q4", "a4"]]
    );
    assert_eq!(lines(&table), [2]);
}

#[test]
fn a_header_decides_even_if_most_rows_are_mangled() {
    let table = read("question,answer\na,b,c\nd,e,f\ng,h\n", Some("x.csv"));
    assert_eq!(
        (table.columns.len(), rows::<2>(&table)),
        (2, vec![["g", "h"]])
    );
    assert_eq!(lines(&table), [2, 3]);
}

#[test]
fn headers_are_told_from_data() {
    let none = read(
        "What is the heart?,A muscle that pumps blood.\nWhat is the lung?,An organ.\n",
        Some("x.csv"),
    );
    assert_eq!(none.columns, ["column 1", "column 2"]);
    assert_eq!(none.rows.len(), 2);
    let unknown = read(
        "stem,key\nWhat is the heart made of?,muscle tissue\n",
        Some("x.csv"),
    );
    assert_eq!(unknown.columns, ["stem", "key"]);
    let odd = read("id,,answer,answer\n1,x,y,z\n", Some("x.csv"));
    assert_eq!(odd.columns, ["id", "column 2", "answer", "answer (2)"]);
}

#[test]
fn mtnt_has_no_header() {
    let text = "0\tI \"love this\tJ'adore \"ça\n1\t\"quoted whole\"\tentre \"\"guillemets\n2\tYes.\tOui.\n";
    for name in [Some("train.en-fr.tsv"), None] {
        let table = read(text, name);
        assert_eq!(table.format, Format::Tsv);
        assert_eq!(table.columns, ["id", "source", "target"]);
        assert_eq!(table.rows[0], ["0", "I \"love this", "J'adore \"ça"]);
        assert_eq!(table.rows[1], ["1", "quoted whole", "entre \"\"guillemets"]);
        assert_eq!(guess(&table), (some("source"), "target".into()));
    }
}

#[test]
fn tsv_with_quoted_cells_over_lines() {
    let table = read(
        "question\tanswer\n\"two\nlines\"\t\"a\tb\"\nq\ta\n",
        Some("x.tsv"),
    );
    assert_eq!(rows::<2>(&table), [["two\nlines", "a\tb"], ["q", "a"]]);
}

#[test]
fn plain_text_by_line_or_paragraph() {
    let by_line = read("First, a note.\r\nSecond one\r\n", Some("notes.txt"));
    assert_eq!(
        (by_line.format, rows::<1>(&by_line)),
        (Format::Text, vec![["First, a note."], ["Second one"]])
    );
    let paragraphs = read("one\ntwo\n\n  \nthree\n", None);
    assert_eq!(rows::<1>(&paragraphs), [["one\ntwo"], ["three"]]);
    assert_eq!(guess(&paragraphs), (None, "text".into()));
    let bracket = read("[Intro] A song\nSecond line\n", None);
    assert_eq!(bracket.format, Format::Text);
}

#[test]
fn a_wrong_ending_is_forgiven() {
    assert_eq!(
        read("1\ta\tb\n2\tc\td\n", Some("x.json")).format,
        Format::Tsv
    );
    assert_eq!(read("just a note", Some("x.jsonl")).format, Format::Text);
}

#[test]
fn files_that_are_no_text_are_refused() {
    let error = |bytes: &[u8]| read_table(bytes, Some("x.csv")).unwrap_err();
    assert_eq!(error(b""), DatasetError::Empty);
    assert_eq!(error(b"\xEF\xBB\xBF \r\n"), DatasetError::Empty);
    assert_eq!(
        error(b"q,a\nx,caf\xE9\n"),
        DatasetError::NotUtf8 { line: 2 }
    );
    for bytes in [
        &b"PK\x03\x04abc"[..],
        b"PAR1abc",
        b"\x1F\x8Babc",
        b"%PDF-1.4",
        b"a\0b\0c\0d\0,\0",
        b"ab\0cd",
    ] {
        assert!(matches!(error(bytes), DatasetError::Binary { .. }));
    }
    let error = read_table(b"[1, 2]", Some("x.json")).unwrap_err();
    assert!(
        error.to_string().starts_with("no row could be read"),
        "{error}"
    );
    assert!(matches!(
        read_table(b"question,answer\n", Some("x.csv")),
        Err(DatasetError::NoRows { .. })
    ));
}

#[test]
fn columns_are_guessed_by_name_and_content() {
    let table = |columns: &[&str], rows: &[&[&str]]| {
        let line = |cells: &[&str]| {
            cells
                .iter()
                .map(|c| format!("\"{c}\""))
                .collect::<Vec<_>>()
                .join(",")
        };
        let all: Vec<String> = std::iter::once(columns)
            .chain(rows.iter().copied())
            .map(line)
            .collect();
        read(&all.join("\n"), Some("x.csv"))
    };
    let flashcards = table(
        &["instruction", "input", "output"],
        &[
            &["Answer this truthfully", "What is A?", "B"],
            &["Answer this truthfully", "What is C?", "D"],
        ],
    );
    assert_eq!(guess(&flashcards), (some("input"), "output".into()));
    let alpaca = table(
        &["instruction", "input", "output"],
        &[
            &["Name a colour", "", "Red"],
            &["Add", "1 and 2", "3"],
            &["Sing", "", "La"],
        ],
    );
    assert_eq!(guess(&alpaca), (some("instruction"), "output".into()));
    let dolly = table(
        &["instruction", "context", "response", "category"],
        &[
            &["Who?", "", "Me", "qa"],
            &["Why?", "Some text", "So", "qa"],
        ],
    );
    assert_eq!(guess(&dolly), (some("instruction"), "response".into()));
    let unknown = table(
        &["n", "stem", "category", "explanation"],
        &[
            &[
                "1",
                "a longer question here",
                "x",
                "an even longer explanation here",
            ],
            &["2", "b b b", "y", "c c c c"],
        ],
    );
    assert_eq!(guess(&unknown), (some("stem"), "explanation".into()));
    let labelled = table(
        &["label", "text"],
        &[&["good", "A text."], &["bad", "Another text."]],
    );
    assert_eq!(guess(&labelled), (None, "text".into()));
    let case = table(
        &["ID", "Question", "Answer"],
        &[&["1", "q", "a"], &["2", "r", "b"]],
    );
    assert_eq!(guess(&case), (some("Question"), "Answer".into()));
}

/// Every entry of this list runs to the end of the file before the parser notices, so going back
/// after each would take time quadratic in its length. Counted, not timed: work stops at eight times
/// the file, which a few of the 20,000 entries use up.
#[test]
fn reading_stops_when_too_much_is_damaged() {
    let text = format!("[{{\"a\": 1}},\n{}", "{\"a\": [{},\n".repeat(20_000));
    let table = read(&text, Some("x.json"));
    assert_eq!(table.rows.len(), 1);
    assert!(table.problems.len() < 100, "{}", table.problems.len());
    let last = &table.problems.last().unwrap().message;
    assert_eq!(last, "too much of the file is damaged; reading stops here");
}

#[test]
fn the_number_of_columns_is_bounded() {
    let text: String = (0..300)
        .map(|i| format!("{{\"k{i}\": 1, \"j{i}\": 2}}\n"))
        .collect();
    let table = read(&text, Some("x.jsonl"));
    assert_eq!((table.columns.len(), table.rows.len()), (256, 128));
    assert_eq!(table.problems.len(), 300 - 128);
}

const SAMPLES: [(&str, &str); 6] = [
    (
        "x.json",
        "[\n {\"q\": \"a\\u00e9\", \"a\": [1, {\"b\": null}]},\n {\"q\": \"c\", \"a\": \"d\"}\n]",
    ),
    (
        "x.json",
        "{\"data\": [{\"q\": \"a\", \"a\": \"b\"}, {\"q\": \"c\", \"a\": \"d\"}]}",
    ),
    (
        "x.jsonl",
        "{\"q\": \"a\", \"a\": \"b\"}\n{\"q\": \"c\", \"a\": \"d\"}\n",
    ),
    ("x.csv", "question,answer\n\"a\",\"b\nc\"\nd,\"e\"\"f\"\n"),
    ("x.tsv", "1\ta\tb\n2\tc\t\"d\"\n"),
    ("x.txt", "a\nb\n\nc\n"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        name in prop::sample::select(vec![None, Some("x.csv"), Some("x.tsv"), Some("x.json"), Some("x.txt")]),
    ) {
        let _ = read_table(&bytes, name);
    }

    #[test]
    fn text_of_delimiters_never_panics(
        text in r#"[\[\]{}":,;a1é \t\r\n\\]{0,80}"#,
        name in prop::sample::select(vec![None, Some("x.csv"), Some("x.tsv"), Some("x.json"), Some("x.txt")]),
    ) {
        if let Ok(table) = read_table(text.as_bytes(), name) {
            let count = text.lines().count() as u32 + 1;
            prop_assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
            prop_assert!(table.problems.iter().all(|p| (1..=count).contains(&p.line)));
            prop_assert!(guess_columns(&table).is_some());
        }
    }

    #[test]
    fn damaged_files_never_panic(
        sample in prop::sample::select(SAMPLES.to_vec()),
        at in any::<prop::sample::Index>(),
        byte: u8,
        cut: bool,
    ) {
        let (name, text) = sample;
        let mut bytes = text.as_bytes().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let _ = read_table(&bytes, Some(name));
        let _ = read_table(&bytes, None);
    }

    /// What the csv crate writes comes back, whatever the cells hold.
    #[test]
    fn csv_round_trips(
        cells in prop::collection::vec(prop::array::uniform2("[a-z\",;\t\n\r é]{1,12}"), 1..8),
        tabs: bool,
    ) {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .from_writer(Vec::new());
        writer.write_record(["question", "answer"]).unwrap();
        // A tab and a line break in one cell can make lines that agree without quoting.
        let cells: Vec<[String; 2]> = cells
            .into_iter()
            .map(|row| if tabs { row.map(|cell| cell.replace('\t', " ")) } else { row })
            .collect();
        for row in &cells {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let table = read_table(&bytes, Some(if tabs { "x.tsv" } else { "x.csv" })).unwrap();
        prop_assert_eq!(&table.problems, &vec![]);
        let expected: Vec<Vec<String>> = cells.iter().map(|row| row.to_vec()).collect();
        prop_assert_eq!(table.rows, expected);
    }

    #[test]
    fn json_round_trips(cells in prop::collection::vec(prop::array::uniform2("\\PC{1,12}"), 1..8), lines: bool) {
        let objects: Vec<_> = cells.iter().map(|[q, a]| json!({"answer": a, "question": q})).collect();
        let text = if lines {
            objects.iter().map(|o| o.to_string() + "\n").collect()
        } else {
            serde_json::to_string_pretty(&objects).unwrap()
        };
        let table = read_table(text.as_bytes(), Some("x.json")).unwrap();
        prop_assert_eq!(&table.problems, &vec![]);
        let column = |name: &str| table.columns.iter().position(|c| c == name).unwrap();
        let (q, a) = (column("question"), column("answer"));
        let found: Vec<[String; 2]> = table.rows.iter().map(|r| [r[q].clone(), r[a].clone()]).collect();
        prop_assert_eq!(found, cells);
    }
}

/// UTF-16 with a byte-order mark reads as the same table, in both byte orders; damage names the line.
#[test]
fn utf16_reads_as_utf8_does() {
    let text = "question\tanswer\nWhät?\tYes \u{1f98a}\nWhy?\tNo\n";
    let expected = read(text, Some("a.tsv"));
    let units: Vec<u16> = text.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|u| u.to_be_bytes()).collect();
    let little = [b"\xFF\xFE", little.as_slice()].concat();
    let big = [b"\xFE\xFF", big.as_slice()].concat();
    for bytes in [&little, &big] {
        assert_eq!(read_table(bytes, Some("a.tsv")).unwrap(), expected);
    }
    let odd = read_table(&little[..little.len() - 1], None).unwrap_err();
    assert_eq!(odd, DatasetError::NotUtf16 { line: 3 });
    // Half of the fox's surrogate pair.
    let fox = little.windows(2).position(|w| w == [0x3e, 0xd8]).unwrap();
    let mut broken = little.clone();
    broken.drain(fox..fox + 2);
    let error = read_table(&broken, None).unwrap_err();
    assert_eq!(error, DatasetError::NotUtf16 { line: 2 });
    let unmarked = read_table(&little[2..], None).unwrap_err();
    assert!(
        unmarked.to_string().contains("byte-order mark"),
        "{unmarked}"
    );
}

/// A row beyond the limit is left out by line in every format, and the rows around it stay.
#[test]
fn endless_rows_are_left_out() {
    let long = "x".repeat(MAX_ROW + 1);
    let problem = |line| {
        let message = "the row is longer than a megabyte".to_owned();
        vec![LineProblem { line, message }]
    };
    for (name, text, line) in [
        (
            "a.jsonl",
            format!("{{\"q\": \"a\"}}\n{{\"q\": \"{long}\"}}\n{{\"q\": \"b\"}}\n"),
            2,
        ),
        (
            "a.json",
            format!("[{{\"q\": \"a\"}},\n{{\"q\": \"{long}\"}},\n{{\"q\": \"b\"}}]"),
            2,
        ),
        ("a.csv", format!("q,answer\na,1\n{long},2\nb,3\n"), 3),
        ("a.tsv", format!("q\tanswer\na\t1\n{long}\t2\nb\t3\n"), 3),
        ("a.txt", format!("a\n{long}\nb\n"), 2),
    ] {
        let table = read(&text, Some(name));
        assert_eq!(table.problems, problem(line), "{name}");
        let first: Vec<&str> = table.rows.iter().map(|r| r[0].as_str()).collect();
        assert_eq!(first, ["a", "b"], "{name}");
    }
    assert_eq!(read("a\nb\nc\n", None).first(2).rows.len(), 2);
}

/// A 100 MB line of JSON costs one pass and no copy, and names its line.
#[test]
fn a_line_of_a_hundred_megabytes_is_refused_quickly() {
    let mut bytes = b"{\"question\": \"q\", \"answer\": \"".to_vec();
    bytes.resize(100_000_000, b'y');
    bytes.extend(b"\"}\n{\"question\": \"q\", \"answer\": \"a\"}\n");
    let start = std::time::Instant::now();
    let table = read_table(&bytes, Some("big.jsonl")).unwrap();
    assert_eq!((table.rows.len(), lines(&table)), (1, vec![1]));
    // Measured well below a second; the bound only tells a linear pass from a quadratic one.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// Each preset takes the columns and rows its fine-tune takes, from a file in its published form.
#[test]
fn presets_read_their_files() {
    let [flashcards, dolly, mtnt] = presets();
    let rows: Vec<_> = (0..1200)
        .map(
            |i| json!({"input": format!("q{i}"), "output": format!("a{i}"), "instruction": "same"}),
        )
        .collect();
    let table = flashcards.read(json!(rows).to_string().as_bytes()).unwrap();
    assert_eq!((table.rows.len(), flashcards.rows), (1000, 1000));
    assert!(
        flashcards
            .template
            .prompt("X")
            .contains("truthfully.\n\nQuestion:\nX\n\nResponse:\n")
    );

    let lines: String = (0..6)
        .map(|i| {
            let context = if i % 2 == 0 { "" } else { "some context" };
            let row = json!({"instruction": format!("i{i}"), "context": context, "response": "r", "category": "c"});
            format!("{row}\n")
        })
        .collect();
    let table = dolly.read(lines.as_bytes()).unwrap();
    let kept = table
        .columns
        .iter()
        .position(|c| c == "instruction")
        .unwrap();
    let kept: Vec<_> = table.rows.iter().map(|r| r[kept].as_str()).collect();
    assert_eq!(kept, ["i0", "i2", "i4"]);
    assert_eq!(dolly.template.prompt("X"), "Instruction:\nX\n\nResponse:\n");
    assert!(matches!(
        dolly.source,
        PresetSource::Hub {
            dataset: "databricks/databricks-dolly-15k",
            ..
        }
    ));

    // The first line is a row although its cells could be names; quotes are text.
    let text = "0\tsource\ttarget\n1\tsay \"hi\tdis \"salut\n2\ta\tb\n";
    let table = mtnt.read(text.as_bytes()).unwrap();
    assert_eq!(table.columns, ["id", "source", "target"]);
    assert_eq!(
        rows_of(&table),
        [
            ["0", "source", "target"],
            ["1", "say \"hi", "dis \"salut"],
            ["2", "a", "b"]
        ]
    );
    let ragged = mtnt.read(b"0\ta\tb\n1\ta\n").unwrap();
    assert_eq!((ragged.rows.len(), ragged.problems.len()), (1, 1));
    assert!(read_headerless(b"", &["a"]).is_err());

    let other = flashcards
        .read(br#"[{"question": "q", "answer": "a"}]"#)
        .unwrap_err();
    assert_eq!(
        other,
        DatasetError::MissingColumn {
            column: "input".to_owned()
        }
    );
}

fn rows_of(table: &Table) -> Vec<[&str; 3]> {
    rows(table)
}
