
// Weight loader: 4-bit NormalFloat, absolute maxima of 64 values quantised again in blocks of 256 (QLoRA, section 3).
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;
// One byte per block of 64 weights.
@group(0) @binding(2) var<storage, read_write> absmax_codes: array<u32>;
// 256 levels of the nested code, the offset, then one maximum per 256 blocks.
@group(0) @binding(3) var<storage, read_write> nested: array<f32>;

const NF4 = array<f32, 16>(
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
);

fn weight(index: u32) -> f32 {
    var levels = NF4;
    // Eight weights a word; within a byte the first one is in the high nibble.
    let word = packed[index / 8u];
    let in_word = index % 8u;
    let nibble = (word >> ((in_word / 2u) * 8u + (1u - in_word % 2u) * 4u)) & 15u;
    let block = index / 64u;
    let code = (absmax_codes[block / 4u] >> ((block % 4u) * 8u)) & 255u;
    let absmax = nested[code] * nested[257u + block / 256u] + nested[256];
    return levels[nibble] * absmax;
}
