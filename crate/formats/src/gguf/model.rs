//! Gemma models in GGUF: metadata to configuration, tensor names to those of checkpoints.

use serde_json::{Map, json};

use super::{Gguf, GgufError, GgufTensor, Value};
use crate::config::{Family, ModelConfig};

/// A tensor of the file under the name a checkpoint gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedTensor {
    /// Name in a checkpoint, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// The tensor in the file; its shape is the one the model needs.
    pub tensor: GgufTensor,
    /// True for norm weights: the file holds w + 1, so subtract one.
    pub minus_one: bool,
}

/// Names below `model.layers.N.` by names below `blk.N.`, where all families agree.
const IN_BLOCK: [(&str, &str); 11] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("attn_norm", "input_layernorm"),
    ("post_attention_norm", "post_attention_layernorm"),
];

impl Gguf {
    /// `general.architecture`.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`] and [`GgufError::WrongType`].
    pub fn architecture(&self) -> Result<&str, GgufError> {
        self.text("general.architecture")
    }

    /// The configuration that the model's `config.json` would give.
    ///
    /// What llama.cpp fixes in code is filled in as it does: Gemma 2 alternates, Gemma 3 has five local
    /// layers to a global one with local RoPE base 10,000 (unless the file says otherwise), and queries
    /// are scaled by `key_length^-1/2`, in the 27B models by `(embedding_length / head_count)^-1/2`.
    ///
    /// # Errors
    /// [`GgufError`] naming the key that is missing, wrong or asks for another computation.
    pub fn model_config(&self) -> Result<ModelConfig, GgufError> {
        let architecture = self.architecture()?;
        let model_type = match architecture {
            "gemma" => "gemma",
            "gemma2" => "gemma2",
            "gemma3" => "gemma3_text",
            other => {
                return Err(GgufError::Unsupported {
                    key: "general.architecture".to_owned(),
                    value: other.escape_debug().take(40).collect(),
                    advice: "gemma, gemma2 and gemma3 are",
                });
            }
        };
        if let Some(parts) = self.number("split.count")?.filter(|&n| n > 1) {
            return Err(GgufError::Unsupported {
                key: "split.count".to_owned(),
                value: parts.to_string(),
                advice: "merge the parts with llama-gguf-split --merge",
            });
        }
        let config = self.as_config_json(architecture, model_type)?;
        let bytes = serde_json::Value::Object(config).to_string();
        Ok(ModelConfig::parse(bytes.as_bytes())?)
    }

    fn as_config_json(
        &self,
        architecture: &str,
        model_type: &str,
    ) -> Result<Map<String, serde_json::Value>, GgufError> {
        let key = |name: &str| format!("{architecture}.{name}");
        let need = |name: &str| self.need_number(&key(name));
        let (heads, head_dim) = (need("attention.head_count")?, need("attention.key_length")?);
        if let Some(values) = self.number(&key("attention.value_length"))?
            && values != head_dim
        {
            return Err(GgufError::Unsupported {
                key: key("attention.value_length"),
                value: values.to_string(),
                advice: "keys and values have the same width in this family",
            });
        }
        let (width, layers) = (need("embedding_length")?, need("block_count")?);
        let mut config = Map::new();
        let mut set = |name: &str, value: serde_json::Value| {
            config.insert(name.to_owned(), value);
        };
        set("model_type", json!(model_type));
        set("vocab_size", json!(self.vocabulary_size()?));
        set("hidden_size", json!(width));
        set("intermediate_size", json!(need("feed_forward_length")?));
        set("num_hidden_layers", json!(layers));
        set("num_attention_heads", json!(heads));
        set(
            "num_key_value_heads",
            json!(
                self.number(&key("attention.head_count_kv"))?
                    .unwrap_or(heads)
            ),
        );
        set("head_dim", json!(head_dim));
        set("max_position_embeddings", json!(need("context_length")?));
        let epsilon = key("attention.layer_norm_rms_epsilon");
        let epsilon = self.float(&epsilon)?.ok_or_else(|| missing(&epsilon))?;
        set("rms_norm_eps", json!(epsilon));
        set("hidden_activation", json!("gelu_pytorch_tanh"));
        set(
            "tie_word_embeddings",
            json!(self.tensor("output.weight").is_none()),
        );
        let base = key("rope.freq_base");
        let theta = match (self.float(&base)?, architecture) {
            (Some(theta), _) => theta,
            // Converters leave it out where it is llama.cpp's own default.
            (None, "gemma" | "gemma2") => 10_000.0,
            (None, _) => return Err(missing(&base)),
        };
        set("rope_theta", json!(theta));
        if let Some(scaling) = self.rope_scaling(architecture)? {
            set("rope_scaling", scaling);
        }
        set(
            "bos_token_id",
            json!(self.need_number("tokenizer.ggml.bos_token_id")?),
        );
        // Instruction-tuned models also end their turns.
        let eos = self.need_number("tokenizer.ggml.eos_token_id")?;
        let turn = self.number("tokenizer.ggml.eot_token_id")?;
        let ends: Vec<u64> = [Some(eos), turn].into_iter().flatten().collect();
        set("eos_token_id", json!(ends));
        if let Some(pad) = self.number("tokenizer.ggml.padding_token_id")? {
            set("pad_token_id", json!(pad));
        }
        if architecture != "gemma" {
            let default_window = (architecture == "gemma2").then_some(4096);
            let window = key("attention.sliding_window");
            let window = self
                .number(&window)?
                .or(default_window)
                .ok_or_else(|| missing(&window))?;
            set("sliding_window", json!(window));
            let default_cap = |cap: f64| (architecture == "gemma2").then_some(cap);
            for (name, from, cap) in [
                ("attn_logit_softcapping", "attn_logit_softcapping", 50.0),
                ("final_logit_softcapping", "final_logit_softcapping", 30.0),
            ] {
                set(name, json!(self.float(&key(from))?.or(default_cap(cap))));
            }
            set(
                "query_pre_attn_scalar",
                json!(query_scalar(layers, width, heads, head_dim)),
            );
            set("layer_types", self.layer_types(architecture, layers)?);
        }
        if architecture == "gemma3" {
            let local = self.float(&key("rope.freq_base_swa"))?;
            set("rope_local_base_freq", json!(local.unwrap_or(10_000.0)));
        }
        Ok(config)
    }

    /// `sliding_window_pattern` is the period (every p-th layer is full) or one flag per layer.
    fn layer_types(&self, architecture: &str, layers: u64) -> Result<serde_json::Value, GgufError> {
        let key = format!("{architecture}.attention.sliding_window_pattern");
        let sliding: Vec<bool> = match self.metadata.get(&key) {
            Some(Value::Integers(flags)) => flags.iter().map(|&f| f != 0).collect(),
            _ => {
                let default = if architecture == "gemma2" { 2 } else { 6 };
                let period = self.number(&key)?.unwrap_or(default).max(1);
                // The configuration refuses more than 1024 layers; do not build a list for them.
                (1..=layers.min(1025)).map(|n| n % period != 0).collect()
            }
        };
        let name = |slides| match slides {
            true => "sliding_attention",
            false => "full_attention",
        };
        Ok(sliding.into_iter().map(name).collect())
    }

    fn rope_scaling(&self, architecture: &str) -> Result<Option<serde_json::Value>, GgufError> {
        let key = |name: &str| format!("{architecture}.rope.scaling.{name}");
        let kind = match self.metadata.get(&key("type")) {
            None => return Ok(None),
            Some(_) => self.text(&key("type"))?,
        };
        match kind {
            "none" => Ok(None),
            "linear" => {
                let factor = self
                    .float(&key("factor"))?
                    .ok_or_else(|| missing(&key("factor")))?;
                Ok(Some(json!({"rope_type": "linear", "factor": factor})))
            }
            other => Err(GgufError::Unsupported {
                key: key("type"),
                value: other.escape_debug().take(40).collect(),
                advice: "none and linear are",
            }),
        }
    }

    /// Rows of the embedding table, which counts even where the vocabulary is shorter.
    fn vocabulary_size(&self) -> Result<u64, GgufError> {
        let table = self
            .tensor("token_embd.weight")
            .ok_or(GgufError::MissingTensor {
                name: "model.embed_tokens.weight".to_owned(),
            })?;
        match table.shape.as_slice() {
            [rows, _] => Ok(*rows),
            _ => Err(GgufError::BadTensor {
                name: table.name.clone(),
                detail: "an embedding table has two dimensions".to_owned(),
            }),
        }
    }

    /// Every tensor the model needs, in the order of [`ModelConfig::tensors`], under its name in a
    /// checkpoint and with its shape checked.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`], [`GgufError::WrongShape`] and [`GgufError::ForeignTensor`] for
    /// tensors of another model.
    pub fn tensors_for(&self, config: &ModelConfig) -> Result<Vec<MappedTensor>, GgufError> {
        let mut by_name = std::collections::HashMap::new();
        for tensor in &self.tensors {
            let name = checkpoint_name(config.family, &tensor.name).ok_or_else(|| {
                GgufError::ForeignTensor {
                    name: tensor.name.clone(),
                    architecture: config.model_type.clone(),
                }
            })?;
            by_name.insert(name, tensor);
        }
        let mapped = config
            .tensors()
            .into_iter()
            .map(|spec| {
                let tensor =
                    by_name
                        .remove(&spec.name)
                        .ok_or_else(|| GgufError::MissingTensor {
                            name: spec.name.clone(),
                        })?;
                if !tensor.shape.iter().eq(spec
                    .shape
                    .iter()
                    .map(|&n| n as u64)
                    .collect::<Vec<_>>()
                    .iter())
                {
                    return Err(GgufError::WrongShape {
                        name: tensor.name.clone(),
                        found: tensor.shape.clone(),
                        expected: spec.shape,
                    });
                }
                Ok(MappedTensor {
                    minus_one: spec.name.ends_with("norm.weight"),
                    name: spec.name,
                    tensor: tensor.clone(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        match by_name.into_values().next() {
            None => Ok(mapped),
            Some(left) => Err(GgufError::ForeignTensor {
                name: left.name.clone(),
                architecture: config.model_type.clone(),
            }),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, GgufError> {
        let value = self.metadata.get(key).ok_or_else(|| missing(key))?;
        value.as_text().ok_or_else(|| wrong(key, "text"))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.metadata
            .get(key)
            .map(|v| v.as_u64().ok_or_else(|| wrong(key, "a whole number")))
            .transpose()
    }

    fn need_number(&self, key: &str) -> Result<u64, GgufError> {
        self.number(key)?.ok_or_else(|| missing(key))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.metadata
            .get(key)
            .map(|v| v.as_f64().ok_or_else(|| wrong(key, "a float")))
            .transpose()
    }
}

pub(super) fn missing(key: &str) -> GgufError {
    GgufError::MissingKey {
        key: key.to_owned(),
    }
}

pub(super) fn wrong(key: &str, expected: &'static str) -> GgufError {
    GgufError::WrongType {
        key: key.to_owned(),
        expected,
    }
}

/// `query_pre_attn_scalar`, which the metadata do not carry. The 27B models (46 layers of width 4608
/// in Gemma 2, 62 of 5376 in Gemma 3) scale by width over heads, all others by the head's width.
fn query_scalar(layers: u64, width: u64, heads: u64, head_dim: u64) -> u64 {
    match (layers, width) {
        (46, 4608) | (62, 5376) if heads > 0 => width / heads,
        _ => head_dim,
    }
}

/// Checkpoint name of a tensor of the file.
fn checkpoint_name(family: Family, name: &str) -> Option<String> {
    let stem = name.strip_suffix(".weight")?;
    let named = match stem {
        "token_embd" => "model.embed_tokens".to_owned(),
        "output_norm" => "model.norm".to_owned(),
        "output" => "lm_head".to_owned(),
        _ => {
            let (layer, part) = stem.strip_prefix("blk.")?.split_once('.')?;
            if layer.is_empty() || !layer.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let part = match (part, family) {
                // Gemma 1 names the norm before its MLP after the attention that precedes it.
                ("ffn_norm", Family::Gemma) => "post_attention_layernorm",
                ("post_attention_norm", Family::Gemma) => return None,
                ("ffn_norm", _) => "pre_feedforward_layernorm",
                ("post_ffw_norm", Family::Gemma2 | Family::Gemma3) => "post_feedforward_layernorm",
                _ => IN_BLOCK.iter().find(|(from, _)| *from == part)?.1,
            };
            format!("model.layers.{layer}.{part}")
        }
    };
    Some(format!("{named}.weight"))
}
