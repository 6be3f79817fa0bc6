//! Tokenizers in Hugging Face's `tokenizer.json` form, and decoding token by token.

mod stream;
mod validate;

pub use stream::StreamDecoder;

use std::sync::Arc;

use thiserror::Error;
use tokenizers::Tokenizer as Inner;

/// Why a tokenizer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenizerError {
    /// The file is no tokenizer this crate can run.
    #[error("tokenizer.json cannot be read ({detail}); take the one published with the model")]
    BadFile {
        /// What is wrong, without its vocabulary.
        detail: String,
    },
    /// The tokenizer lacks a token the model needs.
    #[error("the tokenizer has no token with id {id} for {role}; it belongs to another model")]
    MissingToken {
        /// The id the model's configuration names.
        id: u32,
        /// What it is for.
        role: &'static str,
    },
    /// A text could not be encoded or ids not be decoded.
    #[error("the tokenizer failed: {detail}")]
    Failed {
        /// What the library reports.
        detail: String,
    },
}

/// A token of an encoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Id.
    pub id: u32,
    /// Byte range of the text it covers. Several byte-fallback tokens of one character all cover
    /// the whole character.
    pub start: usize,
    /// End of that range.
    pub end: usize,
}

/// A tokenizer with the special ids of its model. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Arc<Inner>,
    bos: u32,
    eos: Vec<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`. `bos` and `eos` come from the model's configuration.
    ///
    /// # Errors
    /// [`TokenizerError::BadFile`], and [`TokenizerError::MissingToken`] if the vocabulary lacks
    /// `bos` or one of `eos`.
    pub fn parse(json: &[u8], bos: u32, eos: &[u32]) -> Result<Self, TokenizerError> {
        let bad = |detail: String| TokenizerError::BadFile {
            detail: short(&detail),
        };
        validate::validate(json).map_err(bad)?;
        let mut inner = Inner::from_bytes(json).map_err(|e| bad(e.to_string()))?;
        // Lengths are the caller's business, whatever the file was saved with.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| bad(e.to_string()))?;
        for (id, role) in std::iter::once((bos, "BOS")).chain(eos.iter().map(|&id| (id, "EOS"))) {
            if inner.id_to_token(id).is_none() {
                return Err(TokenizerError::MissingToken { id, role });
            }
        }
        Ok(Self {
            inner: Arc::new(inner),
            bos,
            eos: eos.to_vec(),
        })
    }

    /// Id every sequence starts with.
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// Ids that end a generated text.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token an id stands for, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token spelled as in the vocabulary, e.g. `<end_of_turn>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Ids of a text; `special` lets the file's post-processor add what it adds (Gemma: BOS).
    ///
    /// # Errors
    /// [`TokenizerError::Failed`].
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.run(text, special)?.get_ids().to_vec())
    }

    /// Ids of a text with BOS in front exactly once, whether or not the post-processor adds it and
    /// whether or not the text (a rendered chat) already begins with it.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`].
    pub fn encode_with_bos(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let plain = self.run(text, false)?;
        let ids = plain.get_ids();
        let rest = &ids[usize::from(ids.first() == Some(&self.bos))..];
        Ok(std::iter::once(self.bos)
            .chain(rest.iter().copied())
            .collect())
    }

    /// Tokens of a text with the bytes they cover, nothing added.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`].
    pub fn encode_with_offsets(&self, text: &str) -> Result<Vec<Token>, TokenizerError> {
        let encoding = self.run(text, false)?;
        Ok(encoding
            .get_ids()
            .iter()
            .zip(encoding.get_offsets())
            .map(|(&id, &(start, end))| Token { id, start, end })
            .collect())
    }

    /// Text of ids; `skip_special` leaves out control tokens such as BOS.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`].
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        self.inner.decode(ids, skip_special).map_err(failed)
    }

    /// A decoder that takes one id at a time.
    pub fn stream(&self, skip_special: bool) -> StreamDecoder {
        StreamDecoder::new(self.clone(), skip_special)
    }

    fn run(&self, text: &str, special: bool) -> Result<tokenizers::Encoding, TokenizerError> {
        self.inner.encode(text, special).map_err(failed)
    }

    fn is_skipped(&self, token: &str) -> bool {
        self.inner.get_added_vocabulary().is_special_token(token)
    }
}

fn failed(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Failed {
        detail: short(&error.to_string()),
    }
}

/// The start of a library message; some quote long parts of the file.
fn short(message: &str) -> String {
    message.chars().take(200).collect()
}
