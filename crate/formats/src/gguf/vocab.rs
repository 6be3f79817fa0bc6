use super::model::{missing, wrong};
use super::{Gguf, GgufError, Value};
use crate::sentencepiece::{Piece, PieceKind, Vocabulary};

impl Gguf {
    /// The tokenizer inside, as `tokenizer.json` in Gemma's structure.
    ///
    /// # Errors
    /// [`GgufError`] if the file has none, or another kind than SentencePiece BPE.
    pub fn tokenizer_json(&self) -> Result<Vec<u8>, GgufError> {
        const MODEL: &str = "tokenizer.ggml.model";
        match self.text(MODEL)? {
            "llama" => {}
            other => {
                return Err(GgufError::Unsupported {
                    key: MODEL.to_owned(),
                    value: other.escape_debug().take(40).collect(),
                    advice: "Gemma files have `llama`, that is SentencePiece",
                });
            }
        }
        const TOKENS: &str = "tokenizer.ggml.tokens";
        const SCORES: &str = "tokenizer.ggml.scores";
        const TYPES: &str = "tokenizer.ggml.token_type";
        let get = |key: &str| self.metadata.get(key).ok_or_else(|| missing(key));
        let Value::Texts(tokens) = get(TOKENS)? else {
            return Err(wrong(TOKENS, "a list of texts"));
        };
        let Value::Floats(scores) = get(SCORES)? else {
            return Err(wrong(SCORES, "a list of floats"));
        };
        let Value::Integers(types) = get(TYPES)? else {
            return Err(wrong(TYPES, "a list of integers"));
        };
        if scores.len() != tokens.len() {
            return Err(wrong(SCORES, "as long as the list of tokens"));
        }
        if types.len() != tokens.len() {
            return Err(wrong(TYPES, "as long as the list of tokens"));
        }
        let pieces = tokens
            .iter()
            .zip(scores)
            .zip(types)
            .map(|((text, &score), &kind)| {
                Ok(Piece {
                    text: text.clone(),
                    score,
                    kind: PieceKind::from_number(kind)
                        .ok_or_else(|| wrong(TYPES, "numbers from 1 to 6"))?,
                })
            })
            .collect::<Result<_, GgufError>>()?;
        Ok(Vocabulary::new(pieces)?.to_tokenizer_json()?)
    }
}
