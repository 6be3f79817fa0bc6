use vaultlab_formats::examples::PaddedIds;
use vaultlab_formats::tokenizer::{Tokenizer, TokenizerError};
use vaultlab_protocol::{Answer, Event, FinishReason, Sampling};

use super::{Sampler, StopStrings};
use crate::EngineError;
use crate::host::{Control, Host};
use crate::lora::DeviceAdapter;
use crate::model::{Decoder, KvCache};
use crate::train::read;

/// A tokenised prompt.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What an encoder reads, without BOS as in fine-tuning; empty for a decoder-only model.
    pub source: Vec<u32>,
    /// What the decoder goes on from, BOS included: the prompt, or BOS alone where an encoder reads that.
    pub ids: Vec<u32>,
}

impl Prompt {
    /// Tokenises `text` for a model.
    ///
    /// # Errors
    /// [`EngineError::Tokenizer`].
    pub fn new(tokenizer: &Tokenizer, text: &str, model: &Decoder) -> Result<Self, EngineError> {
        if model.encoder.is_some() {
            return Ok(Self {
                source: tokenizer.encode(text, false).map_err(tokenizer_error)?,
                ids: vec![tokenizer.bos()],
            });
        }
        Ok(Self {
            source: Vec::new(),
            ids: tokenizer.encode_with_bos(text).map_err(tokenizer_error)?,
        })
    }

    /// Tokens the model reads before it answers.
    pub fn tokens(&self) -> usize {
        self.source.len() + self.ids.len()
    }

    /// Runs the encoder, if there is one, and gives a cache for the prompt and at most `new_tokens` more, as far as
    /// the context goes.
    ///
    /// # Errors
    /// [`EngineError::Settings`] for a prompt that fills the context, or is empty where an encoder reads it.
    pub fn open(
        &self,
        model: &Decoder,
        new_tokens: usize,
        adapter: Option<&DeviceAdapter>,
    ) -> Result<KvCache, EngineError> {
        let context = model.config.context;
        let source = match &model.config.encoder {
            Some(encoder) => (self.source.len(), encoder.context),
            None => (1, 1),
        };
        if source.0 == 0 || self.ids.is_empty() {
            return Err(EngineError::Settings(
                "the prompt is empty; write one".into(),
            ));
        }
        for (tokens, context) in [source, (self.ids.len() + 1, context)] {
            if tokens > context {
                return Err(EngineError::Settings(format!(
                    "the prompt has {} tokens, but the model's context holds {context}; shorten it",
                    self.tokens()
                )));
            }
        }
        let encoded = model.encode(&PaddedIds::one(&self.source), adapter);
        Ok(model.new_cache(context.min(self.ids.len() + new_tokens), encoded))
    }
}

fn tokenizer_error(error: TokenizerError) -> EngineError {
    EngineError::Tokenizer(error.to_string())
}

/// Answers a prompt, emitting [`Event::Token`] as text becomes certain.
///
/// Ends at any of the model's EOS ids, a stop string, the wanted length, a full context, or a wish to stop, which
/// keeps what was said.
///
/// # Errors
/// [`EngineError::Settings`] for a prompt that fills the context, and failures of device or tokenizer.
pub async fn generate<H: Host>(
    model: &Decoder,
    tokenizer: &Tokenizer,
    prompt: &Prompt,
    adapter: Option<&DeviceAdapter>,
    settings: &Sampling,
    host: &H,
    control: &Control,
) -> Result<Answer, EngineError> {
    let begun = host.now_ms();
    let mut cache = prompt.open(model, settings.max_new_tokens as usize, adapter)?;
    let mut sampler = Sampler::new(settings.clone());
    let mut stream = tokenizer.stream(true);
    let mut stops = StopStrings::new(&settings.stop);
    let mut history = prompt.ids.clone();
    let mut text = String::new();
    let mut first_token_at = begun;
    let show = |piece: String, text: &mut String| {
        if !piece.is_empty() {
            text.push_str(&piece);
            host.emit(Event::Token { text: piece });
        }
    };

    let mut new_ids = prompt.ids.clone();
    let mut tokens = Vec::new();
    let finish = loop {
        if tokens.len() >= settings.max_new_tokens as usize {
            break FinishReason::Length;
        }
        if cache.filled() + new_ids.len() > cache.capacity() {
            break FinishReason::Context;
        }
        let logits = read(model.decode(&new_ids, 1, &mut cache, adapter)).await?;
        let id = sampler.next(logits, &history);
        if tokens.is_empty() {
            first_token_at = host.now_ms();
        }
        if model.config.eos.contains(&id) {
            break FinishReason::Eos;
        }
        tokens.push(id);
        history.push(id);
        new_ids = vec![id];
        if let Some(piece) = stream.push(id).map_err(tokenizer_error)? {
            let (shown, stopped) = stops.push(&piece);
            show(shown, &mut text);
            if stopped {
                break FinishReason::Stop;
            }
        }
        host.breathe().await;
        if control.check().is_err() {
            break FinishReason::Cancelled;
        }
    };
    if finish != FinishReason::Stop {
        let rest = stream
            .finish()
            .map_err(tokenizer_error)?
            .unwrap_or_default();
        let (shown, _) = stops.push(&rest);
        show(shown, &mut text);
        show(stops.finish(), &mut text);
    }
    let seconds = (host.now_ms() - first_token_at) / 1e3;
    let after_first = tokens.len().saturating_sub(1) as f64;
    Ok(Answer {
        text,
        prompt_tokens: prompt.tokens() as u32,
        finish,
        first_token_ms: first_token_at - begun,
        tokens_per_second: if seconds > 0.0 {
            after_first / seconds
        } else {
            0.0
        },
        tokens,
    })
}
