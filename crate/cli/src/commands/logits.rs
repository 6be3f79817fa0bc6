use serde_json::{Value, json};
use vaultlab_engine::train::read;
use vaultlab_formats::checkpoint::{F32Tensor, write_f32};
use vaultlab_formats::examples::PaddedIds;
use vaultlab_protocol::DeviceChoice;

use super::open;
use crate::args::Logits;
use crate::{Failure, files};

/// Writes the logits of a sequence of ids; the decoder's, where an encoder reads another.
pub async fn run(args: &Logits, device: DeviceChoice) -> Result<Value, Failure> {
    let (open, model, adapter) = open::model_with_adapter(&args.model, device).await?;
    let prompt = open::prompt(&args.ids, &model.decoder)?;
    let (decoder, adapter) = (&model.decoder, adapter.as_ref());
    let encoded = decoder.encode(&PaddedIds::one(&prompt.source), adapter);
    let logits = read(decoder.forward(&prompt.ids, 1, encoded.as_ref(), adapter)).await?;
    open.health.check()?;
    let shape = [prompt.ids.len(), decoder.config.vocab_size];
    let tensor = F32Tensor {
        name: "logits",
        shape: &shape,
        values: &logits,
    };
    files::write(&args.out, &write_f32(&[tensor], &[])?)?;
    Ok(json!({ "out": args.out, "shape": shape, "device": open.report }))
}
