use super::fields::Fields;
use super::{
    ConfigError, LinearModule, ModelConfig, Quantization, T5GemmaConfig, TensorSpec, parse_object,
};

/// A configuration of either kind of model.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyConfig {
    /// A decoder-only model.
    Decoder(Box<ModelConfig>),
    /// An encoder-decoder model.
    EncoderDecoder(Box<T5GemmaConfig>),
}

impl AnyConfig {
    /// Reads `config.json` of any supported model, told apart by `model_type`.
    ///
    /// # Errors
    /// As [`ModelConfig::parse`] and [`T5GemmaConfig::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let object = parse_object(bytes)?;
        match Fields::new(&object, "").text("model_type")? {
            Some("t5gemma") => Ok(Self::EncoderDecoder(Box::new(T5GemmaConfig::parse(bytes)?))),
            _ => Ok(Self::Decoder(Box::new(ModelConfig::parse(bytes)?))),
        }
    }

    /// `model_type` as written.
    pub fn model_type(&self) -> &str {
        match self {
            Self::Decoder(config) => &config.model_type,
            Self::EncoderDecoder(_) => "t5gemma",
        }
    }

    /// The stack that writes the answer.
    pub fn decoder(&self) -> &ModelConfig {
        match self {
            Self::Decoder(config) => config,
            Self::EncoderDecoder(config) => &config.decoder,
        }
    }

    /// The stack that reads the prompt, if it is another one.
    pub fn encoder(&self) -> Option<&ModelConfig> {
        match self {
            Self::Decoder(_) => None,
            Self::EncoderDecoder(config) => Some(&config.encoder),
        }
    }

    /// Every tensor of the checkpoint.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        match self {
            Self::Decoder(config) => config.tensors(),
            Self::EncoderDecoder(config) => config.tensors(),
        }
    }

    /// The linear layers LoRA can adapt, in forward order.
    pub fn linear_modules(&self) -> Vec<LinearModule> {
        match self {
            Self::Decoder(config) => config.linear_modules(),
            Self::EncoderDecoder(config) => config.linear_modules(),
        }
    }

    /// Parameters of the checkpoint.
    pub fn parameters(&self) -> u64 {
        match self {
            Self::Decoder(config) => config.parameters(),
            Self::EncoderDecoder(config) => config.parameters(),
        }
    }

    /// How the checkpoint's linear layers are stored, if not as plain floats.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.decoder().quantization.as_ref()
    }
}
