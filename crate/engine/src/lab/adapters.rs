use std::collections::BTreeMap;

use burn::tensor::Device;
use vaultlab_formats::config::{ModelConfig, StackRole};
use vaultlab_formats::peft::{Adapter, AdapterConfig, LoraWeights, Targets};
use vaultlab_privacy::statement::PrivacyStatement;
use vaultlab_protocol::{AdapterReport, Event, LoraSettings};

use super::{NamedSource, State};
use crate::EngineError;
use crate::host::Host;
use crate::lora::{DeviceAdapter, LoraLayout};
use crate::weights::read_all;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const STATEMENT: &str = "privacy_statement.txt";
const STATEMENT_JSON: &str = "privacy_statement.json";

/// An adapter beside the base model: its values in host memory and on the device.
pub struct HeldAdapter {
    /// Where its parameters lie.
    pub layout: LoraLayout,
    /// Its parameters.
    pub parameters: Vec<f32>,
    /// What the page shows of it.
    pub report: AdapterReport,
    /// On the device.
    pub tensors: DeviceAdapter,
}

impl HeldAdapter {
    /// Uploads an adapter.
    pub fn new(
        layout: LoraLayout,
        parameters: Vec<f32>,
        report: AdapterReport,
        device: &Device,
    ) -> Self {
        let tensors = layout.upload(&parameters, device);
        Self {
            layout,
            parameters,
            report,
            tensors,
        }
    }

    /// True if every module exists in the model with these widths.
    pub(super) fn fits(&self, config: &ModelConfig) -> bool {
        let modules = config.linear_modules();
        self.layout.modules.iter().all(|ours| {
            modules.iter().any(|theirs| {
                (&theirs.path, theirs.inputs, theirs.outputs)
                    == (&ours.path, ours.inputs, ours.outputs)
            })
        })
    }

    /// Uploads the values to another device.
    pub(super) fn upload(&mut self, device: &Device) {
        self.tensors = self.layout.upload(&self.parameters, device);
    }
}

/// Reads a PEFT adapter and fits it to a model: layout, values in its order, and settings.
///
/// # Errors
/// [`EngineError::Adapter`], naming what is foreign or does not fit.
pub fn import_adapter(
    config_json: &[u8],
    safetensors: &[u8],
    config: &ModelConfig,
) -> Result<(LoraLayout, Vec<f32>, LoraSettings), EngineError> {
    let bad = |error: vaultlab_formats::peft::PeftError| EngineError::Adapter(error.to_string());
    let adapter = Adapter::read(config_json, safetensors).map_err(bad)?;
    let modules = config.linear_modules();
    adapter.check(&modules).map_err(bad)?;
    let mut chosen = Vec::new();
    let mut values = Vec::new();
    let mut targets = Vec::new();
    for module in modules {
        let Some(lora) = adapter.modules.get(&module.path) else {
            continue;
        };
        values.extend_from_slice(&lora.a);
        values.extend_from_slice(&lora.b);
        let target = module.name().to_owned();
        chosen.push((module, lora.rank, lora.scale as f32));
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let settings = LoraSettings {
        rank: adapter.config.rank as u32,
        alpha: adapter.config.alpha as f32,
        dropout: adapter.config.dropout as f32,
        targets,
    };
    Ok((LoraLayout::from_modules(config, chosen)?, values, settings))
}

/// Writes an adapter as PEFT's two files, with its privacy statement in words and as JSON if there is one. The JSON
/// names the weights file by its SHA-256.
///
/// # Errors
/// [`EngineError::Adapter`].
pub fn export_adapter(
    layout: &LoraLayout,
    parameters: &[f32],
    report: &AdapterReport,
    base_model: &str,
) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
    let modules: BTreeMap<String, LoraWeights> = layout
        .modules
        .iter()
        .map(|module| {
            let weights = LoraWeights {
                rank: module.rank,
                inputs: module.inputs,
                outputs: module.outputs,
                a: parameters[module.first..module.b_first()].to_vec(),
                b: parameters[module.b_first()..module.b_first() + module.b_len()].to_vec(),
                scale: f64::from(module.scale),
            };
            (module.path.clone(), weights)
        })
        .collect();
    let LoraSettings {
        rank,
        alpha,
        dropout,
        targets,
    } = &report.lora;
    let (rank_pattern, alpha_pattern) = patterns(layout, *rank as usize, *alpha);
    let adapter = Adapter {
        config: AdapterConfig {
            rank: *rank as usize,
            // f32 settings such as 0.05 read better through their shortest decimal form.
            alpha: decimal(*alpha),
            dropout: decimal(*dropout),
            rslora: false,
            targets: Targets::Names(targets.clone()),
            excluded: None,
            layers: None,
            layers_pattern: Vec::new(),
            rank_pattern,
            alpha_pattern,
            task_type: Some(task_type(layout).into()),
            base_model: Some(base_model.to_owned()),
            unknown_keys: Vec::new(),
        },
        modules,
    };
    let statement = match (&report.privacy, report.without_privacy) {
        (Some(privacy), _) => Some(privacy.statement.clone()),
        (None, true) => Some("Trained WITHOUT PRIVACY, for comparison only.".to_owned()),
        (None, false) => None,
    };
    let metadata: Vec<(&str, &str)> = statement
        .iter()
        .map(|text| ("vaultlab_privacy_statement", text.as_str()))
        .collect();
    let files = adapter
        .write(&metadata)
        .map_err(|error| EngineError::Adapter(error.to_string()))?;
    let mut named = vec![
        (CONFIG.to_owned(), files.config_json),
        (WEIGHTS.to_owned(), files.safetensors),
    ];
    if let Some(privacy) = &report.privacy {
        let statement: PrivacyStatement = serde_json::from_str(&privacy.statement_json)
            .map_err(|error| EngineError::Adapter(format!("its privacy statement: {error}")))?;
        let statement = statement.of_adapter(&named[1].1);
        named.push((STATEMENT_JSON.to_owned(), statement.to_json().into_bytes()));
    }
    if let Some(statement) = statement {
        named.push((STATEMENT.to_owned(), statement.into_bytes()));
    }
    Ok(named)
}

/// PEFT's name for what the model does.
fn task_type(layout: &LoraLayout) -> &'static str {
    let only = StackRole::Only.prefix();
    let of_one_stack = |path: &str| {
        path.strip_prefix(only)
            .is_some_and(|rest| rest.starts_with(".layers."))
    };
    match layout
        .modules
        .iter()
        .all(|module| of_one_stack(&module.path))
    {
        true => "CAUSAL_LM",
        false => "SEQ_2_SEQ_LM",
    }
}

fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// PEFT's patterns for modules whose rank or scale differs from the adapter's own.
#[allow(clippy::type_complexity, reason = "two lists of PEFT's patterns")]
fn patterns(
    layout: &LoraLayout,
    rank: usize,
    alpha: f32,
) -> (Vec<(String, usize)>, Vec<(String, f64)>) {
    let (mut ranks, mut alphas) = (Vec::new(), Vec::new());
    for module in &layout.modules {
        if module.rank != rank {
            ranks.push((module.path.clone(), module.rank));
        }
        let own_alpha = module.scale * module.rank as f32;
        if (own_alpha - alpha).abs() > 1e-6 * alpha.abs() {
            alphas.push((module.path.clone(), decimal(own_alpha)));
        }
    }
    (ranks, alphas)
}

impl State {
    pub(super) fn export<H: Host>(&self, name: &str, host: &H) -> Result<(), EngineError> {
        let adapter = self.adapter(name)?;
        let base = self.model.as_ref().map_or("", |model| model.name.as_str());
        let files = export_adapter(&adapter.layout, &adapter.parameters, &adapter.report, base)?;
        let (names, bytes) = files.into_iter().unzip();
        host.emit_files(
            Event::AdapterFiles {
                adapter: name.to_owned(),
                files: names,
            },
            bytes,
        );
        Ok(())
    }

    pub(super) async fn import<H: Host>(
        &mut self,
        name: String,
        files: Vec<NamedSource>,
        host: &H,
    ) -> Result<(), EngineError> {
        let find = |wanted: &str| {
            files
                .iter()
                .find(|file| file.name == wanted)
                .ok_or_else(|| {
                    EngineError::Adapter(format!(
                        "{wanted} is missing; a PEFT adapter has {CONFIG} and {WEIGHTS}"
                    ))
                })
        };
        let config_json = read_all(find(CONFIG)?.source.as_ref()).await?;
        let safetensors = read_all(find(WEIGHTS)?.source.as_ref()).await?;
        let config = &self.model()?.decoder.config;
        let (layout, parameters, lora) = import_adapter(&config_json, &safetensors, config)?;
        let report = AdapterReport {
            name: name.clone(),
            lora,
            parameters: layout.parameters() as u64,
            // A file's claim about its own privacy cannot be checked here, so none is shown.
            privacy: None,
            without_privacy: false,
        };
        host.emit(Event::Adapter(report.clone()));
        let device = self.device()?.device.clone();
        self.adapters
            .insert(name, HeldAdapter::new(layout, parameters, report, &device));
        Ok(())
    }
}
