use burn::tensor::{Device, Int, Tensor, TensorData};
use half::f16;
use vaultlab_formats::int8::Int8Tensor;
use vaultlab_formats::nf4::{Nf4Plain, Nf4Tensor};

use crate::ops::{self, Packing};

/// A frozen `[out, in]` matrix as the device holds it.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// 32-bit floats.
    F32(Tensor<2>),
    /// Fewer bits a weight, decoded inside the kernels.
    Packed(PackedMatrix),
}

/// A packed matrix on the GPU; see [`Packing`].
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    packing: Packing,
    words: Tensor<1, Int>,
    codes: Tensor<1, Int>,
    scales: Tensor<1>,
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

    /// Uploads row-major values as 16-bit floats, rounded to nearest; beyond their range they become infinite.
    pub fn from_f16(values: &[f16], outputs: usize, inputs: usize, device: &Device) -> Self {
        if !ops::is_gpu(device) {
            let values = values.iter().map(|value| value.to_f32()).collect();
            return Self::from_f32(values, outputs, inputs, device);
        }
        let words = words(bytemuck::cast_slice(values), device);
        Self::packed(Packing::F16, words, None, &[], outputs, device)
    }

    /// Uploads a matrix of shape `[outputs, inputs]` in NF4 with double quantisation.
    ///
    /// The CPU device has no kernels that decode as they multiply: there the same values are held as f32.
    pub fn from_nf4(matrix: &Nf4Tensor, outputs: usize, inputs: usize, device: &Device) -> Self {
        if !ops::is_gpu(device) {
            return Self::from_f32(matrix.dequantize(), outputs, inputs, device);
        }
        let mut nested = vaultlab_formats::nf4::nested_code().to_vec();
        nested.push(matrix.offset);
        nested.extend_from_slice(&matrix.nested_absmax);
        let (packed, codes) = (words(&matrix.packed, device), words(&matrix.absmax, device));
        Self::packed(
            Packing::Nf4Double,
            packed,
            Some(codes),
            &nested,
            outputs,
            device,
        )
    }

    /// The same with one f32 scale a block.
    pub fn from_nf4_plain(
        matrix: &Nf4Plain,
        outputs: usize,
        inputs: usize,
        device: &Device,
    ) -> Self {
        if !ops::is_gpu(device) {
            return Self::from_f32(matrix.dequantize(), outputs, inputs, device);
        }
        let packed = words(&matrix.packed, device);
        Self::packed(Packing::Nf4, packed, None, &matrix.absmax, outputs, device)
    }

    /// Uploads a matrix of shape `[outputs, inputs]` in blocks of signed bytes.
    pub fn from_int8(matrix: &Int8Tensor, outputs: usize, inputs: usize, device: &Device) -> Self {
        if !ops::is_gpu(device) {
            return Self::from_f32(matrix.dequantize(), outputs, inputs, device);
        }
        let words = words(bytemuck::cast_slice(&matrix.codes), device);
        Self::packed(Packing::Int8, words, None, &matrix.scales, outputs, device)
    }

    fn packed(
        packing: Packing,
        words: Tensor<1, Int>,
        codes: Option<Tensor<1, Int>>,
        scales: &[f32],
        outputs: usize,
        device: &Device,
    ) -> Self {
        // An empty buffer cannot be made; parts that the packing does not use are one value long.
        let scales = if scales.is_empty() { &[0.0] } else { scales };
        Self::Packed(PackedMatrix {
            packing,
            words,
            codes: codes.unwrap_or_else(|| Tensor::zeros([1], device)),
            scales: Tensor::from_data(TensorData::from(scales), device),
            outputs,
        })
    }

    /// `x · wᵀ`; x `[rows, in]`, result `[rows, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::F32(w) => ops::linear(x, w.clone()),
            Self::Packed(m) => ops::linear_packed(
                x,
                m.words.clone(),
                m.codes.clone(),
                m.scales.clone(),
                m.packing,
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
