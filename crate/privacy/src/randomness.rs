//! Where random bits come from: ChaCha20 streams, one per step and purpose.
//!
//! The key is drawn from the platform's CSPRNG when a session begins and lives only as long as the
//! session. It is never stored, not even in a checkpoint: whoever holds the key can recompute the noise
//! and subtract it, and a resumed run that drew a step's noise a second time for another batch would
//! let the two releases be subtracted from one another. A resumed run therefore draws a fresh key; its
//! continuation differs from what an uninterrupted run would have done, with the same distribution.
//!
//! In the insecure test mode the key is a function of a seed, so that step t is the same step t in any
//! session with that seed, and a resumed run equals an uninterrupted one bit for bit.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The caller's choice of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Randomness {
    /// A 256-bit key from the platform's CSPRNG; the only choice that gives privacy.
    Secure,
    /// INSECURE, for tests only: every random choice follows from this seed, so there is no privacy.
    InsecureSeed(u32),
}

/// The platform gave no random bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the platform's random number generator failed ({0}); private training cannot start without it"
)]
pub struct NoRandomness(String);

/// What a stream is used for; streams of different purposes never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which rows join the batch.
    Sampling = 0,
    /// Noise added to the clipped sum.
    Noise = 1,
}

/// A keyed family of independent streams. Has no way to show its key.
pub struct Streams {
    key: [u8; 32],
    secure: bool,
}

impl Streams {
    /// Draws or derives the key.
    ///
    /// # Errors
    /// [`NoRandomness`] if the platform's CSPRNG fails; there is no fallback.
    pub fn new(randomness: Randomness) -> Result<Self, NoRandomness> {
        match randomness {
            Randomness::Secure => Ok(Self {
                key: random_bytes()?,
                secure: true,
            }),
            Randomness::InsecureSeed(seed) => {
                let digest = Sha256::new()
                    .chain_update(b"vaultlab insecure test seed")
                    .chain_update(seed.to_le_bytes())
                    .finalize();
                Ok(Self {
                    key: digest.into(),
                    secure: false,
                })
            }
        }
    }

    /// The stream of one step and purpose, from its beginning.
    pub fn stream(&self, step: u32, purpose: Purpose) -> ChaCha20Rng {
        let mut stream = ChaCha20Rng::from_seed(self.key);
        stream.set_stream(u64::from(step) << 8 | purpose as u64);
        stream
    }

    /// False in the insecure test mode.
    pub fn is_secure(&self) -> bool {
        self.secure
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // The optimiser may remove a plain store to memory that is about to die.
        self.key = std::hint::black_box([0; 32]);
        std::hint::black_box(&self.key);
    }
}

/// Bytes from the platform's CSPRNG.
///
/// # Errors
/// [`NoRandomness`] if it fails.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(bytes)
}
