//! Bytes in, typed values out: model configurations, safetensors checkpoints, NF4 weights, PEFT
//! adapters, tokenizers, prompt templates, data files and training examples.
//!
//! Nothing here does I/O or touches a GPU: callers bring bytes and take values, so the same code
//! serves the browser tab, the command line and the tests. Parsers never panic on bad input; every
//! error is typed, says what is wrong and what to do, and never quotes the visitor's own text.

pub mod checkpoint;
pub mod config;
pub mod dataset;
pub mod examples;
pub mod gguf;
mod json;
pub mod nf4;
pub mod peft;
pub mod sentencepiece;
pub mod template;
pub mod tokenizer;
