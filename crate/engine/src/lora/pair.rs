use burn::tensor::Tensor;

use crate::ops;

/// The two factors of one projection's update `scale · B · A`.
#[derive(Clone, Debug)]
pub struct LoraPair {
    /// `[groups, r, in]`: one group shared by the batch, or one per example in training.
    pub a: Tensor<3>,
    /// `[groups, out, r]`.
    pub b: Tensor<3>,
    /// alpha / r, or alpha / √r with rank stabilisation.
    pub scale: f32,
}

impl LoraPair {
    /// The update for x `[batch · time, in]`; result `[batch · time, out]`.
    pub fn forward(&self, x: Tensor<2>, batch: usize, dropout: Option<Dropout>) -> Tensor<2> {
        let [rows, width] = x.dims();
        let [groups, out, _] = self.b.dims();
        assert!(
            groups == 1 || groups == batch,
            "one adapter group, or one per example"
        );
        let x = match dropout {
            Some(dropout) => ops::dropout(x, dropout.seed, dropout.probability),
            None => x,
        };
        ops::lora(
            x.reshape([groups, rows / groups, width]),
            self.a.clone(),
            self.b.clone(),
            self.scale,
        )
        .reshape([rows, out])
    }
}

/// The adapter of one block, by projection.
#[derive(Clone, Debug, Default)]
pub struct BlockLora {
    /// Indexed like the block's projections.
    pub pairs: [Option<LoraPair>; 7],
}

/// An adapter on the device.
#[derive(Clone, Debug)]
pub struct DeviceAdapter {
    /// One entry per block.
    pub blocks: Vec<BlockLora>,
}

/// Dropout of one forward pass. The mask follows from the seed, so a recomputed block drops the same entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Seed of the mask.
    pub seed: u32,
    /// Share of entries dropped.
    pub probability: f32,
}

impl Dropout {
    /// The dropout of one block of the pass.
    pub fn of_block(self, block: usize) -> Self {
        self.derived(0x9e37_79b9, block)
    }

    /// The dropout of one projection of the block.
    pub fn of_projection(self, projection: usize) -> Self {
        self.derived(0x85eb_ca6b, projection)
    }

    fn derived(self, factor: u32, index: usize) -> Self {
        let seed = (self.seed ^ (index as u32 + 1).wrapping_mul(factor)).wrapping_mul(0xc2b2_ae35);
        Self {
            seed: seed ^ (seed >> 15),
            ..self
        }
    }
}

impl Dropout {
    /// The dropout of one micro-batch of a step.
    pub fn of_micro_batch(self, index: usize) -> Self {
        self.derived(0x27d4_eb2f, index)
    }
}
