//! Answers: prefill, cached decode, logits processors, sampling, streaming.

mod answer;
mod processors;
mod sampler;
mod stop;

pub use answer::{Prompt, generate};
pub use processors::{Processors, softmax};
pub use sampler::Sampler;
pub use stop::StopStrings;
