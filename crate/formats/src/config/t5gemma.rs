use super::fields::Fields;
use super::{ConfigError, Family, ModelConfig, parse_object};

/// An encoder-decoder model of the family.
#[derive(Clone, Debug, PartialEq)]
pub struct T5GemmaConfig {
    /// The bidirectional encoder. Its sliding window is exclusive: |q - k| < window.
    pub encoder: ModelConfig,
    /// The causal decoder.
    pub decoder: ModelConfig,
}

impl T5GemmaConfig {
    /// Reads `config.json` of a T5Gemma model.
    ///
    /// # Errors
    /// As [`ModelConfig::parse`]; keys are named with their stack (`encoder.hidden_size`).
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let object = parse_object(bytes)?;
        Self::read(Fields::new(&object, ""))
    }

    pub(super) fn read(outer: Fields<'_>) -> Result<Self, ConfigError> {
        match outer.text("model_type")? {
            Some("t5gemma") => {}
            Some(other) => {
                return Err(ConfigError::UnsupportedModel {
                    model_type: other.to_owned(),
                });
            }
            None => return Err(outer.missing("model_type")),
        }
        let stack = |name: &'static str| {
            let object = outer.object(name)?.ok_or_else(|| outer.missing(name))?;
            ModelConfig::parse_stack(Fields::new(object, name), Family::T5Gemma, outer)
        };
        let (encoder, decoder) = (stack("encoder")?, stack("decoder")?);
        let inner = outer.object("decoder")?.map(|o| Fields::new(o, "decoder"));
        if let Some(fields) = inner
            && fields.get("cross_attention_hidden_size").is_some()
        {
            let width = fields.size("cross_attention_hidden_size")?;
            if width != encoder.hidden_size {
                return Err(ConfigError::Contradiction {
                    first: fields.key("cross_attention_hidden_size"),
                    second: "encoder.hidden_size".to_owned(),
                    detail: format!("{width} and {}", encoder.hidden_size),
                });
            }
        }
        Ok(Self { encoder, decoder })
    }

    /// The two stacks as one model.
    pub fn into_model(self) -> ModelConfig {
        ModelConfig {
            model_type: "t5gemma".to_owned(),
            encoder: Some(Box::new(self.encoder)),
            ..self.decoder
        }
    }
}
