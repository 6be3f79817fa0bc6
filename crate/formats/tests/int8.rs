//! 8-bit and half-precision weights against their definitions and error bounds.

mod common;

use common::Tensors;
use half::f16;
use proptest::prelude::*;
use vaultlab_formats::half_precision::{HalfConverter, NotFinite};
use vaultlab_formats::int8::{BLOCK, Int8Error, Int8Quantizer, Int8Tensor};

/// The documented bound, |x - code s| <= absmax / 254, with room for three roundings in f32.
fn within_bound(values: &[f32], tensor: &Int8Tensor) -> bool {
    let back = tensor.dequantize();
    values
        .chunks(BLOCK)
        .zip(back.chunks(BLOCK))
        .all(|(xs, ys)| {
            let absmax = xs.iter().fold(0.0f64, |m, &x| m.max(f64::from(x).abs()));
            // 1.8e-43: blocks of subnormals become zeros; half a subnormal of rounding otherwise.
            let bound = absmax / 254.0 * (1.0 + 1e-5) + 1.8e-43;
            xs.iter()
                .zip(ys)
                .all(|(&x, &y)| (f64::from(x) - f64::from(y)).abs() <= bound)
        })
}

/// On weights of a model the bound holds, is used (the worst error reaches 90 % of it), and the
/// extremes of every block are kept exactly up to rounding.
#[test]
fn weights_keep_their_bound() {
    let golden = Tensors::open("quant/nf4.safetensors");
    for w in ["w0", "w1", "w2"] {
        let (values, shape) = (
            golden.f32(&format!("{w}.input")),
            golden.shape(&format!("{w}.input")),
        );
        let tensor = Int8Tensor::quantize(&shape, &values).unwrap();
        tensor.check().unwrap();
        assert!(within_bound(&values, &tensor), "{w}");
        let mut worst = 0.0f32;
        for (i, (x, y)) in values.iter().zip(tensor.dequantize()).enumerate() {
            let scale = tensor.scales[i / BLOCK];
            if scale > 0.0 {
                worst = worst.max((x - y).abs() / scale);
            }
            if tensor.codes[i].unsigned_abs() == 127 {
                assert!((x - y).abs() <= 0.5 * scale * 1.0001);
            }
        }
        assert!(worst > 0.45, "{w}: {worst} of a step");
    }
}

/// Codes are the definition's, worked out by hand; ties go to the even code.
#[test]
fn codes_are_rounded_to_the_nearest_step() {
    let values = [127.0, -127.0, 0.4, 0.6, 0.5, 1.5, -2.5, 0.0];
    let tensor = Int8Tensor::quantize(&[8], &values).unwrap();
    assert_eq!(tensor.codes, [127, -127, 0, 1, 0, 2, -2, 0]);
    assert_eq!(tensor.scales, [1.0]);
    let zeros = Int8Tensor::quantize(&[2, 65], &[0.0; 130]).unwrap();
    assert_eq!(
        (zeros.scales.len(), zeros.dequantize()),
        (3, vec![0.0; 130])
    );
}

#[test]
fn impossible_tensors_are_refused() {
    let error = Int8Tensor::quantize(&[3], &[0.0, f32::NAN, 1.0]).unwrap_err();
    assert_eq!(error, Int8Error::NotFinite { index: 1 });
    for found in [2, 4] {
        let error = Int8Tensor::quantize(&[3], &vec![0.0; found]).unwrap_err();
        let expected = Int8Error::WrongLength {
            part: "values",
            found,
            expected: 3,
        };
        assert_eq!(error, expected);
    }
    assert!(matches!(
        Int8Quantizer::new(&[usize::MAX, 2]),
        Err(Int8Error::TooLarge { .. })
    ));
    let mut tensor = Int8Tensor::quantize(&[3], &[1.0; 3]).unwrap();
    tensor.scales.push(1.0);
    assert!(matches!(
        tensor.check(),
        Err(Int8Error::WrongLength { part: "scales", .. })
    ));
    tensor.shape = vec![4];
    assert!(matches!(
        tensor.check(),
        Err(Int8Error::WrongLength { part: "codes", .. })
    ));
}

/// Half precision: every f16 passes unchanged, the rest is rounded, cut or refused as documented.
#[test]
fn half_precision_saturates_and_counts() {
    let mut converter = HalfConverter::default();
    let mut out = Vec::new();
    let all = || (0..=u16::MAX).map(f16::from_bits).filter(|h| h.is_finite());
    let values: Vec<f32> = all().map(f16::to_f32).collect();
    converter.push(&values, &mut out).unwrap();
    assert!(out.iter().copied().eq(all().map(f16::to_bits)));
    assert_eq!((converter.saturated, converter.flushed), (0, 0));

    out.clear();
    let values = [
        65_519.9,
        65_520.0,
        -3e38,
        2.98e-8,
        2.99e-8,
        0.0,
        1.0 + 1.0 / 4096.0,
    ];
    converter.push(&values, &mut out).unwrap();
    let back: Vec<f32> = out.iter().map(|&b| f16::from_bits(b).to_f32()).collect();
    let tiny = 2f32.powi(-24);
    assert_eq!(back, [65_504.0, 65_504.0, -65_504.0, 0.0, tiny, 0.0, 1.0]);
    assert_eq!((converter.saturated, converter.flushed), (2, 1));
    let index = 63_488 + 7 + 1;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut converter = converter.clone();
        assert_eq!(
            converter.push(&[1.0, bad], &mut out),
            Err(NotFinite { index })
        );
    }
}

proptest! {
    /// Any finite values keep the bound, and pieces cut anywhere give the same tensor.
    #[test]
    fn any_values_keep_the_bound(
        values in prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 0..300),
        piece in 1usize..100,
    ) {
        let whole = Int8Tensor::quantize(&[values.len()], &values).unwrap();
        prop_assert!(within_bound(&values, &whole));
        let mut quantizer = Int8Quantizer::new(&[values.len()]).unwrap();
        for part in values.chunks(piece) {
            quantizer.push(part).unwrap();
        }
        prop_assert_eq!(quantizer.finish().unwrap(), whole);
    }

    /// The documented half-precision bounds: 2^-11 relative for normal values, 2^-25 below.
    #[test]
    fn any_value_keeps_the_half_precision_bound(x in -65_504f32..65_504.0, exponent in -30i32..0) {
        let x = x * 2f32.powi(exponent);
        let mut out = Vec::new();
        HalfConverter::default().push(&[x], &mut out).unwrap();
        let error = (f64::from(x) - f64::from(f16::from_bits(out[0]).to_f32())).abs();
        let bound = (f64::from(x.abs()) * 2f64.powi(-11)).max(2f64.powi(-25));
        prop_assert!(error <= bound, "{} loses {}", x, error);
    }
}
