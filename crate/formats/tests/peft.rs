//! PEFT adapters: golden files, round trips, and what must be refused.

mod common;

use std::collections::BTreeMap;

use common::golden;
use proptest::prelude::*;
use serde_json::{Value, json};
use vaultlab_formats::checkpoint::{F32Tensor, write_f32};
use vaultlab_formats::config::{LinearModule, ModelConfig, T5GemmaConfig};
use vaultlab_formats::peft::{Adapter, AdapterConfig, LoraWeights, PeftError, Targets};

const FOLDERS: [&str; 2] = ["lora/vaultgemma", "dp/adapter"];

fn files(folder: &str) -> (Vec<u8>, Vec<u8>) {
    (
        golden(&format!("{folder}/adapter_config.json")),
        golden(&format!("{folder}/adapter_model.safetensors")),
    )
}

fn modules() -> Vec<LinearModule> {
    ModelConfig::parse(&golden("models/vaultgemma/config.json"))
        .unwrap()
        .linear_modules()
}

fn config_with(key: &str, value: Value) -> Vec<u8> {
    let mut config: Value = serde_json::from_slice(&files("lora/vaultgemma").0).unwrap();
    config[key] = value;
    config.to_string().into_bytes()
}

#[test]
fn golden_adapters_fit_their_model() {
    for folder in FOLDERS {
        let (config, tensors) = files(folder);
        let adapter = Adapter::read(&config, &tensors).unwrap();
        adapter.check(&modules()).unwrap();
        assert_eq!(adapter.parameters(), 4992, "lora/info.json: n_lora_params");
        assert_eq!(adapter.modules.len(), 14);
        assert!(
            adapter
                .modules
                .values()
                .all(|m| m.rank == 4 && m.scale == 2.0),
            "alpha 8, r 4"
        );
        assert_eq!(adapter.config.task_type.as_deref(), Some("CAUSAL_LM"));
        assert_eq!(adapter.config.unknown_keys, Vec::<String>::new());
        let down = &adapter.modules["model.layers.0.mlp.down_proj"];
        assert_eq!(
            (down.inputs, down.outputs, down.a.len(), down.b.len()),
            (48, 32, 192, 128)
        );
    }
}

/// `["q_proj", "v_proj"]` on T5Gemma also adapts cross-attention, under the names PEFT gives.
#[test]
fn a_t5gemma_adapter_covers_both_stacks_and_cross_attention() {
    let (config, tensors) = files("lora/t5gemma");
    let adapter = Adapter::read(&config, &tensors).unwrap();
    let model = T5GemmaConfig::parse(&golden("models/t5gemma/config.json")).unwrap();
    adapter.check(&model.linear_modules()).unwrap();
    assert_eq!(adapter.config.task_type.as_deref(), Some("SEQ_2_SEQ_LM"));
    let count = |part: &str| adapter.modules.keys().filter(|k| k.contains(part)).count();
    assert_eq!(
        (
            adapter.modules.len(),
            count(".cross_attn."),
            count("model.encoder.")
        ),
        (16, 6, 4),
        "two encoder layers, three decoder layers, two projections each"
    );
    let cross = &adapter.modules["model.decoder.layers.1.cross_attn.v_proj"];
    assert_eq!(
        (cross.inputs, cross.outputs),
        (32, 32),
        "reads the encoder's width"
    );
    let written = adapter.write(&[]).unwrap();
    let again = Adapter::read(&written.config_json, &written.safetensors).unwrap();
    assert_eq!(again, adapter);
    // Without cross-attention the adapter has layers too many, and its targets are not all used.
    let decoder_only: Vec<_> = model.linear_modules();
    let decoder_only: Vec<_> = decoder_only
        .into_iter()
        .filter(|m| !m.path.contains("cross_attn"))
        .collect();
    assert!(matches!(
        adapter.check(&decoder_only),
        Err(PeftError::LeftOver { .. })
    ));
}

/// A table with a pattern for every layer of a large model is read in time; more is refused.
#[test]
fn pattern_tables_are_bounded() {
    let table = |entries: usize| -> Value {
        let entry = |i| (format!("model.layers.{i}.self_attn.q_proj"), json!(4));
        Value::Object((0..entries).map(entry).collect())
    };
    let config = AdapterConfig::parse(&config_with("rank_pattern", table(500))).unwrap();
    for layer in 0..500 {
        let path = format!("model.layers.{layer}.self_attn.q_proj");
        assert_eq!(config.rank_of(&path).unwrap(), 4);
    }
    let error = AdapterConfig::parse(&config_with("rank_pattern", table(513))).unwrap_err();
    assert!(matches!(
        error,
        PeftError::BadValue {
            key: "rank_pattern",
            ..
        }
    ));
    // A dot in a pattern stands for any letter, as in PEFT.
    let dotted = AdapterConfig::parse(&config_with("rank_pattern", json!({"q.proj": 3}))).unwrap();
    assert_eq!(dotted.rank_of("a.q_proj").unwrap(), 3);
    assert_eq!(dotted.rank_of("a.xq_proj").unwrap(), 4);
    assert_eq!(dotted.rank_of("proj").unwrap(), 4);
}

#[test]
fn written_adapters_read_back_as_they_were() {
    for folder in FOLDERS {
        let (config, tensors) = files(folder);
        let adapter = Adapter::read(&config, &tensors).unwrap();
        let written = adapter.write(&[("vaultlab", "x")]).unwrap();
        assert_eq!(
            Adapter::read(&written.config_json, &written.safetensors).unwrap(),
            adapter
        );
        // Byte for byte PEFT's own tensors, after the header.
        let data = |file: &[u8]| file[file.len() - 4992 * 4..].to_vec();
        assert_eq!(data(&written.safetensors), data(&tensors));
        // Each key we write has the value PEFT wrote.
        let ours: BTreeMap<String, Value> = serde_json::from_slice(&written.config_json).unwrap();
        let theirs: BTreeMap<String, Value> = serde_json::from_slice(&config).unwrap();
        for (key, value) in ours {
            let number = |v: &Value| v.as_f64();
            assert!(
                theirs[&key] == value || number(&theirs[&key]) == number(&value),
                "{key}"
            );
        }
    }
}

#[test]
fn everything_else_than_plain_lora_is_refused_by_name() {
    let (_, tensors) = files("lora/vaultgemma");
    let refused = [
        ("peft_type", json!("IA3")),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("bias", json!("lora_only")),
        ("fan_in_fan_out", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("target_parameters", json!(["experts"])),
        ("layer_replication", json!([[0, 2], [1, 3]])),
        ("trainable_token_indices", json!([1, 2])),
        ("lora_bias", json!(true)),
        ("use_qalora", json!(true)),
        ("alora_invocation_tokens", json!([5])),
        ("loftq_config", json!({"loftq_bits": 4})),
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!("corda")),
        ("init_lora_weights", json!("loftq")),
        ("init_lora_weights", json!("lora_ga")),
    ];
    for (key, value) in refused {
        let error = Adapter::read(&config_with(key, value.clone()), &tensors).unwrap_err();
        let PeftError::Unsupported { key: named, .. } = &error else {
            panic!("{key}: {error}")
        };
        assert_eq!(named, key);
    }
    for (key, value) in [
        ("init_lora_weights", json!("gaussian")),
        ("modules_to_save", json!([])),
    ] {
        assert!(
            Adapter::read(&config_with(key, value), &tensors).is_ok(),
            "{key}"
        );
    }
    let unknown = AdapterConfig::parse(&config_with("new_trick", json!(3))).unwrap();
    assert_eq!(unknown.unknown_keys, ["new_trick"]);
}

#[test]
fn impossible_values_are_refused() {
    for (key, value) in [
        ("r", json!(0)),
        ("r", json!("4")),
        ("lora_alpha", json!("x")),
        ("lora_dropout", json!(1.0)),
        ("target_modules", json!([1])),
        ("rank_pattern", json!([1])),
        ("layers_to_transform", json!("all")),
    ] {
        let error = AdapterConfig::parse(&config_with(key, value)).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    for key in ["r", "lora_alpha", "target_modules", "peft_type"] {
        assert!(AdapterConfig::parse(&config_with(key, json!(null))).is_err());
    }
}

#[test]
fn scale_follows_rslora_and_the_patterns() {
    let config = |key: &str, value: Value| AdapterConfig::parse(&config_with(key, value)).unwrap();
    let path = "model.layers.1.self_attn.q_proj";
    assert_eq!(
        config("use_rslora", json!(true)).scale_of(path).unwrap(),
        4.0
    );
    let ranks = config(
        "rank_pattern",
        json!({"q_proj": 2, "layers.1.mlp.up_proj": 16}),
    );
    assert_eq!(ranks.rank_of(path).unwrap(), 2);
    assert_eq!(ranks.scale_of(path).unwrap(), 4.0);
    assert_eq!(ranks.rank_of("model.layers.1.mlp.up_proj").unwrap(), 16);
    assert_eq!(ranks.rank_of("model.layers.0.mlp.up_proj").unwrap(), 4);
    assert_eq!(
        ranks.rank_of("model.layers.0.self_attn.xq_proj").unwrap(),
        4,
        "whole segments"
    );
    let alphas = config("alpha_pattern", json!({r".*\.1\..*": 32}));
    assert_eq!(alphas.scale_of(path).unwrap(), 8.0);
    let error = config("alpha_pattern", json!({"(": 32}))
        .scale_of(path)
        .unwrap_err();
    assert!(matches!(
        error,
        PeftError::BadPattern {
            key: "alpha_pattern",
            ..
        }
    ));
}

/// The order of the table decides, as in PEFT, and survives writing.
#[test]
fn the_first_matching_pattern_wins() {
    let mut config = String::from_utf8(files("lora/vaultgemma").0).unwrap();
    config = config.replace(
        r#""rank_pattern": {}"#,
        r#""rank_pattern": {"z_proj|q_proj": 2, "q_proj": 3}"#,
    );
    let config = AdapterConfig::parse(config.as_bytes()).unwrap();
    assert_eq!(
        config.rank_of("model.layers.0.self_attn.q_proj").unwrap(),
        2
    );
    let module = |rank: usize| LoraWeights {
        rank,
        inputs: 1,
        outputs: 1,
        a: vec![1.0; rank],
        b: vec![1.0; rank],
        scale: 8.0 / rank as f64,
    };
    let modules = BTreeMap::from([("q_proj".to_owned(), module(2))]);
    let adapter = Adapter { config, modules };
    let written = adapter.write(&[]).unwrap();
    assert_eq!(
        Adapter::read(&written.config_json, &written.safetensors).unwrap(),
        adapter
    );
    let wrong = Adapter {
        modules: BTreeMap::from([("q_proj".to_owned(), module(3))]),
        ..adapter
    };
    assert!(matches!(wrong.write(&[]), Err(PeftError::WrongRank { .. })));
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let (config, tensors) = files("lora/vaultgemma");
    let adapter = Adapter::read(&config, &tensors).unwrap();
    let all = modules();
    let one_layer: Vec<_> = all
        .iter()
        .filter(|m| m.path.contains("layers.0"))
        .cloned()
        .collect();
    assert!(matches!(
        adapter.check(&one_layer),
        Err(PeftError::LeftOver { .. })
    ));
    let mut wider = all.clone();
    wider[3].inputs += 1;
    assert!(matches!(
        adapter.check(&wider),
        Err(PeftError::WrongShape { .. })
    ));
    let mut deeper = all.clone();
    deeper.push(LinearModule {
        path: "model.layers.2.mlp.up_proj".into(),
        block: 2,
        projection: 5,
        inputs: 32,
        outputs: 48,
    });
    assert!(matches!(
        adapter.check(&deeper),
        Err(PeftError::Unmatched { .. })
    ));
}

#[test]
fn targets_and_tensors_must_agree() {
    let (_, tensors) = files("lora/vaultgemma");
    let check = |targets: Value| {
        Adapter::read(&config_with("target_modules", targets), &tensors)
            .unwrap()
            .check(&modules())
    };
    check(json!("all-linear")).unwrap();
    check(json!(r".*\.(self_attn\.[qkvo]|mlp\.(gate|up|down))_proj")).unwrap();
    assert!(matches!(
        check(json!(["q_proj"])),
        Err(PeftError::Untargeted { .. })
    ));
    assert!(matches!(
        check(json!(".*q_proj")),
        Err(PeftError::Untargeted { .. })
    ));
    assert!(matches!(
        check(json!("(")),
        Err(PeftError::BadPattern { .. })
    ));
    let extra = json!([
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "lm_head"
    ]);
    let missing = PeftError::TargetNotInModel {
        target: "lm_head".to_owned(),
    };
    assert_eq!(check(extra), Err(missing));
}

#[test]
fn layers_and_exclusions_narrow_the_targets() {
    let (config, tensors) = files("lora/vaultgemma");
    let mut adapter = Adapter::read(&config, &tensors).unwrap();
    adapter
        .modules
        .retain(|path, _| path.contains("layers.1.") && !path.ends_with("down_proj"));
    assert!(matches!(
        adapter.check(&modules()),
        Err(PeftError::Unmatched { .. })
    ));
    adapter.config.layers = Some(vec![1]);
    adapter.config.excluded = Some(Targets::Names(vec!["down_proj".to_owned()]));
    adapter.check(&modules()).unwrap();
    adapter.config.layers_pattern = vec!["layers".to_owned()];
    adapter.check(&modules()).unwrap();
    adapter.config.layers_pattern = vec!["blocks".to_owned()];
    assert!(matches!(
        adapter.check(&modules()),
        Err(PeftError::Untargeted { .. })
    ));
}

#[test]
fn damaged_tensors_are_refused() {
    let (config, _) = files("lora/vaultgemma");
    let read = |tensors: &[(&str, &[usize], &[f32])]| {
        let tensors: Vec<F32Tensor> = tensors
            .iter()
            .map(|&(name, shape, values)| F32Tensor {
                name,
                shape,
                values,
            })
            .collect();
        Adapter::read(&config, &write_f32(&tensors, &[]).unwrap())
    };
    let name = |half: &str| format!("base_model.model.m.q_proj.lora_{half}.weight");
    let (a, b) = (name("A"), name("B"));
    let ok = [0.5f32; 8];
    assert!(read(&[(&a, &[4, 2], &ok), (&b, &[2, 4], &ok)]).is_ok());
    assert!(matches!(
        read(&[(&a, &[4, 2], &ok)]),
        Err(PeftError::HalfLayer { part: "lora_B", .. })
    ));
    assert!(matches!(
        read(&[(&b, &[2, 4], &ok)]),
        Err(PeftError::HalfLayer { part: "lora_A", .. })
    ));
    assert!(matches!(
        read(&[(&a, &[2, 4], &ok), (&b, &[4, 2], &ok)]),
        Err(PeftError::WrongRank { .. })
    ));
    assert!(matches!(
        read(&[(&a, &[8], &ok), (&b, &[2, 4], &ok)]),
        Err(PeftError::WrongRank { .. })
    ));
    let nan = [f32::NAN; 8];
    assert!(matches!(
        read(&[(&a, &[4, 2], &nan), (&b, &[2, 4], &ok)]),
        Err(PeftError::NotFinite { .. })
    ));
    assert!(matches!(read(&[]), Err(PeftError::Missing { .. })));
    for stray in [
        "lm_head.weight",
        "base_model.model.lm_head.weight",
        "q_proj.lora_A.weight",
    ] {
        let error =
            read(&[(&a, &[4, 2], &ok), (&b, &[2, 4], &ok), (stray, &[8], &ok)]).unwrap_err();
        assert_eq!(
            error,
            PeftError::LeftOver {
                name: stray.to_owned()
            }
        );
    }
    let embedding = "base_model.model.model.embed_tokens.lora_embedding_A";
    assert!(matches!(
        read(&[(embedding, &[8], &ok)]),
        Err(PeftError::Unsupported { .. })
    ));
}

#[test]
fn files_cut_off_anywhere_are_refused() {
    let (config, tensors) = files("lora/vaultgemma");
    for length in 0..config.trim_ascii_end().len() {
        assert!(AdapterConfig::parse(&config[..length]).is_err());
    }
    for length in (0..tensors.len()).step_by(101) {
        assert!(Adapter::read(&config, &tensors[..length]).is_err());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        config in prop::collection::vec(any::<u8>(), 0..200),
        tensors in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = AdapterConfig::parse(&config);
        let _ = Adapter::read(&files("lora/vaultgemma").0, &tensors);
    }

    #[test]
    fn damaged_files_never_panic(
        in_config: bool,
        edits in prop::collection::vec((0usize..4000, any::<u8>()), 1..4),
    ) {
        let (mut config, mut tensors) = files("lora/vaultgemma");
        let file = if in_config { &mut config } else { &mut tensors };
        for (at, byte) in edits {
            let at = at % file.len();
            file[at] = byte;
        }
        if let Ok(adapter) = Adapter::read(&config, &tensors) {
            let _ = adapter.check(&modules());
            let written = adapter.write(&[]).unwrap();
            let again = Adapter::read(&written.config_json, &written.safetensors).unwrap();
            prop_assert_eq!(again.modules, adapter.modules);
        }
    }

    #[test]
    fn foreign_values_never_panic(
        key in any::<prop::sample::Index>(),
        with in prop::sample::select(vec![
            json!(null), json!(0), json!(-1), json!(1e300), json!(""), json!("(("), json!([]), json!(["a"]),
            json!([1]), json!({"a": "b"}), json!({"(": 1}), json!(true),
        ]),
    ) {
        let (config, tensors) = files("lora/vaultgemma");
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        let object = config.as_object_mut().unwrap();
        let key = object.keys().nth(key.index(object.len())).unwrap().clone();
        object[&key] = with;
        if let Ok(adapter) = Adapter::read(config.to_string().as_bytes(), &tensors) {
            let _ = adapter.check(&modules());
        }
    }
}
