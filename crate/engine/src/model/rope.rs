use burn::tensor::{Device, Tensor, TensorData};
use vaultlab_formats::config::Rope;

/// Cosines and sines of the rotary angles, `[positions, head_dim / 2]` each.
#[derive(Clone, Debug)]
pub struct RopeTables {
    /// Cosines.
    pub cosines: Tensor<2>,
    /// Sines.
    pub sines: Tensor<2>,
}

impl RopeTables {
    /// Tables for positions 0 to `positions - 1`.
    ///
    /// Frequencies and angles are rounded to f32 as transformers rounds them; cosine and sine are taken in f64.
    pub fn new(rope: &Rope, head_dim: usize, positions: usize, device: &Device) -> Self {
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| {
                let exponent = (2 * i) as f32 / head_dim as f32;
                let frequency = 1.0 / (rope.theta as f32).powf(exponent);
                frequency / rope.linear_factor as f32
            })
            .collect();
        let angles =
            (0..positions).flat_map(|p| frequencies.iter().map(move |f| f64::from(p as f32 * f)));
        let (cosines, sines): (Vec<f32>, Vec<f32>) = angles
            .map(|angle| (angle.cos() as f32, angle.sin() as f32))
            .unzip();
        let table = |values| Tensor::from_data(TensorData::new(values, [positions, half]), device);
        Self {
            cosines: table(cosines),
            sines: table(sines),
        }
    }
}
