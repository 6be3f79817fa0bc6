// Weight loader: signed bytes with one f32 scale per 64 values.
@group(0) @binding(1) var<storage, read_write> packed: array<i32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;

fn weight(index: u32) -> f32 {
    // Four weights a word, the first in the lowest byte; shifting up and back down extends the sign.
    let up = 24u - (index % 4u) * 8u;
    return f32((packed[index / 4u] << up) >> 24u) * scales[index / 64u];
}
