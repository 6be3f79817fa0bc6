//! GGUF against the gguf and transformers packages, and damage.

mod common;

use std::collections::BTreeMap;

use common::{Tensors, golden};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use vaultlab_formats::config::ModelConfig;
use vaultlab_formats::gguf::{
    BlockChunks, Gguf, GgufError, MAX_HEADER, Prefix, TensorKind, Value, dequantize,
};
use vaultlab_formats::tokenizer::Tokenizer;

const MODEL: &str = "gguf/gemma3-mixed.gguf";

fn file() -> Vec<u8> {
    golden(MODEL)
}

fn gguf() -> Gguf {
    Gguf::parse_file(&file()).unwrap()
}

/// All ten quantised types agree with the gguf package on random valid blocks.
///
/// Both compute code times scale in f32; numpy may multiply in another order, which moves the last
/// bit of a product of three factors: 4 ε relative to the block's largest magnitude.
#[test]
fn every_quantised_type_gives_the_values_of_the_gguf_package() {
    let blocks = Tensors::open("gguf/blocks.safetensors");
    let mut seen = 0;
    for kind in TensorKind::ALL.into_iter().filter(|k| k.block_values() > 1) {
        let name = kind.name();
        let raw = blocks.bytes(&format!("{name}.raw"));
        let expected = blocks.f32(&format!("{name}.dequant"));
        let ours = dequantize(kind, raw).unwrap();
        assert_eq!(ours.len(), expected.len(), "{name}");
        let values = kind.block_values();
        for (ours, expected) in ours.chunks(values).zip(expected.chunks(values)) {
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (a, b) in ours.iter().zip(expected) {
                assert!(
                    (a - b).abs() <= 4.0 * f32::EPSILON * largest,
                    "{name}: {a} and {b}"
                );
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 10);
}

/// Tensors are found where the file says and dequantise to the reference, one of each type used.
#[test]
fn tensors_of_a_whole_file_give_the_reference_values() {
    let (file, gguf) = (file(), gguf());
    let reference = Tensors::open("gguf/golden.safetensors");
    let mut kinds = BTreeMap::new();
    for tensor in reference.header.tensors() {
        let Some(name) = tensor.name.strip_prefix("dequant.") else {
            continue;
        };
        let found = gguf.tensor(name).unwrap();
        assert_eq!(found.shape, tensor.shape, "{name}: row-major");
        let bytes = &file[found.range.start as usize..found.range.end as usize];
        let ours = dequantize(found.kind, bytes).unwrap();
        let expected = reference.f32(&tensor.name);
        let off = ours.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(off, 0, "{name}: {off} values differ");
        *kinds.entry(found.kind.name()).or_insert(0) += 1;
    }
    let kinds: Vec<_> = kinds.into_keys().collect();
    assert_eq!(kinds, ["BF16", "F16", "F32", "Q4_0", "Q8_0"]);
}

/// The metadata give the configuration that the equivalent `config.json` gives.
#[test]
fn metadata_give_the_configuration_of_the_same_model() {
    let config = json!({
        "model_type": "gemma3_text", "vocab_size": 440, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0, "sliding_window": 5, "sliding_window_pattern": 6,
        "query_pre_attn_scalar": 32, "hidden_activation": "gelu_pytorch_tanh",
        "attn_logit_softcapping": null, "final_logit_softcapping": null,
        "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0
    });
    let expected = ModelConfig::parse(config.to_string().as_bytes()).unwrap();
    assert_eq!(gguf().model_config().unwrap(), expected);
}

/// Every tensor of the model is mapped once, with its shape, and exactly the norms lose their one.
#[test]
fn tensors_get_the_names_of_checkpoints() {
    let gguf = gguf();
    let config = gguf.model_config().unwrap();
    let mapped = gguf.tensors_for(&config).unwrap();
    let names: Vec<_> = mapped.iter().map(|m| m.name.clone()).collect();
    let expected: Vec<_> = config.tensors().into_iter().map(|t| t.name).collect();
    assert_eq!(names, expected);
    assert_eq!(mapped.len(), gguf.tensors().len());
    for m in &mapped {
        assert_eq!(m.minus_one, m.tensor.shape.len() == 1, "{}", m.name);
    }
    let by_name = |name: &str| {
        let found = mapped.iter().find(|m| m.name == name);
        found.map(|m| m.tensor.name.as_str())
    };
    for (name, from) in [
        (
            "model.layers.3.input_layernorm.weight",
            "blk.3.attn_norm.weight",
        ),
        (
            "model.layers.3.post_attention_layernorm.weight",
            "blk.3.post_attention_norm.weight",
        ),
        (
            "model.layers.3.pre_feedforward_layernorm.weight",
            "blk.3.ffn_norm.weight",
        ),
        (
            "model.layers.3.post_feedforward_layernorm.weight",
            "blk.3.post_ffw_norm.weight",
        ),
        (
            "model.layers.3.self_attn.o_proj.weight",
            "blk.3.attn_output.weight",
        ),
    ] {
        assert_eq!(by_name(name), Some(from));
    }
}

/// The tokenizer inside gives the ids of the tokenizer.json it came from.
#[test]
fn the_tokenizer_inside_gives_the_same_ids() {
    let json = gguf().tokenizer_json().unwrap();
    let ours = Tokenizer::parse(&json, 2, &[1]).unwrap();
    let golden: Json = serde_json::from_slice(&golden("tokenizer/golden.json")).unwrap();
    let strings = golden["strings"].as_array().unwrap();
    assert_eq!(strings.len(), 30);
    for case in strings {
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(ours.encode(text, true).unwrap(), ids, "{text:?}");
        assert_eq!(
            ours.decode(&ids, false).unwrap(),
            case["decoded"].as_str().unwrap()
        );
    }
}

/// Following the advice in [`Prefix::NeedMore`] ends with the header, never beyond twice its size.
#[test]
fn a_growing_prefix_ends_with_the_header() {
    let file = file();
    let whole = gguf();
    let (mut have, mut asked) = (0usize, 0);
    let parsed = loop {
        match Gguf::parse(&file[..have]).unwrap() {
            Prefix::Complete(gguf) => break gguf,
            Prefix::NeedMore(bytes) => {
                assert!(bytes > have as u64);
                have = (bytes as usize).min(file.len());
                asked += 1;
            }
        }
    };
    assert_eq!(*parsed, whole);
    assert!(
        asked < 20 && have as u64 <= 2 * whole.data_start,
        "{asked} reads, {have} bytes"
    );
    for length in (0..15_000).step_by(61) {
        let state = Gguf::parse(&file[..length]).unwrap();
        assert!(matches!(state, Prefix::NeedMore(_)), "{length} bytes");
    }
    let cut = Gguf::parse_file(&file[..file.len() - 40]).unwrap_err();
    assert!(matches!(cut, GgufError::WrongLength { .. }));
}

/// Pieces cut anywhere, even inside a block, give the values of the whole tensor.
#[test]
fn pieces_of_any_length_give_the_same_values() {
    let blocks = Tensors::open("gguf/blocks.safetensors");
    for kind in [TensorKind::Q4_0, TensorKind::Q6_K] {
        let raw = blocks.bytes(&format!("{}.raw", kind.name()));
        let whole = dequantize(kind, raw).unwrap();
        for size in [1, 7, kind.block_bytes(), kind.block_bytes() + 1, 1000] {
            let (mut chunks, mut out) = (BlockChunks::new(kind), Vec::new());
            for piece in raw.chunks(size) {
                chunks.push(piece, &mut out);
            }
            chunks.finish().unwrap();
            assert_eq!(out, whole, "pieces of {size}");
        }
        let cut = dequantize(kind, &raw[..raw.len() - 1]);
        assert!(matches!(cut, Err(GgufError::PartialBlock { .. })));
    }
}

/// Builds a file from metadata and tensor entries.
#[derive(Clone, Default)]
struct Builder {
    pairs: Vec<(String, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, u32, u64)>,
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

impl Builder {
    fn with(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        let value = [&kind.to_le_bytes()[..], value].concat();
        self.pairs.push((key.to_owned(), value));
        self
    }

    fn text(self, key: &str, value: &str) -> Self {
        self.with(key, 8, &text(value))
    }

    fn u32(self, key: &str, value: u32) -> Self {
        self.with(key, 4, &value.to_le_bytes())
    }

    fn f32(self, key: &str, value: f32) -> Self {
        self.with(key, 6, &value.to_le_bytes())
    }

    fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        self.tensors
            .push((name.to_owned(), dims.to_vec(), kind, offset));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            out.extend(text(key));
            out.extend(value);
        }
        for (name, dims, kind, offset) in &self.tensors {
            out.extend(text(name));
            out.extend((dims.len() as u32).to_le_bytes());
            dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        out
    }

    fn parse(&self) -> Result<Gguf, GgufError> {
        match Gguf::parse(&self.bytes())? {
            Prefix::Complete(gguf) => Ok(*gguf),
            Prefix::NeedMore(n) => panic!("needs {n} bytes"),
        }
    }
}

/// A Gemma 1 or 2 header with one layer and all its tensors.
fn gemma(architecture: &str) -> Builder {
    let key = |name: &str| format!("{architecture}.{name}");
    let mut builder = Builder::default()
        .text("general.architecture", architecture)
        .u32(&key("context_length"), 64)
        .u32(&key("embedding_length"), 32)
        .u32(&key("block_count"), 1)
        .u32(&key("feed_forward_length"), 64)
        .u32(&key("attention.head_count"), 2)
        .u32(&key("attention.head_count_kv"), 1)
        .u32(&key("attention.key_length"), 16)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-6)
        .u32("tokenizer.ggml.bos_token_id", 2)
        .u32("tokenizer.ggml.eos_token_id", 1);
    let mut names = vec![
        ("token_embd", vec![32, 96]),
        ("output_norm", vec![32]),
        ("blk.0.attn_norm", vec![32]),
        ("blk.0.ffn_norm", vec![32]),
        ("blk.0.attn_q", vec![32, 32]),
        ("blk.0.attn_k", vec![32, 16]),
        ("blk.0.attn_v", vec![32, 16]),
        ("blk.0.attn_output", vec![32, 32]),
        ("blk.0.ffn_gate", vec![32, 64]),
        ("blk.0.ffn_up", vec![32, 64]),
        ("blk.0.ffn_down", vec![64, 32]),
    ];
    if architecture == "gemma2" {
        names.push(("blk.0.post_attention_norm", vec![32]));
        names.push(("blk.0.post_ffw_norm", vec![32]));
    }
    let mut offset = 0;
    for (name, dims) in names {
        builder = builder.tensor(&format!("{name}.weight"), &dims, 0, offset);
        offset += dims.iter().product::<u64>() * 4;
    }
    builder
}

/// Gemma 1 and 2 are recognised, with what llama.cpp fixes in code filled in.
#[test]
fn the_older_architectures_are_read_too() {
    let one = gemma("gemma").parse().unwrap();
    let config = one.model_config().unwrap();
    assert_eq!(
        (config.model_type.as_str(), config.vocab_size),
        ("gemma", 96)
    );
    assert_eq!(config.query_scale, 0.25);
    let mapped = one.tensors_for(&config).unwrap();
    let norm = mapped
        .iter()
        .find(|m| m.name.ends_with("post_attention_layernorm.weight"));
    assert_eq!(norm.unwrap().tensor.name, "blk.0.ffn_norm.weight");

    let tuned = gemma("gemma").u32("tokenizer.ggml.eot_token_id", 95);
    let tuned = tuned.parse().unwrap().model_config().unwrap();
    assert_eq!(tuned.eos, [1, 95], "turns end generation too");

    let two = gemma("gemma2").parse().unwrap();
    let config = two.model_config().unwrap();
    assert_eq!(
        (config.attention_softcap, config.final_softcap),
        (Some(50.0), Some(30.0))
    );
    assert_eq!(
        config.layers[0].attention,
        vaultlab_formats::config::AttentionKind::Sliding { window: 4096 }
    );
    assert_eq!(two.tensors_for(&config).unwrap().len(), 13);
}

/// What cannot be run is refused by the key or tensor that asks for it.
#[test]
fn other_models_are_refused_by_name() {
    for other in ["llama", "gemma3n", "gemma-embedding", "t5"] {
        let error = gemma(other).parse().unwrap().model_config().unwrap_err();
        assert!(error.to_string().contains(other), "{error}");
    }
    let refused = [
        (gemma("gemma").u32("split.count", 3), "split.count"),
        (
            gemma("gemma").u32("gemma.attention.value_length", 8),
            "value_length",
        ),
        (
            gemma("gemma").text("gemma.rope.scaling.type", "yarn"),
            "yarn",
        ),
        (gemma("gemma3"), "gemma3.rope.freq_base"),
        (
            gemma("gemma3").f32("gemma3.rope.freq_base", 1e6),
            "gemma3.attention.sliding_window",
        ),
    ];
    for (builder, named) in refused {
        let error = builder.parse().unwrap().model_config().unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
    let one = gemma("gemma").parse().unwrap();
    let config = one.model_config().unwrap();
    let foreign = gemma("gemma").tensor("blk.0.ffn_gate_exps.weight", &[32], 0, 1 << 16);
    assert!(matches!(
        foreign.parse().unwrap().tensors_for(&config),
        Err(GgufError::ForeignTensor { name, .. }) if name.contains("exps")
    ));
    let beyond = gemma("gemma").tensor("blk.1.attn_norm.weight", &[32], 0, 1 << 16);
    assert!(matches!(
        beyond.parse().unwrap().tensors_for(&config),
        Err(GgufError::ForeignTensor { .. })
    ));
    let mut lacks = gemma("gemma");
    lacks.tensors.pop();
    assert!(matches!(
        lacks.parse().unwrap().tensors_for(&config),
        Err(GgufError::MissingTensor { .. })
    ));
    let mut shape = gemma("gemma");
    shape.tensors[4].1 = vec![32, 31];
    assert!(matches!(
        shape.parse().unwrap().tensors_for(&config),
        Err(GgufError::WrongShape { .. })
    ));
    for (kind, named) in [(9, "Q8_1"), (23, "IQ4_XS"), (77, "type 77")] {
        let error = Builder::default()
            .tensor("w", &[256], kind, 0)
            .parse()
            .unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// Lying counts, offsets and shapes are refused, naming the tensor, without large allocations.
#[test]
fn inconsistent_headers_are_refused() {
    let one = |dims: &[u64], kind, offset| Builder::default().tensor("w", dims, kind, offset);
    for damaged in [
        one(&[u64::MAX, 2], 0, 0),
        one(&[1 << 62, 8], 0, 0),
        one(&[32], 0, u64::MAX - 31),
        one(&[31], 2, 0),
        one(&[32], 0, 4),
        one(&[], 0, 0),
        one(&[1, 1, 1, 1, 1], 0, 0),
        one(&[32], 0, 0).tensor("w", &[32], 0, 128),
        one(&[32], 0, 0).tensor("v", &[32], 0, 96),
    ] {
        let error = damaged.parse().unwrap_err();
        let GgufError::BadTensor { name, .. } = &error else {
            panic!("{error}")
        };
        assert!(name == "w" || name == "v", "{error}");
    }
    // Counts that cannot be: the error comes from the first bytes, not after reading on.
    let huge = u64::MAX.to_le_bytes();
    let mut list = 8u32.to_le_bytes().to_vec();
    list.extend(huge);
    for damaged in [
        Builder::default().with("k", 9, &list),
        Builder::default().with("k", 8, &huge),
        Builder::default().with("k", 13, &[0; 8]),
        Builder::default().with("k", 7, &[2]),
        Builder::default().u32("k", 1).u32("k", 2),
        Builder::default().u32("general.alignment", 24),
        Builder::default().u32("general.alignment", 0),
    ] {
        assert!(matches!(damaged.parse(), Err(GgufError::BadHeader { .. })));
    }
    // Lists of nothing add up: their elements are counted over the whole header.
    let mut list = 8u32.to_le_bytes().to_vec();
    list.extend((3u64 << 19).to_le_bytes());
    list.extend(vec![0; 3 << 22]);
    let lists = |n| {
        (0..n).fold(Builder::default(), |b, i| {
            b.with(&format!("k{i}"), 9, &list)
        })
    };
    assert!(lists(2).parse().is_ok());
    assert!(matches!(lists(3).parse(), Err(GgufError::BadHeader { .. })));
    let mut counts = Builder::default().bytes();
    counts[8..16].copy_from_slice(&huge);
    assert!(Gguf::parse(&counts).is_err());
    // A count within the limit but beyond the file asks for bytes instead of reserving them.
    let mut list = 8u32.to_le_bytes().to_vec();
    list.extend((1u64 << 20).to_le_bytes());
    let asks = Gguf::parse(&Builder::default().with("k", 9, &list).bytes()).unwrap();
    assert!(matches!(asks, Prefix::NeedMore(n) if n > 8 << 20 && n < MAX_HEADER));
    for version in [1u32, 4, 0x0300_0000] {
        let mut bytes = file();
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        assert_eq!(Gguf::parse(&bytes), Err(GgufError::Version { version }));
    }
    assert_eq!(Gguf::parse(b"safetensors"), Err(GgufError::NotGguf));
}

/// Metadata of the wrong type are errors that name the key.
#[test]
fn wrong_metadata_are_refused_by_key() {
    for key in [
        "gemma3.block_count",
        "gemma3.attention.head_count",
        "gemma3.rope.freq_base",
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.scores",
        "tokenizer.ggml.token_type",
    ] {
        let mut wrong = gguf();
        wrong.metadata.insert(key.to_owned(), Value::Bool(true));
        let error = wrong.model_config().map(|_| ());
        let error = error
            .and_then(|()| wrong.tokenizer_json().map(|_| ()))
            .unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
        wrong.metadata.remove(key);
        let error = wrong.model_config().map(|_| ());
        let error = error
            .and_then(|()| wrong.tokenizer_json().map(|_| ()))
            .unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Gguf::parse(&bytes);
        let _ = Gguf::parse(&[b"GGUF\x03\0\0\0", bytes.as_slice()].concat());
    }

    /// A damaged header is refused, or everything it leads to is refused or inside the file.
    #[test]
    fn damaged_headers_never_lead_outside_the_file(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = file();
        for (at, byte) in edits {
            bytes[at.index(15_046)] = byte;
        }
        if let Ok(gguf) = Gguf::parse_file(&bytes) {
            for tensor in gguf.tensors() {
                prop_assert!(tensor.range.end <= bytes.len() as u64);
                let data = &bytes[tensor.range.start as usize..tensor.range.end as usize];
                prop_assert_eq!(dequantize(tensor.kind, data).unwrap().len() as u64, tensor.values());
            }
            if let Ok(config) = gguf.model_config() {
                let _ = gguf.tensors_for(&config);
            }
            let _ = gguf.tokenizer_json();
        }
    }

    #[test]
    fn any_block_bytes_dequantise(kind in prop::sample::select(TensorKind::ALL.to_vec()), seed: u8) {
        let bytes: Vec<u8> = (0..kind.block_bytes()).map(|i| seed.wrapping_mul(31).wrapping_add(i as u8)).collect();
        prop_assert_eq!(dequantize(kind, &bytes).unwrap().len(), kind.block_values());
    }
}
