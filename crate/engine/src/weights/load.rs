use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use vaultlab_formats::checkpoint::{FloatChunks, Header, ShardIndex, TensorEntry};
use vaultlab_formats::config::{
    CROSS_PROJECTIONS, ModelConfig, NormLayout, PROJECTIONS, StackRole,
};
use vaultlab_formats::int8::{Int8Error, Int8Quantizer};
use vaultlab_formats::nf4::Nf4Quantizer;
use vaultlab_protocol::WeightFormat;

use super::{ModelFiles, read_all};
use crate::EngineError;
use crate::model::{
    Block, BlockNorms, BlockShape, CrossAttention, Decoder, Matrix, RopeTables, Stack,
};

/// Bytes read at a time.
const CHUNK: u64 = 4 << 20;
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// Called after each piece with (bytes read, bytes in all); an error ends the load.
pub type LoadProgress<'a> = dyn FnMut(u64, u64) -> Result<(), EngineError> + 'a;

/// Loads a model from safetensors, one file or sharded, in f32, f16 or bf16.
///
/// The projections are converted to `format` as they pass; embeddings and norms stay in f32, as bitsandbytes leaves
/// them.
///
/// # Errors
/// For missing, truncated or foreign files, and tensors that are missing or of another shape than the
/// configuration's.
pub async fn load_decoder(
    files: &ModelFiles,
    config: &ModelConfig,
    format: WeightFormat,
    device: &Device,
    progress: &mut LoadProgress<'_>,
) -> Result<Decoder, EngineError> {
    let tensors = Tensors::open(files).await?;
    if config.quantization.is_some() {
        return Err(EngineError::Model(
            "this checkpoint is already quantised; use the original one in bf16, f16 or f32".into(),
        ));
    }
    for spec in config.tensors() {
        tensors.entry(&spec.name)?.1.expect_shape(&spec.shape)?;
    }
    let mut reader = Reader {
        tensors,
        format,
        device,
        done: 0,
        progress,
    };

    let mut encoder = None;
    let mut first_block = 0;
    if let Some(stack) = &config.encoder {
        encoder = Some(reader.stack(stack, StackRole::Encoder, 0).await?);
        first_block = stack.num_layers();
    }
    let role = match encoder {
        Some(_) => StackRole::Decoder,
        None => StackRole::Only,
    };
    let stack = reader.stack(config, role, first_block).await?;
    let output = match config.tied_embeddings {
        true => None,
        false => Some(reader.table(config.output_name()).await?),
    };
    Ok(Decoder {
        config: config.clone(),
        encoder,
        stack,
        output,
    })
}

/// Where each tensor of the checkpoint lies.
struct Tensors<'a> {
    files: &'a ModelFiles,
    entries: HashMap<String, (String, TensorEntry)>,
    bytes: u64,
}

impl<'a> Tensors<'a> {
    async fn open(files: &'a ModelFiles) -> Result<Self, EngineError> {
        let index = match files.find(INDEX) {
            Some(source) => Some(ShardIndex::parse(&read_all(source).await?)?),
            None => None,
        };
        let names: Vec<String> = match &index {
            Some(index) => index.files().into_iter().map(str::to_owned).collect(),
            None => vec![SINGLE.to_owned()],
        };
        let mut tensors = Self {
            files,
            entries: HashMap::new(),
            bytes: 0,
        };
        for name in names {
            let source = files.get(&name)?;
            let header = read_header(source).await?;
            header.check_file_len(source.size())?;
            if let Some(index) = &index {
                index.check_shard(&name, &header)?;
            }
            tensors.bytes += header.file_len();
            for entry in header.tensors() {
                tensors
                    .entries
                    .insert(entry.name.clone(), (name.clone(), entry.clone()));
            }
        }
        Ok(tensors)
    }

    fn entry(&self, name: &str) -> Result<&(String, TensorEntry), EngineError> {
        self.entries.get(name).ok_or_else(|| {
            EngineError::Model(format!(
                "the checkpoint has no tensor {name}, which its config.json asks for"
            ))
        })
    }
}

async fn read_header(source: &dyn super::ByteSource) -> Result<Header, EngineError> {
    let mut start = Vec::new();
    loop {
        let needed = Header::bytes_needed(&start)? as u64;
        if start.len() as u64 >= needed {
            return Ok(Header::parse(&start)?);
        }
        if needed > source.size() {
            return Err(EngineError::Model(format!(
                "the safetensors file ends at {} bytes, inside its header of {needed}; download it again",
                source.size()
            )));
        }
        start = source.read(0..needed).await?;
    }
}

struct Reader<'a, 'p> {
    tensors: Tensors<'a>,
    format: WeightFormat,
    device: &'a Device,
    done: u64,
    progress: &'a mut LoadProgress<'p>,
}

impl Reader<'_, '_> {
    /// Passes the tensor's values on, piece by piece.
    async fn stream(
        &mut self,
        name: &str,
        mut take: impl FnMut(&[f32]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let (file, entry) = self.tensors.entry(name)?.clone();
        let source = self.tensors.files.get(&file)?;
        let mut chunks = FloatChunks::new(entry.dtype)?;
        let mut values = Vec::new();
        let mut from = entry.range.start;
        while from < entry.range.end {
            let to = entry.range.end.min(from + CHUNK);
            let bytes = source.read(from..to).await?;
            if bytes.len() as u64 != to - from {
                return Err(EngineError::Source(format!(
                    "{file} ended early, inside the tensor {name}"
                )));
            }
            values.clear();
            chunks.push(&bytes, &mut values);
            take(&values)?;
            self.done += to - from;
            from = to;
            (self.progress)(self.done, self.tensors.bytes)?;
        }
        Ok(chunks.finish()?)
    }

    async fn values(&mut self, name: &str) -> Result<(Vec<f32>, Vec<usize>), EngineError> {
        let shape: Vec<usize> = self
            .tensors
            .entry(name)?
            .1
            .shape
            .iter()
            .map(|&n| n as usize)
            .collect();
        let mut values = Vec::with_capacity(shape.iter().product());
        self.stream(name, |piece| {
            values.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok((values, shape))
    }

    async fn vector(&mut self, name: &str) -> Result<Tensor<1>, EngineError> {
        let (values, shape) = self.values(name).await?;
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    async fn table(&mut self, name: &str) -> Result<Tensor<2>, EngineError> {
        let (values, shape) = self.values(name).await?;
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    async fn matrix(&mut self, name: &str) -> Result<Matrix, EngineError> {
        let shape = self.tensors.entry(name)?.1.shape.clone();
        let [outputs, inputs] = [shape[0] as usize, shape[1] as usize];
        match self.format {
            WeightFormat::F32 => {
                let (values, _) = self.values(name).await?;
                Ok(Matrix::from_f32(values, outputs, inputs, self.device))
            }
            WeightFormat::F16 => {
                let mut values = Vec::with_capacity(outputs * inputs);
                self.stream(name, |piece| {
                    values.extend(piece.iter().map(|&value| f16::from_f32(value)));
                    Ok(())
                })
                .await?;
                if let Some(beyond) = values.iter().position(|value| !value.is_finite()) {
                    return Err(EngineError::Model(format!(
                        "{name}: value {beyond} does not fit in 16 bits; choose another weight format"
                    )));
                }
                Ok(Matrix::from_f16(&values, outputs, inputs, self.device))
            }
            WeightFormat::Int8 => {
                let bad = |e: Int8Error| EngineError::Model(format!("{name}: {e}"));
                let mut quantizer = Int8Quantizer::new(&[outputs, inputs]).map_err(bad)?;
                self.stream(name, |piece| quantizer.push(piece).map_err(bad))
                    .await?;
                let matrix = quantizer.finish().map_err(bad)?;
                Ok(Matrix::from_int8(&matrix, outputs, inputs, self.device))
            }
            WeightFormat::Nf4 => {
                let bad =
                    |e: vaultlab_formats::nf4::Nf4Error| EngineError::Model(format!("{name}: {e}"));
                let mut quantizer = Nf4Quantizer::new(&[outputs, inputs]).map_err(bad)?;
                self.stream(name, |piece| quantizer.push(piece).map_err(bad))
                    .await?;
                let matrix = quantizer.finish().map_err(bad)?;
                Ok(Matrix::from_nf4(&matrix, outputs, inputs, self.device))
            }
        }
    }

    async fn stack(
        &mut self,
        config: &ModelConfig,
        role: StackRole,
        first_block: usize,
    ) -> Result<Stack, EngineError> {
        let prefix = role.prefix();
        let embedding = self.table(&format!("{prefix}.embed_tokens.weight")).await?;
        let mut ropes: HashMap<[u64; 2], RopeTables> = HashMap::new();
        let mut blocks = Vec::with_capacity(config.num_layers());
        for (layer, layer_config) in config.layers.iter().enumerate() {
            let rope = layer_config.rope;
            let tables = ropes
                .entry([rope.theta.to_bits(), rope.linear_factor.to_bits()])
                .or_insert_with(|| {
                    RopeTables::new(&rope, config.head_dim, config.context, self.device)
                })
                .clone();
            blocks.push(self.block(config, role, layer, tables).await?);
        }
        Ok(Stack {
            embedding,
            embedding_scale: config.embedding_scale as f32,
            blocks,
            first_block,
            final_norm: self.vector(&format!("{prefix}.norm.weight")).await?,
            eps: config.rms_norm_eps as f32,
        })
    }

    async fn block(
        &mut self,
        config: &ModelConfig,
        role: StackRole,
        layer: usize,
        rope: RopeTables,
    ) -> Result<Block, EngineError> {
        let prefix = format!("{}.layers.{layer}", role.prefix());
        let norm = |name: &str| format!("{prefix}.{name}.weight");
        let layout = config.norms;
        let post_attention = match layout.post_attention() {
            Some(name) => Some(self.vector(&norm(name)).await?),
            None => None,
        };
        let post_mlp = match layout.post_mlp() {
            Some(name) => Some(self.vector(&norm(name)).await?),
            None => None,
        };
        let (query, key) = match config.qk_norm {
            true => (
                Some(self.vector(&norm("self_attn.q_norm")).await?),
                Some(self.vector(&norm("self_attn.k_norm")).await?),
            ),
            false => (None, None),
        };
        let norms = BlockNorms {
            pre_attention: self.vector(&norm(layout.pre_attention())).await?,
            post_attention,
            pre_mlp: self.vector(&norm(layout.pre_mlp())).await?,
            post_mlp,
            query,
            key,
        };
        let part = |name: &str| match name {
            "gate_proj" | "up_proj" | "down_proj" => norm(&format!("mlp.{name}")),
            _ => norm(&format!("self_attn.{name}")),
        };
        let projections = self.matrices(PROJECTIONS.map(part)).await?;
        let cross = match role {
            StackRole::Only | StackRole::Encoder => None,
            StackRole::Decoder => {
                let [pre, post] = NormLayout::CROSS_ATTENTION.map(norm);
                let names = CROSS_PROJECTIONS.map(|name| norm(&format!("cross_attn.{name}")));
                Some(CrossAttention {
                    pre_norm: self.vector(&pre).await?,
                    post_norm: self.vector(&post).await?,
                    projections: self.matrices(names).await?,
                })
            }
        };
        Ok(Block {
            shape: BlockShape::new(config, role, layer),
            norms,
            projections,
            cross,
            rope,
        })
    }

    async fn matrices<const N: usize>(
        &mut self,
        names: [String; N],
    ) -> Result<[Matrix; N], EngineError> {
        let mut matrices = Vec::with_capacity(N);
        for name in &names {
            matrices.push(self.matrix(name).await?);
        }
        let Ok(matrices) = <[Matrix; N]>::try_from(matrices) else {
            unreachable!("one matrix was read per name");
        };
        Ok(matrices)
    }
}
