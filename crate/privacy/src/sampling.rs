//! Poisson sampling: every row joins a batch by a coin of its own, independent of all others.
//!
//! This, and not shuffling or drawing a batch of fixed size, is what the accountant's sampling rate
//! means. The coin is exact: with B expected and N rows, a uniform 64-bit integer is drawn below the
//! largest multiple of N (by rejection) and compared with B/N of that multiple, so the probability
//! is the rational number B/N, not a float near it.

use rand::Rng;

/// The law of a logical batch: each of `rows` rows with probability `expected_batch / rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoissonSampler {
    rows: u64,
    /// Integers below this are accepted: N·⌊2^64/N⌋, or 2^64 (held as `u128`).
    accepted: u128,
    /// Integers below this include the row: B·⌊2^64/N⌋.
    included: u128,
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
        })
    }

    /// Draws a batch: row indices in increasing order; may be empty, may be all rows.
    pub fn draw<R: Rng + ?Sized>(&self, random: &mut R) -> Vec<usize> {
        (0..self.rows as usize)
            .filter(|_| self.coin(random))
            .collect()
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
