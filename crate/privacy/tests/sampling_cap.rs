//! Capped Poisson sampling against its exact law.
//!
//! Thresholds as in `sampling.rs`: 5 standard deviations of a standardised χ², on fixed streams.

use std::collections::BTreeMap;

use vaultlab_privacy::randomness::{Purpose, Randomness, Streams};
use vaultlab_privacy::sampling::PoissonSampler;

fn draws(sampler: PoissonSampler, count: u32) -> impl Iterator<Item = Vec<usize>> {
    let streams = Streams::new(Randomness::InsecureSeed(5)).unwrap();
    (0..count).map(move |step| sampler.draw(&mut streams.stream(step, Purpose::Sampling)))
}

fn choose(n: u64, k: u64) -> f64 {
    (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
}

/// All subsets of 6 rows in batches of at most 3. Below the cap a subset of size s has the Poisson
/// probability q^s·(1-q)^(N-s); at the cap it takes an equal share of all draws that contain it,
/// Σ_k C(N-3, k-3)·q^k·(1-q)^(N-k) / C(k, 3). χ² over all 42 subsets.
#[test]
fn capped_batches_have_the_exact_law() {
    let (rows, expected, cap, count) = (6_u64, 3_u64, 3_u64, 200_000_u32);
    let q = expected as f64 / rows as f64;
    let of_size = |k: u64| q.powi(k as i32) * (1.0 - q).powi((rows - k) as i32);
    let probability = |size: u64| {
        if size < cap {
            return of_size(size);
        }
        (cap..=rows)
            .map(|k| choose(rows - cap, k - cap) * of_size(k) / choose(k, cap))
            .sum()
    };
    let mut found: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
    let sampler = PoissonSampler::new(rows, expected).unwrap().with_cap(cap);
    for drawn in draws(sampler, count) {
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]), "sorted");
        *found.entry(drawn).or_default() += 1;
    }
    let subsets: f64 = (0..=cap).map(|size| choose(rows, size)).sum();
    assert_eq!(found.len() as f64, subsets);
    let total: f64 = (0..=cap)
        .map(|size| choose(rows, size) * probability(size))
        .sum();
    assert!((total - 1.0).abs() < 1e-12, "{total}");
    let chi: f64 = found
        .iter()
        .map(|(subset, &times)| {
            let expected = probability(subset.len() as u64) * f64::from(count);
            (f64::from(times) - expected).powi(2) / expected
        })
        .sum();
    let freedom = subsets - 1.0;
    let standard = (chi - freedom) / (2.0 * freedom).sqrt();
    assert!(standard.abs() < 5.0, "χ² strays by {standard}");
}

/// A cap that no draw reaches changes no batch, and a cap never lets a larger batch through.
#[test]
fn a_cap_only_cuts_larger_draws() {
    let sampler = PoissonSampler::new(400, 20).unwrap();
    let (mut cut, mut same) = (0, 0);
    for (whole, capped) in draws(sampler, 300).zip(draws(sampler.with_cap(24), 300)) {
        if whole.len() <= 24 {
            assert_eq!(capped, whole);
            same += 1;
        } else {
            assert_eq!(capped.len(), 24);
            assert!(capped.iter().all(|row| whole.contains(row)));
            cut += 1;
        }
    }
    assert!(cut > 10 && same > 10, "{cut} cut, {same} not");
    assert!(
        draws(sampler, 50).eq(draws(sampler.with_cap(400), 50)),
        "a cap of all rows cuts nothing"
    );
}
