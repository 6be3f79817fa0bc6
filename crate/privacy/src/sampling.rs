//! Poisson sampling: every row joins a batch by a coin of its own, independent of all others.
//!
//! This, and not shuffling or drawing a batch of fixed size, is what the accountant's sampling rate
//! means. The coin is exact: with B expected and N rows, a uniform 64-bit integer is drawn below the
//! largest multiple of N (by rejection) and compared with B/N of that multiple, so the probability
//! is the rational number B/N, not a float near it.
//!
//! A batch may be capped. Of a draw larger than the cap, so many rows are kept, every subset of that size
//! with the same probability, again by whole numbers. Rows then no longer join independently, which the
//! accountant must know ([`crate::accountant::Truncation`]); near the expected size a cap costs much ε,
//! from about twice that size on next to none.

use rand::Rng;

/// The law of a logical batch: each of `rows` rows with probability `expected_batch / rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoissonSampler {
    rows: u64,
    /// Integers below this are accepted: N·⌊2^64/N⌋, or 2^64 (held as `u128`).
    accepted: u128,
    /// Integers below this include the row: B·⌊2^64/N⌋.
    included: u128,
    /// Largest batch.
    cap: usize,
}

impl PoissonSampler {
    /// A sampler, or `None` unless 1 ≤ `expected_batch` ≤ `rows`.
    pub fn new(rows: u64, expected_batch: u64) -> Option<Self> {
        if expected_batch == 0 || expected_batch > rows {
            return None;
        }
        let share = (1_u128 << 64) / u128::from(rows);
        Some(Self {
            rows,
            accepted: share * u128::from(rows),
            included: share * u128::from(expected_batch),
            cap: usize::MAX,
        })
    }

    /// The same with batches of at most `cap` rows.
    pub fn with_cap(self, cap: u64) -> Self {
        Self {
            cap: usize::try_from(cap).unwrap_or(usize::MAX),
            ..self
        }
    }

    /// Draws a batch: row indices in increasing order; may be empty, may be all rows if there is no cap.
    pub fn draw<R: Rng + ?Sized>(&self, random: &mut R) -> Vec<usize> {
        let mut drawn: Vec<usize> = (0..self.rows as usize)
            .filter(|_| self.coin(random))
            .collect();
        if drawn.len() > self.cap {
            keep_some(&mut drawn, self.cap, |limit| below(limit, random));
            drawn.sort_unstable();
        }
        drawn
    }

    /// One row's coin.
    fn coin<R: Rng + ?Sized>(&self, random: &mut R) -> bool {
        loop {
            let uniform = u128::from(random.next_u64());
            if uniform < self.accepted {
                return uniform < self.included;
            }
        }
    }
}

/// Keeps `count` elements, every subset of that size with the same probability, if `below(n)` is uniform on
/// 0..n: the first `count` exchanges of the Fisher-Yates shuffle (Knuth, TAOCP 2, algorithm P).
fn keep_some<T>(elements: &mut Vec<T>, count: usize, mut below: impl FnMut(u64) -> u64) {
    for place in 0..count {
        let rest = (elements.len() - place) as u64;
        elements.swap(place, place + below(rest) as usize);
    }
    elements.truncate(count);
}

/// A uniform integer below `limit` > 0: integers past the largest multiple of `limit` are drawn again.
fn below<R: Rng + ?Sized>(limit: u64, random: &mut R) -> u64 {
    let accepted = (1_u128 << 64) / u128::from(limit) * u128::from(limit);
    loop {
        let uniform = random.next_u64();
        if u128::from(uniform) < accepted {
            return uniform % limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Every sequence of choices that `below` can make, once each: each subset of `count` of `n` elements
    /// comes out equally often, in count! of the n·(n-1)·… sequences.
    #[test]
    fn every_subset_is_kept_equally_often() {
        for (n, count) in [(5_u64, 3_usize), (6, 1), (4, 4), (7, 2), (3, 0)] {
            let choices: u64 = (0..count as u64).map(|place| n - place).product();
            let mut found: BTreeMap<Vec<u64>, u64> = BTreeMap::new();
            for mut sequence in 0..choices {
                let mut elements: Vec<u64> = (0..n).collect();
                keep_some(&mut elements, count, |limit| {
                    let choice = sequence % limit;
                    sequence /= limit;
                    choice
                });
                elements.sort_unstable();
                *found.entry(elements).or_default() += 1;
            }
            let orders: u64 = (1..=count as u64).product();
            assert_eq!(found.len() as u64, choices / orders, "{count} of {n}");
            assert!(found.values().all(|&times| times == orders));
        }
    }
}
