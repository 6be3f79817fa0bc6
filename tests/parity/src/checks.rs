use vaultlab_engine::EngineError;
use vaultlab_engine::device::{MemoryMeter, OpenDevice};
use vaultlab_engine::generate::{BeamSettings, Prompt, Sampler, beam_search};
use vaultlab_engine::lab::import_adapter;
use vaultlab_engine::lora::LoraLayout;
use vaultlab_engine::model::Decoder;
use vaultlab_engine::train::{
    Accumulator, AdamW, AdamWState, BatchReadings, Clipping, FloatSum, GridSum, gradient_sum,
    held_out_loss, read,
};
use vaultlab_engine::weights::{MemorySource, ModelFiles, load_decoder};
use vaultlab_formats::config::ModelConfig;
use vaultlab_formats::examples::{Example, PaddedIds};
use vaultlab_privacy::grid::Grid;
use vaultlab_privacy::noise::StepNoise;
use vaultlab_privacy::session::{ClippedSum, PrivacyPlan};
use vaultlab_protocol::WeightFormat;

use crate::golden::Golden;
use crate::{Check, GoldenFiles};

/// Families with golden models that the engine runs.
pub const FAMILIES: [&str; 5] = ["vaultgemma", "gemma1", "gemma2", "gemma3", "t5gemma"];

const ALLOWED: f64 = 1e-4;
const LOSS_ALLOWED: f64 = 1e-5;

/// Runs the checks on a device: forward passes and decoding for the `families` named, and all of VaultGemma's
/// quantisation, adapters and gradients.
///
/// # Errors
/// If the engine fails at something it should do.
pub async fn run(
    files: &GoldenFiles,
    families: &[&str],
    open: &OpenDevice,
) -> Result<Vec<Check>, EngineError> {
    let mut checks = Checks {
        files,
        open,
        done: Vec::new(),
    };
    for family in families {
        checks.forward(family).await?;
        checks.cached_decode(family).await?;
        checks.greedy(family).await?;
        checks.beams(family).await?;
    }
    checks.nf4().await?;
    // Encoder, cross-attention and all: T5Gemma's adapter is checked where the model is.
    for family in ["vaultgemma", "t5gemma"] {
        if families.contains(&family) {
            checks.adapter_on_and_off(family).await?;
            checks.gradient_of_each_example(family).await?;
        }
    }
    checks.clipped_sum().await?;
    checks.rows_stand_alone().await?;
    checks.adamw();
    open.health.check()?;
    Ok(checks.done)
}

struct Checks<'a> {
    files: &'a GoldenFiles,
    open: &'a OpenDevice,
    done: Vec<Check>,
}

impl Checks<'_> {
    fn compare(&mut self, name: impl Into<String>, found: &[f32], reference: &[f32], allowed: f64) {
        let scale = reference.iter().fold(1.0f64, |largest, &value| {
            largest.max(f64::from(value.abs()))
        });
        let differences = found
            .iter()
            .zip(reference)
            .map(|(a, b)| f64::from((a - b).abs()) / scale);
        // `max` would pass over a NaN; here the first one stays.
        let error = match found.len() == reference.len() {
            true => differences.fold(0.0, |largest: f64, d| {
                if largest.is_nan() || d <= largest {
                    largest
                } else {
                    d
                }
            }),
            false => f64::NAN,
        };
        self.done.push(Check {
            name: name.into(),
            error,
            allowed,
        });
    }

    /// Compares at the positions that are no padding.
    fn compare_unpadded(
        &mut self,
        name: impl Into<String>,
        found: &[f32],
        reference: &[f32],
        mask: &[bool],
    ) {
        let columns = reference.len() / mask.len();
        let kept = |values: &[f32]| -> Vec<f32> {
            let rows = mask.iter().zip(values.chunks(columns));
            rows.filter(|(kept, _)| **kept)
                .flat_map(|(_, row)| row.to_vec())
                .collect()
        };
        self.compare(name, &kept(found), &kept(reference), ALLOWED);
    }

    /// As [`Self::compare`], relative to the reference's largest value even if that is below 1.
    fn compare_scaled(&mut self, name: impl Into<String>, found: &[f32], reference: &[f32]) {
        let scale = reference
            .iter()
            .fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        let scaled = |values: &[f32]| values.iter().map(|value| value / scale).collect::<Vec<_>>();
        self.compare(name, &scaled(found), &scaled(reference), ALLOWED);
    }

    /// The golden tokenizer is larger than some golden vocabularies, so only weights are loaded.
    async fn decoder(&self, family: &str, format: WeightFormat) -> Result<Decoder, EngineError> {
        let mut files = ModelFiles::default();
        let weights = self
            .files
            .bytes(&format!("models/{family}/model.safetensors"))
            .to_vec();
        files.insert("model.safetensors", Box::new(MemorySource(weights)));
        let config = ModelConfig::parse(self.files.bytes(&format!("models/{family}/config.json")))?;
        load_decoder(&files, &config, format, &self.open.device, &mut |_, _| {
            Ok(())
        })
        .await
    }

    fn adapter(
        &self,
        folder: &str,
        model: &Decoder,
    ) -> Result<(LoraLayout, Vec<f32>), EngineError> {
        let config_json = self.files.bytes(&format!("{folder}/adapter_config.json"));
        let safetensors = self
            .files
            .bytes(&format!("{folder}/adapter_model.safetensors"));
        let (layout, values, _) = import_adapter(config_json, safetensors, &model.config)?;
        Ok((layout, values))
    }

    /// Logits, hidden states and loss.
    async fn forward(&mut self, family: &str) -> Result<(), EngineError> {
        let golden = self
            .files
            .tensors(&format!("models/{family}/golden.safetensors"));
        let model = self.decoder(family, WeightFormat::F32).await?;
        self.logits_and_loss(family, &model, &golden).await?;
        let (source, mask) = (golden.source(), golden.mask());
        let encoded = model.encode(&source, None);
        for (layer, state) in model.encoder_states(&source, None).into_iter().enumerate() {
            let name = format!("enc.hidden.{layer}");
            self.compare_unpadded(
                format!("{family}: {name}"),
                &read(state).await?,
                &golden.f32(&name),
                &mask,
            );
        }
        if let Some(encoded) = &encoded {
            self.compare_unpadded(
                format!("{family}: enc.hidden.final"),
                &read(encoded.states.clone()).await?,
                &golden.f32("enc.hidden.final"),
                &mask,
            );
        }
        let prefix = if encoded.is_some() { "dec." } else { "" };
        let (ids, mask) = (golden.decoder_ids(), golden.logits_mask());
        let states = model.hidden_states(&ids, golden.rows(), encoded.as_ref(), None);
        for (layer, state) in states.into_iter().enumerate() {
            let name = format!("{prefix}hidden.{layer}");
            self.compare_unpadded(
                format!("{family}: {name}"),
                &read(state).await?,
                &golden.f32(&name),
                &mask,
            );
        }
        let last = model.last_hidden(&ids, golden.rows(), encoded.as_ref(), None);
        let name = format!("{prefix}hidden.final");
        self.compare_unpadded(
            format!("{family}: {name}"),
            &read(last).await?,
            &golden.f32(&name),
            &mask,
        );
        Ok(())
    }

    async fn logits_and_loss(
        &mut self,
        what: &str,
        model: &Decoder,
        golden: &Golden<'_>,
    ) -> Result<(), EngineError> {
        let encoded = model.encode(&golden.source(), None);
        let (ids, rows) = (golden.decoder_ids(), golden.rows());
        let logits = read(model.forward(&ids, rows, encoded.as_ref(), None)).await?;
        self.compare_unpadded(
            format!("{what}: logits"),
            &logits,
            &golden.f32("logits"),
            &golden.logits_mask(),
        );
        let examples = golden.examples();
        let rows: Vec<&Example> = examples.iter().collect();
        let loss = held_out_loss(model, None, &rows, 2, async || Ok(()))
            .await?
            .unwrap_or(f64::NAN);
        self.compare(
            format!("{what}: loss"),
            &[loss as f32],
            &golden.f32("loss"),
            LOSS_ALLOWED,
        );
        Ok(())
    }

    /// The golden checkpoint holds what bitsandbytes made of models/vaultgemma's weights; quantising these ourselves
    /// must give the same logits.
    async fn nf4(&mut self) -> Result<(), EngineError> {
        let golden = self
            .files
            .tensors("quant/vaultgemma_bnb4/golden.safetensors");
        let model = self.decoder("vaultgemma", WeightFormat::Nf4).await?;
        self.logits_and_loss("NF4", &model, &golden).await
    }

    /// Decoding with a cache against the uncached logits of the same model.
    async fn cached_decode(&mut self, family: &str) -> Result<(), EngineError> {
        let model = self.decoder(family, WeightFormat::F32).await?;
        let ids: Vec<u32> = (0..14).map(|i| (i * 37 + 3) % 100).collect();
        let source = PaddedIds::one(&ids[..9]);
        let encoded = model.encode(&source, None);
        let whole = read(model.forward(&ids, 1, encoded.as_ref(), None)).await?;
        let vocabulary = model.config.vocab_size;
        let mut cache = model.new_cache(16, encoded);
        // A prefill of five, then one at a time.
        let mut position = 0;
        for piece in std::iter::once(&ids[..5]).chain(ids[5..].chunks(1)) {
            position += piece.len();
            let last = read(model.decode(piece, 1, &mut cache, None)).await?;
            let reference = &whole[(position - 1) * vocabulary..position * vocabulary];
            self.compare(
                format!("{family}: cached logits after {position}"),
                &last,
                reference,
                1e-5,
            );
        }
        Ok(())
    }

    /// The golden prompt: ids to go on from, or a source for the encoder and the start token.
    fn prompt(golden: &Golden<'_>, model: &Decoder) -> Prompt {
        let ids = golden.ids("greedy.prompt");
        match model.encoder {
            None => Prompt {
                source: Vec::new(),
                ids,
            },
            Some(_) => Prompt {
                source: ids,
                ids: vec![2],
            },
        }
    }

    /// Greedy tokens to an EOS id or ten of them; the error is the number that differ.
    async fn greedy(&mut self, family: &str) -> Result<(), EngineError> {
        let golden = self
            .files
            .tensors(&format!("models/{family}/golden.safetensors"));
        let model = self.decoder(family, WeightFormat::F32).await?;
        let prompt = Self::prompt(&golden, &model);
        let early_end = golden.ids("greedy_eos.eos_token_id");
        for (name, eos) in [("greedy", &model.config.eos), ("greedy_eos", &early_end)] {
            let reference = golden.ids(&format!("{name}.tokens"));
            let mut cache = prompt.open(&model, 10, None)?;
            let mut sampler = Sampler::new(Default::default());
            let (mut next, mut found) = (prompt.ids.clone(), Vec::new());
            while found.len() < 10 && !found.last().is_some_and(|id| eos.contains(id)) {
                let logits = read(model.decode(&next, 1, &mut cache, None)).await?;
                let id = sampler.next(logits, &prompt.ids);
                found.push(id);
                next = vec![id];
            }
            self.count_different(format!("{family}: {name} tokens"), &found, &reference);
        }
        Ok(())
    }

    /// Compares ids; the error is the number that differ.
    fn count_different(&mut self, what: String, found: &[u32], reference: &[u32]) {
        let wrong = found.iter().zip(reference).filter(|(a, b)| a != b).count()
            + found.len().abs_diff(reference.len());
        self.done.push(Check {
            name: format!("{what} that differ"),
            error: wrong as f64,
            allowed: 0.0,
        });
    }

    /// Four beams over eight tokens, to the end and with an EOS id that ends some of them early.
    async fn beams(&mut self, family: &str) -> Result<(), EngineError> {
        let golden = self
            .files
            .tensors(&format!("models/{family}/golden.safetensors"));
        let model = self.decoder(family, WeightFormat::F32).await?;
        let prompt = Self::prompt(&golden, &model);
        let early_end = golden.ids("beam_eos.eos_token_id");
        for (name, eos) in [("beam", model.config.eos.clone()), ("beam_eos", early_end)] {
            let settings = BeamSettings {
                eos,
                ..BeamSettings::new(&model, 8)
            };
            let beams = beam_search(&model, &prompt, None, &settings, async || Ok(())).await?;
            let reference = golden.f32(&format!("{name}.scores"));
            let scores: Vec<f32> = beams.iter().map(|beam| beam.score as f32).collect();
            self.compare(
                format!("{family}: {name} scores"),
                &scores,
                &reference,
                1e-5,
            );
            let sequences = golden.ids(&format!("{name}.sequences"));
            let width = sequences.len() / reference.len();
            for (rank, (beam, sequence)) in beams.iter().zip(sequences.chunks(width)).enumerate() {
                // Scores nearer than this may change places with the rounding; the first is always firm.
                let firm = rank == 0 || reference[rank - 1] - reference[rank] > 1e-3;
                if firm && (rank + 1 == beams.len() || reference[rank] - reference[rank + 1] > 1e-3)
                {
                    let mut tokens = [prompt.ids.as_slice(), &beam.tokens].concat();
                    // transformers fills up with the EOS id, its padding id being 0.
                    tokens.resize(width, settings.eos[0]);
                    let what = format!("{family}: {name} {rank} tokens");
                    self.count_different(what, &tokens, sequence);
                }
            }
        }
        Ok(())
    }

    async fn adapter_on_and_off(&mut self, family: &str) -> Result<(), EngineError> {
        let folder = format!("lora/{family}");
        let golden = self.files.tensors(&format!("{folder}/golden.safetensors"));
        let model = self.decoder(family, WeightFormat::F32).await?;
        let (layout, values) = self.adapter(&folder, &model)?;
        let adapter = layout.upload(&values, &self.open.device);
        for (adapter, name) in [(Some(&adapter), "logits"), (None, "logits_base")] {
            let encoded = model.encode(&golden.source(), adapter);
            let (ids, rows) = (golden.decoder_ids(), golden.rows());
            let logits = read(model.forward(&ids, rows, encoded.as_ref(), adapter)).await?;
            self.compare_unpadded(
                format!("PEFT on {family}: {name}"),
                &logits,
                &golden.f32(name),
                &golden.logits_mask(),
            );
        }
        Ok(())
    }

    async fn sum<A: Accumulator>(
        &self,
        model: &Decoder,
        (layout, values): &(LoraLayout, Vec<f32>),
        examples: &[&Example],
        micro_batch: usize,
        accumulator: &mut A,
    ) -> Result<BatchReadings, EngineError> {
        let mut memory = MemoryMeter::default();
        let pause = async || Ok(());
        gradient_sum(
            model,
            layout,
            values,
            examples,
            micro_batch,
            accumulator,
            None,
            &mut memory,
            pause,
        )
        .await
    }

    async fn gradient_of_each_example(&mut self, family: &str) -> Result<(), EngineError> {
        let folder = format!("lora/{family}");
        let golden = self.files.tensors(&format!("{folder}/golden.safetensors"));
        let model = self.decoder(family, WeightFormat::F32).await?;
        let adapter = self.adapter(&folder, &model)?;
        let examples = golden.examples();
        let rows: Vec<&Example> = examples.iter().collect();
        let mut all = FloatSum::new(adapter.0.parameters(), Clipping::None, &model.device());
        let readings = self.sum(&model, &adapter, &rows, 3, &mut all).await?;
        let losses: Vec<f32> = readings.losses.iter().map(|&loss| loss as f32).collect();
        self.compare(
            format!("PEFT on {family}: loss of each example"),
            &losses,
            &golden.f32("example_loss"),
            LOSS_ALLOWED,
        );
        let mut reference = vec![0.0; adapter.0.parameters()];
        fill(&adapter.0, &mut reference, |name| {
            golden.f32(&format!("grad_sum.{name}"))
        });
        let sum = all.read().await?;
        self.compare_scaled(
            format!("PEFT on {family}: summed gradient"),
            &sum,
            &reference,
        );
        for (row, example) in examples.iter().enumerate() {
            let mut sum = FloatSum::new(adapter.0.parameters(), Clipping::None, &model.device());
            self.sum(&model, &adapter, &[example], 1, &mut sum).await?;
            let sum = sum.read().await?;
            let mut reference = vec![0.0; sum.len()];
            fill(&adapter.0, &mut reference, |name| {
                let all = golden.f32(&format!("grad_per_example.{name}"));
                let length = all.len() / examples.len();
                all[row * length..(row + 1) * length].to_vec()
            });
            let what = format!("PEFT on {family}: gradient of example {row}");
            self.compare_scaled(what, &sum, &reference);
        }
        Ok(())
    }

    /// The private sum in integers: noised on the device with a known key, relieved of that noise on the host.
    async fn integers(
        &self,
        model: &Decoder,
        adapter: &(LoraLayout, Vec<f32>),
        rows: &[&Example],
        micro_batch: usize,
    ) -> Result<Vec<i32>, EngineError> {
        let grid = check_grid();
        let mut sum = GridSum::new(grid, adapter.0.parameters(), &model.device());
        self.sum(model, adapter, rows, micro_batch, &mut sum)
            .await?;
        let noise = StepNoise::of_known_key([1, 2, 3, 4, 5, 6, 7, 8], grid.noise_bits());
        let noised = sum
            .noised(noise.clone())
            .await
            .map_err(|lost| EngineError::DeviceLost(lost.to_string()))?;
        Ok((0..)
            .zip(noised)
            .map(|(coordinate, value)| value.wrapping_sub(noise.integer(coordinate)))
            .collect())
    }

    /// The private sum of a batch is that of its rows alone, integer by integer, on this device as on any: the
    /// sensitivity counts one row, so a row's gradient must not hang on the others in its last bit either.
    async fn rows_stand_alone(&mut self) -> Result<(), EngineError> {
        let golden = self.files.tensors("dp/golden.safetensors");
        let model = self.decoder("vaultgemma", WeightFormat::F32).await?;
        let adapter = self.adapter("dp/adapter", &model)?;
        let examples = golden.examples();
        let rows: Vec<&Example> = examples.iter().collect();
        let together = self.integers(&model, &adapter, &rows, 4).await?;
        let mut alone = vec![0_i32; together.len()];
        for row in &rows {
            let of_row = self.integers(&model, &adapter, &[row], 4).await?;
            for (sum, value) in alone.iter_mut().zip(of_row) {
                *sum = sum.wrapping_add(value);
            }
        }
        let different = together.iter().zip(&alone).filter(|(a, b)| a != b).count();
        self.compare(
            "DP: integers of a batch that are not the sum of its rows'",
            &[different as f32],
            &[0.0],
            0.0,
        );
        Ok(())
    }

    async fn clipped_sum(&mut self) -> Result<(), EngineError> {
        let golden = self.files.tensors("dp/golden.safetensors");
        let model = self.decoder("vaultgemma", WeightFormat::F32).await?;
        let adapter = self.adapter("dp/adapter", &model)?;
        let examples = golden.examples();
        let rows: Vec<&Example> = examples.iter().collect();
        let mut reference = vec![0.0; adapter.0.parameters()];
        fill(&adapter.0, &mut reference, |name| {
            golden.f32(&format!("clipped_sum.{name}"))
        });
        // Micro-batches that do not divide the batch end in masked rows.
        for micro_batch in [1, 4] {
            let (parameters, device) = (adapter.0.parameters(), model.device());
            let mut sum = FloatSum::new(parameters, Clipping::To(0.5), &device);
            let result = self
                .sum(&model, &adapter, &rows, micro_batch, &mut sum)
                .await?;
            let what = format!("DP, micro-batch {micro_batch}");
            let narrow =
                |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
            self.compare(
                format!("{what}: losses"),
                &narrow(&result.losses),
                &golden.f32("loss"),
                LOSS_ALLOWED,
            );
            self.compare(
                format!("{what}: norms"),
                &narrow(&result.norms),
                &golden.f32("grad_norm"),
                ALLOWED,
            );
            let sum = sum.read().await?;
            self.compare_scaled(format!("{what}: clipped sum"), &sum, &reference);
            self.private_sum(&model, &adapter, &rows, micro_batch, &reference)
                .await?;
        }
        Ok(())
    }

    /// The private sum, noised on the device with a known key and relieved of that noise on the host: what is left
    /// is the golden clipped sum, so the device clips to the grid and draws the host's noise, integer by integer.
    async fn private_sum(
        &mut self,
        model: &Decoder,
        adapter: &(LoraLayout, Vec<f32>),
        rows: &[&Example],
        micro_batch: usize,
        reference: &[f32],
    ) -> Result<(), EngineError> {
        let spacing = check_grid().spacing();
        let relieved: Vec<f32> = self
            .integers(model, adapter, rows, micro_batch)
            .await?
            .into_iter()
            .map(|value| (f64::from(value) * spacing) as f32)
            .collect();
        // Rounding toward zero takes less than a grid unit, C/2^20, off each row's coordinate.
        self.compare_scaled(
            format!("DP, micro-batch {micro_batch}: private sum without its noise"),
            &relieved,
            reference,
        );
        Ok(())
    }

    /// One step of AdamW against torch's, on the golden gradient.
    fn adamw(&mut self) {
        let golden = self.files.tensors("dp/golden.safetensors");
        let adapter = self.files.tensors("dp/adapter/adapter_model.safetensors");
        let name = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight";
        let mut parameters = adapter.f32(name);
        let gradient = golden.f32(&format!("update_grad.{name}"));
        let mut state = AdamWState::new(parameters.len());
        AdamW {
            weight_decay: 0.01,
            ..AdamW::default()
        }
        .step(&mut parameters, &gradient, &mut state, 1e-3);
        // Adam's first step is lr g / (|g| + 1e-8): where |g| is tiny it hangs on the gradient's own rounding.
        let firm = |values: &[f32]| -> Vec<f32> {
            values
                .iter()
                .zip(&gradient)
                .filter(|(_, g)| g.abs() > 1e-5)
                .map(|(&value, _)| value)
                .collect()
        };
        let reference = firm(&golden.f32(&format!("after_step1.{name}")));
        self.compare("torch: AdamW", &firm(&parameters), &reference, 1e-6);
    }
}

/// The grid of a run that clips to the golden data's norm.
fn check_grid() -> Grid {
    Grid::of_plan(&PrivacyPlan {
        rows: 6,
        expected_batch: 6,
        noise_multiplier: 1.0,
        clip_norm: 0.5,
        steps: 1,
        delta: 1e-5,
        budget_epsilon: 100.0,
        batch_cap: None,
    })
}

/// Fills a flat vector from tensors by PEFT's parameter names.
fn fill(layout: &LoraLayout, flat: &mut [f32], tensor: impl Fn(&str) -> Vec<f32>) {
    for module in &layout.modules {
        for (factor, first) in [("A", module.first), ("B", module.b_first())] {
            let values = tensor(&format!(
                "base_model.model.{}.lora_{factor}.weight",
                module.path
            ));
            flat[first..first + values.len()].copy_from_slice(&values);
        }
    }
}
