use burn::tensor::{Device, Tensor};

/// Keys and values of one layer, `[1, capacity, kv_heads, head_dim]` each.
#[derive(Clone, Debug)]
pub struct LayerCache {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
    filled: usize,
}

impl LayerCache {
    fn new(dims: [usize; 4], device: &Device) -> Self {
        Self {
            keys: Some(Tensor::zeros(dims, device)),
            values: Some(Tensor::zeros(dims, device)),
            filled: 0,
        }
    }

    /// Positions filled.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Writes keys and values `[1, time, kv_heads, head_dim]` after the filled positions; returns the whole cache.
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
}

/// The cache of every layer, for one sequence.
#[derive(Clone, Debug)]
pub struct KvCache {
    pub(super) layers: Vec<LayerCache>,
    capacity: usize,
}

impl KvCache {
    pub(super) fn new(layers: usize, dims: [usize; 4], device: &Device) -> Self {
        Self {
            layers: (0..layers).map(|_| LayerCache::new(dims, device)).collect(),
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
}
