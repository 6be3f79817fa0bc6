//! NF4 against bitsandbytes 0.50.2.

mod common;

use common::{Tensors, golden};
use vaultlab_formats::checkpoint::{Dtype, Header, Layout, Storage};
use vaultlab_formats::config::{ModelConfig, TensorSpec};
use vaultlab_formats::nf4::{
    BLOCK, CODE, Nf4Error, Nf4Quantizer, Nf4Tensor, QuantState, Stored4Bit, StoredParts,
    nested_code, read_bnb,
};

const WEIGHTS: [&str; 3] = ["w0", "w1", "w2"];

#[test]
fn both_code_tables_are_those_of_bitsandbytes() {
    let golden = Tensors::open("quant/nf4.safetensors");
    assert_eq!(CODE.to_vec(), golden.f32("w0.dq.quant_map"));
    assert_eq!(nested_code().to_vec(), golden.f32("w0.dq.nested_quant_map"));
}

#[test]
fn quantising_gives_the_bytes_of_bitsandbytes() {
    let golden = Tensors::open("quant/nf4.safetensors");
    for w in WEIGHTS {
        let input = golden.f32(&format!("{w}.input"));
        let shape = golden.shape(&format!("{w}.input"));
        let ours = Nf4Tensor::quantize(&shape, &input).unwrap();
        ours.check().unwrap();
        assert_eq!(ours.packed, golden.bytes(&format!("{w}.dq.packed")), "{w}");
        assert_eq!(ours.absmax, golden.bytes(&format!("{w}.dq.absmax")), "{w}");
        // torch sums the block scales in f32, we in f64: the mean may differ in its last bit, and
        // the nested scale, a difference from it, by as much.
        let offset = golden.f32(&format!("{w}.dq.offset"))[0];
        let bit = f32::EPSILON * offset;
        assert!(
            (ours.offset - offset).abs() <= bit,
            "{w}: {} and {offset}",
            ours.offset
        );
        for (ours, theirs) in ours
            .nested_absmax
            .iter()
            .zip(golden.f32(&format!("{w}.dq.nested_absmax")))
        {
            assert!(
                (ours - theirs).abs() <= 2.0 * bit,
                "{w}: {ours} and {theirs}"
            );
        }
    }
}

#[test]
fn quantising_without_double_quantisation_is_exact() {
    let golden = Tensors::open("quant/nf4.safetensors");
    for w in WEIGHTS {
        let mut quantizer = Nf4Quantizer::new(&golden.shape(&format!("{w}.input"))).unwrap();
        quantizer.push(&golden.f32(&format!("{w}.input"))).unwrap();
        let ours = quantizer.finish_plain().unwrap();
        assert_eq!(
            ours.packed,
            golden.bytes(&format!("{w}.nodq.packed")),
            "{w}"
        );
        assert_eq!(ours.absmax, golden.f32(&format!("{w}.nodq.absmax")), "{w}");
        assert_eq!(
            ours.dequantize(),
            golden.f32(&format!("{w}.nodq.dequant")),
            "{w}"
        );
    }
}

#[test]
fn dequantising_is_bit_exact() {
    let golden = Tensors::open("quant/nf4.safetensors");
    for w in WEIGHTS {
        let tensor = Nf4Tensor {
            shape: golden.shape(&format!("{w}.input")),
            packed: golden.bytes(&format!("{w}.dq.packed")).to_vec(),
            absmax: golden.bytes(&format!("{w}.dq.absmax")).to_vec(),
            nested_absmax: golden.f32(&format!("{w}.dq.nested_absmax")),
            offset: golden.f32(&format!("{w}.dq.offset"))[0],
        };
        tensor.check().unwrap();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(
            bits(tensor.dequantize()),
            bits(golden.f32(&format!("{w}.dq.dequant"))),
            "{w}"
        );
    }
}

#[test]
fn pieces_of_any_length_give_the_same_tensor() {
    let golden = Tensors::open("quant/nf4.safetensors");
    let (input, shape) = (golden.f32("w2.input"), golden.shape("w2.input"));
    let whole = Nf4Tensor::quantize(&shape, &input).unwrap();
    for piece in [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 1000] {
        let mut quantizer = Nf4Quantizer::new(&shape).unwrap();
        for part in input.chunks(piece) {
            quantizer.push(part).unwrap();
        }
        assert_eq!(quantizer.finish().unwrap(), whole, "pieces of {piece}");
    }
}

#[test]
fn a_checkpoint_quantised_by_bitsandbytes_reads_as_its_dequantised_weights() {
    let model = Tensors::open("quant/vaultgemma_bnb4/model.safetensors");
    let golden = Tensors::open("quant/vaultgemma_bnb4/golden.safetensors");
    let mut read = 0;
    for tensor in golden.header.tensors() {
        let Some(name) = tensor.name.strip_prefix("dequant.") else {
            continue;
        };
        let stored = read_bnb(&model.header, &model.file, name).unwrap().unwrap();
        assert!(matches!(stored, Stored4Bit::Double(_)));
        assert!(stored.dequantize() == golden.f32(&tensor.name), "{name}");
        read += 1;
    }
    assert_eq!(read, 14);
    let plain = read_bnb(&model.header, &model.file, "model.embed_tokens.weight").unwrap();
    assert_eq!(plain, None, "embeddings are not quantised");
}

/// The stored bytes are those we compute from the checkpoint that was quantised.
#[test]
fn quantising_a_checkpoint_gives_what_bitsandbytes_stored() {
    let base = Tensors::open("models/vaultgemma/model.safetensors");
    let double = Tensors::open("quant/vaultgemma_bnb4/model.safetensors");
    let plain = Tensors::open("quant/vaultgemma_bnb4_nodq/model.safetensors");
    let mut compared = 0;
    for tensor in base.header.tensors() {
        let name = &tensor.name;
        let stored = read_bnb(&double.header, &double.file, name).unwrap();
        let Some(Stored4Bit::Double(stored)) = stored else {
            continue;
        };
        let (shape, values) = (base.shape(name), base.f32(name));
        let ours = Nf4Tensor::quantize(&shape, &values).unwrap();
        assert_eq!(
            (&ours.shape, &ours.packed, &ours.absmax),
            (&stored.shape, &stored.packed, &stored.absmax)
        );
        let mut quantizer = Nf4Quantizer::new(&shape).unwrap();
        quantizer.push(&values).unwrap();
        let ours = Stored4Bit::Plain(quantizer.finish_plain().unwrap());
        assert_eq!(
            read_bnb(&plain.header, &plain.file, name).unwrap(),
            Some(ours),
            "{name}"
        );
        compared += 1;
    }
    assert_eq!(compared, 14);
}

/// A part cut off, replaced or missing is an error, never a panic or a wrong tensor.
#[test]
fn damaged_bitsandbytes_tensors_are_refused() {
    let model = Tensors::open("quant/vaultgemma_bnb4/model.safetensors");
    let name = "model.layers.0.mlp.down_proj.weight";
    for part in ["quant_map", "nested_quant_map"] {
        let mut file = model.file.clone();
        let range = &model
            .header
            .tensor(&format!("{name}.{part}"))
            .unwrap()
            .range;
        file[range.start as usize + 3] ^= 1;
        let error = read_bnb(&model.header, &file, name).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let state = model
        .header
        .tensor(&format!("{name}{}", QuantState::SUFFIX))
        .unwrap();
    let start = state.range.start as usize;
    for (at, byte) in [(0, b'['), (17, b'x')] {
        let mut file = model.file.clone();
        file[start + at] = byte;
        assert!(read_bnb(&model.header, &file, name).is_err());
    }
    let json = String::from_utf8(model.bytes(&state.name).to_vec()).unwrap();
    let mut file = model.file.clone();
    let shorter = json.replace("[32, 48]", "[32, 47]");
    file[start..start + json.len()].copy_from_slice(shorter.as_bytes());
    assert!(
        read_bnb(&model.header, &file, name)
            .unwrap_err()
            .to_string()
            .contains("packed")
    );
}

#[test]
fn impossible_input_is_refused() {
    assert_eq!(
        Nf4Tensor::quantize(&[2, 2], &[0.0, 1.0, f32::NAN, 0.0]),
        Err(Nf4Error::NotFinite { index: 2 })
    );
    let length = |found| {
        Err(Nf4Error::WrongLength {
            part: "values",
            found,
            expected: 4,
        })
    };
    assert_eq!(Nf4Tensor::quantize(&[2, 2], &[0.0; 3]), length(3));
    assert_eq!(Nf4Tensor::quantize(&[2, 2], &[0.0; 5]), length(5));
    assert!(matches!(
        Nf4Quantizer::new(&[usize::MAX, 2]),
        Err(Nf4Error::TooLarge { .. })
    ));
}

#[test]
fn other_bitsandbytes_layouts_are_refused_by_name() {
    let state = |kind: &str, block: u32| {
        let json = format!(
            r#"{{"quant_type": "{kind}", "blocksize": {block}, "dtype": "bfloat16", "shape": [2, 2]}}"#
        );
        QuantState::parse(json.as_bytes())
    };
    assert!(state("nf4", 64).is_ok());
    assert!(matches!(
        state("fp4", 64),
        Err(Nf4Error::Unsupported {
            key: "quant_type",
            ..
        })
    ));
    assert!(matches!(
        state("nf4", 128),
        Err(Nf4Error::Unsupported {
            key: "blocksize",
            ..
        })
    ));
    assert!(matches!(
        QuantState::parse(b"{"),
        Err(Nf4Error::BadState { .. })
    ));
}

#[test]
fn special_shapes_quantise_to_themselves() {
    // Zeros have no scale; an odd count leaves the last low nibble unused.
    for values in [vec![], vec![0.0; 130], vec![0.5], vec![-3.0, 3.0, 0.0]] {
        let mut quantizer = Nf4Quantizer::new(&[values.len()]).unwrap();
        quantizer.push(&values).unwrap();
        let tensor = quantizer.finish_plain().unwrap();
        tensor.check().unwrap();
        assert_eq!(
            tensor.dequantize(),
            values,
            "the extremes and zero are codes"
        );
    }
}

/// Writes a safetensors header for tensors without data.
fn header(tensors: &[(&str, &str, Vec<u64>)]) -> Header {
    let mut at = 0;
    let mut json = serde_json::Map::new();
    for (name, dtype, shape) in tensors {
        let width = match *dtype {
            "F32" | "I32" => 4,
            "U8" | "I8" | "F8_E4M3" => 1,
            _ => 2,
        };
        let end = at + shape.iter().product::<u64>() * width;
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
        json.insert((*name).to_owned(), entry);
        at = end;
    }
    let json = serde_json::Value::Object(json).to_string();
    Header::parse(&[&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat()).unwrap()
}

/// A whole checkpoint is recognised: what is NF4, in which way, what is not, and nothing is left over.
#[test]
fn checkpoints_of_bitsandbytes_are_recognised_tensor_by_tensor() {
    for (folder, double) in [("vaultgemma_bnb4", true), ("vaultgemma_bnb4_nodq", false)] {
        let model = Tensors::open(&format!("quant/{folder}/model.safetensors"));
        let config = ModelConfig::parse(&golden("quant/vaultgemma_bnb4/config.json")).unwrap();
        let layout = Layout::of(&[&model.header], config.tensors()).unwrap();
        assert!(layout.is_nf4() && layout.left_over.is_empty());
        for tensor in &layout.tensors {
            let expected = match tensor.spec.name.contains("_proj") {
                true => Storage::Nf4 { double },
                false => Storage::Float(Dtype::F32),
            };
            assert_eq!(tensor.storage, expected, "{}", tensor.spec.name);
        }
    }
    let plain = Tensors::open("models/vaultgemma/model.safetensors");
    let config = ModelConfig::parse(&golden("models/vaultgemma/config.json")).unwrap();
    let layout = Layout::of(&[&plain.header], config.tensors()).unwrap();
    assert!(!layout.is_nf4());
    let twice = Layout::of(&[&plain.header, &plain.header], config.tensors()).unwrap_err();
    assert!(twice.to_string().contains("two files"), "{twice}");
}

/// Every other way bitsandbytes and others store a matrix is refused by tensor and by name.
#[test]
fn other_storage_is_refused_by_name() {
    let spec = || {
        vec![TensorSpec {
            name: "w".to_owned(),
            shape: vec![64, 2],
        }]
    };
    let refuse = |tensors: &[(&str, &str, Vec<u64>)]| {
        Layout::of(&[&header(tensors)], spec())
            .unwrap_err()
            .to_string()
    };
    let state = ("w.quant_state.bitsandbytes__nf4", "U8", vec![9]);
    let maps = ("w.quant_map", "F32", vec![16]);
    let absmax = ("w.absmax", "F32", vec![2]);
    let good = [
        ("w", "U8", vec![64, 1]),
        state.clone(),
        absmax.clone(),
        maps.clone(),
    ];
    let layout = Layout::of(&[&header(&good)], spec()).unwrap();
    assert_eq!(layout.tensors[0].storage, Storage::Nf4 { double: false });
    for (tensors, named) in [
        (
            vec![
                ("w", "U8", vec![64, 1]),
                ("w.quant_state.bitsandbytes__fp4", "U8", vec![9]),
            ],
            "fp4",
        ),
        (vec![("w", "I8", vec![64, 2])], "8-bit"),
        (vec![("w", "F8_E4M3", vec![64, 2])], "F8_E4M3"),
        (vec![("w", "U8", vec![64, 1])], "U8"),
        (
            vec![("w", "BF16", vec![32, 1]), state.clone()],
            "bnb_4bit_quant_storage",
        ),
        (vec![("w", "U8", vec![63, 1]), state.clone()], "[63, 1]"),
        (
            vec![("w", "U8", vec![64, 1]), state.clone(), maps.clone()],
            "w.absmax",
        ),
        (
            vec![
                ("w", "U8", vec![64, 1]),
                state.clone(),
                ("w.absmax", "F32", vec![3]),
                maps.clone(),
            ],
            "3 F32",
        ),
        (
            vec![("w", "U8", vec![64, 1]), state.clone(), absmax.clone()],
            "w.quant_map",
        ),
        (vec![("w", "F32", vec![2, 64])], "[2, 64]"),
        (vec![("v", "F32", vec![64, 2])], "no tensor `w`"),
    ] {
        let error = refuse(&tensors);
        assert!(error.contains(named), "{named}: {error}");
    }
    let extra = [
        ("w", "F32", vec![64, 2]),
        ("lm_head.weight", "F32", vec![2]),
    ];
    let layout = Layout::of(&[&header(&extra)], spec()).unwrap();
    assert_eq!(layout.left_over, ["lm_head.weight"]);
}

/// Double quantisation is told by the parts, and contradictions and scales that are no numbers refused.
#[test]
fn parts_must_agree() {
    let bytes = |values: &[f32]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let json = |extra: &str| {
        format!(
            r#"{{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [2]{extra}}}"#
        )
    };
    let (plain, double) = (
        json(""),
        json(r#", "nested_blocksize": 256, "nested_offset": 0.5"#),
    );
    let (map, nested_map) = (bytes(&CODE), bytes(nested_code()));
    let absmax = bytes(&[1.0]);
    let parts = StoredParts {
        state: plain.as_bytes(),
        packed: &[0xf0],
        absmax: &absmax,
        quant_map: &map,
        nested: None,
    };
    let stored = Stored4Bit::from_parts(parts).unwrap();
    assert_eq!(
        (stored.shape(), stored.dequantize()),
        (&[2][..], vec![1.0, -1.0])
    );
    let nested = Some((absmax.as_slice(), nested_map.as_slice()));
    let state = double.as_bytes();
    let twice = StoredParts {
        state,
        absmax: &[255],
        nested,
        ..parts
    };
    assert_eq!(
        Stored4Bit::from_parts(twice).unwrap().dequantize(),
        [1.5, -1.5]
    );
    for wrong in [
        StoredParts { state, ..parts },
        StoredParts { nested, ..parts },
        StoredParts {
            absmax: &bytes(&[f32::NAN]),
            ..parts
        },
        StoredParts {
            absmax: &bytes(&[1.0, 1.0]),
            ..parts
        },
        StoredParts {
            packed: &[0, 0],
            ..parts
        },
        StoredParts {
            quant_map: &map[..60],
            ..parts
        },
        StoredParts {
            state: b"{}",
            ..parts
        },
    ] {
        assert!(Stored4Bit::from_parts(wrong).is_err());
    }
}
