//! A row's gradient depends on that row alone, to the last bit: the sensitivity of a private sum counts one row, so
//! rounding must not carry another row's presence into this row's gradient.

mod common;

use burn::tensor::Tensor;
use common::{decoder, devices};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vaultlab_engine::EngineError;
use vaultlab_engine::device::{MemoryMeter, OpenDevice};
use vaultlab_engine::lora::LoraLayout;
use vaultlab_engine::train::{Accumulator, RowDropout, gradient_sum, read};
use vaultlab_formats::examples::Example;
use vaultlab_protocol::{LoraSettings, WeightFormat};

fn example(length: usize, seed: u64) -> Example {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let ids: Vec<u32> = (0..length).map(|_| rng.random_range(4..100)).collect();
    let labels = ids
        .iter()
        .enumerate()
        .map(|(t, &id)| if t < length / 3 { -100 } else { id as i32 })
        .collect();
    Example {
        ids,
        labels,
        source: Vec::new(),
        truncated: false,
    }
}

/// Keeps the bits of every example's gradient.
#[derive(Default)]
struct Bits(Vec<Vec<u32>>);

impl Accumulator for Bits {
    async fn add(
        &mut self,
        gradients: Vec<(usize, Tensor<2>)>,
        examples: usize,
    ) -> Result<Vec<f64>, EngineError> {
        let mut rows = vec![Vec::new(); examples];
        for (_, gradient) in gradients {
            let [_, length] = gradient.dims();
            let values = read(gradient).await?;
            for (row, values) in rows.iter_mut().zip(values.chunks(length)) {
                row.extend(values.iter().map(|value| value.to_bits()));
            }
        }
        self.0.extend(rows);
        Ok(vec![0.0; examples])
    }
}

/// A row for T5Gemma: a source of this length, and a target of another.
fn translation(source: usize, target: usize, seed: u64) -> Example {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let source = (0..source).map(|_| rng.random_range(4..100)).collect();
    let labels: Vec<i32> = (0..target).map(|_| rng.random_range(4..100)).collect();
    Example::translation(source, &labels, 2, 0)
}

/// True if the row's gradient, found among those of a batch it is in, has the bits it has alone.
fn is_the_same_among(
    folder: &str,
    row: &Example,
    mates: &[Example],
    micro_batch: usize,
    open: &OpenDevice,
) -> bool {
    let model = decoder(folder, WeightFormat::F32, open);
    let lora = LoraSettings {
        rank: 4,
        ..LoraSettings::default()
    };
    let layout = LoraLayout::new(&model.config, &lora).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let parameters: Vec<f32> = (0..layout.parameters())
        .map(|_| rng.random_range(-0.1..0.1))
        .collect();
    let gradients = |rows: &[&Example], seeds: &[u32]| {
        let mut bits = Bits::default();
        let dropout = RowDropout {
            seeds,
            probability: 0.1,
        };
        let mut memory = MemoryMeter::default();
        pollster::block_on(gradient_sum(
            &model,
            &layout,
            &parameters,
            rows,
            micro_batch,
            &mut bits,
            Some(&dropout),
            &mut memory,
            async || Ok(()),
        ))
        .unwrap();
        bits.0
    };
    let alone = gradients(&[row], &[5]).swap_remove(0);
    assert!(alone.iter().any(|&bits| bits << 1 != 0), "a gradient");
    let mut rows: Vec<&Example> = mates.iter().collect();
    rows.insert(mates.len() / 2, row);
    let mut seeds: Vec<u32> = (10..).take(mates.len()).collect();
    seeds.insert(mates.len() / 2, 5);
    gradients(&rows, &seeds).contains(&alone)
}

/// The row among shorter and longer mates, fewer and more of them, in micro-batches of one to eight, with dropout.
#[test]
fn a_rows_gradient_does_not_depend_on_its_batch_mates() {
    for open in devices() {
        for (length, micro_batch) in [(6, 4), (13, 4), (30, 8), (33, 3), (13, 1)] {
            let row = example(length, 7);
            for lengths in [
                vec![5],
                vec![length + 1, 6],
                vec![length + 3, length + 16, length + 18, length],
                vec![40, 2, 45, length - 1, length - 1, length + 2, 50, 61],
            ] {
                let mates: Vec<Example> = (100..)
                    .zip(&lengths)
                    .map(|(seed, &length)| example(length, seed))
                    .collect();
                assert!(
                    is_the_same_among("models/vaultgemma", &row, &mates, micro_batch, open),
                    "{length} tokens among {lengths:?} in {micro_batch}s on {}",
                    open.report.name
                );
            }
        }
    }
}

/// The same for T5Gemma, with adapters in encoder, decoder and cross-attention: neither another row's source, nor its
/// target, nor the padding they bring changes a bit.
#[test]
fn a_translations_gradient_does_not_depend_on_its_batch_mates() {
    for open in devices() {
        for ((source, target), micro_batch) in [((13, 5), 4), ((3, 20), 3), ((30, 9), 8)] {
            let row = translation(source, target, 7);
            for lengths in [
                vec![(source + 1, target)],
                vec![(source, target + 9), (40, 2), (1, 1)],
                vec![
                    (source + 20, target),
                    (source, target),
                    (source - 1, target - 1),
                    (50, 40),
                ],
            ] {
                let mates: Vec<Example> = (100..)
                    .zip(&lengths)
                    .map(|(seed, &(source, target))| translation(source, target, seed))
                    .collect();
                assert!(
                    is_the_same_among("models/t5gemma", &row, &mates, micro_batch, open),
                    "{source} and {target} tokens among {lengths:?} in {micro_batch}s on {}",
                    open.report.name
                );
            }
        }
    }
}
