//! The integer Gaussian against its exact law, and the ChaCha20 it is drawn from.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use vaultlab_privacy::chacha;
use vaultlab_privacy::noise::{StepNoise, expected_norm};

/// A test that passes a right sampler but once in about 10⁶ runs; keys are fixed, so it passes always or never.
const LIMIT: f64 = 5.0;

fn key(number: u32) -> [u32; 8] {
    [number, 1, 2, 3, 4, 5, 6, 7]
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

/// RFC 8439, section 2.3.2: the block function's test vector.
#[test]
fn block_function_of_the_rfc() {
    let key: Vec<u8> = (0..32).collect();
    let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0];
    let block = chacha::block(
        &words(&key).try_into().unwrap(),
        1,
        words(&nonce).try_into().unwrap(),
    );
    assert_eq!(
        block,
        [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2,
        ]
    );
}

/// All words against `rand_chacha`, whose 64-bit counter and stream number are the same four words of state.
#[test]
fn block_function_of_rand_chacha() {
    for (counter, nonce) in [
        (0_u32, [0_u32; 3]),
        (7, [8, 9, 10]),
        (u32::MAX, [1, u32::MAX, 3]),
    ] {
        let key = key(nonce[0]);
        let bytes: Vec<u8> = key.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut stream = ChaCha20Rng::from_seed(bytes.try_into().unwrap());
        stream.set_stream(u64::from(nonce[2]) << 32 | u64::from(nonce[1]));
        let block_index = u128::from(nonce[0]) << 32 | u128::from(counter);
        stream.set_word_pos(block_index * 16);
        let expected: [u32; 16] = std::array::from_fn(|_| stream.next_u32());
        assert_eq!(chacha::block(&key, counter, nonce), expected);
    }
}

/// Φ(x) by the series of positive terms φ(x)(x + x³/3 + x⁵/15 + …) + 1/2 (Abramowitz, Stegun 26.2.11).
fn normal_cdf(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// (χ² - degrees)/sqrt(2·degrees) of counts of ⌊2^k·Z⌋ by `width` integers each, against the exact
/// probabilities; cells expected to hold fewer than 20 draws are pooled.
fn chi_square(noise: &StepNoise, draws: u32, width: i32) -> f64 {
    let scale = f64::from(1 << noise.bits());
    let half = (5.5 * scale / f64::from(width)).ceil() as i32;
    let mut counts = vec![0_u32; 2 * half as usize + 2];
    for coordinate in 0..draws {
        let cell = noise
            .integer(coordinate)
            .div_euclid(width)
            .clamp(-half - 1, half);
        counts[(cell + half + 1) as usize] += 1;
    }
    let below = |cell: i32| normal_cdf(f64::from(cell * width) / scale);
    let (mut sum, mut cells) = (0.0, 0);
    let (mut pooled, mut pooled_count) = (0.0, 0.0);
    for (index, &count) in counts.iter().enumerate() {
        let cell = index as i32 - half - 1;
        let low = if cell < -half { 0.0 } else { below(cell) };
        let high = if cell == half { 1.0 } else { below(cell + 1) };
        pooled += f64::from(draws) * (high - low);
        pooled_count += f64::from(count);
        if pooled >= 20.0 {
            sum += (pooled_count - pooled).powi(2) / pooled;
            cells += 1;
            (pooled, pooled_count) = (0.0, 0.0);
        }
    }
    let degrees = f64::from(cells - 1);
    (sum - degrees) / (2.0 * degrees).sqrt()
}

/// Ten million draws, integer by integer, where the grid is coarse enough for every integer's probability to
/// be tested: k = 0 (the whole part and the sign) and k = 4.
#[test]
fn coarse_noise_has_the_exact_law() {
    for (bits, draws) in [(0, 3_000_000), (4, 10_000_000)] {
        let stray = chi_square(&StepNoise::of_known_key(key(bits), bits), draws, 1);
        assert!(stray.abs() < LIMIT, "k = {bits}: {stray}");
    }
}

/// The finest grid in use, in 11 · 64 cells of a 64th of a standard deviation.
#[test]
fn fine_noise_has_the_exact_law() {
    let stray = chi_square(&StepNoise::of_known_key(key(20), 20), 3_000_000, 1 << 14);
    assert!(stray.abs() < LIMIT, "{stray}");
}

/// The low bits of fine noise are uniform but for 2^-20 (a 1024-cell χ² of the ten lowest).
#[test]
fn low_bits_are_uniform() {
    let noise = StepNoise::of_known_key(key(3), 20);
    let draws = 1_000_000_u32;
    let mut counts = vec![0_u32; 1024];
    for coordinate in 0..draws {
        counts[(noise.integer(coordinate) & 1023) as usize] += 1;
    }
    let expected = f64::from(draws) / 1024.0;
    let chi: f64 = counts
        .iter()
        .map(|&count| (f64::from(count) - expected).powi(2) / expected)
        .sum();
    assert!(((chi - 1023.0) / 2046.0_f64.sqrt()).abs() < LIMIT);
}

/// The first four moments of 3·10⁶ draws (with half a unit added for the rounding down), and the correlation
/// of neighbouring coordinates and of neighbouring keys: each mean strays by standard deviation / sqrt(n), with
/// E x² = 1, Var x² = 2, Var x³ = 15, Var x⁴ = 96.
#[test]
fn noise_has_gaussian_moments() {
    let count = 3_000_000_u32;
    let draw = |number: u32| -> Vec<f64> {
        let noise = StepNoise::of_known_key(key(number), 20);
        (0..count)
            .map(|i| (f64::from(noise.integer(i)) + 0.5) / f64::from(1 << 20))
            .collect()
    };
    let (noise, other) = (draw(7), draw(8));
    let n = f64::from(count);
    let mean = |f: &dyn Fn(f64) -> f64| noise.iter().map(|&x| f(x)).sum::<f64>() / n;
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / n.sqrt();
    let strays = [
        mean(&|x| x) * n.sqrt(),
        (mean(&|x| x * x) - 1.0) * (n / 2.0).sqrt(),
        mean(&|x| x * x * x) * (n / 15.0).sqrt(),
        (mean(&|x| x.powi(4)) - 3.0) * (n / 96.0).sqrt(),
        product(&noise, &noise[1..]),
        product(&noise, &other),
    ];
    assert!(strays.iter().all(|stray| stray.abs() < LIMIT), "{strays:?}");
}

/// The noise of a grid is the coarser grid's, refined: the same Z, rounded down. That is what makes it a
/// function of a real-valued Gaussian.
#[test]
fn grids_share_the_underlying_gaussian() {
    let fine = StepNoise::of_known_key(key(5), 20);
    for bits in [0, 3, 8, 19] {
        let coarse = StepNoise::of_known_key(key(5), bits);
        for coordinate in 0..10_000 {
            assert_eq!(
                coarse.integer(coordinate),
                fine.integer(coordinate) >> (20 - bits)
            );
        }
    }
}

/// The noise's norm is as announced: its square is χ² with as many degrees of freedom as coordinates.
#[test]
fn noise_norm_is_as_expected() {
    let noise = StepNoise::of_known_key(key(9), 20);
    let norm = (0..100_000)
        .map(|i| (f64::from(noise.integer(i)) / f64::from(1 << 20)).powi(2))
        .sum::<f64>()
        .sqrt();
    assert!((norm / expected_norm(1.0, 100_000) - 1.0).abs() < LIMIT / (2.0_f64 * 1e5).sqrt());
    // E of the χ distribution: sqrt(2/π) and sqrt(π/2) in one and two dimensions.
    assert!((expected_norm(1.0, 1) / (2.0 / std::f64::consts::PI).sqrt() - 1.0).abs() < 0.125);
    assert!((expected_norm(1.0, 2) / (std::f64::consts::PI / 2.0).sqrt() - 1.0).abs() < 0.032);
    assert_eq!(expected_norm(1.0, 0), 0.0);
}
