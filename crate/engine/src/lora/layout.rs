use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};
use vaultlab_formats::config::{LinearModule, ModelConfig, PROJECTIONS};
use vaultlab_protocol::LoraSettings;

use super::{BlockLora, DeviceAdapter, LoraPair};
use crate::EngineError;

/// One adapted projection and where its factors lie in the flat parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraModule {
    /// Module path in the checkpoint, e.g. `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// Block.
    pub block: usize,
    /// Index of the projection in the block.
    pub projection: usize,
    /// Rank.
    pub rank: usize,
    /// Input width.
    pub inputs: usize,
    /// Output width.
    pub outputs: usize,
    /// Factor on the update.
    pub scale: f32,
    /// First parameter: A `[rank, inputs]`, then B `[outputs, rank]`.
    pub first: usize,
}

impl LoraModule {
    /// Values in A.
    pub fn a_len(&self) -> usize {
        self.rank * self.inputs
    }

    /// Values in B.
    pub fn b_len(&self) -> usize {
        self.outputs * self.rank
    }

    /// First parameter of B.
    pub fn b_first(&self) -> usize {
        self.first + self.a_len()
    }
}

/// All adapted projections of a model, in forward order.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraLayout {
    /// The modules.
    pub modules: Vec<LoraModule>,
    blocks: usize,
    parameters: usize,
}

impl LoraLayout {
    /// The layout of `settings` on a model. As with PEFT, a target such as `q_proj` names the projection everywhere:
    /// in an encoder, in a decoder and in its cross-attention.
    ///
    /// # Errors
    /// [`EngineError::Settings`] for rank 0, an unknown projection or none.
    pub fn new(config: &ModelConfig, settings: &LoraSettings) -> Result<Self, EngineError> {
        if settings.rank == 0 {
            return Err(EngineError::Settings(
                "LoRA's rank must be at least 1".into(),
            ));
        }
        if let Some(unknown) = settings
            .targets
            .iter()
            .find(|t| !PROJECTIONS.contains(&t.as_str()))
        {
            return Err(EngineError::Settings(format!(
                "LoRA cannot target {unknown}; the projections are {}",
                PROJECTIONS.join(", ")
            )));
        }
        let scale = settings.alpha / settings.rank as f32;
        let chosen = config
            .linear_modules()
            .into_iter()
            .filter(|module| settings.targets.iter().any(|t| t == module.name()))
            .map(|module| (module, settings.rank as usize, scale))
            .collect();
        Self::from_modules(config, chosen)
    }

    /// A layout from (module, rank, scale), in forward order.
    pub(crate) fn from_modules(
        config: &ModelConfig,
        chosen: Vec<(LinearModule, usize, f32)>,
    ) -> Result<Self, EngineError> {
        if chosen.is_empty() {
            return Err(EngineError::Settings(
                "LoRA needs at least one target projection".into(),
            ));
        }
        let mut first = 0;
        let modules: Vec<LoraModule> = chosen
            .into_iter()
            .map(|(module, rank, scale)| {
                let module = LoraModule {
                    path: module.path,
                    block: module.block,
                    projection: module.projection,
                    rank,
                    inputs: module.inputs,
                    outputs: module.outputs,
                    scale,
                    first,
                };
                first += module.a_len() + module.b_len();
                module
            })
            .collect();
        Ok(Self {
            modules,
            blocks: config.num_blocks(),
            parameters: first,
        })
    }

    /// Trainable parameters.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// PEFT's initial values: A uniform in ±1/√in (Kaiming with a = √5), B zero.
    pub fn initial_values(&self, rng: &mut impl Rng) -> Vec<f32> {
        let mut values = vec![0.0; self.parameters];
        for module in &self.modules {
            let bound = (module.inputs as f32).sqrt().recip();
            for value in &mut values[module.first..module.b_first()] {
                *value = rng.random_range(-bound..bound);
            }
        }
        values
    }

    /// The adapter's tensors for inference, one group shared by the batch.
    ///
    /// # Panics
    /// If `values` is not as long as the layout.
    pub fn upload(&self, values: &[f32], device: &Device) -> DeviceAdapter {
        self.upload_groups(values, 1, device)
    }

    /// The adapter's tensors repeated `groups` times, so that each example has factors of its own.
    ///
    /// # Panics
    /// If `values` is not as long as the layout.
    pub fn upload_groups(&self, values: &[f32], groups: usize, device: &Device) -> DeviceAdapter {
        assert_eq!(
            values.len(),
            self.parameters,
            "adapter values and layout differ"
        );
        let mut blocks = vec![BlockLora::default(); self.blocks];
        for module in &self.modules {
            let factor = |range: std::ops::Range<usize>, dims: [usize; 2]| {
                let data = TensorData::new(values[range].to_vec(), [1, dims[0], dims[1]]);
                Tensor::<3>::from_data(data, device).repeat_dim(0, groups)
            };
            blocks[module.block].pairs[module.projection] = Some(LoraPair {
                a: factor(module.first..module.b_first(), [module.rank, module.inputs]),
                b: factor(
                    module.b_first()..module.b_first() + module.b_len(),
                    [module.outputs, module.rank],
                ),
                scale: module.scale,
            });
        }
        DeviceAdapter { blocks }
    }
}
