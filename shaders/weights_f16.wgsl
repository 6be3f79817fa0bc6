// Weight loader: 16-bit floats, two a word, the first in the lower half.
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;

fn weight(index: u32) -> f32 {
    let pair = unpack2x16float(packed[index / 2u]);
    return select(pair.x, pair.y, index % 2u == 1u);
}
