//! Differential privacy for LoRA fine-tuning: what a private step costs, and the only way to take one.
//!
//! The guarantee is (ε, δ)-differential privacy of the Poisson-subsampled Gaussian mechanism under
//! add/remove-one-row adjacency (Abadi et al. 2016, <https://arxiv.org/abs/1607.00133>).
//!
//! | module | idea |
//! |---|---|
//! | [`accountant`] | (sampling rate q, noise multiplier σ, steps) → ε at δ |
//! | [`calibrate`] | target ε → σ or steps; the ε trace of a run |
//! | [`sampling`] | Poisson sampling with inclusion probability exactly B/N |
//! | [`randomness`] | ChaCha20 streams keyed by the platform's CSPRNG, or by an insecure test seed |
//! | [`grid`] | the integers that gradients are clipped and rounded to |
//! | [`noise`] | Gaussian noise in integers, exactly, the same on host and GPU |
//! | [`ledger`] | what was ever charged to a data set, durable, over-counting at worst |
//! | [`session`] | the one type that owns sampler, noise and accounting |
//! | [`statement`] | the claim in words: what ε covers, and what it does not |
//! | [`advice`] | plain-language advice for a plan |
//! | [`audit`] | lower bounds on ε by experiment: canaries, exposure |
//!
//! Nothing here knows tensors, models or devices, and everything builds for `wasm32-unknown-unknown`.
//!
//! ```
//! use vaultlab_privacy::accountant::{epsilon, Phase};
//!
//! // 900 rows, logical batches of 64 on average, σ = 1, 100 steps.
//! let run = Phase { sampling_rate: 64.0 / 900.0, noise_multiplier: 1.0, steps: 100, truncation: None };
//! let spent = epsilon(&[run], 1e-5)?;
//! assert!((4.98..4.99).contains(&spent));
//! # Ok::<(), vaultlab_privacy::accountant::AccountingError>(())
//! ```

pub mod accountant;
pub mod advice;
pub mod audit;
pub mod calibrate;
pub mod chacha;
pub mod grid;
pub mod ledger;
pub mod noise;
pub mod randomness;
pub mod sampling;
pub mod session;
pub mod statement;
