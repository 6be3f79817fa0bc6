//! safetensors headers, conversion and writing, against golden files and damage of every kind.

mod common;

use common::{Tensors, golden};
use half::f16;
use proptest::prelude::*;
use serde_json::{Value, json};
use vaultlab_formats::checkpoint::{
    CheckpointError, Dtype, F32Tensor, FloatChunks, Header, ShardIndex, to_f32, write_f32,
};

fn file(header: &Value, data: usize) -> Vec<u8> {
    let json = header.to_string();
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn entry(dtype: &str, shape: &[u64], from: u64, to: u64) -> Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": [from, to]})
}

#[test]
fn the_header_agrees_with_the_safetensors_crate() {
    let bytes = golden("models/vaultgemma/model.safetensors");
    let (ours, theirs) = (
        Header::parse_file(&bytes).unwrap(),
        safetensors::SafeTensors::deserialize(&bytes).unwrap(),
    );
    assert_eq!(ours.tensors().len(), theirs.len());
    for (name, view) in theirs.tensors() {
        let tensor = ours.tensor(&name).unwrap();
        let shape: Vec<usize> = tensor.shape.iter().map(|&n| n as usize).collect();
        assert_eq!(
            (tensor.dtype, shape.as_slice()),
            (view.dtype(), view.shape())
        );
        assert_eq!(ours.bytes(&bytes, &name).unwrap(), view.data());
    }
    assert_eq!(ours.metadata["format"], "pt");
}

#[test]
fn the_header_says_how_many_bytes_it_needs() {
    let bytes = golden("models/vaultgemma/model.safetensors");
    assert_eq!(Header::bytes_needed(&[]).unwrap(), 8);
    assert_eq!(Header::bytes_needed(&bytes[..7]).unwrap(), 8);
    let needed = Header::bytes_needed(&bytes[..8]).unwrap();
    let header = Header::parse(&bytes[..needed]).unwrap();
    assert_eq!(header.data_start(), needed as u64);
    assert_eq!(header.file_len(), bytes.len() as u64);
    for length in 0..needed {
        let expected = CheckpointError::Truncated {
            needed: if length < 8 { 8 } else { needed as u64 },
            found: length as u64,
        };
        assert_eq!(Header::parse(&bytes[..length]).unwrap_err(), expected);
    }
}

#[test]
fn a_file_cut_off_in_its_data_is_refused() {
    let bytes = golden("models/vaultgemma/model.safetensors");
    let start = Header::bytes_needed(&bytes).unwrap();
    for length in (start..bytes.len())
        .step_by(997)
        .chain([bytes.len() - 1, bytes.len() + 1])
    {
        let mut cut = bytes.clone();
        cut.resize(length, 0);
        assert_eq!(
            Header::parse_file(&cut).unwrap_err(),
            CheckpointError::WrongLength {
                expected: bytes.len() as u64,
                found: length as u64
            }
        );
    }
    let header = Header::parse(&bytes).unwrap();
    let last = header.tensors().last().unwrap().name.clone();
    let error = header.bytes(&bytes[..bytes.len() - 1], &last).unwrap_err();
    assert!(matches!(error, CheckpointError::Truncated { .. }));
}

#[test]
fn other_files_are_recognised_as_such() {
    for start in [
        &b"<!DOCTYPE html>"[..],
        b"GGUF\x03\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\0",
    ] {
        assert!(matches!(
            Header::parse(start),
            Err(CheckpointError::NotSafetensors { .. })
        ));
    }
}

#[test]
fn inconsistent_entries_are_refused_by_name() {
    let damaged = [
        entry("F32", &[2], 0, 4),           // too few bytes
        entry("F32", &[2], 8, 0),           // ends before it starts
        entry("F32", &[2], 4, 12),          // gap at the start
        entry("F4", &[1], 0, 1),            // half a byte
        entry("F99", &[2], 0, 8),           // unknown type
        entry("F32", &[u64::MAX, 2], 0, 8), // overflow
        entry("F32", &[1 << 62], 0, u64::MAX),
        json!({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}),
        json!({"dtype": "F32", "shape": [2]}),
        json!("F32"),
    ];
    for entry in damaged {
        let error = Header::parse(&file(&json!({"w": entry}), 16)).unwrap_err();
        let CheckpointError::BadTensor { name, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(name, "w");
    }
    let overlap = json!({"a": entry("F32", &[2], 0, 8), "b": entry("F32", &[2], 4, 12)});
    let error = Header::parse(&file(&overlap, 12)).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
    let text = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    let mut twice = (text.len() as u64).to_le_bytes().to_vec();
    twice.extend_from_slice(text.as_bytes());
    assert!(
        Header::parse(&twice)
            .unwrap_err()
            .to_string()
            .contains("twice")
    );
}

/// A 32-bit `usize` cannot hold these offsets, which is why they are 64-bit here.
#[test]
fn files_beyond_four_gigabytes_have_a_header() {
    let (first, second) = (5_000_000_000u64, 6_000_000_000u64);
    let header = json!({
        "a": entry("BF16", &[first / 2], 0, first),
        "b": entry("BF16", &[(second - first) / 2], first, second),
    });
    let header = Header::parse(&file(&header, 0)).unwrap();
    assert_eq!(
        header.tensor("b").unwrap().range.start,
        header.data_start() + first
    );
    assert_eq!(header.file_len(), header.data_start() + second);
}

#[test]
fn shapes_and_missing_tensors_are_checked() {
    let checkpoint = Tensors::open("models/vaultgemma/model.safetensors");
    let tensor = checkpoint.header.tensor("model.norm.weight").unwrap();
    assert_eq!(tensor.values(), 32);
    tensor.expect_shape(&[32]).unwrap();
    assert!(matches!(
        tensor.expect_shape(&[32, 1]),
        Err(CheckpointError::WrongShape { .. })
    ));
    let missing = checkpoint.header.tensor("lm_head.weight").unwrap_err();
    assert_eq!(
        missing,
        CheckpointError::MissingTensor {
            name: "lm_head.weight".to_owned()
        }
    );
}

#[test]
fn a_shard_index_lists_its_files() {
    let json = golden("models/gemma2_sharded/model.safetensors.index.json");
    let index = ShardIndex::parse(&json).unwrap();
    assert_eq!(
        index.files(),
        [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors"
        ]
    );
    assert!(index.files_by_tensor.len() > 40);
    let shard = Tensors::open("models/vaultgemma/model.safetensors");
    let error = index
        .check_shard("model-00001-of-00002.safetensors", &shard.header)
        .unwrap_err();
    assert!(
        matches!(error, CheckpointError::MissingTensor { .. }),
        "another model's shard"
    );
    for length in 0..json.trim_ascii_end().len() {
        assert!(ShardIndex::parse(&json[..length]).is_err());
    }
}

#[test]
fn shard_names_cannot_leave_the_folder() {
    for name in [
        "../a.safetensors",
        "/a.safetensors",
        "a/b.safetensors",
        "a.bin",
        ".safetensors",
        "a?b.safetensors",
    ] {
        let json = json!({"weight_map": {"w": name}}).to_string();
        assert!(
            matches!(
                ShardIndex::parse(json.as_bytes()),
                Err(CheckpointError::BadIndex { .. })
            ),
            "{name}"
        );
    }
    assert!(ShardIndex::parse(br#"{"weight_map": {}}"#).is_err());
}

#[test]
fn written_files_read_back_here_and_in_the_safetensors_crate() {
    let (a, b) = ([1.0f32, -2.5, f32::MIN_POSITIVE, 3e38], [0.0f32; 0]);
    let tensors = [
        F32Tensor {
            name: "a",
            shape: &[2, 2],
            values: &a,
        },
        F32Tensor {
            name: "b",
            shape: &[0, 3],
            values: &b,
        },
    ];
    let bytes = write_f32(&tensors, &[("note", "x")]).unwrap();
    let header = Header::parse_file(&bytes).unwrap();
    assert_eq!(header.read_f32(&bytes, "a").unwrap(), a);
    assert_eq!(header.read_f32(&bytes, "b").unwrap(), b);
    assert_eq!(
        (
            header.metadata["format"].as_str(),
            header.metadata["note"].as_str()
        ),
        ("pt", "x")
    );
    assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok());

    for (name, shape) in [
        ("a", &[3usize, 2][..]),
        ("__metadata__", &[2, 2]),
        ("c", &[usize::MAX, 2]),
    ] {
        let tensor = F32Tensor {
            name,
            shape,
            values: &a,
        };
        assert!(matches!(
            write_f32(&[tensor], &[]),
            Err(CheckpointError::CannotWrite { .. })
        ));
    }
    assert!(
        write_f32(&[tensors[0], tensors[0]], &[]).is_err(),
        "a name twice"
    );
}

#[test]
fn all_half_precision_values_convert_exactly() {
    for bits in 0..=u16::MAX {
        let bytes = bits.to_le_bytes();
        let half = to_f32(Dtype::F16, &bytes).unwrap()[0];
        let brain = to_f32(Dtype::BF16, &bytes).unwrap()[0];
        // bf16 is the upper half of an f32 by definition; f16 is checked by rounding back.
        let expected = f32::from_bits(u32::from(bits) << 16);
        assert!(brain.to_bits() == expected.to_bits() || brain.is_nan() && expected.is_nan());
        if !half.is_nan() {
            assert_eq!(f16::from_f32(half).to_bits(), bits);
        }
    }
    let error = to_f32(Dtype::I64, &[0; 8]).unwrap_err();
    assert_eq!(error, CheckpointError::NotFloat { dtype: Dtype::I64 });
    assert!(matches!(
        to_f32(Dtype::F32, &[0; 6]),
        Err(CheckpointError::PartialValue { .. })
    ));
}

proptest! {
    #[test]
    fn pieces_convert_like_the_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(1usize..9, 1..200),
        dtype in prop::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::BF16]),
    ) {
        let mut chunks = FloatChunks::new(dtype).unwrap();
        let (mut out, mut rest) = (Vec::new(), bytes.as_slice());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            chunks.push(piece, &mut out);
            rest = later;
        }
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let width = if dtype == Dtype::F32 { 4 } else { 2 };
        let whole = bytes.len() - bytes.len() % width;
        prop_assert_eq!(bits(out), bits(to_f32(dtype, &bytes[..whole]).unwrap()));
        prop_assert_eq!(chunks.finish().is_ok(), whole == bytes.len());
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 8..300), length in 0u64..300) {
        let _ = Header::parse_file(&bytes);
        let _ = ShardIndex::parse(&bytes);
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        let _ = Header::parse_file(&bytes);
    }

    /// A damaged header is refused, or what it describes still lies inside the file.
    #[test]
    fn damaged_headers_never_give_bytes_outside_the_file(
        edits in prop::collection::vec((0usize..2200, any::<u8>()), 1..5),
    ) {
        let mut bytes = golden("models/vaultgemma/model.safetensors");
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        if let Ok(header) = Header::parse_file(&bytes) {
            for tensor in header.tensors() {
                prop_assert!(header.bytes(&bytes, &tensor.name).is_ok());
            }
        }
    }

    #[test]
    fn damaged_indices_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut json = golden("models/gemma2_sharded/model.safetensors.index.json");
        let at = at.index(json.len());
        json[at] = byte;
        let _ = ShardIndex::parse(&json);
    }
}
