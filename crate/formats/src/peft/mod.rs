//! LoRA adapters as Hugging Face PEFT stores them: `adapter_config.json` and
//! `adapter_model.safetensors`.
//!
//! An adapted linear layer computes `W x + s B (A x)` with A `[r, in]`, B `[out, r]` and
//! `s = alpha / r` (LoRA, Hu et al. 2021), or `alpha / sqrt(r)` with rsLoRA (Kalajdzievski 2023).
//! Variants that compute anything else are refused by name.

mod config;
mod error;
mod patterns;
mod tensors;
mod write;

pub use config::AdapterConfig;
pub use error::PeftError;
pub use patterns::Targets;
pub use tensors::{AdaptedLayer, check_header};
pub use write::AdapterFiles;

use std::collections::BTreeMap;

use crate::config::LinearModule;

/// The low-rank update of one linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraWeights {
    /// Rank r.
    pub rank: usize,
    /// Input width of the layer.
    pub inputs: usize,
    /// Output width of the layer.
    pub outputs: usize,
    /// A, row-major `[rank, inputs]`.
    pub a: Vec<f32>,
    /// B, row-major `[outputs, rank]`.
    pub b: Vec<f32>,
    /// Factor s on `B A`.
    pub scale: f64,
}

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// What `adapter_config.json` says.
    pub config: AdapterConfig,
    /// Updates by module path (`model.layers.0.self_attn.q_proj`).
    pub modules: BTreeMap<String, LoraWeights>,
}

impl Adapter {
    /// Reads an adapter from the bytes of its two files.
    ///
    /// # Errors
    /// [`PeftError`] for damaged files, variants other than plain LoRA, tensors left over, and
    /// ranks that differ from the configuration.
    pub fn read(config_json: &[u8], safetensors: &[u8]) -> Result<Self, PeftError> {
        let config = AdapterConfig::parse(config_json)?;
        let modules = tensors::read(&config, safetensors)?;
        Ok(Self { config, modules })
    }

    /// Checks that the adapter fits a model: every adapted layer exists with these widths, and
    /// every layer the configuration targets is adapted.
    ///
    /// # Errors
    /// [`PeftError::LeftOver`], [`PeftError::WrongShape`], [`PeftError::Untargeted`],
    /// [`PeftError::Unmatched`] and [`PeftError::TargetNotInModel`].
    pub fn check(&self, modules: &[LinearModule]) -> Result<(), PeftError> {
        let known: BTreeMap<&str, &LinearModule> =
            modules.iter().map(|m| (m.path.as_str(), m)).collect();
        let targets = self.config.matcher()?;
        for (path, lora) in &self.modules {
            let Some(module) = known.get(path.as_str()) else {
                return Err(PeftError::LeftOver { name: path.clone() });
            };
            if (lora.inputs, lora.outputs) != (module.inputs, module.outputs) {
                return Err(PeftError::WrongShape {
                    path: path.clone(),
                    found: (lora.inputs, lora.outputs),
                    expected: (module.inputs, module.outputs),
                });
            }
            if !targets.matches(path) {
                return Err(PeftError::Untargeted { path: path.clone() });
            }
        }
        for module in modules {
            if targets.matches(&module.path) && !self.modules.contains_key(&module.path) {
                return Err(PeftError::Unmatched {
                    path: module.path.clone(),
                });
            }
        }
        targets.every_name_used(modules.iter().map(|m| m.path.as_str()))
    }

    /// Trainable parameters.
    pub fn parameters(&self) -> u64 {
        self.modules
            .values()
            .map(|m| (m.a.len() + m.b.len()) as u64)
            .sum()
    }
}
