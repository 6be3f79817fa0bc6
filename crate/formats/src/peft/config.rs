use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::patterns::{Compiled, Matcher};
use super::{PeftError, Targets};
use crate::json::Pairs;

/// What `adapter_config.json` says about a plain LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Rank r, where `rank_pattern` says nothing else.
    pub rank: usize,
    /// Scale numerator, where `alpha_pattern` says nothing else.
    pub alpha: f64,
    /// Dropout on the input of A in training.
    pub dropout: f64,
    /// True for `alpha / sqrt(r)` instead of `alpha / r`.
    pub rslora: bool,
    /// Layers adapted.
    pub targets: Targets,
    /// Layers left out although targeted.
    pub excluded: Option<Targets>,
    /// Layer numbers, if only some are adapted.
    pub layers: Option<Vec<usize>>,
    /// Names the layer number must follow; any if empty.
    pub layers_pattern: Vec<String>,
    /// Ranks by path pattern, first match wins.
    pub rank_pattern: Vec<(String, usize)>,
    /// Alphas by path pattern, first match wins.
    pub alpha_pattern: Vec<(String, f64)>,
    /// `CAUSAL_LM`, `SEQ_2_SEQ_LM`, …
    pub task_type: Option<String>,
    /// The model it was trained on, as written.
    pub base_model: Option<String>,
    /// Keys with a value that this crate does not know; show them as a warning.
    pub unknown_keys: Vec<String>,
}

/// Keys that change nothing we compute, whatever they hold.
const HARMLESS: [&str; 12] = [
    "peft_version",
    "inference_mode",
    "revision",
    "auto_mapping",
    "task_type",
    "base_model_name_or_path",
    "qalora_group_size",
    "megatron_core",
    "ensure_weight_tying",
    "eva_config",
    "runtime_config",
    "lora_dropout",
];

/// Keys read by [`AdapterConfig::parse`].
const READ: [&str; 12] = [
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "init_lora_weights",
];

/// Variants refused when their key is in use, with what to do instead.
const REFUSED: [(&str, &str); 19] = [
    ("use_dora", "train it without DoRA"),
    (
        "fan_in_fan_out",
        "transposed layers do not occur in this family",
    ),
    ("modules_to_save", "train LoRA layers only"),
    ("target_parameters", "target linear modules"),
    ("layer_replication", "train it without replicated layers"),
    (
        "trainable_token_indices",
        "train it without token embeddings",
    ),
    ("lora_bias", "train it without biases"),
    ("use_qalora", "train it without QALoRA"),
    ("use_bdlora", "train it without block-diagonal LoRA"),
    ("alora_invocation_tokens", "train it without activated LoRA"),
    ("arrow_config", "load the adapters one by one"),
    ("megatron_config", "train it without Megatron layers"),
    (
        "loftq_config",
        "its base weights were altered; train with the default initialisation",
    ),
    (
        "corda_config",
        "its base weights were altered; train with the default initialisation",
    ),
    (
        "lora_ga_config",
        "its base weights were altered; train with the default initialisation",
    ),
    ("kasa_config", "train it as plain LoRA"),
    ("velora_config", "train it as plain LoRA"),
    ("monteclora_config", "train it as plain LoRA"),
    ("use_vblora", "train it as plain LoRA"),
];

impl AdapterConfig {
    /// Reads `adapter_config.json`.
    ///
    /// # Errors
    /// [`PeftError`] for damaged JSON, missing or impossible values, and every variant that
    /// computes something else than plain LoRA, by name.
    pub fn parse(bytes: &[u8]) -> Result<Self, PeftError> {
        let not_json = |e: serde_json::Error| PeftError::NotJson {
            detail: e.to_string(),
        };
        let object: Map<String, Value> = serde_json::from_slice(bytes).map_err(not_json)?;
        // Read once more for the order of the pattern tables, which decides between matches.
        let ordered: Pairs<Box<RawValue>> = serde_json::from_slice(bytes).map_err(not_json)?;
        let get = |key: &str| object.get(key).filter(|v| !v.is_null());

        match get("peft_type")
            .ok_or(PeftError::Missing { key: "peft_type" })?
            .as_str()
        {
            Some("LORA") => {}
            _ => {
                return Err(refused(
                    "peft_type",
                    &object["peft_type"],
                    "only LORA adapters are",
                ));
            }
        }
        for (key, advice) in REFUSED {
            if let Some(value) = get(key).filter(|v| in_use(v)) {
                return Err(refused(key, value, advice));
            }
        }
        refuse_bias(get("bias"))?;
        refuse_altered_base(get("init_lora_weights"))?;

        let unknown_keys = object
            .iter()
            .filter(|(key, value)| {
                let key = key.as_str();
                in_use(value)
                    && !HARMLESS.contains(&key)
                    && !READ.contains(&key)
                    && !REFUSED.iter().any(|(k, _)| *k == key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        Ok(Self {
            rank: rank("r", get("r").ok_or(PeftError::Missing { key: "r" })?)?,
            alpha: alpha(
                "lora_alpha",
                get("lora_alpha").ok_or(PeftError::Missing { key: "lora_alpha" })?,
            )?,
            dropout: dropout(get("lora_dropout"))?,
            rslora: flag("use_rslora", get("use_rslora"))?,
            targets: targets("target_modules", get("target_modules"))?.ok_or(
                PeftError::Missing {
                    key: "target_modules",
                },
            )?,
            excluded: targets("exclude_modules", get("exclude_modules"))?,
            layers: layers(get("layers_to_transform"))?,
            layers_pattern: names("layers_pattern", get("layers_pattern"))?,
            rank_pattern: table("rank_pattern", &ordered, rank)?,
            alpha_pattern: table("alpha_pattern", &ordered, alpha)?,
            task_type: get("task_type").and_then(Value::as_str).map(str::to_owned),
            base_model: get("base_model_name_or_path")
                .and_then(Value::as_str)
                .map(str::to_owned),
            unknown_keys,
        })
    }

    /// Rank of a layer.
    ///
    /// # Errors
    /// [`PeftError::BadPattern`].
    pub fn rank_of(&self, path: &str) -> Result<usize, PeftError> {
        Ok(super::patterns::lookup(&self.rank_pattern, "rank_pattern", path)?.unwrap_or(self.rank))
    }

    /// Factor s on `B A` of a layer.
    ///
    /// # Errors
    /// [`PeftError::BadPattern`].
    pub fn scale_of(&self, path: &str) -> Result<f64, PeftError> {
        let alpha = super::patterns::lookup(&self.alpha_pattern, "alpha_pattern", path)?
            .unwrap_or(self.alpha);
        let rank = self.rank_of(path)? as f64;
        Ok(alpha / if self.rslora { rank.sqrt() } else { rank })
    }

    pub(super) fn matcher(&self) -> Result<Matcher, PeftError> {
        Ok(Matcher {
            targets: Compiled::new(&self.targets, "target_modules")?,
            excluded: self
                .excluded
                .as_ref()
                .map(|e| Compiled::new(e, "exclude_modules"))
                .transpose()?,
            layers: self.layers.clone(),
            layers_pattern: self.layers_pattern.clone(),
        })
    }
}

/// A value that switches something on.
fn in_use(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

fn refused(key: &str, value: &Value, advice: &'static str) -> PeftError {
    let mut value = value.to_string();
    if value.len() > 80 {
        value = "set".to_owned();
    }
    PeftError::Unsupported {
        key: key.to_owned(),
        value,
        advice,
    }
}

fn refuse_bias(value: Option<&Value>) -> Result<(), PeftError> {
    match value {
        None => Ok(()),
        Some(Value::String(s)) if s == "none" => Ok(()),
        Some(other) => Err(refused("bias", other, "train it with bias = none")),
    }
}

/// PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA subtract from the base weights at the start; applied to
/// the published weights such an adapter computes something else.
fn refuse_altered_base(value: Option<&Value>) -> Result<(), PeftError> {
    match value {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(Value::String(s)) if matches!(s.as_str(), "gaussian" | "eva" | "orthogonal") => Ok(()),
        Some(other) => Err(refused(
            "init_lora_weights",
            other,
            "its base weights were altered; train with the default initialisation",
        )),
    }
}

fn rank(key: &'static str, value: &Value) -> Result<usize, PeftError> {
    value
        .as_u64()
        .filter(|r| (1..=65_536).contains(r))
        .map(|r| r as usize)
        .ok_or(PeftError::BadValue {
            key,
            expected: "a whole number from 1 to 65536",
        })
}

fn alpha(key: &'static str, value: &Value) -> Result<f64, PeftError> {
    value
        .as_f64()
        .filter(|a| a.is_finite())
        .ok_or(PeftError::BadValue {
            key,
            expected: "a finite number",
        })
}

fn dropout(value: Option<&Value>) -> Result<f64, PeftError> {
    let bad = PeftError::BadValue {
        key: "lora_dropout",
        expected: "a number from 0 to below 1",
    };
    match value {
        None => Ok(0.0),
        Some(v) => v.as_f64().filter(|p| (0.0..1.0).contains(p)).ok_or(bad),
    }
}

fn flag(key: &'static str, value: Option<&Value>) -> Result<bool, PeftError> {
    match value {
        None => Ok(false),
        Some(v) => v.as_bool().ok_or(PeftError::BadValue {
            key,
            expected: "true or false",
        }),
    }
}

fn targets(key: &'static str, value: Option<&Value>) -> Result<Option<Targets>, PeftError> {
    Ok(match value {
        None => None,
        Some(Value::String(s)) if s == "all-linear" => Some(Targets::AllLinear),
        Some(Value::String(s)) => Some(Targets::Pattern(s.clone())),
        list => {
            let names = names(key, list)?;
            if names.is_empty() {
                None
            } else {
                Some(Targets::Names(names))
            }
        }
    })
}

fn names(key: &'static str, value: Option<&Value>) -> Result<Vec<String>, PeftError> {
    let bad = PeftError::BadValue {
        key,
        expected: "a string or a list of strings",
    };
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(s)) if s.is_empty() => Ok(Vec::new()),
        Some(Value::String(s)) => Ok(vec![s.clone()]),
        Some(Value::Array(list)) => list
            .iter()
            .map(|v| v.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or(bad),
        Some(_) => Err(bad),
    }
}

fn layers(value: Option<&Value>) -> Result<Option<Vec<usize>>, PeftError> {
    let bad = PeftError::BadValue {
        key: "layers_to_transform",
        expected: "a layer number or a list of them",
    };
    let number = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
    match value {
        None => Ok(None),
        Some(Value::Array(list)) if list.is_empty() => Ok(None),
        Some(Value::Array(list)) => list
            .iter()
            .map(number)
            .collect::<Option<Vec<_>>>()
            .map(Some)
            .ok_or(bad),
        Some(single) => number(single).map(|n| Some(vec![n])).ok_or(bad),
    }
}

/// Most patterns of a table: PEFT writes one per layer at most for adapters of this family.
const MAX_PATTERNS: usize = 512;

/// An ordered pattern table; a repeated `key` counts as JSON parsers count it, the last wins.
fn table<T>(
    key: &'static str,
    members: &Pairs<Box<RawValue>>,
    read: impl Fn(&'static str, &Value) -> Result<T, PeftError>,
) -> Result<Vec<(String, T)>, PeftError> {
    let raw = members
        .0
        .iter()
        .rev()
        .find(|(k, _)| k == key)
        .map_or("null", |(_, raw)| raw.get());
    let pairs: Option<Pairs<Value>> =
        serde_json::from_str(raw).map_err(|_| PeftError::BadValue {
            key,
            expected: "an object of patterns and numbers",
        })?;
    let pairs = pairs.map_or_else(Vec::new, |p| p.0);
    // Every pattern is tried on every layer.
    if pairs.len() > MAX_PATTERNS {
        return Err(PeftError::BadValue {
            key,
            expected: "an object of at most 512 patterns",
        });
    }
    pairs
        .into_iter()
        .map(|(pattern, value)| Ok((pattern, read(key, &value)?)))
        .collect()
}
