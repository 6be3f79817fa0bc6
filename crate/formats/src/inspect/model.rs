use serde::Serialize;

use crate::checkpoint::{CheckpointError, Header, Layout, Storage};
use crate::config::{AnyConfig, AttentionKind, ModelConfig};
use crate::estimate::{Representation, WeightPlan};
use crate::gguf::{Gguf, GgufError};

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelDescription {
    /// `safetensors` or `gguf`.
    pub format: &'static str,
    /// `model_type`, as config.json names it.
    pub model_type: String,
    /// Parameters.
    pub parameters: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// How the weights are stored, most values first.
    pub stored_as: Vec<StoredAs>,
    /// bitsandbytes NF4 (`nf4`, `nf4 with double quantisation`), or nothing.
    pub quantization: Option<&'static str>,
    /// The decoder's dimensions.
    pub decoder: Dimensions,
    /// The encoder's, if there is one.
    pub encoder: Option<Dimensions>,
    /// GPU bytes of the weights in each representation.
    pub memory: MemoryNeeds,
    /// Names of tensors the model has no place for; they are passed over.
    pub left_over: Vec<String>,
    /// True if a tokenizer is inside (GGUF).
    pub has_tokenizer: bool,
}

/// Tensors stored in one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredAs {
    /// Name of the type, e.g. `BF16` or `Q4_0`.
    pub dtype: String,
    /// Tensors.
    pub tensors: u64,
    /// Values in them.
    pub values: u64,
}

/// Dimensions of one stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dimensions {
    /// Blocks.
    pub layers: usize,
    /// How many of them attend through a window.
    pub sliding_layers: usize,
    /// Its width, if any do.
    pub window: Option<usize>,
    /// Residual width.
    pub hidden_size: usize,
    /// MLP width.
    pub intermediate_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Vocabulary.
    pub vocab_size: usize,
    /// Longest context in tokens.
    pub context: usize,
    /// True if the logits use the embedding table.
    pub tied_embeddings: bool,
}

/// Bytes of all weights by representation; norms are f32 in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryNeeds {
    /// f32 throughout.
    pub f32: u64,
    /// f16 throughout.
    pub f16: u64,
    /// 8 bits throughout.
    pub int8: u64,
    /// NF4 throughout.
    pub nf4: u64,
    /// NF4 with embeddings in f16.
    pub nf4_f16_embeddings: u64,
}

/// Describes a safetensors checkpoint from its configuration and the headers of its files.
///
/// # Errors
/// [`CheckpointError`] if the files do not hold the model that the configuration describes.
pub fn safetensors(
    config: &AnyConfig,
    headers: &[&Header],
) -> Result<ModelDescription, CheckpointError> {
    let layout = Layout::of(headers, config.tensors())?;
    let mut stored_as = Vec::new();
    let mut quantization = None;
    for tensor in &layout.tensors {
        let values = tensor.spec.shape.iter().map(|&n| n as u64).product();
        let dtype = match tensor.storage {
            Storage::Float(dtype) => dtype.to_string(),
            Storage::Nf4 { double } => {
                quantization = Some(if double {
                    "nf4 with double quantisation"
                } else {
                    "nf4"
                });
                "NF4".to_owned()
            }
        };
        count(&mut stored_as, dtype, values);
    }
    let bytes = headers.iter().map(|h| h.file_len()).sum();
    Ok(ModelDescription {
        format: "safetensors",
        file_bytes: bytes,
        quantization,
        left_over: layout.left_over,
        ..describe(config, stored_as)
    })
}

/// Describes a GGUF file from its header.
///
/// # Errors
/// [`GgufError`] if it holds no supported model.
pub fn gguf(file: &Gguf) -> Result<ModelDescription, GgufError> {
    let config = file.model_config()?;
    let mut stored_as = Vec::new();
    for mapped in file.tensors_for(&config)? {
        let kind = mapped.tensor.kind.name().to_owned();
        count(&mut stored_as, kind, mapped.tensor.values());
    }
    Ok(ModelDescription {
        format: "gguf",
        file_bytes: file.file_len(),
        has_tokenizer: file.metadata.contains_key("tokenizer.ggml.tokens"),
        ..describe(&AnyConfig::Decoder(Box::new(config)), stored_as)
    })
}

/// Everything that follows from the configuration.
fn describe(config: &AnyConfig, mut stored_as: Vec<StoredAs>) -> ModelDescription {
    stored_as.sort_by_key(|s| std::cmp::Reverse(s.values));
    ModelDescription {
        format: "",
        model_type: config.model_type().to_owned(),
        parameters: config.parameters(),
        file_bytes: 0,
        stored_as,
        quantization: None,
        decoder: dimensions(config.decoder()),
        encoder: config.encoder().map(dimensions),
        memory: memory(config),
        left_over: Vec::new(),
        has_tokenizer: false,
    }
}

fn count(stored_as: &mut Vec<StoredAs>, dtype: String, values: u64) {
    match stored_as.iter_mut().find(|s| s.dtype == dtype) {
        Some(stored) => {
            stored.tensors += 1;
            stored.values += values;
        }
        None => stored_as.push(StoredAs {
            dtype,
            tensors: 1,
            values,
        }),
    }
}

fn memory(config: &AnyConfig) -> MemoryNeeds {
    let uniform = |r| WeightPlan::uniform(r).weight_bytes(config);
    let mixed = WeightPlan {
        linear: Representation::Nf4,
        embeddings: Representation::F16,
    };
    MemoryNeeds {
        f32: uniform(Representation::F32),
        f16: uniform(Representation::F16),
        int8: uniform(Representation::Int8),
        nf4: uniform(Representation::Nf4),
        nf4_f16_embeddings: mixed.weight_bytes(config),
    }
}

fn dimensions(stack: &ModelConfig) -> Dimensions {
    let windows = stack.layers.iter().filter_map(|l| match l.attention {
        AttentionKind::Full => None,
        AttentionKind::Sliding { window } => Some(window),
    });
    Dimensions {
        layers: stack.num_layers(),
        sliding_layers: windows.clone().count(),
        window: windows.max(),
        hidden_size: stack.hidden_size,
        intermediate_size: stack.intermediate_size,
        heads: stack.num_heads,
        kv_heads: stack.num_kv_heads,
        head_dim: stack.head_dim,
        vocab_size: stack.vocab_size,
        context: stack.context,
        tied_embeddings: stack.tied_embeddings,
    }
}
