//! Model configurations: golden files of both key styles, the released models' own, and damage.

mod common;

use common::{Tensors, golden};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use vaultlab_formats::config::{
    AnyConfig, AttentionKind, ConfigError, Family, GenerationConfig, ModelConfig, NormLayout,
    Quantization, Rope, T5GemmaConfig,
};

fn parse(value: &Value) -> Result<ModelConfig, ConfigError> {
    ModelConfig::parse(value.to_string().as_bytes())
}

fn read(path: &str) -> ModelConfig {
    ModelConfig::parse(&golden(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn value(path: &str) -> Value {
    serde_json::from_slice(&golden(path)).unwrap()
}

/// As published with google/vaultgemma-1b (transformers 4 style).
fn vaultgemma_1b() -> Value {
    json!({
        "architectures": ["VaultGemmaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "attn_logit_softcapping": null, "bos_token_id": 2, "eos_token_id": 1,
        "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 1152, "initializer_range": 0.02, "intermediate_size": 6912,
        "layer_types": vec!["full_attention"; 26], "max_position_embeddings": 1024,
        "model_type": "vaultgemma", "num_attention_heads": 4, "num_hidden_layers": 26,
        "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "sliding_window": 512, "use_cache": true,
        "torch_dtype": "bfloat16", "vocab_size": 256000
    })
}

#[test]
fn the_golden_vaultgemma_is_read_in_full() {
    let config = read("models/vaultgemma/config.json");
    assert_eq!(config.family, Family::VaultGemma);
    assert_eq!(config.model_type, "vaultgemma");
    assert_eq!(
        (
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size
        ),
        (128, 32, 48)
    );
    assert_eq!(
        (config.num_heads, config.num_kv_heads, config.head_dim),
        (4, 4, 16)
    );
    assert_eq!((config.num_layers(), config.context), (2, 64));
    assert_eq!(config.rms_norm_eps, 1e-6);
    assert!(
        (config.query_scale - 24f64.powf(-0.5)).abs() < 1e-15,
        "from query_pre_attn_scalar"
    );
    assert_eq!(
        (config.attention_softcap, config.final_softcap),
        (None, None)
    );
    assert_eq!(config.norms, NormLayout::PreOnly);
    assert!(!config.qk_norm && config.tied_embeddings);
    assert_eq!(config.embedding_scale, 32f64.sqrt());
    assert_eq!(
        (config.bos, config.eos.as_slice(), config.pad),
        (2, &[1][..], Some(0))
    );
    assert_eq!(config.dtype.as_deref(), Some("float32"));
    for layer in &config.layers {
        assert_eq!(
            layer.attention,
            AttentionKind::Full,
            "although the file states a window"
        );
        assert_eq!(
            layer.rope,
            Rope {
                theta: 10_000.0,
                linear_factor: 1.0
            }
        );
    }
}

#[test]
fn both_key_styles_give_the_same_configuration() {
    for model in ["vaultgemma", "gemma1", "gemma2", "gemma3"] {
        let (v5, v4) = (
            format!("models/{model}/config.json"),
            format!("models/{model}/config.v4.json"),
        );
        assert_eq!(read(&v5), read(&v4), "{model}");
    }
    let t5 = |file| T5GemmaConfig::parse(&golden(&format!("models/t5gemma/{file}"))).unwrap();
    assert_eq!(t5("config.json"), t5("config.v4.json"));
}

#[test]
fn the_tensors_are_those_of_the_checkpoints() {
    type Shapes = BTreeMap<String, Vec<usize>>;
    let ours = |model: &str| -> Shapes {
        let config = read(&format!("models/{model}/config.json"));
        config
            .tensors()
            .into_iter()
            .map(|t| (t.name, t.shape))
            .collect()
    };
    for model in ["gemma1", "gemma2", "gemma3"] {
        let shapes: Shapes =
            serde_json::from_slice(&golden(&format!("models/{model}/tensors.json"))).unwrap();
        assert_eq!(ours(model), shapes, "{model}");
    }
    let t5 = T5GemmaConfig::parse(&golden("models/t5gemma/config.json")).unwrap();
    let ours_t5: Shapes = t5
        .tensors()
        .into_iter()
        .map(|t| (t.name, t.shape))
        .collect();
    let shapes: Shapes = serde_json::from_slice(&golden("models/t5gemma/tensors.json")).unwrap();
    assert_eq!(ours_t5, shapes, "stacks of different widths");
    for model in ["vaultgemma", "t5gemma"] {
        let checkpoint = Tensors::open(&format!("models/{model}/model.safetensors"));
        let shapes: Shapes = checkpoint
            .header
            .tensors()
            .iter()
            .map(|t| (t.name.clone(), checkpoint.shape(&t.name)))
            .collect();
        assert_eq!(ours(model), shapes, "{model}");
    }
}

#[test]
fn the_released_models_have_their_published_sizes() {
    let config = parse(&vaultgemma_1b()).unwrap();
    assert_eq!(config.parameters(), 1_038_741_120);
    assert_eq!(config.linear_modules().len(), 26 * 7);
    let lora: usize = config
        .linear_modules()
        .iter()
        .map(|m| 8 * (m.inputs + m.outputs))
        .sum();
    assert_eq!(lora, 6_842_368, "LoRA r = 8 on all seven projections");
    assert_eq!(config.query_scale, 1.0 / 16.0);

    // Gemma 1 2B as published: no tie_word_embeddings, no hidden_activation, hidden_act "gelu".
    let gemma = json!({
        "model_type": "gemma", "attention_bias": false, "bos_token_id": 2, "eos_token_id": 1,
        "head_dim": 256, "hidden_act": "gelu", "hidden_activation": null, "hidden_size": 2048,
        "intermediate_size": 16384, "max_position_embeddings": 8192, "num_attention_heads": 8,
        "num_hidden_layers": 18, "num_key_value_heads": 1, "pad_token_id": 0, "rms_norm_eps": 1e-6,
        "rope_scaling": null, "rope_theta": 10000.0, "torch_dtype": "bfloat16", "vocab_size": 256000
    });
    let config = parse(&gemma).unwrap();
    assert_eq!(config.parameters(), 2_506_172_416);
    assert_eq!(config.query_scale, 1.0 / 16.0, "head_dim^-1/2");

    // Gemma 2 2B: alternation implied by the architecture.
    let gemma2 = json!({
        "model_type": "gemma2", "attention_bias": false, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "bos_token_id": 2, "eos_token_id": 1, "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 2304, "intermediate_size": 9216, "max_position_embeddings": 8192,
        "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
        "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000
    });
    let config = parse(&gemma2).unwrap();
    assert_eq!(config.parameters(), 2_614_341_888);
    assert_eq!(
        (config.attention_softcap, config.final_softcap),
        (Some(50.0), Some(30.0))
    );
    assert_eq!(
        config.layers[0].attention,
        AttentionKind::Sliding { window: 4096 }
    );
    assert_eq!(config.layers[1].attention, AttentionKind::Full);

    // Gemma 3 1B: five local layers, one global.
    let gemma3 = json!({
        "model_type": "gemma3_text", "attention_bias": false, "attn_logit_softcapping": null,
        "final_logit_softcapping": null, "bos_token_id": 2, "eos_token_id": [1, 106],
        "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
        "intermediate_size": 6912, "max_position_embeddings": 32768, "num_attention_heads": 4,
        "num_hidden_layers": 26, "num_key_value_heads": 1, "pad_token_id": 0,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6, "rope_local_base_freq": 10000,
        "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512,
        "sliding_window_pattern": 6, "vocab_size": 262144
    });
    let config = parse(&gemma3).unwrap();
    assert_eq!(config.parameters(), 999_885_952);
    assert_eq!(config.eos, [1, 106]);
    let full: Vec<usize> = (0..26)
        .filter(|&i| config.layers[i].attention == AttentionKind::Full)
        .collect();
    assert_eq!(full, [5, 11, 17, 23]);
    assert_eq!(config.layers[5].rope.theta, 1e6);
    assert_eq!(config.layers[0].rope.theta, 1e4);
}

#[test]
fn every_key_that_decides_the_computation_is_required() {
    let needed = [
        "model_type",
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "layer_types",
        "query_pre_attn_scalar",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "hidden_activation",
        "bos_token_id",
        "eos_token_id",
        "rope_theta",
    ];
    for key in needed {
        let mut config = vaultgemma_1b();
        config.as_object_mut().unwrap().remove(key);
        assert_eq!(
            parse(&config),
            Err(ConfigError::Missing {
                key: key.to_owned()
            })
        );
    }
    let mut config = value("models/vaultgemma/config.json");
    config["rope_parameters"]
        .as_object_mut()
        .unwrap()
        .remove("rope_theta");
    let key = "rope_parameters.rope_theta".to_owned();
    assert_eq!(parse(&config), Err(ConfigError::Missing { key }));
    let mut config = value("models/gemma3/config.v4.json");
    config
        .as_object_mut()
        .unwrap()
        .remove("rope_local_base_freq");
    let key = "rope_local_base_freq".to_owned();
    assert_eq!(parse(&config), Err(ConfigError::Missing { key }));
}

#[test]
fn keys_that_change_nothing_may_be_missing() {
    let whole = parse(&vaultgemma_1b()).unwrap();
    for key in [
        "architectures",
        "attention_bias",
        "sliding_window",
        "use_cache",
        "initializer_range",
    ] {
        let mut config = vaultgemma_1b();
        config.as_object_mut().unwrap().remove(key);
        assert_eq!(parse(&config).unwrap(), whole, "{key}");
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    let with = |key: &str, v: Value| {
        let mut config = vaultgemma_1b();
        config[key] = v;
        parse(&config).unwrap_err()
    };
    let names = |error: ConfigError, key: &str| assert!(error.to_string().contains(key), "{error}");
    for (key, v) in [
        ("hidden_size", json!("1152")),
        ("hidden_size", json!(0)),
        ("hidden_size", json!(-4)),
        ("hidden_size", json!(1.5)),
        ("hidden_size", json!(1u64 << 40)),
        ("num_hidden_layers", json!(100_000)),
        ("head_dim", json!(255)),
        ("num_key_value_heads", json!(3)),
        ("rms_norm_eps", json!(0.0)),
        ("rms_norm_eps", json!("1e-6")),
        ("query_pre_attn_scalar", json!(-1)),
        ("attn_logit_softcapping", json!(false)),
        ("final_logit_softcapping", json!(0)),
        ("layer_types", json!(["full_attention"])),
        ("layer_types", json!(vec!["chunked_attention"; 26])),
        ("layer_types", json!("full_attention")),
        ("hidden_activation", json!("gelu")),
        ("hidden_activation", json!("silu")),
        ("attention_bias", json!(true)),
        ("use_bidirectional_attention", json!(true)),
        ("eos_token_id", json!(["1"])),
        ("eos_token_id", json!(300_000)),
        ("bos_token_id", json!(-2)),
        ("rope_theta", json!(null)),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0})),
        ("rope_scaling", json!({"rope_type": "linear"})),
        ("tie_word_embeddings", json!("yes")),
    ] {
        names(with(key, v), key);
    }
    assert_eq!(
        with("model_type", json!("llama")),
        ConfigError::UnsupportedModel {
            model_type: "llama".to_owned()
        }
    );
    assert!(matches!(
        ModelConfig::parse(b"[]"),
        Err(ConfigError::NotJson { .. })
    ));
    assert!(matches!(
        ModelConfig::parse(b"{"),
        Err(ConfigError::NotJson { .. })
    ));
}

#[test]
fn contradictions_are_refused() {
    let mut config = value("models/vaultgemma/config.json");
    config["rope_theta"] = json!(5000.0);
    assert!(matches!(
        parse(&config),
        Err(ConfigError::Contradiction { .. })
    ));
    config["rope_theta"] = json!(10000.0);
    assert!(
        parse(&config).is_ok(),
        "both styles may stand if they agree"
    );

    let mut config = value("models/gemma3/config.json");
    config["_sliding_window_pattern"] = json!(3);
    assert!(matches!(
        parse(&config),
        Err(ConfigError::Contradiction { .. })
    ));
}

#[test]
fn linear_rope_scaling_touches_the_global_layers_only() {
    let mut config = value("models/gemma3/config.v4.json");
    config["rope_scaling"] = json!({"rope_type": "linear", "factor": 8.0});
    let config = parse(&config).unwrap();
    assert_eq!(
        config.layers[5].rope,
        Rope {
            theta: 1e6,
            linear_factor: 8.0
        }
    );
    assert_eq!(
        config.layers[0].rope,
        Rope {
            theta: 1e4,
            linear_factor: 1.0
        }
    );
}

#[test]
fn gemma_3_needs_both_rope_bases() {
    let mut config = value("models/gemma3/config.json");
    config["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1e6});
    let key = "rope_parameters.sliding_attention".to_owned();
    assert_eq!(parse(&config), Err(ConfigError::Missing { key }));
}

#[test]
fn the_multimodal_wrapper_gives_its_text_model() {
    let mut text = value("models/gemma3/config.v4.json");
    text.as_object_mut().unwrap().remove("eos_token_id");
    let wrapped = json!({"model_type": "gemma3", "text_config": text, "eos_token_id": [1, 106]});
    let config = parse(&wrapped).unwrap();
    assert_eq!(
        (config.model_type.as_str(), config.eos.as_slice()),
        ("gemma3", &[1, 106][..])
    );
    assert_eq!(config.layers, read("models/gemma3/config.json").layers);
    let mut broken = wrapped;
    broken["text_config"]
        .as_object_mut()
        .unwrap()
        .remove("head_dim");
    let key = "text_config.head_dim".to_owned();
    assert_eq!(parse(&broken), Err(ConfigError::Missing { key }));
}

/// Shapes follow the configuration of every published size: the parameters are the published ones.
#[test]
fn t5gemma_sizes_have_their_published_parameters() {
    for (name, [d, layers, ff, heads, kv, head_dim], parameters) in [
        ("s", [512, 8, 1024, 8, 8, 64], 312_517_632u64),
        ("b", [768, 12, 2048, 12, 12, 64], 591_490_560),
        ("l", [1024, 24, 2816, 16, 16, 64], 1_241_761_792),
        ("ml", [1152, 26, 6912, 4, 4, 256], 2_200_345_344),
        ("xl", [2048, 24, 5120, 32, 32, 64], 3_766_980_608),
        ("2b", [2304, 26, 9216, 8, 4, 256], 5_596_853_760),
    ] {
        let mut config = value("models/t5gemma/config.json");
        for stack in ["encoder", "decoder"] {
            let kinds = ["sliding_attention", "full_attention"];
            let kinds: Vec<_> = (0..layers).map(|i| kinds[i % 2]).collect();
            for (key, value) in [
                ("hidden_size", json!(d)),
                ("num_hidden_layers", json!(layers)),
                ("intermediate_size", json!(ff)),
                ("num_attention_heads", json!(heads)),
                ("num_key_value_heads", json!(kv)),
                ("head_dim", json!(head_dim)),
                ("vocab_size", json!(256_000)),
                ("layer_types", json!(kinds)),
            ] {
                config[stack][key] = value;
            }
        }
        config["decoder"]["cross_attention_hidden_size"] = json!(d);
        let config = AnyConfig::parse(config.to_string().as_bytes()).unwrap();
        assert_eq!(config.parameters(), parameters, "{name}");
        assert_eq!(config.linear_modules().len(), layers * (7 + 11), "{name}");
        assert_eq!(config.model_type(), "t5gemma");
    }
    let decoder = AnyConfig::parse(&golden("models/gemma3/config.json")).unwrap();
    assert!(decoder.encoder().is_none() && decoder.quantization().is_none());
    assert!(AnyConfig::parse(br#"{"model_type": "llama"}"#).is_err());
}

#[test]
fn t5gemma_has_two_stacks() {
    let config = T5GemmaConfig::parse(&golden("models/t5gemma/config.json")).unwrap();
    assert_eq!(
        (config.encoder.hidden_size, config.decoder.hidden_size),
        (32, 48)
    );
    assert_eq!(
        config.encoder.layers[0].attention,
        AttentionKind::Sliding { window: 4 }
    );
    assert_eq!(
        config.decoder.norms.post_attention(),
        Some("post_self_attn_layernorm")
    );
    assert_eq!(
        (
            config.encoder.eos.as_slice(),
            config.encoder.tied_embeddings
        ),
        (&[1][..], true)
    );
    assert_eq!(
        ModelConfig::parse(&golden("models/t5gemma/config.json")).unwrap(),
        config.into_model()
    );
    let mut broken = value("models/t5gemma/config.json");
    broken["decoder"]["cross_attention_hidden_size"] = json!(31);
    let error = T5GemmaConfig::parse(broken.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, ConfigError::Contradiction { .. }));
}

/// Every balanced T5Gemma has as many parameters as published, and the unbalanced one reads its encoder's width.
#[test]
fn released_t5gemmas_have_their_published_sizes() {
    let stack = |[hidden, layers, ff, heads, kv, head_dim]: [u32; 6]| {
        json!({
            "attention_bias": false, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0, "bos_token_id": 2, "eos_token_id": 1,
            "head_dim": head_dim, "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": hidden, "intermediate_size": ff, "max_position_embeddings": 8192,
            "num_attention_heads": heads, "num_hidden_layers": layers,
            "num_key_value_heads": kv, "pad_token_id": 0, "query_pre_attn_scalar": head_dim,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "sliding_window": 4096,
            "vocab_size": 256000
        })
    };
    let model = |encoder, decoder| {
        let config = json!({
            "model_type": "t5gemma", "encoder": stack(encoder), "decoder": stack(decoder)
        });
        parse(&config).unwrap()
    };
    let b2 = [2304, 26, 9216, 8, 4, 256];
    for (sizes, parameters) in [
        ([512, 8, 1024, 8, 8, 64], 312_517_632),
        ([768, 12, 2048, 12, 12, 64], 591_490_560),
        ([1024, 24, 2816, 16, 16, 64], 1_241_761_792),
        ([1152, 26, 6912, 4, 4, 256], 2_200_345_344),
        ([2048, 24, 5120, 32, 32, 64], 3_766_980_608),
        (b2, 5_596_853_760_u64),
    ] {
        assert_eq!(model(sizes, sizes).parameters(), parameters, "{sizes:?}");
    }
    let unbalanced = model([3584, 42, 14336, 16, 8, 256], b2);
    let modules = unbalanced.linear_modules();
    assert_eq!(modules.len(), 42 * 7 + 26 * 11);
    let cross = &modules[42 * 7 + 5];
    assert_eq!(cross.path, "model.decoder.layers.0.cross_attn.k_proj");
    assert_eq!((cross.block, cross.name()), (42, "k_proj"));
    assert_eq!((cross.inputs, cross.outputs), (3584, 1024));
}

#[test]
fn quantised_checkpoints_say_so() {
    let config = read("quant/vaultgemma_bnb4/config.json");
    let Some(Quantization::BitsAndBytes4(nf4)) = &config.quantization else {
        panic!()
    };
    assert!(nf4.double_quantised);
    for (key, wrong) in [
        ("bnb_4bit_quant_type", json!("fp4")),
        ("bnb_4bit_quant_storage", json!("bfloat16")),
        ("load_in_4bit", json!(false)),
        ("quant_method", json!("gptq")),
    ] {
        let mut config = value("quant/vaultgemma_bnb4/config.json");
        config["quantization_config"][key] = wrong;
        assert!(parse(&config).unwrap_err().to_string().contains(key));
    }
}

#[test]
fn generation_config_adds_its_eos_ids() {
    let generation =
        GenerationConfig::parse(&golden("models/vaultgemma/generation_config.json")).unwrap();
    assert_eq!(
        generation,
        GenerationConfig {
            eos: vec![1],
            bos: Some(2),
            pad: Some(0)
        }
    );
    let chat = GenerationConfig::parse(br#"{"eos_token_id": [1, 107, 1]}"#).unwrap();
    assert_eq!(chat.eos, [1, 107]);
    let config = read("models/vaultgemma/config.json");
    assert_eq!(config.clone().with_generation(&chat).eos, [1, 107]);
    assert_eq!(
        config.clone().with_generation(&GenerationConfig::default()),
        config
    );
    assert!(GenerationConfig::parse(br#"{"eos_token_id": "1"}"#).is_err());
}

const FILES: [&str; 10] = [
    "vaultgemma/config.json",
    "vaultgemma/config.v4.json",
    "gemma1/config.json",
    "gemma1/config.v4.json",
    "gemma2/config.json",
    "gemma2/config.v4.json",
    "gemma3/config.json",
    "gemma3/config.v4.json",
    "t5gemma/config.json",
    "t5gemma/config.v4.json",
];

fn any_parser(bytes: &[u8]) {
    let _ = ModelConfig::parse(bytes);
    let _ = T5GemmaConfig::parse(bytes);
    let _ = GenerationConfig::parse(bytes);
}

#[test]
fn files_cut_off_anywhere_are_refused() {
    for file in FILES {
        let bytes = golden(&format!("models/{file}"));
        for length in 0..bytes.trim_ascii_end().len() {
            assert!(ModelConfig::parse(&bytes[..length]).is_err());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        any_parser(&bytes);
    }

    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(FILES.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = golden(&format!("models/{file}"));
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        any_parser(&bytes);
    }

    /// Any key set to any odd value: an error or a configuration whose tensors can be listed.
    #[test]
    fn foreign_values_never_panic(
        file in prop::sample::select(FILES.to_vec()),
        key in any::<prop::sample::Index>(),
        with in prop::sample::select(vec![
            json!(null), json!(0), json!(1), json!(7), json!(-1), json!(1e308), json!(16_777_216),
            json!(u64::MAX), json!(""), json!("x"), json!([]), json!([1]), json!({}), json!(true),
        ]),
    ) {
        let mut config = value(&format!("models/{file}"));
        let object = config.as_object_mut().unwrap();
        let key = object.keys().nth(key.index(object.len())).unwrap().clone();
        object[&key] = with;
        if let Ok(config) = parse(&config) {
            prop_assume!(config.num_layers() <= 1024);
            prop_assert!(config.parameters() > 0);
            let encoder = config.encoder.as_ref().map(|encoder| 7 * encoder.num_layers());
            let per_block = if encoder.is_some() { 11 } else { 7 };
            let modules = encoder.unwrap_or(0) + per_block * config.num_layers();
            prop_assert_eq!(config.linear_modules().len(), modules);
        }
    }
}
