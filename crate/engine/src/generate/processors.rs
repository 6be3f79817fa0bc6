use vaultlab_protocol::Sampling;

/// Logits processors in transformers' order: repetition penalty, then for sampling only temperature, top-k, top-p,
/// min-p. Removed tokens become -∞.
#[derive(Clone, Copy, Debug)]
pub struct Processors<'a> {
    settings: &'a Sampling,
}

impl<'a> Processors<'a> {
    /// The processors that `settings` switch on.
    pub fn new(settings: &'a Sampling) -> Self {
        Self { settings }
    }

    /// Processes one row of logits; `history` holds every id so far, the prompt included.
    pub fn apply(&self, logits: &mut [f32], history: &[u32]) {
        let s = self.settings;
        if s.repetition_penalty != 1.0 {
            repetition_penalty(logits, history, s.repetition_penalty);
        }
        if s.temperature <= 0.0 {
            return;
        }
        logits.iter_mut().for_each(|logit| *logit /= s.temperature);
        if s.top_k > 0 {
            top_k(logits, s.top_k as usize);
        }
        if s.top_p < 1.0 {
            top_p(logits, s.top_p);
        }
        if s.min_p > 0.0 {
            min_p(logits, s.min_p);
        }
    }
}

/// Once per distinct id of the history: a positive logit is divided, a negative one multiplied
/// (CTRL, Keskar et al. 2019, section 4.1).
fn repetition_penalty(logits: &mut [f32], history: &[u32], penalty: f32) {
    let mut seen: Vec<usize> = history
        .iter()
        .map(|&id| id as usize)
        .filter(|&id| id < logits.len())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        let logit = &mut logits[id];
        *logit = if *logit > 0.0 {
            *logit / penalty
        } else {
            *logit * penalty
        };
    }
}

/// Keeps the k largest, and whatever ties with the k-th.
fn top_k(logits: &mut [f32], k: usize) {
    if k >= logits.len() {
        return;
    }
    let mut sorted = logits.to_vec();
    let (_, kth, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    let kth = *kth;
    logits
        .iter_mut()
        .filter(|logit| **logit < kth)
        .for_each(|logit| *logit = f32::NEG_INFINITY);
}

/// Drops the least likely tokens whose mass together is at most 1 - p; the most likely one always stays
/// (nucleus sampling, Holtzman et al. 2020).
fn top_p(logits: &mut [f32], p: f32) {
    let probabilities = softmax(logits);
    let mut ascending: Vec<usize> = (0..logits.len()).collect();
    ascending.sort_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    let mut mass = 0.0f64;
    let last = ascending.len().saturating_sub(1);
    for &id in &ascending[..last] {
        mass += f64::from(probabilities[id]);
        if mass > 1.0 - f64::from(p) {
            return;
        }
        logits[id] = f32::NEG_INFINITY;
    }
}

/// Drops tokens below `share` of the most likely one's probability.
fn min_p(logits: &mut [f32], share: f32) {
    let probabilities = softmax(logits);
    let largest = probabilities.iter().copied().fold(0.0, f32::max);
    for (logit, probability) in logits.iter_mut().zip(probabilities) {
        if probability < share * largest {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// Probabilities of a row of logits, computed in f64.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits
        .iter()
        .map(|&logit| f64::from(logit - largest).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights
        .into_iter()
        .map(|weight| (weight / sum) as f32)
        .collect()
}
