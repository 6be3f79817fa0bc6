//! `config.json` of the Gemma family as one typed value.
//!
//! Two key styles are read: transformers 5 (`rope_parameters`, `dtype`) and transformers 4
//! (`rope_theta`, `rope_local_base_freq`, `sliding_window_pattern`, `torch_dtype`). A missing key
//! that decides the computation is an error: the library's class defaults are not the released
//! models. The one exception is `tie_word_embeddings`, which transformers itself leaves out of the
//! file when it is true.

mod any;
mod attention;
mod error;
mod fields;
mod generation;
mod layout;
mod quantization;
mod rope;
mod t5gemma;

pub use any::AnyConfig;
pub use attention::AttentionKind;
pub use error::ConfigError;
pub use generation::GenerationConfig;
pub use layout::{CROSS_PROJECTIONS, LinearModule, NormLayout, PROJECTIONS, StackRole, TensorSpec};
pub use quantization::{BitsAndBytes4, Quantization};
pub use rope::Rope;
pub use t5gemma::T5GemmaConfig;

use serde_json::{Map, Value};

use fields::Fields;
use rope::RopePair;

/// Member of the Gemma family, by what its decoder computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Gemma 1.
    Gemma,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3 text models.
    Gemma3,
    /// VaultGemma.
    VaultGemma,
    /// One stack of T5Gemma.
    T5Gemma,
}

/// Activation of the gated MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU in its tanh approximation, 0.5x(1 + tanh(√(2/π)(x + 0.044715x³))).
    GeluTanh,
}

/// What differs from layer to layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerConfig {
    /// Full or sliding attention.
    pub attention: AttentionKind,
    /// The layer's rotary embedding.
    pub rope: Rope,
}

/// A model of the family: its decoder, and the encoder that the decoder reads if it has one. Also one stack of T5Gemma.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// T5Gemma's encoder, whose states the decoder attends to; `None` for decoder-only models. Bidirectional, and its
    /// sliding window is exclusive: |q - k| < window.
    pub encoder: Option<Box<ModelConfig>>,
    /// Member of the family.
    pub family: Family,
    /// `model_type` as written.
    pub model_type: String,
    /// Vocabulary size; rows of the embedding table.
    pub vocab_size: usize,
    /// Residual width d.
    pub hidden_size: usize,
    /// Width of the gated MLP.
    pub intermediate_size: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; each serves `num_heads / num_kv_heads` query heads.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest context in tokens.
    pub context: usize,
    /// ε of RMSNorm.
    pub rms_norm_eps: f64,
    /// One entry per layer.
    pub layers: Vec<LayerConfig>,
    /// Queries are multiplied by this: `query_pre_attn_scalar^-1/2`, or `head_dim^-1/2` for Gemma 1.
    pub query_scale: f64,
    /// c of `c tanh(s / c)` on attention scores.
    pub attention_softcap: Option<f64>,
    /// c of `c tanh(z / c)` on the logits.
    pub final_softcap: Option<f64>,
    /// Norms around attention and MLP.
    pub norms: NormLayout,
    /// True if queries and keys are normalised per head before RoPE.
    pub qk_norm: bool,
    /// True if the logits use the embedding table (no `lm_head.weight` in the checkpoint).
    pub tied_embeddings: bool,
    /// Embeddings are multiplied by this, √d, rounded to the compute type by whoever applies it.
    pub embedding_scale: f64,
    /// Activation of the MLP.
    pub activation: Activation,
    /// Id every sequence starts with.
    pub bos: u32,
    /// Ids that end generation; never empty.
    pub eos: Vec<u32>,
    /// Padding id, if any; padded positions are masked, so it does not change results.
    pub pad: Option<u32>,
    /// `dtype` (or `torch_dtype`) as written.
    pub dtype: Option<String>,
    /// How the checkpoint's linear layers are stored, if not as plain floats.
    pub quantization: Option<Quantization>,
}

impl ModelConfig {
    /// Reads `config.json` of a model of the family.
    ///
    /// # Errors
    /// Every missing, contradictory or unsupported key is an error that names the key.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let object = parse_object(bytes)?;
        let outer = Fields::new(&object, "");
        let model_type = outer
            .text("model_type")?
            .ok_or_else(|| outer.missing("model_type"))?;
        let family = match model_type {
            "vaultgemma" => Family::VaultGemma,
            "gemma" => Family::Gemma,
            "gemma2" => Family::Gemma2,
            "gemma3_text" => Family::Gemma3,
            "gemma3" => {
                // The multimodal wrapper; its text model is a configuration of its own.
                let text = outer
                    .object("text_config")?
                    .ok_or_else(|| outer.missing("text_config"))?;
                let mut config =
                    Self::parse_stack(Fields::new(text, "text_config"), Family::Gemma3, outer)?;
                config.model_type = model_type.to_owned();
                return Ok(config);
            }
            "t5gemma" => return Ok(T5GemmaConfig::read(outer)?.into_model()),
            other => {
                return Err(ConfigError::UnsupportedModel {
                    model_type: other.to_owned(),
                });
            }
        };
        Self::parse_stack(outer, family, outer)
    }

    /// Reads one stack. `outer` is the file's top level, which may hold token ids, `dtype` and
    /// `quantization_config` for a nested stack.
    fn parse_stack(fields: Fields, family: Family, outer: Fields) -> Result<Self, ConfigError> {
        refuse_foreign_computations(fields)?;
        let num_layers = fields.size("num_hidden_layers")?;
        if num_layers > 1024 {
            return Err(ConfigError::OutOfRange {
                key: fields.key("num_hidden_layers"),
                value: num_layers.to_string(),
                expected: "at most 1024",
            });
        }
        let hidden_size = fields.size("hidden_size")?;
        let num_heads = fields.size("num_attention_heads")?;
        let num_kv_heads = fields.size("num_key_value_heads")?;
        let head_dim = fields.size("head_dim")?;
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(ConfigError::Contradiction {
                first: fields.key("num_attention_heads"),
                second: fields.key("num_key_value_heads"),
                detail: format!("{num_heads} query heads cannot share {num_kv_heads} key heads"),
            });
        }
        if !head_dim.is_multiple_of(2) {
            return Err(ConfigError::OutOfRange {
                key: fields.key("head_dim"),
                value: head_dim.to_string(),
                expected: "even, because RoPE rotates pairs",
            });
        }
        let ropes = RopePair::parse(fields, family)?;
        let layers = attention::attention_kinds(fields, family, num_layers)?
            .into_iter()
            .map(|attention| {
                Ok(LayerConfig {
                    attention,
                    rope: ropes.of(attention)?,
                })
            })
            .collect::<Result<_, ConfigError>>()?;
        let (attention_softcap, final_softcap) = softcaps(fields, family)?;
        let config = Self {
            encoder: None,
            family,
            model_type: fields.text("model_type")?.unwrap_or_default().to_owned(),
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_heads,
            num_kv_heads,
            head_dim,
            context: fields.size("max_position_embeddings")?,
            rms_norm_eps: fields.need_positive("rms_norm_eps")?,
            layers,
            query_scale: query_scale(fields, family, head_dim)?,
            attention_softcap,
            final_softcap,
            norms: NormLayout::of(family),
            qk_norm: family == Family::Gemma3,
            tied_embeddings: tied(fields, outer)?,
            embedding_scale: (hidden_size as f64).sqrt(),
            activation: activation(fields, family)?,
            bos: either(fields, outer, Fields::token, "bos_token_id")?
                .ok_or_else(|| fields.missing("bos_token_id"))?,
            eos: eos(fields, outer)?,
            pad: either(fields, outer, Fields::token, "pad_token_id")?,
            dtype: dtype(fields, outer)?,
            quantization: Quantization::parse(outer)?,
        };
        config.ids_within_vocabulary(fields)?;
        Ok(config)
    }

    /// Takes over what `generation_config.json` says; its EOS list replaces the model's.
    #[must_use]
    pub fn with_generation(mut self, generation: &GenerationConfig) -> Self {
        if !generation.eos.is_empty() {
            self.eos.clone_from(&generation.eos);
        }
        self.bos = generation.bos.unwrap_or(self.bos);
        self.pad = generation.pad.or(self.pad);
        self
    }

    /// Number of layers; the decoder's, where there is an encoder.
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }

    fn ids_within_vocabulary(&self, fields: Fields) -> Result<(), ConfigError> {
        let keyed = [("bos_token_id", Some(self.bos)), ("pad_token_id", self.pad)];
        let ids = keyed.into_iter().filter_map(|(key, id)| Some((key, id?)));
        for (key, id) in ids.chain(self.eos.iter().map(|id| ("eos_token_id", *id))) {
            if id as usize >= self.vocab_size {
                return Err(ConfigError::Contradiction {
                    first: fields.key(key),
                    second: fields.key("vocab_size"),
                    detail: format!("id {id} in a vocabulary of {}", self.vocab_size),
                });
            }
        }
        Ok(())
    }
}

/// Keys of other models that change the computation and are not implemented.
fn refuse_foreign_computations(fields: Fields) -> Result<(), ConfigError> {
    let refused = [
        (
            "attention_bias",
            "projections have no biases in this family",
        ),
        (
            "use_bidirectional_attention",
            "only causal models are supported",
        ),
    ];
    for (key, advice) in refused {
        let Some(value) = fields.get(key) else {
            continue;
        };
        if value != &Value::Bool(false) {
            return Err(ConfigError::Unsupported {
                key: fields.key(key),
                value: value.to_string(),
                advice,
            });
        }
    }
    Ok(())
}

fn softcaps(fields: Fields, family: Family) -> Result<(Option<f64>, Option<f64>), ConfigError> {
    const KEYS: [&str; 2] = ["attn_logit_softcapping", "final_logit_softcapping"];
    if family == Family::Gemma {
        // Gemma 1 has no soft-caps; a value here belongs to another model.
        for key in KEYS {
            if let Some(value) = fields.get(key) {
                return Err(ConfigError::Unsupported {
                    key: fields.key(key),
                    value: value.to_string(),
                    advice: "Gemma 1 has no soft-caps",
                });
            }
        }
        return Ok((None, None));
    }
    Ok((
        fields.nullable_positive(KEYS[0])?,
        fields.nullable_positive(KEYS[1])?,
    ))
}

fn query_scale(fields: Fields, family: Family, head_dim: usize) -> Result<f64, ConfigError> {
    let scalar = match family {
        Family::Gemma => head_dim as f64,
        _ => fields.need_positive("query_pre_attn_scalar")?,
    };
    Ok(scalar.sqrt().recip())
}

fn activation(fields: Fields, family: Family) -> Result<Activation, ConfigError> {
    // Gemma 1's files name the key `hidden_act`; where both stand, `hidden_activation` counts.
    let key = if fields.get("hidden_activation").is_some() {
        "hidden_activation"
    } else {
        "hidden_act"
    };
    match fields.text(key)? {
        Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        // Gemma 1 was published with "gelu" while trained and run with the tanh form.
        Some("gelu") if family == Family::Gemma => Ok(Activation::GeluTanh),
        Some(other) => Err(ConfigError::Unsupported {
            key: fields.key(key),
            value: other.to_owned(),
            advice: "Gemma models use gelu_pytorch_tanh",
        }),
        None => Err(fields.missing("hidden_activation")),
    }
}

fn tied(fields: Fields, outer: Fields) -> Result<bool, ConfigError> {
    Ok(either(fields, outer, Fields::flag, "tie_word_embeddings")?.unwrap_or(true))
}

fn eos(fields: Fields, outer: Fields) -> Result<Vec<u32>, ConfigError> {
    let mut ids = fields.tokens("eos_token_id")?;
    if ids.is_empty() {
        ids = outer.tokens("eos_token_id")?;
    }
    if ids.is_empty() {
        Err(fields.missing("eos_token_id"))
    } else {
        Ok(ids)
    }
}

fn dtype(fields: Fields, outer: Fields) -> Result<Option<String>, ConfigError> {
    for source in [fields, outer] {
        for key in ["dtype", "torch_dtype"] {
            if let Some(name) = source.text(key)? {
                return Ok(Some(name.to_owned()));
            }
        }
    }
    Ok(None)
}

/// The stack's own value, else the file's.
fn either<'a, T>(
    fields: Fields<'a>,
    outer: Fields<'a>,
    read: impl Fn(&Fields<'a>, &str) -> Result<Option<T>, ConfigError>,
    key: &str,
) -> Result<Option<T>, ConfigError> {
    match read(&fields, key)? {
        Some(value) => Ok(Some(value)),
        None => read(&outer, key),
    }
}

fn parse_json(file: &'static str, bytes: &[u8]) -> Result<Value, ConfigError> {
    serde_json::from_slice(bytes).map_err(|e| ConfigError::NotJson {
        file,
        detail: e.to_string(),
    })
}

fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    match parse_json("config.json", bytes)? {
        Value::Object(object) => Ok(object),
        _ => Err(ConfigError::NotJson {
            file: "config.json",
            detail: "it holds another JSON type".to_owned(),
        }),
    }
}
