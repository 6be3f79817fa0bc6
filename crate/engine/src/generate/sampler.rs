use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vaultlab_protocol::Sampling;

use super::{Processors, softmax};

/// Chooses the next token: the largest logit at temperature 0, otherwise a draw from the processed distribution.
#[derive(Clone, Debug)]
pub struct Sampler {
    settings: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// A sampler whose draws follow from `settings.seed`.
    pub fn new(settings: Sampling) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(u64::from(settings.seed));
        Self { settings, rng }
    }

    /// The next id; `history` holds every id so far, the prompt included. Of equal logits the lowest id wins.
    pub fn next(&mut self, mut logits: Vec<f32>, history: &[u32]) -> u32 {
        Processors::new(&self.settings).apply(&mut logits, history);
        if self.settings.temperature <= 0.0 {
            let mut best = 0;
            for (id, &logit) in logits.iter().enumerate() {
                if logit > logits[best] {
                    best = id;
                }
            }
            return best as u32;
        }
        let probabilities = softmax(&logits);
        let mut left: f64 =
            self.rng.random::<f64>() * probabilities.iter().map(|&p| f64::from(p)).sum::<f64>();
        let mut last = 0;
        for (id, &probability) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            last = id;
            left -= f64::from(probability);
            if left < 0.0 {
                break;
            }
        }
        last as u32
    }
}
