//! Super-blocks of 256 values (ggml's k-quants): sub-blocks whose scales are themselves quantised.

use super::dequant::half_at;

/// 2-bit codes: sub-blocks of 16 with a 4-bit scale (low nibble) and a 4-bit minimum.
pub(super) fn q2(block: &[u8; 84], out: &mut Vec<f32>) {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (scale, minimum) = (half_at(block, 80), half_at(block, 82));
    for (sub, packed) in scales.iter().enumerate() {
        let d = scale * f32::from(packed & 15);
        let m = minimum * f32::from(packed >> 4);
        let (from, shift) = two_bit_plane(sub);
        out.extend(
            codes[from..from + 16]
                .iter()
                .map(|q| d * f32::from((q >> shift) & 3) - m),
        );
    }
}

/// 3-bit codes: two low bits and one from a mask; sub-blocks of 16 with a 6-bit scale around 32.
pub(super) fn q3(block: &[u8; 110], out: &mut Vec<f32>) {
    let (mask, codes, packed) = (&block[..32], &block[32..96], &block[96..108]);
    let scale = half_at(block, 108);
    for sub in 0..16 {
        let low = if sub < 8 {
            packed[sub] & 15
        } else {
            packed[sub - 8] >> 4
        };
        let high = (packed[8 + sub % 4] >> (2 * (sub / 4))) & 3;
        let d = scale * (f32::from(low | high << 4) - 32.0);
        let (from, shift) = two_bit_plane(sub);
        let bit = 1u8 << (sub / 2);
        let start = sub % 2 * 16;
        out.extend(
            codes[from..from + 16]
                .iter()
                .zip(&mask[start..])
                .map(|(q, high)| {
                    let below = if high & bit == 0 { 4.0 } else { 0.0 };
                    d * (f32::from((q >> shift) & 3) - below)
                }),
        );
    }
}

/// 4-bit codes: sub-blocks of 32 with 6-bit scale and minimum.
pub(super) fn q4(block: &[u8; 144], out: &mut Vec<f32>) {
    let codes = &block[16..];
    for sub in 0..8 {
        let (d, m) = scale_and_minimum(block, sub);
        let from = sub / 2 * 32;
        let shift = sub % 2 * 4;
        out.extend(
            codes[from..from + 32]
                .iter()
                .map(|q| d * f32::from((q >> shift) & 15) - m),
        );
    }
}

/// 5-bit codes: as [`q4`], the fifth bits in 32 bytes of their own.
pub(super) fn q5(block: &[u8; 176], out: &mut Vec<f32>) {
    let (high, codes) = (&block[16..48], &block[48..]);
    for sub in 0..8 {
        let (d, m) = scale_and_minimum(block, sub);
        let from = sub / 2 * 32;
        let shift = sub % 2 * 4;
        out.extend(codes[from..from + 32].iter().zip(high).map(|(q, h)| {
            let code = (q >> shift) & 15 | ((h >> sub) & 1) << 4;
            d * f32::from(code) - m
        }));
    }
}

/// 6-bit codes around 32: low nibbles and two high bits; sub-blocks of 16 with a signed 8-bit scale.
pub(super) fn q6(block: &[u8; 210], out: &mut Vec<f32>) {
    let scale = half_at(block, 208);
    for half in 0..2 {
        let low = &block[half * 64..half * 64 + 64];
        let high = &block[128 + half * 32..160 + half * 32];
        let scales = &block[192 + half * 8..200 + half * 8];
        for quarter in 0..4 {
            let nibbles = &low[quarter % 2 * 32..][..32];
            let shift = quarter / 2 * 4;
            for (i, (q, h)) in nibbles.iter().zip(high).enumerate() {
                let code = (q >> shift) & 15 | ((h >> (2 * quarter)) & 3) << 4;
                let d = scale * f32::from(scales[quarter * 2 + i / 16].cast_signed());
                out.push(d * (f32::from(code) - 32.0));
            }
        }
    }
}

/// Where a sub-block of 16 two-bit codes is: each 32 bytes hold 128 values in four planes.
fn two_bit_plane(sub: usize) -> (usize, usize) {
    (sub / 8 * 32 + sub % 2 * 16, sub % 8 / 2 * 2)
}

/// Scale and minimum of a sub-block of 32: six bits each, the last four of both spread over the
/// first eight bytes' upper bits.
fn scale_and_minimum(block: &[u8], sub: usize) -> (f32, f32) {
    let packed = &block[4..16];
    let (d, m) = if sub < 4 {
        (packed[sub] & 63, packed[sub + 4] & 63)
    } else {
        (
            packed[sub + 4] & 15 | (packed[sub - 4] >> 6) << 4,
            packed[sub + 4] >> 4 | (packed[sub] >> 6) << 4,
        )
    };
    (
        half_at(block, 0) * f32::from(d),
        half_at(block, 2) * f32::from(m),
    )
}
