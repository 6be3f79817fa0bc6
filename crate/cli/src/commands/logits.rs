use serde_json::{Value, json};
use vaultlab_engine::EngineError;
use vaultlab_engine::train::read;
use vaultlab_formats::checkpoint::{F32Tensor, write_f32};
use vaultlab_protocol::DeviceChoice;

use super::open;
use crate::args::Logits;
use crate::{Failure, files};

/// Writes the logits of a sequence of ids.
pub async fn run(args: &Logits, device: DeviceChoice) -> Result<Value, Failure> {
    let (open, model, adapter) = open::model_with_adapter(&args.model, device).await?;
    let config = &model.decoder.config;
    if let Some(id) = args
        .ids
        .iter()
        .find(|&&id| id as usize >= config.vocab_size)
    {
        return Err(EngineError::Settings(format!(
            "id {id} is outside the vocabulary of {}",
            config.vocab_size
        ))
        .into());
    }
    if args.ids.len() > config.context {
        return Err(EngineError::Settings(format!(
            "{} ids are more than the context of {} tokens",
            args.ids.len(),
            config.context
        ))
        .into());
    }
    let logits = read(model.decoder.forward(&args.ids, 1, None, adapter.as_ref())).await?;
    open.health.check()?;
    let shape = [args.ids.len(), config.vocab_size];
    let tensor = F32Tensor {
        name: "logits",
        shape: &shape,
        values: &logits,
    };
    files::write(&args.out, &write_f32(&[tensor], &[])?)?;
    Ok(json!({ "out": args.out, "shape": shape, "device": open.report }))
}
