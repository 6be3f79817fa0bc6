//! `tokenizer.model` against the tokenizer.json that transformers' rules give for it.

mod common;

use common::golden;
use proptest::prelude::*;
use serde_json::Value;
use vaultlab_formats::sentencepiece::{Piece, PieceKind, Vocabulary, VocabularyError};
use vaultlab_formats::tokenizer::Tokenizer;

fn model() -> Vec<u8> {
    golden("tokenizer/tokenizer.model")
}

/// The whole converted file equals the reference: vocabulary, every merge in order, added tokens.
#[test]
fn the_converted_file_is_the_reference_file() {
    let ours = Vocabulary::parse(&model())
        .unwrap()
        .to_tokenizer_json()
        .unwrap();
    let ours: Value = serde_json::from_slice(&ours).unwrap();
    let reference: Value = serde_json::from_slice(&golden("tokenizer/tokenizer.json")).unwrap();
    for (key, value) in reference.as_object().unwrap() {
        if key == "model" {
            for (key, value) in value.as_object().unwrap() {
                assert_eq!(&ours["model"][key], value, "model.{key}");
            }
        } else {
            assert_eq!(&ours[key], value, "{key}");
        }
    }
}

/// Ids and texts are those of the Python package, and without control tokens those of SentencePiece.
#[test]
fn ids_are_those_of_both_python_packages() {
    let json = Vocabulary::parse(&model())
        .unwrap()
        .to_tokenizer_json()
        .unwrap();
    let ours = Tokenizer::parse(&json, 2, &[1]).unwrap();
    let golden: Value = serde_json::from_slice(&golden("tokenizer/golden.json")).unwrap();
    let ids = |case: &Value, key: &str| -> Vec<u32> {
        serde_json::from_value(case[key].clone()).unwrap()
    };
    let mut same = 0;
    for case in golden["strings"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            ours.encode(text, true).unwrap(),
            ids(case, "ids"),
            "{text:?}"
        );
        let plain = ours.encode(text, false).unwrap();
        assert_eq!(plain, ids(case, "ids_no_special"), "{text:?}");
        if case["same"].as_bool().unwrap() {
            assert_eq!(plain, ids(case, "spm_ids"), "{text:?}");
            same += 1;
        }
        let decoded = ours.decode(&ids(case, "ids"), true).unwrap();
        assert_eq!(decoded, case["decoded_skip_special"].as_str().unwrap());
    }
    assert!(same >= 20, "{same}");
}

fn pieces() -> Vec<Piece> {
    Vocabulary::parse(&model()).unwrap().pieces().to_vec()
}

/// Without a tab piece the tab's byte piece becomes one, as transformers mends old Gemma files.
#[test]
fn an_old_vocabulary_without_tab_gets_one() {
    let mut pieces = pieces();
    let tab = pieces.iter().position(|p| p.text == "\t");
    if let Some(tab) = tab {
        pieces[tab].text = "\u{f8ff}".to_owned();
    }
    let byte = pieces.iter().position(|p| p.text == "<0x09>").unwrap();
    let json = Vocabulary::new(pieces)
        .unwrap()
        .to_tokenizer_json()
        .unwrap();
    let tokenizer = Tokenizer::parse(&json, 2, &[1]).unwrap();
    assert_eq!(tokenizer.encode("\t", false).unwrap(), [byte as u32]);
    assert_eq!(tokenizer.decode(&[byte as u32], true).unwrap(), "\t");
}

#[test]
fn impossible_vocabularies_are_refused() {
    let refuse = |edit: &dyn Fn(&mut Vec<Piece>)| {
        let mut pieces = pieces();
        edit(&mut pieces);
        Vocabulary::new(pieces).unwrap_err()
    };
    let bad = |error: VocabularyError| matches!(error, VocabularyError::BadPiece { id: 300, .. });
    assert!(bad(refuse(&|p| p[300].text.clear())));
    assert!(bad(refuse(&|p| p[300].text = "a".repeat(513))));
    assert!(bad(refuse(&|p| p[300].score = f32::NAN)));
    assert!(bad(refuse(&|p| p[300].text = p[299].text.clone())));
    let no_bytes = refuse(&|p| {
        p.retain(|piece| piece.text != "<0x41>");
    });
    assert_eq!(no_bytes, VocabularyError::NoByteFallback { bytes: 255 });
    for name in ["<bos>", "<unk>"] {
        let error = refuse(&|p| p.retain(|piece| piece.text != name));
        assert_eq!(error, VocabularyError::Missing { name });
    }
    assert!(Vocabulary::new(Vec::new()).is_err());
    assert_eq!(PieceKind::from_number(7), None);
}

/// Vocabularies made to be slow or to fill memory are refused before they do.
#[test]
fn hostile_vocabularies_are_bounded() {
    let base: Vec<Piece> = pieces();
    let known: std::collections::HashSet<String> = base.iter().map(|p| p.text.clone()).collect();
    let with = |texts: &mut dyn Iterator<Item = String>| {
        let mut all = base.clone();
        let mut seen = known.clone();
        all.extend(texts.filter(|t| seen.insert(t.clone())).map(|text| Piece {
            text,
            score: -1.0,
            kind: PieceKind::Normal,
        }));
        all
    };
    // Long pieces: finding merges would hash their squares.
    let mut long = (0..5000).map(|i| format!("{i:0512}"));
    let error = Vocabulary::new(with(&mut long)).unwrap_err();
    assert!(
        matches!(error, VocabularyError::TooMany { pieces: 5440, .. }),
        "{error}"
    );
    // Every substring of a text without repetitions: every split of every piece is a merge.
    let letters: Vec<char> = ('\u{100}'..).take(1200).collect();
    let mut substrings = (0..letters.len())
        .flat_map(|from| (from + 1..=letters.len().min(from + 64)).map(move |to| (from, to)))
        .map(|(from, to)| letters[from..to].iter().collect());
    let vocabulary = Vocabulary::new(with(&mut substrings)).unwrap();
    let error = vocabulary.to_tokenizer_json().unwrap_err();
    assert_eq!(error, VocabularyError::TooManyMerges { limit: 1 << 21 });
}

/// A protobuf field: number, wire type 2, content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, content.len() as u8];
    out.extend(content);
    out
}

/// Later fields win, as protobuf has it, so a setting appended to the file replaces its own.
#[test]
fn tokenizers_that_work_otherwise_are_refused() {
    let trainer = |tag: &[u8], value: u8| field(2, &[tag, &[value]].concat());
    let normalizer = |tag: u8, value: u8| field(3, &[tag << 3, value]);
    for (setting, named) in [
        (trainer(&[3 << 3], 1), "unigram"),
        (trainer(&[3 << 3], 4), "character"),
        (trainer(&[0x98, 0x02], 0), "byte fallback"),
        (trainer(&[0xc0, 0x01], 1), "spaces"),
        (normalizer(3, 1), "in front"),
        (normalizer(4, 1), "extra spaces"),
        (field(3, &[2 << 3 | 2, 1, 9]), "normalisation"),
    ] {
        let error = Vocabulary::parse(&[model(), setting].concat()).unwrap_err();
        assert!(matches!(error, VocabularyError::Unsupported { .. }));
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// Cut anywhere, the file is refused or, cut between fields, lacks what the check asks for.
#[test]
fn files_cut_off_anywhere_are_refused() {
    let model = model();
    for length in 0..model.len() - 1 {
        let cut = Vocabulary::parse(&model[..length]);
        // The trainer's and normaliser's settings stand at the end.
        assert!(cut.is_err() || length > model.len() - 100, "{length}");
    }
    assert!(Vocabulary::parse(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").is_err());
    assert!(Vocabulary::parse(b"<!DOCTYPE html>").is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Vocabulary::parse(&bytes);
    }

    /// Whatever damage passes the checks still gives a file the tokenizer takes or refuses.
    #[test]
    fn damaged_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut model = model();
        for (at, byte) in edits {
            let at = at.index(model.len());
            model[at] = byte;
        }
        if let Ok(vocabulary) = Vocabulary::parse(&model)
            && let Ok(json) = vocabulary.to_tokenizer_json()
            && let Ok(tokenizer) = Tokenizer::parse(&json, 2, &[1])
        {
            let _ = tokenizer.encode("The quick\tfox ▁ \u{1f98a}", true);
        }
    }
}
