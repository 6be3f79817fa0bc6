use serde_json::{Value, json};
use vaultlab_engine::generate::{BeamSettings, beam_search};
use vaultlab_protocol::DeviceChoice;

use super::open;
use crate::Failure;
use crate::args::Beam;

/// Searches for the likeliest continuations.
pub async fn run(args: &Beam, device: DeviceChoice) -> Result<Value, Failure> {
    let (open, model, adapter) = open::model_with_adapter(&args.model, device).await?;
    let prompt = open::prompt(&args.ids, &model.decoder)?;
    let mut settings = BeamSettings {
        beams: args.beams,
        length_penalty: args.length_penalty,
        repetition_penalty: args.repetition_penalty,
        ..BeamSettings::new(&model.decoder, args.max_new_tokens)
    };
    if !args.eos.is_empty() {
        settings.eos.clone_from(&args.eos);
    }
    let (decoder, adapter) = (&model.decoder, adapter.as_ref());
    let beams = beam_search(decoder, &prompt, adapter, &settings, async || Ok(())).await?;
    open.health.check()?;
    let mut found = Vec::with_capacity(beams.len());
    for beam in beams {
        let text = model.tokenizer.decode(&beam.tokens, true)?;
        found.push(json!({ "tokens": beam.tokens, "score": beam.score, "text": text }));
    }
    Ok(
        json!({ "beams": found, "prompt_ids": prompt.ids, "encoder_ids": prompt.source, "device": open.report }),
    )
}
