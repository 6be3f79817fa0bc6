//! Fuzzes the PLD accountant: random settings against cheap bounds and its own laws.
//!
//! `cargo run --release -p vaultlab-privacy --example fuzz_accountant -- [SETTINGS] [SEED]`
//!
//! Each setting (q, σ, T, δ, half of them of few steps) is asked for ε and checked against
//! - the lower bound for one step of it, from its closed form: no composition costs less;
//! - Rényi accounting, above which no value may lie (one setting in eight, for it is slower), but for
//!   what the grid may add;
//! - the closed form of full batches, below which subsampling stays, and which it meets at q = 1;
//! - more noise, or one step in three fewer: never dearer, but for what the grid may add;
//! - one in sixteen: both bounds, under both adjacencies, in order.
//!
//! Prints what broke, and fails if anything did.

use std::process::ExitCode;
use std::time::Instant;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vaultlab_privacy::accountant::{Adjacency, Phase, epsilon, gaussian, pld, rdp};

/// What two grids may differ by.
const GRID: f64 = 2e-4;

/// Where a finer grid does not fit, or the setting is Rényi's to bound.
const COARSE: f64 = 0.031;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let settings = arguments.next().and_then(Result::ok).unwrap_or(100_000);
    let seed = arguments.next().and_then(Result::ok).unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let started = Instant::now();
    let mut broken = 0_u64;
    for number in 0..settings {
        let (phase, delta) = setting(&mut random);
        for what in check(number, &phase, delta) {
            broken += 1;
            if broken <= 50 {
                println!("{what}: {phase:?}, delta {delta:e}");
            }
        }
        if (number + 1) % 50_000 == 0 {
            println!(
                "{} settings, {broken} findings, {:.0} s",
                number + 1,
                started.elapsed().as_secs_f64()
            );
        }
    }
    println!(
        "{settings} settings (seed {seed}): {broken} findings in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn setting(random: &mut impl Rng) -> (Phase, f64) {
    let mut log_uniform = |low: f64, high: f64| random.random_range(low.ln()..high.ln()).exp();
    let sampling_rate = log_uniform(1e-6, 1.6).min(1.0);
    let noise_multiplier = log_uniform(0.06, 40.0);
    let delta = log_uniform(1e-13, 0.3);
    let most = if log_uniform(0.5, 2.0) < 1.0 {
        20.0
    } else {
        4000.0
    };
    let steps = log_uniform(1.0, most) as u64;
    let phase = Phase {
        sampling_rate,
        noise_multiplier,
        steps,
        truncation: None,
    };
    (phase, delta)
}

fn check(number: u64, phase: &Phase, delta: f64) -> Vec<String> {
    let ask = |phase: Phase| epsilon(&[phase], delta).unwrap_or(f64::NAN);
    let found = ask(*phase);
    let mut broken = Vec::new();
    let mut require = |holds: bool, what: &str, other: f64| {
        if !holds {
            broken.push(format!("{what} ({found} and {other})"));
        }
    };
    require(found >= 0.0, "not a bound", f64::NAN);
    let one = one_step(phase, delta);
    require(
        found >= one * (1.0 - 1e-9),
        "below one step's closed form",
        one,
    );
    let full = Phase {
        sampling_rate: 1.0,
        ..*phase
    };
    if let Ok(Some(mu)) = gaussian::mu(&[full], Adjacency::AddRemove) {
        let most = gaussian::epsilon(mu, delta).unwrap_or(f64::NAN);
        require(
            found <= most * (1.0 + COARSE) + 1e-9,
            "above full batches",
            most,
        );
        if phase.sampling_rate == 1.0 {
            require(found >= most * (1.0 - 1e-9), "below the closed form", most);
        }
    }
    if number % 8 == 0 {
        let renyi = rdp::epsilon(&[*phase], delta).unwrap_or(f64::NAN);
        require(found <= renyi * (1.0 + GRID) + 1e-9, "above Rényi", renyi);
    }
    let quieter = Phase {
        noise_multiplier: phase.noise_multiplier * 1.1,
        ..*phase
    };
    let less = ask(quieter);
    require(
        less <= found * (1.0 + GRID) + 1e-9,
        "more noise is dearer",
        less,
    );
    let shorter = Phase {
        steps: phase.steps - phase.steps / 3,
        ..*phase
    };
    let less = ask(shorter);
    require(
        less <= found * (1.0 + GRID) + 1e-9,
        "fewer steps are dearer",
        less,
    );
    if number % 16 == 0 {
        for adjacency in [Adjacency::AddRemove, Adjacency::ReplaceOne] {
            match pld::epsilon(&[*phase], delta, adjacency) {
                Ok(bounds) => {
                    require(bounds.lower <= bounds.upper, "bounds crossed", bounds.lower);
                    require(
                        bounds.upper >= found * (1.0 - GRID),
                        "replacing is cheaper than removing",
                        bounds.upper,
                    );
                }
                Err(error) => require(false, &error.to_string(), f64::NAN),
            }
        }
    }
    broken
}

/// ε of one step with the row removed, from below: δ(ε) = P(x > t) - e^ε·Q(x > t), t the outcome whose
/// loss is ε, with P and Q of the pair; solved by bisection.
fn one_step(phase: &Phase, delta: f64) -> f64 {
    let (q, sigma) = (phase.sampling_rate, phase.noise_multiplier);
    let delta_at = |epsilon: f64| {
        // e^ε = 1 - q + q·e^{(2t-1)/(2σ²)}
        let t = sigma * sigma * (epsilon.exp_m1() / q).ln_1p() + 0.5;
        let (full, none) = (tail((t - 1.0) / sigma), tail(t / sigma));
        q * (full - none) - epsilon.exp_m1() * none
    };
    let (mut low, mut high) = (0.0, 700.0);
    if delta_at(low) <= delta {
        return 0.0;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if delta_at(middle) > delta * (1.0 + 1e-9) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Φ(-x), by Legendre's continued fraction from 2 on and Marsaglia's series below; 1e-13 relative.
fn tail(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x > 2.0 {
        let below = (1..=400).rev().fold(x, |rest, k| x + f64::from(k) / rest);
        return density / below;
    }
    if x < -2.0 {
        return 1.0 - tail(-x);
    }
    let (mut term, mut sum, mut k) = (x, x, 1.0);
    while term.abs() > 1e-17 {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    0.5 - density * sum
}
