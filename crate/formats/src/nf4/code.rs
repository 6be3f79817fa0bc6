//! The two code tables and rounding to them.

use std::sync::LazyLock;

/// The sixteen NormalFloat values (QLoRA, appendix E).
pub const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The 256 values block scales are rounded to: a signed dynamic map. Decade i = 0..6 holds the
/// midpoints of 2^i + 1 points from 0.1 to 1, times 10^(i - 6), with both signs; 0 and 1 are added.
pub fn nested_code() -> &'static [f32; 256] {
    static TABLE: LazyLock<[f32; 256]> = LazyLock::new(signed_dynamic_map);
    &TABLE
}

fn signed_dynamic_map() -> [f32; 256] {
    let mut table = [0.0f32; 256];
    // table[0] stays 0.
    table[1] = 1.0;
    let mut filled = 2;
    for decade in 0..7 {
        let points = linspace_tenth_to_one((1 << decade) + 1);
        let power = 10f64.powi(decade - 6) as f32;
        for pair in points.windows(2) {
            let value = (pair[0] + pair[1]) / 2.0 * power;
            table[filled] = value;
            table[filled + 1] = -value;
            filled += 2;
        }
    }
    debug_assert_eq!(filled, 256);
    table.sort_by(f32::total_cmp);
    table
}

/// `torch.linspace(0.1, 1, count)` on the CPU: the step is an f32, the first half counts up from
/// the start and the second down from the end, each point rounded once.
fn linspace_tenth_to_one(count: usize) -> Vec<f32> {
    let (start, end) = (0.1f32, 1.0f32);
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|i| {
            if i < count / 2 {
                (f64::from(start) + f64::from(step) * i as f64) as f32
            } else {
                (f64::from(end) - f64::from(step) * (count - 1 - i) as f64) as f32
            }
        })
        .collect()
}

/// Index of the entry of a sorted table nearest to `x`, by midpoints; a tie goes to the lower one.
pub(super) fn nearest(midpoints: &[f32], x: f32) -> u8 {
    midpoints.partition_point(|&m| m < x) as u8
}

/// Code of each scaled value, by counting the midpoints below it: the same as a search, but without
/// branches, so that a block takes a few dozen vector instructions.
pub(super) fn nearest_codes(scaled: &[f32; super::BLOCK]) -> [u32; super::BLOCK] {
    let mut codes = [0; super::BLOCK];
    for pair in CODE.windows(2) {
        let midpoint = midpoint(pair[0], pair[1]);
        for (code, &x) in codes.iter_mut().zip(scaled) {
            *code += u32::from(x > midpoint);
        }
    }
    codes
}

/// Midpoints between neighbours of [`nested_code`].
pub(super) fn nested_midpoints() -> &'static [f32; 255] {
    static TABLE: LazyLock<[f32; 255]> = LazyLock::new(|| {
        let code = nested_code();
        std::array::from_fn(|i| midpoint(code[i], code[i + 1]))
    });
    &TABLE
}

fn midpoint(a: f32, b: f32) -> f32 {
    ((f64::from(a) + f64::from(b)) / 2.0) as f32
}

/// The 4-bit codes of packed bytes, in order.
pub(super) fn nibble_codes(packed: &[u8]) -> impl Iterator<Item = u8> {
    packed.iter().flat_map(|&byte| [byte >> 4, byte & 15])
}
