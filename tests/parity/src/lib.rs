//! The engine against transformers, PEFT and torch on the golden data.
//!
//! One list of checks for every place the engine runs in: `cargo test` calls it natively on both devices, and
//! `tests/browser/parity.test.mjs` in Chromium on both devices. Nothing here panics on a wrong value: a check reports
//! the error it found and the largest one allowed.
//!
//! Tolerance 1e-4 of the reference's largest value: torch differs from itself by about 1e-5 when its blocking
//! changes, and errors of formula are orders of magnitude larger.

mod checks;
mod golden;

#[cfg(target_arch = "wasm32")]
mod browser;

pub use checks::{FAMILIES, run};
pub use golden::{GoldenFiles, file_names};

use serde::Serialize;

/// What one comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was compared.
    pub name: String,
    /// Largest difference, relative to the reference's largest value; NaN if a value is not finite.
    pub error: f64,
    /// Largest error allowed.
    pub allowed: f64,
}

impl Check {
    /// True if the error is within bounds.
    pub fn passed(&self) -> bool {
        self.error <= self.allowed
    }
}
