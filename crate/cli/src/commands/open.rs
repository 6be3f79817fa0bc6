//! What several commands begin with.

use std::path::Path;

use vaultlab_engine::EngineError;
use vaultlab_engine::device::{self, OpenDevice};
use vaultlab_engine::generate::Prompt;
use vaultlab_engine::host::Control;
use vaultlab_engine::lab::{LoadedModel, import_adapter, load_model};
use vaultlab_engine::lora::{DeviceAdapter, LoraLayout};
use vaultlab_engine::model::Decoder;
use vaultlab_protocol::DeviceChoice;

use crate::args::{Ids, Model, Weights};
use crate::files;
use crate::host::Terminal;

/// Opens the device and loads a model on it.
pub async fn model(
    folder: &Path,
    weights: Weights,
    choice: DeviceChoice,
) -> Result<(OpenDevice, LoadedModel), EngineError> {
    let open = device::open(choice).await?;
    eprintln!("device: {} ({})", open.report.name, open.report.reason);
    let files = files::model_files(folder)?;
    let name = folder.display().to_string();
    let host = Terminal::new(None);
    let model = load_model(
        name,
        weights.into(),
        &files,
        &open,
        &host,
        &Control::default(),
    )
    .await?;
    Ok((open, model))
}

/// As [`model`], with its adapter if one is named.
pub async fn model_with_adapter(
    args: &Model,
    choice: DeviceChoice,
) -> Result<(OpenDevice, LoadedModel, Option<DeviceAdapter>), EngineError> {
    let (open, loaded) = model(&args.model, args.weights, choice).await?;
    let adapter = match &args.adapter {
        None => None,
        Some(folder) => {
            let (layout, values) = adapter(folder, &loaded)?;
            Some(layout.upload(&values, &open.device))
        }
    };
    Ok((open, loaded, adapter))
}

/// The ids of a command as a prompt for the model.
pub fn prompt(ids: &Ids, model: &Decoder) -> Result<Prompt, EngineError> {
    let wrong = |message: &str| Err(EngineError::Settings(message.into()));
    let config = &model.config;
    let prompt = match &config.encoder {
        None if !ids.encoder_ids.is_empty() || !ids.decoder_ids.is_empty() => {
            return wrong("this model has no encoder; give --ids");
        }
        Some(_) if !ids.ids.is_empty() => {
            return wrong("this model has an encoder; give --encoder-ids and --decoder-ids");
        }
        None => Prompt {
            source: Vec::new(),
            ids: ids.ids.clone(),
        },
        Some(_) if ids.decoder_ids.is_empty() => Prompt {
            source: ids.encoder_ids.clone(),
            ids: vec![config.bos],
        },
        Some(_) => Prompt {
            source: ids.encoder_ids.clone(),
            ids: ids.decoder_ids.clone(),
        },
    };
    let source = config
        .encoder
        .as_deref()
        .map(|encoder| (encoder, &prompt.source));
    for (stack, ids) in source.into_iter().chain([(config, &prompt.ids)]) {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= stack.vocab_size) {
            return Err(EngineError::Settings(format!(
                "id {id} is outside the vocabulary of {}",
                stack.vocab_size
            )));
        }
        if ids.is_empty() || ids.len() > stack.context {
            return Err(EngineError::Settings(format!(
                "{} ids, where 1 to {} are expected: the context",
                ids.len(),
                stack.context
            )));
        }
    }
    Ok(prompt)
}

/// Reads a PEFT adapter's folder.
pub fn adapter(folder: &Path, model: &LoadedModel) -> Result<(LoraLayout, Vec<f32>), EngineError> {
    let config_json = files::read(&folder.join("adapter_config.json"))?;
    let safetensors = files::read(&folder.join("adapter_model.safetensors"))?;
    let (layout, values, _) = import_adapter(&config_json, &safetensors, &model.decoder.config)?;
    Ok((layout, values))
}
