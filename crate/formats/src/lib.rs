//! Bytes in, typed values out: model configurations, safetensors and GGUF checkpoints, NF4 and 8-bit
//! weights, PEFT adapters, tokenizers, prompt templates, data files and training examples; and what
//! they will need in memory.
//!
//! Nothing here does I/O or touches a GPU: callers bring bytes and take values, so the same code
//! serves the browser tab, the command line and the tests. Parsers never panic on bad input; every
//! error is typed, says what is wrong and what to do, and never quotes the visitor's own text.

pub mod checkpoint;
pub mod config;
pub mod dataset;
pub mod estimate;
pub mod examples;
pub mod gguf;
pub mod half_precision;
pub mod inspect;
pub mod int8;
mod json;
pub mod nf4;
pub mod peft;
pub mod sentencepiece;
pub mod template;
pub mod tokenizer;
