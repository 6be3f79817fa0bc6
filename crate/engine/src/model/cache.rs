use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Encoded;

/// Keys and values of one layer, `[sequences, capacity, kv_heads, head_dim]` each, and of its cross-attention.
#[derive(Clone, Debug)]
pub struct LayerCache {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
    crossing: Option<(Tensor<4>, Tensor<4>)>,
    filled: usize,
}

impl LayerCache {
    fn new(dims: [usize; 4], device: &Device) -> Self {
        Self {
            keys: Some(Tensor::zeros(dims, device)),
            values: Some(Tensor::zeros(dims, device)),
            crossing: None,
            filled: 0,
        }
    }

    /// Positions filled.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Writes keys and values `[sequences, time, kv_heads, head_dim]` after the filled positions; returns the whole
    /// cache.
    pub(super) fn append(&mut self, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [batch, time, heads, dim] = k.dims();
        let range = [0..batch, self.filled..self.filled + time, 0..heads, 0..dim];
        // Taking the tensor out leaves no second owner, so burn writes into the buffer it has.
        let write = |slot: &mut Option<Tensor<4>>, new| {
            let whole = slot.take().expect("append always puts the cache back");
            let whole = whole.slice_assign(range.clone(), new);
            slot.insert(whole).clone()
        };
        let k = write(&mut self.keys, k);
        let v = write(&mut self.values, v);
        self.filled += time;
        (k, v)
    }

    /// Keys and values of the encoder's states, once they were computed.
    pub(super) fn crossing(&self) -> Option<(Tensor<4>, Tensor<4>)> {
        self.crossing.clone()
    }

    /// Keeps keys and values of the encoder's states, which are the same at every step.
    pub(super) fn keep_crossing(&mut self, k: &Tensor<4>, v: &Tensor<4>) {
        if self.crossing.is_none() {
            self.crossing = Some((k.clone(), v.clone()));
        }
    }

    fn select(&mut self, rows: &[i32]) {
        let select = |x: Tensor<4>| {
            let rows = Tensor::<1, Int>::from_data(TensorData::from(rows), &x.device());
            x.select(0, rows)
        };
        self.keys = self.keys.take().map(select);
        self.values = self.values.take().map(select);
        // All sequences read the same source, so these rows are alike and only their number matters.
        if let Some((k, v)) = self.crossing.take_if(|(k, _)| k.dims()[0] != rows.len()) {
            self.crossing = Some((select(k), select(v)));
        }
    }
}

/// The cache of every layer, for one sequence or for several of equal length that began alike; with an encoder, its
/// states too.
#[derive(Clone, Debug)]
pub struct KvCache {
    pub(super) layers: Vec<LayerCache>,
    pub(super) encoded: Option<Encoded>,
    capacity: usize,
}

impl KvCache {
    pub(super) fn new(
        layers: usize,
        dims: [usize; 4],
        encoded: Option<Encoded>,
        device: &Device,
    ) -> Self {
        Self {
            layers: (0..layers).map(|_| LayerCache::new(dims, device)).collect(),
            encoded,
            capacity: dims[1],
        }
    }

    /// Positions filled.
    pub fn filled(&self) -> usize {
        self.layers.first().map_or(0, LayerCache::filled)
    }

    /// Positions it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Goes on with the sequences numbered `rows`, any of them more than once.
    pub fn select(&mut self, rows: &[usize]) {
        let numbers: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
        for layer in &mut self.layers {
            layer.select(&numbers);
        }
    }
}
