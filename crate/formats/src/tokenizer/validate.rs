//! Checks on `tokenizer.json` that the `tokenizers` library leaves to a panic.
//!
//! Its decoder parser calls `expect` on a JSON error, its BPE builder copies each merge into a buffer
//! as long as the longest token, and its template processor indexes a map by names from the file. A
//! panic ends a wasm module, so all three are ruled out first.
//! The model's tables are passed over without being stored: they are megabytes.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::Pairs;

/// Nesting allowed in the small members; the library's own parser stops at 128 in all.
const MAX_DEPTH: usize = 32;

/// Says what is wrong, or nothing.
pub(super) fn validate(json: &[u8]) -> Result<(), String> {
    let members: Pairs<&RawValue> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let mut model = None;
    for (key, raw) in members.0 {
        if key == "model" {
            model = Some(raw);
            continue;
        }
        let value: Value = serde_json::from_str(raw.get()).map_err(|e| e.to_string())?;
        if depth(&value) > MAX_DEPTH {
            return Err(format!("`{key}` is nested too deeply"));
        }
        if key == "post_processor" {
            check_post_processor(&value)?;
        }
    }
    let model = model.ok_or("it has no `model`")?;
    let model: Model = serde_json::from_str(model.get()).map_err(|e| e.to_string())?;
    model.check()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Gemma's files have a template that adds BOS, or nothing.
fn check_post_processor(value: &Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    match value["type"].as_str() {
        Some("TemplateProcessing") => {}
        Some("Sequence") => {
            let processors = value["processors"]
                .as_array()
                .ok_or("its post-processor is damaged")?;
            return processors.iter().try_for_each(check_post_processor);
        }
        _ => return Err("its post-processor is none that a Gemma tokenizer has".to_owned()),
    }
    for part in ["single", "pair"] {
        let pieces = value[part]
            .as_array()
            .ok_or("its post-processor is damaged")?;
        for piece in pieces {
            let Some(id) = piece["SpecialToken"]["id"].as_str() else {
                if piece["Sequence"].is_object() {
                    continue;
                }
                return Err("its post-processor is damaged".to_owned());
            };
            if value["special_tokens"].get(id).is_none() {
                return Err("its post-processor adds a token that it does not define".to_owned());
            }
        }
    }
    Ok(())
}

/// The `model` member, its tables reduced to the lengths that matter.
#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    vocab: LongestKey,
    merges: LongestMerge,
}

impl Model {
    fn check(&self) -> Result<(), String> {
        if self.kind != "BPE" {
            return Err("its model is not BPE, which every Gemma tokenizer is".to_owned());
        }
        if self.dropout.is_some_and(|p| p != 0.0) {
            return Err("it drops merges at random".to_owned());
        }
        if self
            .continuing_subword_prefix
            .as_ref()
            .is_some_and(|p| !p.is_empty())
        {
            return Err("it marks word continuations, which no Gemma tokenizer does".to_owned());
        }
        if self.merges.0 > self.vocab.0 {
            return Err("a merge gives a token that the vocabulary lacks".to_owned());
        }
        Ok(())
    }
}

/// Bytes of the longest key of an object.
struct LongestKey(usize);

impl<'de> Deserialize<'de> for LongestKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = LongestKey;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tokens")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LongestKey, A::Error> {
                let mut longest = 0;
                while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
                    longest = longest.max(key.len());
                }
                Ok(LongestKey(longest))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// Bytes of the longest token a merge can give.
struct LongestMerge(usize);

/// `"a b"` or `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Spaced(String),
}

impl<'de> Deserialize<'de> for LongestMerge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Merges;

        impl<'de> Visitor<'de> for Merges {
            type Value = LongestMerge;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LongestMerge, A::Error> {
                let mut longest = 0;
                while let Some(merge) = list.next_element::<Merge>()? {
                    longest = longest.max(match merge {
                        Merge::Pair(a, b) => a.len() + b.len(),
                        // Without the space between.
                        Merge::Spaced(text) => text.len().saturating_sub(1),
                    });
                }
                Ok(LongestMerge(longest))
            }
        }

        deserializer.deserialize_seq(Merges)
    }
}
