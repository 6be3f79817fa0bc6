use vaultlab_formats::config::{GenerationConfig, ModelConfig, PROJECTIONS};
use vaultlab_formats::template::InstructionTemplate;
use vaultlab_formats::tokenizer::Tokenizer;
use vaultlab_protocol::{Event, ModelReport, PromptTemplate, Sampling, WeightFormat};

use super::{NamedSource, State};
use crate::EngineError;
use crate::device::{MemoryMeter, OpenDevice};
use crate::generate::{self, Prompt};
use crate::host::{Control, Host};
use crate::model::Decoder;
use crate::weights::{ModelFiles, load_decoder, read_all};

/// A model with its tokenizer.
pub struct LoadedModel {
    /// Name it was loaded under.
    pub name: String,
    /// Weights.
    pub decoder: Decoder,
    /// Tokenizer.
    pub tokenizer: Tokenizer,
    /// How the matrices are held.
    pub weights: WeightFormat,
}

/// Loads a model: config.json, generation_config.json if there, tokenizer.json, safetensors.
///
/// # Errors
/// For files that are missing, damaged or contradict each other, and when `control` wishes to stop.
pub async fn load_model<H: Host>(
    name: String,
    weights: WeightFormat,
    files: &ModelFiles,
    device: &OpenDevice,
    host: &H,
    control: &Control,
) -> Result<LoadedModel, EngineError> {
    let mut config = ModelConfig::parse(&read_all(files.get("config.json")?).await?)?;
    if let Some(generation) = files.find("generation_config.json") {
        config = config.with_generation(&GenerationConfig::parse(&read_all(generation).await?)?);
    }
    let tokenizer = read_all(files.get("tokenizer.json")?).await?;
    let tokenizer = Tokenizer::parse(&tokenizer, config.bos, &config.eos)
        .map_err(|error| EngineError::Tokenizer(error.to_string()))?;
    for (_, stack) in config.stacks() {
        if tokenizer.vocab_size() > stack.vocab_size {
            return Err(EngineError::Tokenizer(format!(
                "tokenizer.json has {} tokens, the model's embedding table {}; they belong to different models",
                tokenizer.vocab_size(),
                stack.vocab_size
            )));
        }
    }
    let begun = host.now_ms();
    let mut progress = |done: u64, total: u64| {
        let elapsed = (host.now_ms() - begun) / 1e3;
        host.emit(Event::Progress {
            stage: "Reading weights".into(),
            done,
            total,
            unit: "bytes".into(),
            eta_seconds: (done > 0)
                .then(|| elapsed / done as f64 * total.saturating_sub(done) as f64),
        });
        control.check()
    };
    let decoder = load_decoder(files, &config, weights, &device.device, &mut progress).await?;
    device.health.check()?;
    Ok(LoadedModel {
        name,
        decoder,
        tokenizer,
        weights,
    })
}

impl LoadedModel {
    fn report(&self, device: &OpenDevice) -> ModelReport {
        let config = &self.decoder.config;
        ModelReport {
            name: self.name.clone(),
            model_type: config.model_type.clone(),
            parameters: config.parameters(),
            layers: config.num_blocks() as u32,
            hidden: config.hidden_size as u32,
            vocab: config.vocab_size as u32,
            context: config.context as u32,
            weights: self.weights,
            memory: MemoryMeter::default().sample(&device.device),
            lora_targets: PROJECTIONS.map(String::from).to_vec(),
        }
    }
}

/// The template as the formats crate takes it.
pub(super) fn instruction(template: PromptTemplate) -> InstructionTemplate {
    InstructionTemplate {
        before_prompt: template.before_prompt,
        before_response: template.before_response,
    }
}

impl State {
    pub(super) async fn load_model<H: Host>(
        &mut self,
        name: String,
        weights: WeightFormat,
        files: Vec<NamedSource>,
        host: &H,
        control: &Control,
    ) -> Result<(), EngineError> {
        let mut model_files = ModelFiles::default();
        for file in files {
            model_files.insert(file.name, file.source);
        }
        let device = self.device()?;
        let model = load_model(name, weights, &model_files, device, host, control).await?;
        host.emit(Event::Model(model.report(device)));
        // Adapters and rows were made for the model before; those that fit stay.
        let config = &model.decoder.config;
        let device = device.device.clone();
        self.adapters.retain(|_, adapter| adapter.fits(config));
        for adapter in self.adapters.values_mut() {
            adapter.upload(&device);
        }
        self.rows = None;
        self.model = Some(model);
        Ok(())
    }

    pub(super) async fn generate<H: Host>(
        &self,
        prompt: String,
        template: Option<PromptTemplate>,
        adapter: Option<String>,
        sampling: Sampling,
        host: &H,
        control: &Control,
    ) -> Result<(), EngineError> {
        let model = self.model()?;
        let text = match template {
            Some(template) => instruction(template).prompt(&prompt),
            None => prompt,
        };
        let prompt = Prompt::new(&model.tokenizer, &text, &model.decoder)?;
        let adapter = match adapter {
            Some(name) => Some(&self.adapter(&name)?.tensors),
            None => None,
        };
        let answer = generate::generate(
            &model.decoder,
            &model.tokenizer,
            &prompt,
            adapter,
            &sampling,
            host,
            control,
        );
        let answer = answer.await?;
        self.device()?.health.check()?;
        host.emit(Event::Answer(answer));
        Ok(())
    }
}
