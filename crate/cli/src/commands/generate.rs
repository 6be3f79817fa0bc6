use serde_json::{Value, json};
use vaultlab_engine::generate::{self, Prompt};
use vaultlab_engine::host::Control;
use vaultlab_formats::template::InstructionTemplate;
use vaultlab_protocol::{DeviceChoice, Sampling};

use super::open;
use crate::Failure;
use crate::args::Generate;
use crate::host::Terminal;

/// Answers a prompt.
pub async fn run(args: Generate, device: DeviceChoice) -> Result<Value, Failure> {
    let (open, model, adapter) = open::model_with_adapter(&args.model, device).await?;
    let text = match args.instruction {
        true => InstructionTemplate::default().prompt(&args.prompt),
        false => args.prompt,
    };
    let settings = Sampling {
        max_new_tokens: args.max_new_tokens,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed,
        stop: args.stop,
    };
    let prompt = Prompt::new(&model.tokenizer, &text, &model.decoder)?;
    let host = Terminal::new(None);
    let (decoder, control) = (&model.decoder, Control::default());
    let answer = generate::generate(
        decoder,
        &model.tokenizer,
        &prompt,
        adapter.as_ref(),
        &settings,
        &host,
        &control,
    )
    .await?;
    open.health.check()?;
    Ok(json!({ "answer": answer, "prompt_ids": prompt.ids, "device": open.report }))
}
