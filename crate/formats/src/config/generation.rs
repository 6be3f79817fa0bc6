use serde_json::Value;

use super::ConfigError;
use super::fields::Fields;

/// What `generation_config.json` adds to the model's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationConfig {
    /// Ids that end generation; empty if the file names none. They replace the model's own list.
    pub eos: Vec<u32>,
    /// Id generation starts from.
    pub bos: Option<u32>,
    /// Padding id.
    pub pad: Option<u32>,
}

impl GenerationConfig {
    /// Reads `generation_config.json`.
    ///
    /// # Errors
    /// [`ConfigError::NotJson`] and [`ConfigError::WrongType`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let value: Value = super::parse_json("generation_config.json", bytes)?;
        let Value::Object(object) = &value else {
            return Err(ConfigError::NotJson {
                file: "generation_config.json",
                detail: "it holds another JSON type".to_owned(),
            });
        };
        let fields = Fields::new(object, "");
        Ok(Self {
            eos: fields.tokens("eos_token_id")?,
            bos: fields.token("bos_token_id")?,
            pad: fields.token("pad_token_id")?,
        })
    }
}
