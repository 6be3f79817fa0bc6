use burn::tensor::{Device, Int, Tensor, TensorData};
use vaultlab_formats::config::ModelConfig;

use super::{Block, BlockContext, KvCache};
use crate::lora::DeviceAdapter;
use crate::ops;

/// A decoder-only model of the Gemma family with frozen weights.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Its configuration.
    pub config: ModelConfig,
    /// Embedding table, `[vocabulary, hidden]`; also the output matrix when tied.
    pub embedding: Tensor<2>,
    /// Output matrix when it is not tied, `[vocabulary, hidden]`.
    pub output: Option<Tensor<2>>,
    /// Blocks in order.
    pub blocks: Vec<Block>,
    /// Weight of the last RMSNorm, `[hidden]`.
    pub final_norm: Tensor<1>,
    /// Factor on the embeddings, rounded to the checkpoint's type.
    pub embedding_scale: f32,
}

impl Decoder {
    /// The device the weights are on.
    pub fn device(&self) -> Device {
        self.final_norm.device()
    }

    /// Scaled embeddings of `ids`, row-major `[batch, time]`; result `[batch, time, hidden]`.
    pub fn embed(&self, ids: &[u32], batch: usize) -> Tensor<3> {
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let time = ids.len() / batch;
        let ids = Tensor::<1, Int>::from_data(TensorData::from(ids.as_slice()), &self.device());
        ops::gather_rows(self.embedding.clone(), ids, self.embedding_scale).reshape([
            batch,
            time,
            self.config.hidden_size,
        ])
    }

    /// The last RMSNorm, `[rows, hidden]`.
    pub fn norm(&self, x: Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x, self.final_norm.clone(), self.config.rms_norm_eps as f32)
    }

    /// The output matrix, `[vocabulary, hidden]`.
    pub fn output_table(&self) -> Tensor<2> {
        self.output.as_ref().unwrap_or(&self.embedding).clone()
    }

    /// The final soft-cap; 0 for none.
    pub fn final_soft_cap(&self) -> f32 {
        self.config.final_softcap.unwrap_or(0.0) as f32
    }

    /// Logits of normalised hidden states `[rows, hidden]`; result `[rows, vocabulary]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let logits = ops::linear(hidden, self.output_table());
        match self.final_soft_cap() {
            cap if cap > 0.0 => (logits / cap).tanh() * cap,
            _ => logits,
        }
    }

    /// The residual stream before each block and after the last one: `layers + 1` tensors `[batch, time, hidden]`.
    pub fn hidden_states(
        &self,
        ids: &[u32],
        batch: usize,
        adapter: Option<&DeviceAdapter>,
    ) -> Vec<Tensor<3>> {
        let mut states = Vec::with_capacity(self.blocks.len() + 1);
        let last = self.through_blocks(ids, batch, adapter, |x| states.push(x.clone()));
        states.push(last);
        states
    }

    /// Runs all blocks, showing `before` each one's input; returns the last one's output.
    fn through_blocks(
        &self,
        ids: &[u32],
        batch: usize,
        adapter: Option<&DeviceAdapter>,
        mut before: impl FnMut(&Tensor<3>),
    ) -> Tensor<3> {
        let mut x = self.embed(ids, batch);
        for (index, block) in self.blocks.iter().enumerate() {
            before(&x);
            let context = BlockContext {
                lora: adapter.map(|adapter| &adapter.blocks[index]),
                ..BlockContext::default()
            };
            x = block.forward(x, context);
        }
        x
    }

    /// Normalised hidden states at every position of `ids` `[batch, time]`; result `[batch · time, hidden]`.
    pub fn last_hidden(
        &self,
        ids: &[u32],
        batch: usize,
        adapter: Option<&DeviceAdapter>,
    ) -> Tensor<2> {
        let x = self.through_blocks(ids, batch, adapter, |_| {});
        let [batch, time, hidden] = x.dims();
        self.norm(x.reshape([batch * time, hidden]))
    }

    /// Logits at every position of `ids` `[batch, time]`; result `[batch · time, vocabulary]`.
    pub fn forward(&self, ids: &[u32], batch: usize, adapter: Option<&DeviceAdapter>) -> Tensor<2> {
        self.logits(self.last_hidden(ids, batch, adapter))
    }

    /// An empty cache for one sequence of at most `capacity` tokens.
    pub fn new_cache(&self, capacity: usize) -> KvCache {
        let dims = [1, capacity, self.config.num_kv_heads, self.config.head_dim];
        KvCache::new(self.blocks.len(), dims, &self.device())
    }

    /// Runs `ids` after what `cache` holds and returns the logits of the last one, `[1, vocabulary]`.
    ///
    /// # Panics
    /// If the cache has no room for `ids`.
    pub fn decode(
        &self,
        ids: &[u32],
        cache: &mut KvCache,
        adapter: Option<&DeviceAdapter>,
    ) -> Tensor<2> {
        assert!(
            cache.filled() + ids.len() <= cache.capacity(),
            "the KV cache is full"
        );
        let mut x = self.embed(ids, 1);
        for (index, block) in self.blocks.iter().enumerate() {
            let context = BlockContext {
                lora: adapter.map(|adapter| &adapter.blocks[index]),
                cache: Some(&mut cache.layers[index]),
                dropout: None,
            };
            x = block.forward(x, context);
        }
        let [_, time, hidden] = x.dims();
        let last = x.reshape([time, hidden]).slice([time - 1..time]);
        self.logits(self.norm(last))
    }
}
