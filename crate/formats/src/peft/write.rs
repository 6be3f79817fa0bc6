use serde::{Serialize, Serializer};

use super::tensors::{A, B, PREFIX};
use super::{Adapter, AdapterConfig, PeftError, Targets};
use crate::checkpoint::{CheckpointError, F32Tensor, write_f32};

/// The two files of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterFiles {
    /// `adapter_config.json`.
    pub config_json: Vec<u8>,
    /// `adapter_model.safetensors`.
    pub safetensors: Vec<u8>,
}

impl Adapter {
    /// Writes the adapter so that PEFT and [`Adapter::read`] load it. `metadata` is stored in the
    /// safetensors header (for example the privacy statement).
    ///
    /// # Errors
    /// [`PeftError::WrongRank`] if a layer's lengths do not fit its widths and rank.
    pub fn write(&self, metadata: &[(&str, &str)]) -> Result<AdapterFiles, PeftError> {
        let mut named = Vec::with_capacity(self.modules.len() * 2);
        for (path, lora) in &self.modules {
            let (a, b) = ([lora.rank, lora.inputs], [lora.outputs, lora.rank]);
            let rank = self.config.rank_of(path)?;
            if lora.rank != rank {
                let wide = |shape: [usize; 2]| shape.map(|n| n as u64).to_vec();
                return Err(PeftError::WrongRank {
                    path: path.clone(),
                    a: wide(a),
                    b: wide(b),
                    rank,
                });
            }
            named.push((format!("{PREFIX}{path}{A}"), a, &lora.a));
            named.push((format!("{PREFIX}{path}{B}"), b, &lora.b));
        }
        let tensors: Vec<F32Tensor> = named
            .iter()
            .map(|(name, shape, values)| F32Tensor {
                name,
                shape,
                values,
            })
            .collect();
        Ok(AdapterFiles {
            config_json: self.config.to_json()?,
            safetensors: write_f32(&tensors, metadata)?,
        })
    }
}

impl AdapterConfig {
    /// The bytes of `adapter_config.json`, with the keys PEFT 0.21 reads for plain LoRA.
    fn to_json(&self) -> Result<Vec<u8>, PeftError> {
        let file = ConfigFile {
            peft_type: "LORA",
            task_type: self.task_type.as_deref().unwrap_or("CAUSAL_LM"),
            base_model_name_or_path: self.base_model.as_deref(),
            r: self.rank,
            lora_alpha: Number(self.alpha),
            lora_dropout: Number(self.dropout),
            use_rslora: self.rslora,
            target_modules: &self.targets,
            exclude_modules: self.excluded.as_ref(),
            layers_to_transform: self.layers.as_deref(),
            layers_pattern: (!self.layers_pattern.is_empty()).then_some(&self.layers_pattern),
            rank_pattern: Table(
                self.rank_pattern
                    .iter()
                    .map(|(k, r)| (k.as_str(), *r))
                    .collect(),
            ),
            alpha_pattern: Table(
                self.alpha_pattern
                    .iter()
                    .map(|(k, a)| (k.as_str(), Number(*a)))
                    .collect(),
            ),
            bias: "none",
            fan_in_fan_out: false,
            init_lora_weights: true,
            inference_mode: true,
            modules_to_save: None,
            use_dora: false,
        };
        serde_json::to_vec_pretty(&file).map_err(|e| {
            let name = "adapter_config.json".to_owned();
            CheckpointError::CannotWrite {
                name,
                detail: e.to_string(),
            }
            .into()
        })
    }
}

#[derive(Serialize)]
struct ConfigFile<'a> {
    peft_type: &'static str,
    task_type: &'a str,
    base_model_name_or_path: Option<&'a str>,
    r: usize,
    lora_alpha: Number,
    lora_dropout: Number,
    use_rslora: bool,
    target_modules: &'a Targets,
    exclude_modules: Option<&'a Targets>,
    layers_to_transform: Option<&'a [usize]>,
    layers_pattern: Option<&'a Vec<String>>,
    rank_pattern: Table<'a, usize>,
    alpha_pattern: Table<'a, Number>,
    bias: &'static str,
    fan_in_fan_out: bool,
    init_lora_weights: bool,
    inference_mode: bool,
    modules_to_save: Option<()>,
    use_dora: bool,
}

/// Whole numbers are written without a fraction, as PEFT types `lora_alpha`.
#[derive(Clone, Copy)]
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 9.0e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// A pattern table in its own order, which decides between matches.
struct Table<'a, T>(Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for Table<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Names(names) => names.serialize(serializer),
            Self::AllLinear => serializer.serialize_str("all-linear"),
            Self::Pattern(pattern) => serializer.serialize_str(pattern),
        }
    }
}
