//! Answers: prefill, cached decode, beam search, logits processors, sampling, streaming.

mod answer;
mod beam;
mod processors;
mod sampler;
mod stop;

pub use answer::{Prompt, generate};
pub use beam::{Beam, BeamSettings, beam_search};
pub use processors::{Processors, softmax};
pub use sampler::Sampler;
pub use stop::StopStrings;
