use vaultlab_formats::tokenizer::{Tokenizer, TokenizerError};
use vaultlab_protocol::{Answer, Event, FinishReason, Sampling};

use super::{Sampler, StopStrings};
use crate::EngineError;
use crate::host::{Control, Host};
use crate::lora::DeviceAdapter;
use crate::model::Decoder;
use crate::train::read;

/// A tokenised prompt.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Ids, BOS included.
    pub ids: Vec<u32>,
}

impl Prompt {
    /// Tokenises `text` after one BOS.
    ///
    /// # Errors
    /// [`EngineError::Tokenizer`].
    pub fn new(tokenizer: &Tokenizer, text: &str) -> Result<Self, EngineError> {
        Ok(Self {
            ids: tokenizer.encode_with_bos(text).map_err(tokenizer_error)?,
        })
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
    let context = model.config.context;
    if prompt.ids.len() >= context {
        return Err(EngineError::Settings(format!(
            "the prompt has {} tokens, but the model's context holds {context}; shorten it",
            prompt.ids.len()
        )));
    }
    let begun = host.now_ms();
    let capacity = context.min(prompt.ids.len() + settings.max_new_tokens as usize);
    let mut cache = model.new_cache(capacity);
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
        if cache.filled() + new_ids.len() > capacity {
            break FinishReason::Context;
        }
        let logits = read(model.decode(&new_ids, &mut cache, adapter)).await?;
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
        prompt_tokens: prompt.ids.len() as u32,
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
