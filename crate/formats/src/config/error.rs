use thiserror::Error;

/// Why a `config.json` (or `generation_config.json`) cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ConfigError {
    /// The bytes are no JSON object.
    #[error("{file} is not a JSON object ({detail}); download the file again")]
    NotJson {
        /// File name.
        file: &'static str,
        /// What the JSON parser found, with line and column.
        detail: String,
    },
    /// A key that decides the computation is missing. Defaults are never assumed for these:
    /// the library's class defaults differ from the released models.
    #[error(
        "config.json has no `{key}`, which the computation depends on; take the config.json published with the weights"
    )]
    Missing {
        /// The key, with its path (`rope_parameters.rope_theta`).
        key: String,
    },
    /// A value has the wrong JSON type.
    #[error("config.json: `{key}` must be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A number outside what a Gemma-family model can have.
    #[error("config.json: `{key}` is {value}, but must be {expected}")]
    OutOfRange {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// The allowed range.
        expected: &'static str,
    },
    /// Two keys that cannot both hold.
    #[error("config.json: `{first}` and `{second}` contradict each other: {detail}")]
    Contradiction {
        /// One key.
        first: String,
        /// The other key.
        second: String,
        /// How they differ.
        detail: String,
    },
    /// A model type this crate does not know.
    #[error(
        "config.json: model_type `{model_type}` is not supported; supported are vaultgemma, gemma, gemma2, gemma3_text, gemma3 and t5gemma"
    )]
    UnsupportedModel {
        /// The model type found.
        model_type: String,
    },
    /// A known key whose value asks for a computation that is not implemented.
    #[error("config.json: `{key}` = {value} is not supported; {advice}")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What would work.
        advice: &'static str,
    },
}
