use std::cmp::Ordering;
use std::collections::HashMap;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::json;
use serde_json::value::RawValue;

use super::{MAX_MERGES, PieceKind, Vocabulary, VocabularyError};

/// Pieces transformers marks as special although they are not control pieces everywhere.
const SPECIAL: [&str; 7] = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<start_of_turn>",
    "<end_of_turn>",
];

/// Old vocabularies have no tab; its byte piece then becomes one.
const TAB_BYTE: &str = "<0x09>";

impl Vocabulary {
    /// `tokenizer.json` in Gemma's structure: spaces become `▁`, BPE with byte fallback, `<bos>` in
    /// front of a text.
    ///
    /// # Errors
    /// [`VocabularyError::TooManyMerges`].
    pub fn to_tokenizer_json(&self) -> Result<Vec<u8>, VocabularyError> {
        let table = self.table()?;
        let file = File {
            added: self.added_tokens(),
            bos: table.ids.get("<bos>").copied().unwrap_or_default(),
            table: &table,
        };
        // Strings and finite numbers only: writing to memory cannot fail.
        Ok(serde_json::to_vec(&file).unwrap_or_default())
    }

    fn table(&self) -> Result<Table<'_>, VocabularyError> {
        let has_tab = self.pieces.iter().any(|p| p.text == "\t");
        let tokens: Vec<&str> = self
            .pieces
            .iter()
            .map(|p| match p.text.as_str() {
                TAB_BYTE if !has_tab => "\t",
                text => text,
            })
            .collect();
        let ids = tokens.iter().zip(0..).map(|(&t, id)| (t, id)).collect();
        let mut table = Table {
            tokens,
            ids,
            merges: Vec::new(),
        };
        table.merges = self.merges(&table)?;
        Ok(table)
    }

    /// Every split of a piece into two, highest score first; among equals the longer left part, then
    /// the longer right part, then the order of ids: transformers' `generate_merges`.
    fn merges<'a>(&'a self, table: &Table<'a>) -> Result<Vec<Merge<'a>>, VocabularyError> {
        let mut merges = Vec::new();
        for (&text, piece) in table.tokens.iter().zip(&self.pieces) {
            let score = if text == "\t" || is_reserved(text) {
                0.0
            } else {
                piece.score
            };
            let from = merges.len();
            for (at, _) in text.char_indices().skip(1) {
                let (left, right) = text.split_at(at);
                if let (Some(&l), Some(&r)) = (table.ids.get(left), table.ids.get(right)) {
                    merges.push(Merge {
                        left,
                        right,
                        ids: (l, r),
                        score,
                        lengths: (left.chars().count(), right.chars().count()),
                    });
                }
            }
            if merges.len() > MAX_MERGES {
                return Err(VocabularyError::TooManyMerges { limit: MAX_MERGES });
            }
            merges[from..].sort_by_key(|m| m.ids);
        }
        // Stable: what is equal stays in the order of ids.
        merges.sort_by(|a, b| {
            // Scores are finite. -0 equals 0 here, as in Python.
            let by_score = b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal);
            by_score.then(b.lengths.cmp(&a.lengths))
        });
        Ok(merges)
    }

    fn added_tokens(&self) -> Vec<serde_json::Value> {
        let added = self.pieces.iter().enumerate().filter(|(_, p)| {
            matches!(p.kind, PieceKind::Control | PieceKind::UserDefined)
                || SPECIAL.contains(&p.text.as_str())
        });
        added
            .map(|(id, piece)| {
                let special =
                    piece.kind == PieceKind::Control || SPECIAL.contains(&piece.text.as_str());
                json!({
                    "id": id, "content": piece.text, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": special,
                })
            })
            .collect()
    }
}

/// The first three pieces get score 0 whatever the file says.
fn is_reserved(text: &str) -> bool {
    matches!(text, "<pad>" | "<eos>" | "<bos>")
}

struct Table<'a> {
    /// Tokens by id.
    tokens: Vec<&'a str>,
    ids: HashMap<&'a str, u32>,
    merges: Vec<Merge<'a>>,
}

struct Merge<'a> {
    left: &'a str,
    right: &'a str,
    ids: (u32, u32),
    score: f32,
    /// In characters.
    lengths: (usize, usize),
}

struct File<'a> {
    added: Vec<serde_json::Value>,
    bos: u32,
    table: &'a Table<'a>,
}

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bos = |type_id| json!({"SpecialToken": {"id": "<bos>", "type_id": type_id}});
        let text = |id, type_id| json!({"Sequence": {"id": id, "type_id": type_id}});
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", "1.0")?;
        map.serialize_entry("truncation", &None::<&RawValue>)?;
        map.serialize_entry("padding", &None::<&RawValue>)?;
        map.serialize_entry("added_tokens", &self.added)?;
        map.serialize_entry(
            "normalizer",
            &json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
        )?;
        map.serialize_entry(
            "pre_tokenizer",
            &json!({
                "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false,
            }),
        )?;
        map.serialize_entry(
            "post_processor",
            &json!({
                "type": "TemplateProcessing",
                "single": [bos(0), text("A", 0)],
                "pair": [bos(0), text("A", 0), bos(1), text("B", 1)],
                "special_tokens": {"<bos>": {"id": "<bos>", "ids": [self.bos], "tokens": ["<bos>"]}},
            }),
        )?;
        map.serialize_entry(
            "decoder",
            &json!({"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ]}),
        )?;
        map.serialize_entry("model", &Model(self.table))?;
        map.end()
    }
}

struct Model<'a>(&'a Table<'a>);

impl Serialize for Model<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "BPE")?;
        map.serialize_entry("dropout", &None::<f32>)?;
        map.serialize_entry("unk_token", "<unk>")?;
        map.serialize_entry("continuing_subword_prefix", &None::<&str>)?;
        map.serialize_entry("end_of_word_suffix", &None::<&str>)?;
        map.serialize_entry("fuse_unk", &true)?;
        map.serialize_entry("byte_fallback", &true)?;
        map.serialize_entry("ignore_merges", &false)?;
        map.serialize_entry("vocab", &Vocab(self.0))?;
        map.serialize_entry("merges", &Merges(self.0))?;
        map.end()
    }
}

struct Vocab<'a>(&'a Table<'a>);

impl Serialize for Vocab<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.tokens.iter().zip(0u32..))
    }
}

struct Merges<'a>(&'a Table<'a>);

impl Serialize for Merges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let merges = &self.0.merges;
        let mut list = serializer.serialize_seq(Some(merges.len()))?;
        for merge in merges {
            list.serialize_element(&[merge.left, merge.right])?;
        }
        list.end()
    }
}
