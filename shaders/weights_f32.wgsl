
// Weight loader: 32-bit floats.
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;

fn weight(index: u32) -> f32 {
    return weights[index];
}
