//! Coins, guesses and their count.

use rand::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AuditCounts, AuditError};
use crate::randomness::{Randomness, random_bytes};

/// How many guesses the auditor makes, fixed before training: the threshold on the scores follows from it,
/// and so cannot be chosen by what the guesses turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuessRule {
    /// k₊: the canaries with the highest scores, guessed to be included.
    pub included: usize,
    /// k₋: the canaries with the lowest scores, guessed to be left out.
    pub left_out: usize,
}

impl GuessRule {
    /// So many guesses, half on either side; an odd one goes to "included".
    pub fn balanced(guesses: usize) -> Self {
        Self {
            included: guesses.div_ceil(2),
            left_out: guesses / 2,
        }
    }

    /// Guesses in all, r.
    pub fn guesses(self) -> usize {
        self.included + self.left_out
    }
}

/// What the auditor says of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// It was in the training data.
    Included,
    /// It was not.
    LeftOut,
    /// No guess; counts neither way.
    Abstain,
}

/// Guesses from scores alone, the auditor's step of Algorithm 1 of Steinke, Nasr, Jagielski 2023. It sees no coin.
///
/// A higher score speaks for inclusion; a score that is no number counts as the lowest. Of equal scores the
/// canary that comes first ranks higher, which depends on no coin either. `None` if the rule makes more
/// guesses than there are scores.
pub fn guess(scores: &[f64], rule: GuessRule) -> Option<Vec<Guess>> {
    let undecided = scores.len().checked_sub(rule.guesses())?;
    let comparable = |score: f64| {
        if score.is_nan() {
            f64::NEG_INFINITY
        } else {
            score
        }
    };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| comparable(scores[b]).total_cmp(&comparable(scores[a])));
    let mut guesses = vec![Guess::Abstain; scores.len()];
    let (included, rest) = order.split_at(rule.included);
    for &canary in included {
        guesses[canary] = Guess::Included;
    }
    for &canary in &rest[undecided..] {
        guesses[canary] = Guess::LeftOut;
    }
    Some(guesses)
}

/// The coins of a one-run audit, with the rule by which they will be guessed.
pub struct CanaryPlan {
    coins: Vec<bool>,
    rule: GuessRule,
}

impl CanaryPlan {
    /// Throws a fair coin for each canary.
    ///
    /// In the insecure test mode the coins follow from the seed, apart from all streams of a session with
    /// the same seed: batches drawn from the coins' own bits would be no independent experiment.
    ///
    /// # Errors
    /// [`AuditError::Counts`] for no canary or more guesses than canaries, [`AuditError::NoRandomness`].
    pub fn draw(
        canaries: usize,
        rule: GuessRule,
        randomness: Randomness,
    ) -> Result<Self, AuditError> {
        let guesses = rule.included.saturating_add(rule.left_out);
        if canaries == 0 || guesses > canaries {
            return Err(AuditError::Counts {
                canaries: canaries as u64,
                guesses: guesses as u64,
                correct: 0,
            });
        }
        let key: [u8; 32] = match randomness {
            Randomness::Secure => random_bytes()?,
            Randomness::InsecureSeed(seed) => Sha256::new()
                .chain_update(b"vaultlab insecure audit coins")
                .chain_update(seed.to_le_bytes())
                .finalize()
                .into(),
        };
        let mut random = ChaCha20Rng::from_seed(key);
        let coins = (0..canaries).map(|_| random.next_u32() & 1 == 1).collect();
        Ok(Self { coins, rule })
    }

    /// Canaries m.
    pub fn canaries(&self) -> usize {
        self.coins.len()
    }

    /// The rule fixed beforehand.
    pub fn rule(&self) -> GuessRule {
        self.rule
    }

    /// Indices of the canaries that join the training data.
    pub fn included(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.coins.len()).filter(|&canary| self.coins[canary])
    }

    /// Guesses by the rule and counts the right ones.
    ///
    /// # Errors
    /// [`AuditError::Scores`] unless there is one score per canary.
    pub fn count(&self, scores: &[f64]) -> Result<AuditCounts, AuditError> {
        let wrong = AuditError::Scores {
            scores: scores.len(),
            canaries: self.coins.len(),
        };
        if scores.len() != self.coins.len() {
            return Err(wrong);
        }
        let guesses = guess(scores, self.rule).ok_or(wrong)?;
        let right = |(&guess, &coin): (&Guess, &bool)| match guess {
            Guess::Included => coin,
            Guess::LeftOut => !coin,
            Guess::Abstain => false,
        };
        Ok(AuditCounts {
            canaries: self.coins.len() as u64,
            guesses: self.rule.guesses() as u64,
            correct: guesses
                .iter()
                .zip(&self.coins)
                .filter(|&pair| right(pair))
                .count() as u64,
        })
    }
}
