// Weight loader: 4-bit NormalFloat with one f32 absolute maximum per 64 values.
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;
@group(0) @binding(2) var<storage, read_write> absmax: array<f32>;

fn weight(index: u32) -> f32 {
    return nf4_level(packed[index / 8u], index) * absmax[index / 64u];
}
