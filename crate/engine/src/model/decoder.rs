use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use vaultlab_formats::config::ModelConfig;
use vaultlab_formats::examples::PaddedIds;

use super::{BlockContext, Encoded, KvCache, Stack};
use crate::lora::DeviceAdapter;
use crate::ops;

/// A model of the Gemma family with frozen weights: its decoder, and the encoder that it reads if it has one.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Its configuration.
    pub config: ModelConfig,
    /// T5Gemma's encoder.
    pub encoder: Option<Stack>,
    /// The decoder's embeddings, blocks and last norm.
    pub stack: Stack,
    /// Output matrix when it is not the embedding table, `[vocabulary, hidden]`.
    pub output: Option<Tensor<2>>,
}

impl Decoder {
    /// The device the weights are on.
    pub fn device(&self) -> Device {
        self.stack.device()
    }

    /// The output matrix, `[vocabulary, hidden]`.
    pub fn output_table(&self) -> Tensor<2> {
        self.output
            .as_ref()
            .unwrap_or(&self.stack.embedding)
            .clone()
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

    /// The encoder's residual stream before each block and after the last one, `[batch, width, hidden]` each; none for
    /// a decoder-only model.
    pub fn encoder_states(
        &self,
        source: &PaddedIds,
        adapter: Option<&DeviceAdapter>,
    ) -> Vec<Tensor<3>> {
        let Some(encoder) = &self.encoder else {
            return Vec::new();
        };
        let lengths: Arc<[u32]> = source.lengths.as_slice().into();
        let mut states = Vec::with_capacity(encoder.blocks.len() + 1);
        let around = |_| BlockContext {
            lengths: Some(lengths.clone()),
            ..BlockContext::default()
        };
        let x = encoder.embed(&source.ids, source.lengths.len());
        let last = encoder.run(x, adapter, around, |x| states.push(x.clone()));
        states.push(last);
        states
    }

    /// What the encoder makes of a batch of sources; `None` for a decoder-only model.
    pub fn encode(&self, source: &PaddedIds, adapter: Option<&DeviceAdapter>) -> Option<Encoded> {
        let encoder = self.encoder.as_ref()?;
        let last = self.encoder_states(source, adapter).pop()?;
        let dims @ [batch, width, hidden] = last.dims();
        Some(Encoded {
            states: encoder
                .norm(last.reshape([batch * width, hidden]))
                .reshape(dims),
            lengths: Some(source.lengths.as_slice().into()),
        })
    }

    /// The residual stream before each block and after the last one: `layers + 1` tensors `[batch, time, hidden]`.
    pub fn hidden_states(
        &self,
        ids: &[u32],
        batch: usize,
        encoded: Option<&Encoded>,
        adapter: Option<&DeviceAdapter>,
    ) -> Vec<Tensor<3>> {
        let mut states = Vec::with_capacity(self.stack.blocks.len() + 1);
        let last = self.run(ids, batch, encoded, adapter, |x| states.push(x.clone()));
        states.push(last);
        states
    }

    /// Normalised hidden states at every position of `ids` `[batch, time]`; result `[batch · time, hidden]`.
    pub fn last_hidden(
        &self,
        ids: &[u32],
        batch: usize,
        encoded: Option<&Encoded>,
        adapter: Option<&DeviceAdapter>,
    ) -> Tensor<2> {
        let x = self.run(ids, batch, encoded, adapter, |_| {});
        let [batch, time, hidden] = x.dims();
        self.stack.norm(x.reshape([batch * time, hidden]))
    }

    /// The output of the last block; `each` sees every block's input.
    fn run(
        &self,
        ids: &[u32],
        batch: usize,
        encoded: Option<&Encoded>,
        adapter: Option<&DeviceAdapter>,
        each: impl FnMut(&Tensor<3>),
    ) -> Tensor<3> {
        let around = |_| BlockContext {
            encoded,
            ..BlockContext::default()
        };
        let x = self.stack.embed(ids, batch);
        self.stack.run(x, adapter, around, each)
    }

    /// Logits at every position of `ids` `[batch, time]`; result `[batch · time, vocabulary]`.
    pub fn forward(
        &self,
        ids: &[u32],
        batch: usize,
        encoded: Option<&Encoded>,
        adapter: Option<&DeviceAdapter>,
    ) -> Tensor<2> {
        self.logits(self.last_hidden(ids, batch, encoded, adapter))
    }

    /// An empty cache for one sequence of at most `capacity` tokens that answers the source in `encoded`.
    pub fn new_cache(&self, capacity: usize, encoded: Option<Encoded>) -> KvCache {
        let dims = [1, capacity, self.config.num_kv_heads, self.config.head_dim];
        // One source has no padding, and may come to be read by several sequences.
        let encoded = encoded.map(|encoded| Encoded {
            lengths: None,
            ..encoded
        });
        KvCache::new(self.stack.blocks.len(), dims, encoded, &self.device())
    }

    /// Runs `ids`, row-major `[sequences, time]`, after what `cache` holds and returns the logits after the last of
    /// each sequence, `[sequences, vocabulary]`.
    ///
    /// # Panics
    /// If the cache has no room for `ids`.
    pub fn decode(
        &self,
        ids: &[u32],
        sequences: usize,
        cache: &mut KvCache,
        adapter: Option<&DeviceAdapter>,
    ) -> Tensor<2> {
        let time = ids.len() / sequences;
        assert!(
            cache.filled() + time <= cache.capacity(),
            "the KV cache is full"
        );
        let mut x = self.stack.embed(ids, sequences);
        for ((_, block, lora), layer) in self.stack.numbered(adapter).zip(&mut cache.layers) {
            let context = BlockContext {
                lora,
                cache: Some(layer),
                encoded: cache.encoded.as_ref(),
                ..BlockContext::default()
            };
            x = block.forward(x, context);
        }
        let [_, _, hidden] = x.dims();
        let last = x
            .slice([0..sequences, time - 1..time])
            .reshape([sequences, hidden]);
        self.logits(self.stack.norm(last))
    }
}
