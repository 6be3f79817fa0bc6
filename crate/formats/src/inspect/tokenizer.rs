use serde::Serialize;

use crate::sentencepiece::{Vocabulary, VocabularyError};
use crate::tokenizer::{Tokenizer, TokenizerError};

/// A tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenizerDescription {
    /// `tokenizer.json` or `tokenizer.model`.
    pub format: &'static str,
    /// Ids, added tokens included.
    pub vocab_size: usize,
    /// Id of `<bos>`.
    pub bos: Option<u32>,
    /// Id of `<eos>`.
    pub eos: Option<u32>,
    /// Id of `<end_of_turn>`: 107 in Gemma 1, 2 and T5Gemma, 106 in Gemma 3.
    pub end_of_turn: Option<u32>,
}

/// Describes a `tokenizer.json`.
///
/// # Errors
/// [`TokenizerError::BadFile`].
pub fn tokenizer_json(json: &[u8]) -> Result<TokenizerDescription, TokenizerError> {
    // Every Gemma tokenizer has these ids; a file without them belongs to another model.
    let tokenizer = Tokenizer::parse(json, 2, &[1])?;
    Ok(TokenizerDescription {
        format: "tokenizer.json",
        vocab_size: tokenizer.vocab_size(),
        bos: tokenizer.id("<bos>"),
        eos: tokenizer.id("<eos>"),
        end_of_turn: tokenizer.id("<end_of_turn>"),
    })
}

/// Describes a SentencePiece `tokenizer.model`.
///
/// # Errors
/// [`VocabularyError`].
pub fn tokenizer_model(bytes: &[u8]) -> Result<TokenizerDescription, VocabularyError> {
    let vocabulary = Vocabulary::parse(bytes)?;
    let id = |name: &str| {
        let at = vocabulary.pieces().iter().position(|p| p.text == name)?;
        u32::try_from(at).ok()
    };
    Ok(TokenizerDescription {
        format: "tokenizer.model",
        vocab_size: vocabulary.pieces().len(),
        bos: id("<bos>"),
        eos: id("<eos>"),
        end_of_turn: id("<end_of_turn>"),
    })
}
