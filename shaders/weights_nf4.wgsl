
// Weight loader: 4-bit NormalFloat, absolute maxima of 64 values quantised again in blocks of 256 (QLoRA, section 3).
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;
// One byte per block of 64 weights.
@group(0) @binding(2) var<storage, read_write> absmax_codes: array<u32>;
// 256 levels of the nested code, the offset, then one maximum per 256 blocks.
@group(0) @binding(3) var<storage, read_write> nested: array<f32>;

fn weight(index: u32) -> f32 {
    let block = index / 64u;
    let code = (absmax_codes[block / 4u] >> ((block % 4u) * 8u)) & 255u;
    let absmax = nested[code] * nested[257u + block / 256u] + nested[256];
    return nf4_level(packed[index / 8u], index) * absmax;
}
