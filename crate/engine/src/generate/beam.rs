use vaultlab_protocol::Sampling;

use super::{Processors, Prompt};
use crate::EngineError;
use crate::lora::DeviceAdapter;
use crate::model::Decoder;
use crate::train::read;

/// Settings of a beam search.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamSettings {
    /// Sequences kept at every step, and returned.
    pub beams: usize,
    /// At most this many new tokens.
    pub max_new_tokens: usize,
    /// A finished sequence's score is its log-probability over its new tokens to this power.
    pub length_penalty: f64,
    /// Divides or multiplies the log-probabilities of ids seen so far, as for a sampler's logits; 1 is off.
    pub repetition_penalty: f32,
    /// Ids that end a sequence.
    pub eos: Vec<u32>,
}

impl BeamSettings {
    /// Four beams, as many tokens as are asked for, length penalty 1, ending where the model ends.
    pub fn new(model: &Decoder, max_new_tokens: usize) -> Self {
        Self {
            beams: 4,
            max_new_tokens,
            length_penalty: 1.0,
            repetition_penalty: 1.0,
            eos: model.config.eos.clone(),
        }
    }
}

/// A sequence that a beam search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Beam {
    /// New token ids, the one that ended it included.
    pub tokens: Vec<u32>,
    /// Sum of its log-probabilities in nats, or that over a power of its length once it is finished.
    pub score: f64,
}

/// The likeliest continuations of a prompt that a beam search finds, the best first; as transformers searches
/// without early stopping.
///
/// Every step keeps the best `max(2, 1 + EOS ids) · beams` one-token continuations. Those of the first `beams` that
/// end are finished; the best that do not end go on. The search ends when `beams` sequences are finished and the
/// best running one, at its present length, scores no better than the worst of them, or at the length limit, where
/// whatever ranks among the first `beams` counts as finished.
///
/// # Errors
/// [`EngineError::Settings`] for no beam or a prompt that fills the context; what `pause`, awaited once a step,
/// returns; and a failed read-back.
pub async fn beam_search<P: AsyncFnMut() -> Result<(), EngineError>>(
    model: &Decoder,
    prompt: &Prompt,
    adapter: Option<&DeviceAdapter>,
    settings: &BeamSettings,
    mut pause: P,
) -> Result<Vec<Beam>, EngineError> {
    if settings.beams == 0 {
        return Err(EngineError::Settings(
            "beam search needs at least one beam".into(),
        ));
    }
    let mut cache = prompt.open(model, settings.max_new_tokens, adapter)?;
    let most = cache.capacity() - prompt.ids.len();
    let penalties = Sampling {
        repetition_penalty: settings.repetition_penalty,
        ..Sampling::default()
    };
    let mut running = vec![Beam {
        tokens: Vec::new(),
        score: 0.0,
    }];
    let mut finished: Vec<Beam> = Vec::new();
    let mut ids = prompt.ids.clone();
    for length in 1..=most {
        let logits = read(model.decode(&ids, running.len(), &mut cache, adapter)).await?;
        let vocabulary = logits.len() / running.len();
        let mut candidates = Vec::with_capacity(logits.len());
        for (parent, (beam, logits)) in running.iter().zip(logits.chunks(vocabulary)).enumerate() {
            let mut scores = log_softmax(logits);
            let history = [prompt.ids.as_slice(), &beam.tokens].concat();
            Processors::new(&penalties).apply(&mut scores, &history);
            let scores = scores.into_iter().map(f64::from);
            candidates.extend((0_u32..).zip(scores).map(|(token, score)| Candidate {
                parent,
                token,
                score: beam.score + score,
            }));
        }
        let kept = best(candidates, 2.max(1 + settings.eos.len()) * settings.beams);

        let ends = |c: &Candidate| length == most || settings.eos.contains(&c.token);
        let divisor = (length as f64).powf(settings.length_penalty);
        for candidate in kept.iter().take(settings.beams).filter(|c| ends(c)) {
            let beam = candidate.beam(&running);
            finished.push(Beam {
                score: beam.score / divisor,
                ..beam
            });
        }
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        finished.truncate(settings.beams);

        let go_on: Vec<&Candidate> = kept
            .iter()
            .filter(|c| !ends(c))
            .take(settings.beams)
            .collect();
        let Some(leader) = go_on.first() else { break };
        let worst = finished.last().map_or(f64::NEG_INFINITY, |beam| beam.score);
        if finished.len() == settings.beams && leader.score / divisor <= worst {
            break;
        }
        let parents: Vec<usize> = go_on.iter().map(|c| c.parent).collect();
        cache.select(&parents);
        ids = go_on.iter().map(|c| c.token).collect();
        running = go_on.iter().map(|c| c.beam(&running)).collect();
        pause().await?;
    }
    Ok(finished)
}

/// A running sequence and a token after it.
#[derive(Clone, Copy)]
struct Candidate {
    parent: usize,
    token: u32,
    score: f64,
}

impl Candidate {
    fn beam(&self, running: &[Beam]) -> Beam {
        let mut tokens = running[self.parent].tokens.clone();
        tokens.push(self.token);
        Beam {
            tokens,
            score: self.score,
        }
    }
}

/// The `count` best, in order; of equal scores the earlier candidate goes first.
fn best(mut candidates: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    let order = |a: &Candidate, b: &Candidate| {
        b.score
            .total_cmp(&a.score)
            .then((a.parent, a.token).cmp(&(b.parent, b.token)))
    };
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, order);
        candidates.truncate(count);
    }
    candidates.sort_by(order);
    candidates
}

/// Logarithms of the probabilities of a row of logits, computed in f64.
fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - largest).exp())
        .sum();
    let log_sum = largest + sum.ln();
    logits
        .iter()
        .map(|&logit| (f64::from(logit) - log_sum) as f32)
        .collect()
}
