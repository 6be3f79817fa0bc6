//! One command a file: parse, call the engine, report.

pub mod accounting;
pub mod finetune;
pub mod generate;
pub mod grads;
pub mod logits;
mod open;
