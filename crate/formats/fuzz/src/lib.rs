//! One function per parser: whatever the bytes, it returns, and what it accepted is consistent.
//!
//! Called by the cargo-fuzz targets (`cargo +nightly fuzz run gguf`) and by the `mutate` example of the
//! parent crate, which needs no nightly compiler.

use vaultlab_formats::checkpoint::{Header, Layout, ShardIndex};
use vaultlab_formats::config::{AnyConfig, GenerationConfig};
use vaultlab_formats::dataset::{
    MAX_ROW, Table, guess_columns, presets, read_headerless, read_table,
};
use vaultlab_formats::gguf::{BlockChunks, Gguf, Prefix};
use vaultlab_formats::inspect;
use vaultlab_formats::nf4::read_bnb;
use vaultlab_formats::peft::{Adapter, AdapterConfig};
use vaultlab_formats::sentencepiece::Vocabulary;
use vaultlab_formats::tokenizer::Tokenizer;

const TEXT: &str = "The quick\tfox <bos> \u{2581} \n\n\u{1f98a} 2nd";

/// Safetensors headers, 4-bit tensors in them, and shard indices.
pub fn safetensors(data: &[u8]) {
    let _ = ShardIndex::parse(data);
    let _ = Header::bytes_needed(data);
    let Ok(header) = Header::parse_file(data) else {
        return;
    };
    for tensor in header.tensors() {
        let bytes = header.bytes(data, &tensor.name);
        assert!(bytes.is_ok(), "an accepted tensor lies inside the file");
        let _ = header.read_f32(data, &tensor.name);
        if let Ok(Some(stored)) = read_bnb(&header, data, &tensor.name) {
            let values = stored.shape().iter().product::<usize>();
            assert_eq!(stored.dequantize().len(), values);
        }
    }
    let _ = Layout::of(&[&header], Vec::new());
}

/// GGUF headers, the model and the tokenizer in them, and tensor data.
pub fn gguf(data: &[u8]) {
    match Gguf::parse(data) {
        Ok(Prefix::NeedMore(bytes)) => assert!(bytes > data.len() as u64),
        Ok(Prefix::Complete(gguf)) => {
            let _ = inspect::gguf(&gguf);
            let _ = gguf.tokenizer_json();
            let mut end = gguf.data_start;
            for tensor in gguf.tensors() {
                assert!(tensor.range.start >= end, "accepted tensors do not overlap");
                end = tensor.range.end;
                let from = usize::try_from(tensor.range.start).unwrap_or(usize::MAX);
                let until = usize::try_from(tensor.range.end).unwrap_or(usize::MAX);
                if let Some(bytes) = data.get(from..until.min(from.saturating_add(4096))) {
                    let mut values = Vec::new();
                    BlockChunks::new(tensor.kind).push(bytes, &mut values);
                }
            }
        }
        Err(_) => {}
    }
}

/// SentencePiece models, converted and run.
pub fn sentencepiece(data: &[u8]) {
    if let Ok(vocabulary) = Vocabulary::parse(data)
        && let Ok(json) = vocabulary.to_tokenizer_json()
    {
        tokenizer(&json);
    }
}

/// `tokenizer.json`.
pub fn tokenizer(data: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::parse(data, 2, &[1])
        && let Ok(ids) = tokenizer.encode(TEXT, true)
    {
        let _ = tokenizer.decode(&ids, false);
    }
}

/// PEFT configurations, alone and with an adapter's tensors after a zero byte.
pub fn peft(data: &[u8]) {
    if let Ok(config) = AdapterConfig::parse(data) {
        for path in ["model.layers.0.self_attn.q_proj", "lm_head", ""] {
            let _ = config.rank_of(path);
            let _ = config.scale_of(path);
        }
    }
    if let Some(cut) = data.iter().position(|&b| b == 0)
        && let Ok(adapter) = Adapter::read(&data[..cut], &data[cut + 1..])
    {
        let _ = adapter.check(&[]);
        let _ = adapter.write(&[]);
    }
}

/// Data files in every format.
pub fn table(data: &[u8]) {
    for name in [
        None,
        Some("a.csv"),
        Some("a.tsv"),
        Some("a.jsonl"),
        Some("a.json"),
    ] {
        if let Ok(table) = read_table(data, name) {
            consistent(&table);
            let _ = guess_columns(&table);
        }
    }
    if let Ok(table) = read_headerless(data, &["id", "source", "target"]) {
        consistent(&table);
    }
    for preset in presets() {
        if let Ok(table) = preset.read(data) {
            assert!(table.rows.len() <= preset.rows);
        }
    }
}

fn consistent(table: &Table) {
    assert!(!table.rows.is_empty());
    for row in &table.rows {
        assert_eq!(row.len(), table.columns.len());
        assert!(row.iter().map(String::len).sum::<usize>() <= 2 * MAX_ROW);
    }
    assert!(table.problems.is_sorted_by_key(|p| p.line));
}

/// Model and generation configurations.
pub fn config(data: &[u8]) {
    let _ = GenerationConfig::parse(data);
    if let Ok(config) = AnyConfig::parse(data) {
        assert!(config.parameters() > 0);
        assert!(!config.linear_modules().is_empty());
    }
}
