use burn::tensor::{Device, Int, Tensor, TensorData};
use vaultlab_formats::nf4::Nf4Tensor;

use crate::ops;

/// A frozen `[out, in]` matrix as the device holds it.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// 32-bit floats.
    F32(Tensor<2>),
    /// 4-bit NormalFloat with double quantisation, decoded inside the kernels.
    Nf4(Nf4Matrix),
}

/// The device form of [`Nf4Tensor`].
#[derive(Clone, Debug)]
pub struct Nf4Matrix {
    packed: Tensor<1, Int>,
    absmax_codes: Tensor<1, Int>,
    nested: Tensor<1>,
    outputs: usize,
}

impl Matrix {
    /// Uploads row-major f32 values of shape `[outputs, inputs]`.
    pub fn from_f32(values: Vec<f32>, outputs: usize, inputs: usize, device: &Device) -> Self {
        Self::F32(Tensor::from_data(
            TensorData::new(values, [outputs, inputs]),
            device,
        ))
    }

    /// Uploads a quantised matrix of shape `[outputs, inputs]`.
    ///
    /// The CPU device has no kernel that decodes as it multiplies: there the same values are held as f32.
    pub fn from_nf4(matrix: &Nf4Tensor, outputs: usize, inputs: usize, device: &Device) -> Self {
        if !ops::is_gpu(device) {
            return Self::from_f32(matrix.dequantize(), outputs, inputs, device);
        }
        let mut nested = vaultlab_formats::nf4::nested_code().to_vec();
        nested.push(matrix.offset);
        nested.extend_from_slice(&matrix.nested_absmax);
        Self::Nf4(Nf4Matrix {
            packed: words(&matrix.packed, device),
            absmax_codes: words(&matrix.absmax, device),
            nested: Tensor::from_data(TensorData::from(nested.as_slice()), device),
            outputs,
        })
    }

    /// `x · wᵀ`; x `[rows, in]`, result `[rows, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::F32(w) => ops::linear(x, w.clone()),
            Self::Nf4(m) => ops::linear_nf4(
                x,
                m.packed.clone(),
                m.absmax_codes.clone(),
                m.nested.clone(),
                m.outputs,
            ),
        }
    }
}

/// Bytes as little-endian 32-bit words, padded with zeros.
fn words(bytes: &[u8], device: &Device) -> Tensor<1, Int> {
    let words: Vec<i32> = bytes
        .chunks(4)
        .map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            i32::from_le_bytes(word)
        })
        .collect();
    Tensor::from_data(TensorData::from(words.as_slice()), device)
}
