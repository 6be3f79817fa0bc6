//! The laws that the accounting assumes, tested on fixed streams of the insecure test mode.
//!
//! Thresholds: each statistic is approximately standard normal under the law, and 5 standard deviations
//! are exceeded with probability 6e-7; with fixed seeds a test passes always or never. The errors to be
//! caught (a biased coin, a wrong variance, correlated coordinates) move it by tens to hundreds.

use rand::Rng;
use vaultlab_privacy::randomness::{Purpose, Randomness, Streams};
use vaultlab_privacy::sampling::PoissonSampler;

const LIMIT: f64 = 5.0;

fn streams(seed: u32) -> Streams {
    Streams::new(Randomness::InsecureSeed(seed)).unwrap()
}

/// Row counts of `draws` batches, and how often each row was drawn.
fn draw_many(rows: u64, batch: u64, draws: u32) -> (Vec<usize>, Vec<u32>) {
    let (sampler, streams) = (PoissonSampler::new(rows, batch).unwrap(), streams(1));
    let mut hits = vec![0; rows as usize];
    let sizes = (0..draws)
        .map(|step| {
            let drawn = sampler.draw(&mut streams.stream(step, Purpose::Sampling));
            assert!(
                drawn.windows(2).all(|pair| pair[0] < pair[1]),
                "increasing, so no row twice"
            );
            drawn.iter().for_each(|&row| hits[row] += 1);
            drawn.len()
        })
        .collect();
    (sizes, hits)
}

/// Every row has probability B/N: no row's count strays from Binomial(draws, q), nor do all together
/// (χ² with N degrees of freedom, standardised). 10⁷ coins.
#[test]
fn every_row_joins_with_probability_q() {
    let (rows, batch, draws) = (500, 32, 20_000);
    let (_, hits) = draw_many(rows, batch, draws);
    let q = batch as f64 / rows as f64;
    let (mean, variance) = (f64::from(draws) * q, f64::from(draws) * q * (1.0 - q));
    let squares: Vec<f64> = hits
        .iter()
        .map(|&hit| (f64::from(hit) - mean).powi(2) / variance)
        .collect();
    let largest = squares.iter().copied().fold(0.0, f64::max).sqrt();
    assert!(
        largest < LIMIT,
        "a row strays by {largest} standard deviations"
    );
    let n = rows as f64;
    let chi = (squares.iter().sum::<f64>() - n) / (2.0 * n).sqrt();
    assert!(chi.abs() < LIMIT, "χ² strays by {chi}");
}

/// Batch sizes are Binomial(N, q): χ² over all sizes with an expected count of at least 10. A fixed
/// batch size, or rows drawn together, would give quite another law.
#[test]
fn batch_sizes_are_binomial() {
    let (rows, batch, draws) = (60_u64, 9, 40_000);
    let (sizes, _) = draw_many(rows, batch, draws);
    let q = batch as f64 / rows as f64;
    let mut probability = (1.0 - q).powi(rows as i32);
    let (mut chi, mut cells) = (0.0, 0.0);
    for size in 0..=rows {
        let expected = probability * f64::from(draws);
        if expected >= 10.0 {
            let found = sizes
                .iter()
                .filter(|&&found| found == size as usize)
                .count() as f64;
            chi += (found - expected).powi(2) / expected;
            cells += 1.0;
        }
        probability *= (rows - size) as f64 / (size + 1) as f64 * q / (1.0 - q);
    }
    assert!(cells > 15.0);
    let standard = (chi - cells) / (2.0_f64 * cells).sqrt();
    assert!(standard.abs() < LIMIT, "χ² strays by {standard}");
}

/// A source that returns a fixed list of integers.
struct Script(Vec<u64>);

impl rand::TryRng for Script {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|value| value as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.remove(0))
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
        unreachable!("the sampler asks for integers")
    }
}

/// The threshold is exact: of the 2^64 integers, N·⌊2^64/N⌋ are accepted, and B·⌊2^64/N⌋ of those
/// include the row, which is B/N. With N = 3 one integer is rejected; q as f32 would move it by more than 2^37.
#[test]
fn the_threshold_is_exact() {
    let third = u64::MAX / 3; // ⌊2^64/3⌋
    let sampler = PoissonSampler::new(3, 1).unwrap();
    let mut script = Script(vec![third - 1, third, u64::MAX, 3 * third - 1]);
    assert_eq!(sampler.draw(&mut script), [0], "in, out, (rejected) out");
    assert_eq!(script.0.len(), 0);
    let everyone = PoissonSampler::new(4, 4).unwrap();
    assert_eq!(
        everyone.draw(&mut Script(vec![0, u64::MAX, 1, u64::MAX])),
        [0, 1, 2, 3]
    );
    assert!(PoissonSampler::new(3, 4).is_none() && PoissonSampler::new(3, 0).is_none());
    assert!(PoissonSampler::new(0, 0).is_none());
}

/// Streams repeat under the same seed, step and purpose, and share nothing under another.
#[test]
fn streams_are_separate_and_repeatable() {
    let first =
        |seed: u32, step: u32, purpose: Purpose| streams(seed).stream(step, purpose).next_u64();
    assert_eq!(first(1, 2, Purpose::Noise), first(1, 2, Purpose::Noise));
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..10 {
        for step in [0, 1, 2, 255, 256, 257, u32::MAX] {
            assert!(seen.insert(first(seed, step, Purpose::Sampling)));
            assert!(seen.insert(first(seed, step, Purpose::Noise)));
        }
    }
    let secure = || Streams::new(Randomness::Secure).unwrap();
    assert!(secure().is_secure() && !streams(1).is_secure());
    let fresh = |streams: Streams| streams.stream(0, Purpose::Noise).next_u64();
    assert_ne!(
        fresh(secure()),
        fresh(secure()),
        "each session has a key of its own"
    );
}
