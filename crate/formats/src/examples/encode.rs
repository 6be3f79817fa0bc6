use super::Row;
use crate::template::InstructionTemplate;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Label of a token the loss leaves out.
pub const IGNORED: i32 = -100;

/// A row as token ids.
///
/// For an encoder-decoder the prompt is the encoder's `source`, and `ids` are the decoder's start token and the response.
/// That is the usual shift (decoder inputs are the labels moved right behind the start token, -100 read as padding)
/// written so that one rule serves both kinds of model.
///
/// `labels[i]` is `ids[i]` where the model is to learn that token and [`IGNORED`] elsewhere, not
/// shifted: the loss at position i - 1 predicts `labels[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// What an encoder reads; empty for decoder-only models.
    pub source: Vec<u32>,
    /// BOS, template, prompt, response, and EOS if it fits.
    pub ids: Vec<u32>,
    /// As long as `ids`.
    pub labels: Vec<i32>,
    /// True if tokens (EOS included) were cut at the maximum length.
    pub truncated: bool,
}

impl Example {
    /// An example for an encoder-decoder from its unshifted labels: the loss at position t of the decoder, whose
    /// inputs are `start` and the labels before t, predicts `labels[t]`. Where a label is [`IGNORED`] the decoder
    /// reads `pad`.
    pub fn translation(source: Vec<u32>, labels: &[i32], start: u32, pad: u32) -> Self {
        let inputs = labels
            .iter()
            .map(|&label| u32::try_from(label).unwrap_or(pad));
        Self {
            source,
            ids: std::iter::once(start).chain(inputs).collect(),
            labels: std::iter::once(IGNORED)
                .chain(labels.iter().copied())
                .collect(),
            truncated: false,
        }
    }

    /// Tokens the loss is taken on, EOS included.
    pub fn target_tokens(&self) -> usize {
        self.labels
            .iter()
            .filter(|&&label| label != IGNORED)
            .count()
    }
}

/// Why a row gives no example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The response is empty or blank.
    EmptyResponse,
    /// The prompt fills the maximum length, so that no response token is left.
    NoTargetWithinLength,
    /// An encoder has nothing to read: the row has no prompt, or an empty one.
    EmptySource,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// It can be trained on.
    Example(Example),
    /// It is left out.
    Skipped(SkipReason),
}

/// Encodes a row: BOS, `before_prompt`, prompt, `before_response`, response, EOS (the first of the
/// tokenizer's), cut at `max_tokens`. A row without prompt is BOS, response, EOS.
///
/// The text is tokenised once as a whole, as it would be read in one piece, and labels follow from
/// the bytes each token covers: a token is a target if any of its bytes belongs to the response. So
/// a token that straddles the boundary (a line break of the template merged with one that opens the
/// response) is learnt; otherwise the start of such responses never would be. For templates that
/// end in a line break and responses that do not begin with one, Gemma's tokenizers never merge
/// across the boundary, and the prompt tokenised alone gives the same prompt tokens.
///
/// # Errors
/// [`TokenizerError::Failed`].
pub fn encode_row(
    tokenizer: &Tokenizer,
    template: &InstructionTemplate,
    row: &Row,
    max_tokens: usize,
) -> Result<Encoded, TokenizerError> {
    if row.response.trim().is_empty() {
        return Ok(Encoded::Skipped(SkipReason::EmptyResponse));
    }
    let mut text = row
        .prompt
        .as_deref()
        .map_or_else(String::new, |prompt| template.prompt(prompt));
    let boundary = text.len();
    text.push_str(&row.response);

    let mut tokens = tokenizer.encode_with_offsets(&text)?;
    // A text that spells BOS itself must not give two.
    if tokens
        .first()
        .is_some_and(|token| token.id == tokenizer.bos())
    {
        tokens.remove(0);
    }
    let end = tokenizer.eos().first().copied();
    let whole = 1 + tokens.len() + usize::from(end.is_some());
    let mut ids = vec![tokenizer.bos()];
    let mut labels = vec![IGNORED];
    for token in &tokens {
        ids.push(token.id);
        labels.push(if token.end > boundary {
            label(token.id)
        } else {
            IGNORED
        });
    }
    ids.truncate(max_tokens);
    labels.truncate(max_tokens);
    // EOS alone is no reason to keep a row whose response was cut away entirely.
    if labels.iter().all(|&label| label == IGNORED) {
        return Ok(Encoded::Skipped(SkipReason::NoTargetWithinLength));
    }
    if let Some(eos) = end
        && ids.len() == whole - 1
        && ids.len() < max_tokens
    {
        ids.push(eos);
        labels.push(label(eos));
    }
    let truncated = ids.len() < whole;
    Ok(Encoded::Example(Example {
        source: Vec::new(),
        ids,
        labels,
        truncated,
    }))
}

/// Encodes a row for an encoder-decoder: the encoder reads the prompt in its template, without BOS; the decoder learns
/// the response and EOS after its start token, the tokenizer's BOS. Each side is cut at `max_tokens`.
///
/// # Errors
/// [`TokenizerError::Failed`].
pub fn encode_translation(
    tokenizer: &Tokenizer,
    template: &InstructionTemplate,
    row: &Row,
    max_tokens: usize,
) -> Result<Encoded, TokenizerError> {
    if row.response.trim().is_empty() {
        return Ok(Encoded::Skipped(SkipReason::EmptyResponse));
    }
    let mut source = match &row.prompt {
        Some(prompt) => tokenizer.encode(&template.prompt(prompt), false)?,
        None => Vec::new(),
    };
    if source.is_empty() {
        return Ok(Encoded::Skipped(SkipReason::EmptySource));
    }
    let response = tokenizer.encode(&row.response, false)?;
    if max_tokens < 2 || response.is_empty() {
        return Ok(Encoded::Skipped(SkipReason::NoTargetWithinLength));
    }
    let mut labels: Vec<i32> = response.iter().map(|&id| label(id)).collect();
    labels.extend(tokenizer.eos().first().map(|&eos| label(eos)));
    let whole = (source.len(), labels.len());
    source.truncate(max_tokens);
    labels.truncate(max_tokens - 1);
    let truncated = (source.len(), labels.len()) < whole;
    let example = Example::translation(source, &labels, tokenizer.bos(), 0);
    Ok(Encoded::Example(Example {
        truncated,
        ..example
    }))
}

/// Token ids are far below 2^31.
fn label(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(IGNORED)
}
