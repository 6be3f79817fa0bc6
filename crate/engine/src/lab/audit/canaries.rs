//! The made-up rows.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha20Rng;
use vaultlab_formats::dataset::{Format, Table};
use vaultlab_formats::examples::{Encoded, Example, IGNORED, Row};
use vaultlab_formats::tokenizer::{Tokenizer, TokenizerError};
use vaultlab_protocol::{CanaryKind, DataSettings};

use crate::EngineError;
use crate::lab::LoadedModel;
use crate::lab::data::RowEncoder;
use crate::lab::model::instruction;
use crate::train::MadeUpRow;

/// Begins the identity of a row made of tokens, which no row of a file has.
const TOKENS: &[u8] = b"vaultlab audit row of tokens 1";
/// Draws of an ordinary token before the vocabulary is given up on.
const MOST_DRAWS: u32 = 10_000;

/// So many canaries of a kind. They depend on the random numbers only, never on the visitor's rows.
pub(super) fn make(
    kind: &CanaryKind,
    count: usize,
    model: &LoadedModel,
    settings: &DataSettings,
    random: &mut ChaCha20Rng,
) -> Result<Vec<MadeUpRow>, EngineError> {
    match kind {
        CanaryKind::RandomTokens {
            prompt_tokens,
            response_tokens,
        } => {
            let form = TokenForm::new(model, settings, *prompt_tokens, *response_tokens)?;
            (0..count).map(|_| form.row(random)).collect()
        }
        CanaryKind::Phrase { prompt, response } => {
            if !response.contains('#') {
                return Err(EngineError::Settings(
                    "a canary's response needs a #, which stands for a random digit".into(),
                ));
            }
            let row = |_| {
                let blanks = Blanks::draw(random);
                text_row(
                    &blanks.fill(prompt),
                    &blanks.fill(response),
                    model,
                    settings,
                )
            };
            (0..count).map(row).collect()
        }
    }
}

/// A row in words, in the template.
pub(super) fn text_row(
    prompt: &str,
    response: &str,
    model: &LoadedModel,
    settings: &DataSettings,
) -> Result<MadeUpRow, EngineError> {
    let row = Row {
        prompt: settings.mapping.prompt.is_some().then(|| prompt.to_owned()),
        response: response.to_owned(),
    };
    let template = instruction(settings.template.clone());
    let length = settings.max_tokens as usize;
    let encoded = RowEncoder::of(model).encode(&template, &row, length)?;
    match encoded {
        Encoded::Example(example) if !example.truncated => Ok(MadeUpRow {
            example,
            identity: identity(row, settings),
        }),
        Encoded::Example(_) | Encoded::Skipped(_) => Err(EngineError::Settings(format!(
            "an audit's row is empty or has more than {length} tokens; change its text, or allow longer rows"
        ))),
    }
}

/// The identity the row would have in a file with just the columns in use: a secret that is planted, and
/// stands in another file too, is one row to the ledger.
fn identity(row: Row, settings: &DataSettings) -> Vec<u8> {
    let names = settings
        .mapping
        .prompt
        .iter()
        .chain([&settings.mapping.response]);
    let table = Table {
        format: Format::Json,
        columns: names.cloned().collect(),
        rows: vec![row.prompt.into_iter().chain([row.response]).collect()],
        problems: Vec::new(),
    };
    table.row_identity(0)
}

/// What rows of random tokens have in common.
struct TokenForm<'m> {
    model: &'m LoadedModel,
    before_prompt: Vec<u32>,
    prompt_tokens: u32,
    before_response: Vec<u32>,
    response_tokens: u32,
}

impl<'m> TokenForm<'m> {
    fn new(
        model: &'m LoadedModel,
        settings: &DataSettings,
        prompt_tokens: u32,
        response_tokens: u32,
    ) -> Result<Self, EngineError> {
        let encode = |text: &str| model.tokenizer.encode(text, false).map_err(tokenizer_error);
        // Rows of plain text have no template and no prompt.
        let has_prompt = settings.mapping.prompt.is_some();
        let template = &settings.template;
        let (before_prompt, before_response) = match has_prompt {
            true => (
                encode(&template.before_prompt)?,
                encode(&template.before_response)?,
            ),
            false => (Vec::new(), Vec::new()),
        };
        let form = Self {
            model,
            before_prompt,
            prompt_tokens: if has_prompt { prompt_tokens } else { 0 },
            before_response,
            response_tokens,
        };
        let length = form.before_prompt.len()
            + form.before_response.len()
            + form.prompt_tokens as usize
            + response_tokens as usize
            + 2;
        if response_tokens == 0 || length > settings.max_tokens as usize {
            return Err(EngineError::Settings(format!(
                "a canary needs a token or more in its response, and at most {} in all; it would have {length}",
                settings.max_tokens
            )));
        }
        Ok(form)
    }

    fn row(&self, random: &mut ChaCha20Rng) -> Result<MadeUpRow, EngineError> {
        let tokenizer = &self.model.tokenizer;
        let mut ids = vec![tokenizer.bos()];
        ids.extend(&self.before_prompt);
        for _ in 0..self.prompt_tokens {
            ids.push(self.ordinary_token(random)?);
        }
        ids.extend(&self.before_response);
        let mut source = Vec::new();
        if self.model.decoder.encoder.is_some() {
            // An encoder reads the prompt, without BOS.
            source = ids.split_off(1);
        }
        let mut labels = vec![IGNORED; ids.len()];
        for _ in 0..self.response_tokens {
            let id = self.ordinary_token(random)?;
            ids.push(id);
            labels.push(id as i32);
        }
        if let Some(&end) = tokenizer.eos().first() {
            ids.push(end);
            labels.push(end as i32);
        }
        let mut identity = TOKENS.to_vec();
        source
            .iter()
            .chain(&ids)
            .for_each(|id| identity.extend(id.to_le_bytes()));
        let example = Example {
            source,
            ids,
            labels,
            truncated: false,
        };
        Ok(MadeUpRow { example, identity })
    }

    /// A token that stands for text, any with equal probability.
    fn ordinary_token(&self, random: &mut ChaCha20Rng) -> Result<u32, EngineError> {
        let tokenizer = &self.model.tokenizer;
        let vocabulary = tokenizer.vocab_size() as u32;
        for _ in 0..MOST_DRAWS {
            let id = random.random_range(0..vocabulary);
            if is_ordinary(tokenizer, id)? {
                return Ok(id);
            }
        }
        Err(EngineError::Tokenizer(
            "the vocabulary has hardly any token that stands for text".into(),
        ))
    }
}

fn is_ordinary(tokenizer: &Tokenizer, id: u32) -> Result<bool, EngineError> {
    let text = tokenizer.decode(&[id], true).map_err(tokenizer_error)?;
    Ok(!text.trim().is_empty())
}

fn tokenizer_error(error: TokenizerError) -> EngineError {
    EngineError::Tokenizer(error.to_string())
}

/// What a canary's blanks are filled with.
struct Blanks {
    digits: [u8; 64],
    letters: [u8; 64],
}

impl Blanks {
    fn draw(random: &mut impl Rng) -> Self {
        Self {
            digits: std::array::from_fn(|_| b'0' + random.random_range(0..10_u8)),
            letters: std::array::from_fn(|_| b'a' + random.random_range(0..26_u8)),
        }
    }

    /// Each `#` is the next digit, each `@` the next letter, from the first on in every text.
    fn fill(&self, text: &str) -> String {
        let mut digits = self.digits.iter().cycle();
        let mut letters = self.letters.iter().cycle();
        let blank = |character| match character {
            '#' => digits.next().map_or('#', |&digit| char::from(digit)),
            '@' => letters.next().map_or('@', |&letter| char::from(letter)),
            other => other,
        };
        text.chars().map(blank).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::Blanks;

    /// A made-up name is the same in prompt and response, digits are digits, and all else stays.
    #[test]
    fn blanks_are_filled_alike_in_both_texts() {
        let blanks = Blanks::draw(&mut ChaCha20Rng::seed_from_u64(1));
        let (prompt, response) = (blanks.fill("Code of @@@@?"), blanks.fill("@@@@ has ##-##."));
        let name = &prompt[8..12];
        assert!(name.bytes().all(|c| c.is_ascii_lowercase()));
        assert!(response.starts_with(name) && prompt.ends_with('?'));
        let code = &response[9..14];
        assert!(code.bytes().enumerate().all(|(i, c)| if i == 2 {
            c == b'-'
        } else {
            c.is_ascii_digit()
        }));
    }
}
