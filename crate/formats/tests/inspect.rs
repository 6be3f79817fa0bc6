//! Descriptions and estimates against the published models and against real tensors.

mod common;

use common::{Tensors, golden};
use serde_json::{Value, json};
use vaultlab_formats::checkpoint::Header;
use vaultlab_formats::config::{AnyConfig, ModelConfig};
use vaultlab_formats::estimate::{
    Load, Representation, WeightPlan, adapter_parameters, block_bytes, cache_bytes, chat_bytes,
    training_bytes,
};
use vaultlab_formats::gguf::Gguf;
use vaultlab_formats::inspect::{self, Description};
use vaultlab_formats::int8::Int8Tensor;
use vaultlab_formats::nf4::Nf4Tensor;

fn any(config: &Value) -> AnyConfig {
    AnyConfig::parse(config.to_string().as_bytes()).unwrap()
}

fn gemma3_270m() -> AnyConfig {
    let mut config: Value = serde_json::from_slice(&golden("models/gemma3/config.json")).unwrap();
    for (key, value) in [
        ("vocab_size", json!(262_144)),
        ("hidden_size", json!(640)),
        ("intermediate_size", json!(2048)),
        ("num_hidden_layers", json!(18)),
        ("num_attention_heads", json!(4)),
        ("num_key_value_heads", json!(1)),
        ("head_dim", json!(256)),
        ("max_position_embeddings", json!(32_768)),
        ("layer_types", json!(vec!["full_attention"; 18])),
    ] {
        config[key] = value;
    }
    config["_sliding_window_pattern"] = json!(null);
    any(&config)
}

fn vaultgemma_1b() -> AnyConfig {
    any(&json!({
        "model_type": "vaultgemma", "attn_logit_softcapping": null, "bos_token_id": 2,
        "eos_token_id": 1, "final_logit_softcapping": null, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
        "layer_types": vec!["full_attention"; 26], "max_position_embeddings": 1024,
        "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "vocab_size": 256_000
    }))
}

/// Bytes by representation are those of tensors really made in it.
#[test]
fn bytes_of_a_tensor_are_those_of_its_parts() {
    let golden = Tensors::open("quant/nf4.safetensors");
    for w in ["w0", "w1", "w2"] {
        let name = format!("{w}.input");
        let (values, shape) = (golden.f32(&name), golden.shape(&name));
        let nf4 = Nf4Tensor::quantize(&shape, &values).unwrap();
        let bytes = nf4.packed.len() + nf4.absmax.len() + 4 * nf4.nested_absmax.len() + 4;
        let count = values.len() as u64;
        assert_eq!(Representation::Nf4.bytes(count), bytes as u64, "{w}");
        let int8 = Int8Tensor::quantize(&shape, &values).unwrap();
        let bytes = int8.codes.len() + 4 * int8.scales.len();
        assert_eq!(Representation::Int8.bytes(count), bytes as u64, "{w}");
    }
}

/// Weights of the published models: parameters times width, norms apart, as their files have them.
#[test]
fn weights_of_published_models() {
    let small = gemma3_270m();
    assert_eq!(small.parameters(), 268_098_176);
    let norms = 18 * (4 * 640 + 2 * 256) + 640;
    let f16 = WeightPlan::uniform(Representation::F16).weight_bytes(&small);
    assert_eq!(f16, 2 * (268_098_176 - norms) + 4 * norms);
    let f32 = WeightPlan::uniform(Representation::F32);
    assert_eq!(f32.weight_bytes(&small), 4 * 268_098_176);
    assert_eq!(
        f32.largest_tensor(&small),
        4 * 262_144 * 640,
        "the embedding table"
    );

    let vault = vaultgemma_1b();
    let plan = WeightPlan {
        linear: Representation::Nf4,
        embeddings: Representation::F32,
    };
    // 4.127 bits a weight in the layers, and the table as bitsandbytes leaves it.
    let table = 256_000 * 1152;
    let linear = 1_038_741_120 - table - 53 * 1152;
    let expected = linear as f64 * 4.127 / 8.0 + 4.0 * f64::from(table) + 4.0 * 53.0 * 1152.0;
    let bytes = plan.weight_bytes(&vault) as f64;
    assert!(
        (bytes / expected - 1.0).abs() < 1e-4,
        "{bytes} and {expected}"
    );
}

/// The documented formulas, worked out by hand for VaultGemma 1B.
#[test]
fn chat_and_training_follow_the_formulas() {
    let config = vaultgemma_1b();
    let plan = WeightPlan::uniform(Representation::Nf4);
    let decoder = config.decoder();
    assert_eq!(cache_bytes(decoder, 1, 1024), 26 * 2 * 1024 * 4 * 256 * 4);
    // At 1024 × 1024 the MLP is wider than attention with its scores; at one query it always is.
    let attention = 1024 * (3 * 1152 + 4 * 1024) + 2 * 4 * 1024 * 1024;
    let mlp = 1024 * (3 * 1152 + 3 * 6912);
    assert_eq!(block_bytes(decoder, 1, 1024, 1024), 4 * attention.max(mlp));
    let load = Load {
        batch: 1,
        length: 1024,
        chunk: 256,
        logit_rows: 1,
    };
    let chat = chat_bytes(&config, plan, load);
    assert_eq!(chat.logits, 256_000 * 4);
    assert_eq!(
        chat.total(),
        chat.weights + chat.cache + chat.activations + chat.logits
    );

    let adapters = adapter_parameters(&config.linear_modules(), 8);
    assert_eq!(adapters, 6_842_368, "as PEFT counts them");
    let load = Load {
        batch: 2,
        length: 128,
        chunk: 128,
        logit_rows: 128,
    };
    let training = training_bytes(&config, plan, load, adapters);
    assert_eq!(training.adapters, 16 * 6_842_368);
    assert_eq!(training.example_gradients, 8 * 6_842_368);
    assert_eq!(training.block_inputs, 27 * 2 * 128 * 1152 * 4);
    assert_eq!(training.logits, 2 * 2 * 128 * 256_000 * 4);
    assert!(training.total() > training.weights + training.logits);
}

/// An encoder-decoder needs a second cache for cross-attention, and both stacks' block inputs.
#[test]
fn an_encoder_counts_too() {
    let config = AnyConfig::parse(&golden("models/t5gemma/config.json")).unwrap();
    let plan = WeightPlan::uniform(Representation::F32);
    let load = Load {
        batch: 1,
        length: 10,
        chunk: 1,
        logit_rows: 1,
    };
    let chat = chat_bytes(&config, plan, load);
    assert_eq!(chat.weights, 4 * config.parameters());
    assert_eq!(chat.cache, 2 * 3 * 2 * 10 * 32 * 4);
    assert_eq!(
        chat.activations,
        block_bytes(config.encoder().unwrap(), 1, 10, 10).max(block_bytes(
            config.decoder(),
            1,
            1,
            10
        ))
    );
    let training = training_bytes(&config, plan, load, 0);
    assert_eq!(training.block_inputs, 4 * 10 * (4 * 48 + 3 * 32 + 32));
}

/// Longer contexts, larger batches and wider representations never need less.
#[test]
fn estimates_grow_with_what_is_asked() {
    let config = gemma3_270m();
    let mut last = 0;
    for representation in Representation::ALL.into_iter().rev() {
        let weights = WeightPlan::uniform(representation).weight_bytes(&config);
        assert!(weights > last);
        last = weights;
    }
    let plan = WeightPlan::uniform(Representation::F16);
    let at = |batch, length| {
        let load = Load {
            batch,
            length,
            chunk: length,
            logit_rows: 1,
        };
        (
            chat_bytes(&config, plan, load).total(),
            training_bytes(&config, plan, load, 1000).total(),
        )
    };
    let (small, long, wide) = (at(1, 128), at(1, 256), at(2, 128));
    assert!(long.0 > small.0 && long.1 > small.1 && wide.0 > small.0 && wide.1 > small.1);
}

/// A safetensors checkpoint, plain and in NF4.
#[test]
fn checkpoints_are_described() {
    let config = AnyConfig::parse(&golden("models/vaultgemma/config.json")).unwrap();
    let plain = Tensors::open("models/vaultgemma/model.safetensors");
    let described = inspect::safetensors(&config, &[&plain.header]).unwrap();
    let parameters = (plain.header.file_len() - plain.header.data_start()) / 4;
    assert_eq!(
        (described.parameters, described.memory.f32),
        (parameters, 4 * parameters)
    );
    assert_eq!(described.file_bytes, plain.file.len() as u64);
    assert_eq!(
        (described.stored_as.len(), described.stored_as[0].values),
        (1, parameters)
    );
    assert_eq!(
        (described.decoder.layers, described.decoder.context),
        (2, 64)
    );

    let quantised = Tensors::open("quant/vaultgemma_bnb4/model.safetensors");
    let described = inspect::safetensors(&config, &[&quantised.header]).unwrap();
    assert_eq!(described.quantization, Some("nf4 with double quantisation"));
    let names: Vec<_> = described
        .stored_as
        .iter()
        .map(|s| (s.dtype.as_str(), s.tensors))
        .collect();
    assert_eq!(names, [("NF4", 14), ("F32", 6)]);
    assert_eq!(described.parameters, parameters);

    let other = AnyConfig::parse(&golden("models/gemma1/config.json")).unwrap();
    assert!(inspect::safetensors(&other, &[&plain.header]).is_err());
    let json = serde_json::to_value(Description::Model(Box::new(described))).unwrap();
    assert_eq!(
        (&json["kind"], &json["model_type"]),
        (&json!("model"), &json!("vaultgemma"))
    );
    assert!(json["memory"]["nf4"].as_u64().unwrap() < json["memory"]["int8"].as_u64().unwrap());
}

/// A GGUF file, an adapter and both kinds of tokenizer.
#[test]
fn other_files_are_described() {
    let file = golden("gguf/gemma3-mixed.gguf");
    let described = inspect::gguf(&Gguf::parse_file(&file).unwrap()).unwrap();
    assert_eq!(
        (described.format, described.model_type.as_str()),
        ("gguf", "gemma3_text")
    );
    assert_eq!(described.file_bytes, file.len() as u64);
    let decoder = &described.decoder;
    assert_eq!(
        (decoder.layers, decoder.sliding_layers, decoder.window),
        (6, 5, Some(5))
    );
    assert!(described.has_tokenizer);
    let kinds: Vec<_> = described
        .stored_as
        .iter()
        .map(|s| s.dtype.as_str())
        .collect();
    assert_eq!(kinds, ["Q4_0", "Q8_0", "F16", "BF16", "F32"]);

    let config = golden("lora/t5gemma/adapter_config.json");
    let header = Header::parse_file(&golden("lora/t5gemma/adapter_model.safetensors")).unwrap();
    let adapter = inspect::adapter(&config, &header).unwrap();
    assert_eq!(
        (adapter.rank, adapter.layers, &adapter.ranks[..]),
        (4, 16, &[4][..])
    );
    assert_eq!(adapter.projections, ["q_proj", "v_proj"]);
    let values = (header.file_len() - header.data_start()) / 4;
    assert_eq!(adapter.parameters, values);

    let json = inspect::tokenizer_json(&golden("tokenizer/tokenizer.json")).unwrap();
    let model = inspect::tokenizer_model(&golden("tokenizer/tokenizer.model")).unwrap();
    assert_eq!(
        (json.vocab_size, json.bos, json.eos),
        (440, Some(2), Some(1))
    );
    assert_eq!((json.end_of_turn, model.end_of_turn), (Some(6), Some(6)));
    assert_eq!(model.vocab_size, 440);
    assert!(inspect::tokenizer_json(b"{}").is_err());
}

/// The estimate for decoder-only models needs nothing but the configuration.
#[test]
fn a_configuration_alone_is_enough_for_the_estimate() {
    for model in ["gemma1", "gemma2", "gemma3", "vaultgemma"] {
        let config = ModelConfig::parse(&golden(&format!("models/{model}/config.json"))).unwrap();
        let parameters = config.parameters();
        let config = AnyConfig::Decoder(Box::new(config));
        let plan = WeightPlan::uniform(Representation::F32);
        assert_eq!(plan.weight_bytes(&config), 4 * parameters, "{model}");
    }
}
