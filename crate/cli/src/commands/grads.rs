use serde::Deserialize;
use serde_json::{Value, json};
use vaultlab_engine::EngineError;
use vaultlab_engine::device::MemoryMeter;
use vaultlab_engine::train::{Clipping, FloatSum, gradient_sum};
use vaultlab_formats::checkpoint::{F32Tensor, write_f32};
use vaultlab_formats::config::ModelConfig;
use vaultlab_formats::examples::Example;
use vaultlab_protocol::DeviceChoice;

use super::open;
use crate::args::Grads;
use crate::{Failure, files};

/// A batch as JSON: ids with labels under them, or for T5Gemma the encoder's ids and the decoder's unshifted labels.
#[derive(Deserialize)]
struct Batch {
    input_ids: Vec<Vec<u32>>,
    labels: Vec<Vec<i32>>,
}

impl Batch {
    fn examples(self, config: &ModelConfig) -> Result<Vec<Example>, EngineError> {
        let bad = |message: String| Err(EngineError::Data(message));
        if self.input_ids.len() != self.labels.len() {
            return bad(format!(
                "{} rows of input_ids, but {} of labels",
                self.input_ids.len(),
                self.labels.len()
            ));
        }
        let encoder = config.encoder.as_deref();
        let reader = encoder.unwrap_or(config);
        let mut examples = Vec::new();
        for (row, (ids, labels)) in self.input_ids.into_iter().zip(self.labels).enumerate() {
            // A decoder's labels lie under its ids; an encoder's ids have a length of their own.
            let fits = match encoder {
                None => ids.len() == labels.len(),
                Some(_) => !labels.is_empty() && labels.len() < config.context,
            };
            if !fits || ids.is_empty() || ids.len() > reader.context {
                return bad(format!(
                    "row {row}: {} ids, {} labels, context {}",
                    ids.len(),
                    labels.len(),
                    config.context
                ));
            }
            let known = ids.iter().all(|&id| (id as usize) < reader.vocab_size)
                && labels.iter().all(|&label| {
                    label == -100 || usize::try_from(label).is_ok_and(|l| l < config.vocab_size)
                });
            if !known {
                return bad(format!(
                    "row {row} has an id outside the vocabulary of {}",
                    config.vocab_size
                ));
            }
            examples.push(match encoder {
                None => Example {
                    ids,
                    labels,
                    source: Vec::new(),
                    truncated: false,
                },
                Some(_) => {
                    let pad = config.pad.unwrap_or(0);
                    Example::translation(ids, &labels, config.bos, pad)
                }
            });
        }
        Ok(examples)
    }
}

/// Writes per-example norms and the clipped sum.
pub async fn run(args: &Grads, device: DeviceChoice) -> Result<Value, Failure> {
    if !(args.clip > 0.0 && args.clip.is_finite()) {
        return Err(
            EngineError::Settings("the clipping norm must be positive and finite".into()).into(),
        );
    }
    if args.micro_batch == 0 {
        return Err(EngineError::Settings("the micro-batch needs at least one row".into()).into());
    }
    let (open, model) = open::model(&args.model, args.weights, device).await?;
    let (layout, values) = open::adapter(&args.adapter, &model)?;
    let batch: Batch = serde_json::from_slice(&files::read(&args.batch)?)
        .map_err(|error| EngineError::Data(format!("{}: {error}", args.batch.display())))?;
    let examples = batch.examples(&model.decoder.config)?;
    let references: Vec<&Example> = examples.iter().collect();
    let mut memory = MemoryMeter::default();
    let mut sum = FloatSum::new(layout.parameters(), Clipping::To(args.clip), &open.device);
    let result = gradient_sum(
        &model.decoder,
        &layout,
        &values,
        &references,
        args.micro_batch,
        &mut sum,
        None,
        &mut memory,
        async || Ok(()),
    )
    .await?;
    let sum = sum.read().await?;
    open.health.check()?;

    let norms: Vec<f32> = result.norms.iter().map(|&norm| norm as f32).collect();
    let losses: Vec<f32> = result.losses.iter().map(|&loss| loss as f32).collect();
    let count = [norms.len()];
    let mut named: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
    for module in &layout.modules {
        let name = |factor: &str| format!("base_model.model.{}.lora_{factor}.weight", module.path);
        let b = module.b_first();
        named.push((
            name("A"),
            vec![module.rank, module.inputs],
            &sum[module.first..b],
        ));
        named.push((
            name("B"),
            vec![module.outputs, module.rank],
            &sum[b..b + module.b_len()],
        ));
    }
    let mut tensors = vec![
        F32Tensor {
            name: "norms",
            shape: &count,
            values: &norms,
        },
        F32Tensor {
            name: "losses",
            shape: &count,
            values: &losses,
        },
    ];
    tensors.extend(named.iter().map(|(name, shape, values)| F32Tensor {
        name,
        shape,
        values,
    }));
    files::write(&args.out, &write_f32(&tensors, &[])?)?;
    Ok(json!({
        "out": args.out,
        "examples": norms.len(),
        "norms": norms,
        "losses": losses,
        "device": open.report,
        "memory": memory.sample(&open.device),
    }))
}
