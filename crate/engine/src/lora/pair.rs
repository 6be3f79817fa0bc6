use std::sync::Arc;

use burn::tensor::Tensor;

use crate::model::MOST_PROJECTIONS;
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
            Some(dropout) => dropout.apply(x),
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
    pub pairs: [Option<LoraPair>; MOST_PROJECTIONS],
}

/// An adapter on the device.
#[derive(Clone, Debug)]
pub struct DeviceAdapter {
    /// One entry per block, an encoder's before the decoder's.
    pub blocks: Vec<BlockLora>,
}

/// Dropout on the adapter's input. Masks follow from the seeds, so a recomputed block drops the same entries, and an
/// example's mask does not depend on which others share its batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    seeds: Arc<[u32]>,
    salt: u32,
    probability: f32,
}

impl Dropout {
    /// Dropout of a batch, one seed per example.
    pub fn new(seeds: impl Into<Arc<[u32]>>, probability: f32) -> Self {
        Self {
            seeds: seeds.into(),
            salt: 0,
            probability,
        }
    }

    /// The dropout of one block.
    #[must_use]
    pub fn of_block(&self, block: usize) -> Self {
        self.salted(0x9e37_79b9, block)
    }

    /// The dropout of one projection of the block.
    #[must_use]
    pub fn of_projection(&self, projection: usize) -> Self {
        self.salted(0x85eb_ca6b, projection)
    }

    fn salted(&self, factor: u32, index: usize) -> Self {
        let salt = (self.salt ^ (index as u32 + 1).wrapping_mul(factor)).wrapping_mul(0xc2b2_ae35);
        Self {
            salt: salt ^ (salt >> 15),
            ..self.clone()
        }
    }

    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        ops::dropout(x, &self.seeds, self.salt, self.probability)
    }
}
