//! Weight formats through the loader: a model whose matrices the GPU decodes as it multiplies, against the same model on
//! the CPU device, which holds the decoded values, and against the model in f32.

mod common;

use common::{Golden, assert_close, decoder, devices, relative_error};
use vaultlab_engine::train::read;
use vaultlab_protocol::WeightFormat;

/// Logits of the golden batch.
fn logits(format: WeightFormat, device: usize) -> Vec<f32> {
    let golden = Golden::open("models/vaultgemma/golden.safetensors");
    let shape = golden.shape("input_ids");
    let ids: Vec<u32> = golden
        .i64("input_ids")
        .into_iter()
        .map(|id| id as u32)
        .collect();
    let model = decoder("models/vaultgemma", format, devices()[device]);
    let hidden = model.last_hidden(&ids, shape[0], None, None);
    pollster::block_on(read(hidden)).expect("reads")
}

/// The last hidden states agree between the devices to f32 rounding, and with f32 weights as far as the format's own
/// rounding allows: 2^-11 a weight in f16, 0.4 % of a block's maximum in int8, times a few layers. (NF4 is some percent a weight,
/// which this model of random weights blows up to half of the values; its decoding is tested bit by bit elsewhere.)
#[test]
fn formats_agree_between_devices_and_with_f32() {
    let exact = logits(WeightFormat::F32, 0);
    for (format, allowed) in [
        (WeightFormat::F16, 5e-3),
        (WeightFormat::Int8, 5e-2),
        (WeightFormat::Nf4, 1.0),
    ] {
        let [cpu, gpu] = [0, 1].map(|device| logits(format, device));
        assert_close(&format!("{format:?}, GPU against CPU"), &gpu, &cpu, 1e-4);
        let error = relative_error(&cpu, &exact);
        assert!(error > 1e-6 && error < allowed, "{format:?}: {error:e}");
    }
}
