use super::{Tokenizer, TokenizerError};

/// Turns ids into text as they are generated.
///
/// The pieces joined together equal [`Tokenizer::decode`] of all ids. A run of byte-fallback tokens
/// (`<0xE2>`) is held back until another token or [`StreamDecoder::finish`] ends it: only then is it
/// known whether the whole run is valid UTF-8, and an invalid run decodes to one U+FFFD per byte.
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    skip_special: bool,
    /// Ids of the last piece, so that a decoder that strips a leading space sees none at the start
    /// of the next one.
    context: Vec<u32>,
    /// Ids not turned into text yet.
    pending: Vec<u32>,
}

impl StreamDecoder {
    pub(super) fn new(tokenizer: Tokenizer, skip_special: bool) -> Self {
        Self {
            tokenizer,
            skip_special,
            context: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Takes the next id; returns the text that is now certain, if any.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`].
    pub fn push(&mut self, id: u32) -> Result<Option<String>, TokenizerError> {
        // Decoding passes over ids outside the vocabulary.
        let Some(token) = self.tokenizer.token(id) else {
            return Ok(None);
        };
        if self.skip_special && self.tokenizer.is_skipped(&token) {
            return Ok(None);
        }
        self.pending.push(id);
        if is_byte_token(&token) {
            Ok(None)
        } else {
            self.flush()
        }
    }

    /// Returns what was held back at the end of the sequence.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`].
    pub fn finish(mut self) -> Result<Option<String>, TokenizerError> {
        self.flush()
    }

    fn flush(&mut self) -> Result<Option<String>, TokenizerError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let before = self.tokenizer.decode(&self.context, self.skip_special)?;
        self.context.append(&mut self.pending);
        let both = self.tokenizer.decode(&self.context, self.skip_special)?;
        let piece = both
            .strip_prefix(before.as_str())
            .unwrap_or(&both)
            .to_owned();
        // Keep the last token only: it is no byte token unless the sequence has ended.
        self.context.drain(..self.context.len() - 1);
        Ok((!piece.is_empty()).then_some(piece))
    }
}

/// `<0xE2>`, the test the library's byte-fallback decoder makes.
fn is_byte_token(token: &str) -> bool {
    token.len() == 6
        && token
            .strip_prefix("<0x")
            .and_then(|t| t.strip_suffix('>'))
            .is_some_and(|digits| u8::from_str_radix(digits, 16).is_ok())
}
