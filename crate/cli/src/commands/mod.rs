//! One command a file: parse, call the engine, report.

pub mod accounting;
pub mod audit;
pub mod beam;
pub mod finetune;
pub mod generate;
pub mod grads;
pub mod logits;
mod open;
pub mod verify;
