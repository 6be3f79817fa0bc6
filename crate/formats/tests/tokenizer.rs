//! The tokenizer against the Python `tokenizers` package, and decoding by single ids.

mod common;

use common::golden;
use proptest::prelude::*;
use serde::Deserialize;
use vaultlab_formats::tokenizer::{Tokenizer, TokenizerError};

#[derive(Deserialize)]
struct Golden {
    vocab_size: usize,
    strings: Vec<Text>,
    decode_only: Vec<Ids>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    ids_no_special: Vec<u32>,
    tokens: Vec<String>,
    decoded: String,
    decoded_skip_special: String,
}

#[derive(Deserialize)]
struct Ids {
    ids: Vec<u32>,
    decoded: String,
}

fn tokenizer() -> Tokenizer {
    Tokenizer::parse(&golden("tokenizer/tokenizer.json"), 2, &[1]).unwrap()
}

fn cases() -> Golden {
    serde_json::from_slice(&golden("tokenizer/golden.json")).unwrap()
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32], skip: bool) -> String {
    let mut stream = tokenizer.stream(skip);
    let mut text: String = ids
        .iter()
        .filter_map(|&id| stream.push(id).unwrap())
        .collect();
    text.extend(stream.finish().unwrap());
    text
}

#[test]
fn ids_tokens_and_texts_are_those_of_the_python_package() {
    let (tokenizer, golden) = (tokenizer(), cases());
    assert_eq!(tokenizer.vocab_size(), golden.vocab_size);
    assert_eq!(golden.strings.len(), 30);
    for case in &golden.strings {
        assert_eq!(
            tokenizer.encode(&case.text, true).unwrap(),
            case.ids,
            "{:?}",
            case.text
        );
        assert_eq!(
            tokenizer.encode(&case.text, false).unwrap(),
            case.ids_no_special
        );
        let tokens: Vec<_> = case
            .ids
            .iter()
            .map(|&id| tokenizer.token(id).unwrap())
            .collect();
        assert_eq!(tokens, case.tokens);
        assert_eq!(tokenizer.decode(&case.ids, false).unwrap(), case.decoded);
        assert_eq!(
            tokenizer.decode(&case.ids, true).unwrap(),
            case.decoded_skip_special
        );
    }
    for case in &golden.decode_only {
        assert_eq!(
            tokenizer.decode(&case.ids, false).unwrap(),
            case.decoded,
            "{:?}",
            case.ids
        );
    }
}

#[test]
fn streamed_pieces_join_to_the_whole_text() {
    let (tokenizer, golden) = (tokenizer(), cases());
    for case in &golden.strings {
        assert_eq!(streamed(&tokenizer, &case.ids, false), case.decoded);
        assert_eq!(
            streamed(&tokenizer, &case.ids, true),
            case.decoded_skip_special
        );
    }
    for case in &golden.decode_only {
        assert_eq!(
            streamed(&tokenizer, &case.ids, false),
            case.decoded,
            "{:?}",
            case.ids
        );
    }
}

#[test]
fn text_comes_as_soon_as_it_is_certain() {
    let tokenizer = tokenizer();
    let mut stream = tokenizer.stream(true);
    let ids = tokenizer.encode_with_bos("The fox").unwrap();
    let pieces: Vec<_> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces[0], None, "BOS is no text");
    assert_eq!(pieces[1].as_deref(), Some("The"));

    // The bytes of a rare character wait for the end of their run.
    let mut stream = tokenizer.stream(true);
    let ids = tokenizer.encode("𓂀", false).unwrap();
    assert_eq!(ids.len(), 4, "four byte tokens");
    assert!(ids.iter().all(|&id| stream.push(id).unwrap().is_none()));
    assert_eq!(stream.finish().unwrap().as_deref(), Some("𓂀"));
}

#[test]
fn bos_stands_exactly_once() {
    let tokenizer = tokenizer();
    for case in cases().strings {
        let ids = tokenizer.encode_with_bos(&case.text).unwrap();
        assert_eq!(ids[0], 2);
        let body = case
            .ids_no_special
            .strip_prefix(&[2])
            .unwrap_or(&case.ids_no_special);
        assert_eq!(&ids[1..], body, "{:?}", case.text);
    }
}

#[test]
fn offsets_point_into_the_text() {
    let tokenizer = tokenizer();
    for case in cases().strings {
        let tokens = tokenizer.encode_with_offsets(&case.text).unwrap();
        let mut end = 0;
        for token in &tokens {
            assert!(
                token.start <= end && token.start < token.end,
                "{:?}: {token:?}",
                case.text
            );
            assert!(
                case.text.is_char_boundary(token.start) && case.text.is_char_boundary(token.end)
            );
            end = token.end;
        }
        assert_eq!(end, case.text.len(), "every byte is covered");
    }
}

#[test]
fn a_vocabulary_without_the_models_ids_is_refused() {
    let file = golden("tokenizer/tokenizer.json");
    let error = Tokenizer::parse(&file, 2, &[1, 100_000]).unwrap_err();
    assert_eq!(
        error,
        TokenizerError::MissingToken {
            id: 100_000,
            role: "EOS"
        }
    );
    assert!(matches!(
        Tokenizer::parse(b"{}", 2, &[1]),
        Err(TokenizerError::BadFile { .. })
    ));
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let file = golden("tokenizer/tokenizer.json");
    let whole = file.trim_ascii_end().len();
    for length in (0..whole).step_by(61) {
        assert!(
            Tokenizer::parse(&file[..length], 2, &[1]).is_err(),
            "{length} bytes"
        );
    }
}

/// Each of these makes the `tokenizers` library panic when it is not checked first.
#[test]
fn files_that_would_panic_in_the_library_are_refused() {
    let file = String::from_utf8(golden("tokenizer/tokenizer.json")).unwrap();
    let parse = |json: &str| Tokenizer::parse(json.as_bytes(), 2, &[1]);
    let damaged = file.replacen(r#""ByteFallback""#, "Byte", 1);
    assert_ne!(damaged, file);
    assert!(matches!(
        parse(&damaged),
        Err(TokenizerError::BadFile { .. })
    ));

    let model = r#"{"type":"BPE","vocab":{"a":0,"bb":1,"abb":2},"merges":[["bb","bb"]]}"#;
    let json = format!(r#"{{"version":"1.0","added_tokens":[],"model":{model}}}"#);
    assert!(matches!(parse(&json), Err(TokenizerError::BadFile { .. })));

    let deep = format!(
        r#"{{"version":"1.0","decoder":{}{},"model":{model}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    assert!(matches!(parse(&deep), Err(TokenizerError::BadFile { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any ids at all, byte runs valid or not, unknown ids, specials in between.
    #[test]
    fn streaming_any_ids_equals_decoding_them(
        ids in prop::collection::vec(prop_oneof![0u32..450, 17u32..275], 0..40),
        skip: bool,
    ) {
        let tokenizer = TOKENIZER.with(Clone::clone);
        prop_assert_eq!(streamed(&tokenizer, &ids, skip), tokenizer.decode(&ids, skip).unwrap());
    }

    #[test]
    fn any_text_decodes_to_itself(text in "\\PC{0,60}") {
        let tokenizer = TOKENIZER.with(Clone::clone);
        // Control tokens spelled in the text are skipped, and U+2581 decodes to a space.
        prop_assume!(!text.contains('<') && !text.contains('\u{2581}'));
        let ids = tokenizer.encode_with_bos(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
    }

    /// One byte of a valid file replaced: an error or a tokenizer, never a panic.
    #[test]
    fn damaged_files_never_panic(at in 0usize..19_000, byte: u8, cut: bool, text in "\\PC{0,20}") {
        let mut file = golden("tokenizer/tokenizer.json");
        let at = at % file.len();
        file[at] = byte;
        let file = if cut { file[..at].to_vec() } else { file };
        if let Ok(tokenizer) = Tokenizer::parse(&file, 2, &[1]) {
            let _ = tokenizer.encode_with_bos(&text).and_then(|ids| tokenizer.decode(&ids, true));
        }
    }
}

#[test]
fn the_small_tree_is_a_tokenizer() {
    let tree = TREE.with(|tree| tree.to_string());
    Tokenizer::parse(tree.as_bytes(), 2, &[1]).unwrap();
}

/// Replaces the `at`-th value of a JSON tree, counted depth first.
fn replace(tree: &mut serde_json::Value, at: &mut usize, with: &serde_json::Value) {
    if *at == 0 {
        *tree = with.clone();
    }
    *at = at.wrapping_sub(1);
    match tree {
        serde_json::Value::Array(list) => list.iter_mut().for_each(|v| replace(v, at, with)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|v| replace(v, at, with)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// One value outside the tables replaced by another: an error or a tokenizer, never a panic.
    #[test]
    fn files_with_foreign_values_never_panic(
        at in 1usize..260,
        with in prop::sample::select(vec![
            "null", "0", "-1", "99999999", "\"\"", "\" \"", "\"<bos>\"", "\"Sequence\"", "[]", "{}",
            "true", "[[]]", "\"Fuse\"", "\"NFC\"", "\"Regex\"", "{\"Regex\": \"(a*)*b|\"}",
        ]),
        text in "(\\PC| |<bos>|<eos>){0,20}",
    ) {
        let mut tree: serde_json::Value = TREE.with(Clone::clone);
        let mut at = at;
        replace(&mut tree, &mut at, &serde_json::from_str(with).unwrap());
        if let Ok(tokenizer) = Tokenizer::parse(tree.to_string().as_bytes(), 2, &[1]) {
            let _ = tokenizer.encode(&text, true);
            let _ = tokenizer.encode_with_bos(&text).map(|ids| {
                let _ = tokenizer.decode(&ids, true);
                streamed(&tokenizer, &ids, true)
            });
        }
    }
}

thread_local! {
    /// tokenizer.json with small tables, so that most replacements hit something else.
    static TREE: serde_json::Value = {
        let mut tree: serde_json::Value =
            serde_json::from_slice(&golden("tokenizer/tokenizer.json")).unwrap();
        tree["added_tokens"].as_array_mut().unwrap().truncate(12);
        let vocab = tree["model"]["vocab"].as_object_mut().unwrap();
        vocab.retain(|_, id| id.as_u64().unwrap() < 40);
        tree["model"]["merges"] = serde_json::json!([["▁▁", "▁▁"]]);
        tree
    };
    static TOKENIZER: Tokenizer = tokenizer();
}
