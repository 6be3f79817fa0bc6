// The 16 levels of 4-bit NormalFloat (QLoRA, appendix E), for both loaders of such weights.
const NF4 = array<f32, 16>(
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
);

// The level of weight `index`, whose word holds eight of them; within a byte the first one is in the high nibble.
fn nf4_level(word: u32, index: u32) -> f32 {
    var levels = NF4;
    let in_word = index % 8u;
    return levels[(word >> ((in_word / 2u) * 8u + (1u - in_word % 2u) * 4u)) & 15u];
}

