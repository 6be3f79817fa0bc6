//! Fuzzes the PLD accountant: random settings against cheap bounds and its own laws.
//!
//! `cargo run --release -p vaultlab-privacy --example fuzz_accountant -- [SETTINGS] [SEED]`
//!
//! A setting is one to three phases (q from 1e-6 to 1 and 1 itself, σ from 0.2 to 20, T from 1 to 1e5, one
//! in eight with a cap on its batches), δ from 1e-12 to 1e-2, and an adjacency. One setting in 400 is asked
//! at full accuracy, the others on a grid that may add some per cent. Each is checked against
//! - itself: 0 ≤ lower bound ≤ upper bound (where they are far apart, that is counted);
//! - the dearest single step's closed form, below which no composition is;
//! - the closed form of full batches, above which sampling is not, and which q next to 1 meets;
//! - basic composition, from the single step's closed form;
//! - Rényi accounting (one setting in 16, for it is slow), above which nothing may be;
//! - one neighbouring question, in turn: more noise, fewer steps, less sampling, larger δ, no cap: never
//!   dearer; the other adjacency: replacing never cheaper than removing. Both as bounds, which is exact
//!   (the cheaper one's lower bound is below the dearer one's upper bound), and, at full accuracy, as
//!   values, but for what the grid may add.
//!
//! Prints what broke, and fails if anything did.

use std::process::ExitCode;
use std::time::Instant;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vaultlab_privacy::accountant::pld::{self, EpsilonBounds};
use vaultlab_privacy::accountant::{Adjacency, Phase, Truncation, gaussian, rdp};

/// Tolerances of the two grids.
const GRIDS: [f64; 2] = [4e-2, 8e-5];

/// One setting in so many is asked at full accuracy.
const FULL: u64 = 400;

/// One setting in so many is compared with Rényi accounting.
const RENYI: u64 = 16;

/// An answer that took longer is reported; not a finding.
const SLOW_SECONDS: f64 = 1.0;

struct Setting {
    phases: Vec<Phase>,
    delta: f64,
    adjacency: Adjacency,
}

impl Setting {
    fn ask(&self, tolerance: f64) -> EpsilonBounds {
        pld::rough_epsilon(&self.phases, self.delta, self.adjacency, tolerance).unwrap_or(
            EpsilonBounds {
                lower: f64::NAN,
                upper: f64::NAN,
            },
        )
    }

    fn changed(&self, change: impl Fn(&mut Phase)) -> Self {
        let mut phases = self.phases.clone();
        phases.iter_mut().for_each(change);
        Self { phases, ..*self }
    }

    fn steps(&self) -> f64 {
        self.phases.iter().map(|phase| phase.steps as f64).sum()
    }

    fn capped(&self) -> bool {
        self.phases.iter().any(|phase| phase.truncation.is_some())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let settings = arguments.next().and_then(Result::ok).unwrap_or(100_000);
    let seed = arguments.next().and_then(Result::ok).unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let started = Instant::now();
    let (mut broken, mut loose, mut slow) = (0_u64, 0_u64, 0_u64);
    for number in 0..settings {
        let setting = setting(&mut random);
        let asked = Instant::now();
        let found = check(number, &setting);
        let seconds = asked.elapsed().as_secs_f64();
        let Setting {
            phases,
            delta,
            adjacency,
        } = &setting;
        if seconds > SLOW_SECONDS {
            slow += 1;
            println!("slow ({seconds:.1} s): {phases:?}, delta {delta:e}, {adjacency:?}");
        }
        loose += u64::from(found.loose);
        for what in found.broken {
            broken += 1;
            if broken <= 60 {
                println!("#{number} {what}: {phases:?}, delta {delta:e}, {adjacency:?}");
            }
        }
        if (number + 1) % 20_000 == 0 {
            println!(
                "{} settings, {broken} findings, {loose} loose, {slow} slow, {:.0} s",
                number + 1,
                started.elapsed().as_secs_f64()
            );
        }
    }
    println!(
        "{settings} settings (seed {seed}): {broken} findings, {loose} loose, {slow} slow, {:.0} s",
        started.elapsed().as_secs_f64()
    );
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn setting(random: &mut impl Rng) -> Setting {
    let phases = match random.random_range(0..10) {
        0..7 => 1,
        7..9 => 2,
        _ => 3,
    };
    let phases = (0..phases).map(|_| phase(random)).collect();
    let delta = log_uniform(random, 1e-12, 1e-2);
    let adjacency = if random.random_range(0..3) == 0 {
        Adjacency::ReplaceOne
    } else {
        Adjacency::AddRemove
    };
    Setting {
        phases,
        delta,
        adjacency,
    }
}

fn log_uniform(random: &mut impl Rng, low: f64, high: f64) -> f64 {
    random.random_range(low.ln()..high.ln()).exp()
}

fn phase(random: &mut impl Rng) -> Phase {
    let sampling_rate = match random.random_range(0..40) {
        0 => 1.0,
        // Full batches but for a hair: on the grid, not by the closed form.
        1 => 1.0 - 1e-13,
        _ => log_uniform(random, 1e-6, 1.0),
    };
    let steps = if random.random_range(0..3) == 0 {
        log_uniform(random, 1.0, 20.0)
    } else {
        log_uniform(random, 1.0, 1e5)
    };
    let truncation = (sampling_rate < 0.5 && random.random_range(0..8) == 0).then(|| {
        let rows = (log_uniform(random, 3.0, 1e4) / sampling_rate).min(1e9) as u64;
        let mean = rows as f64 * sampling_rate;
        let cap = (mean + random.random_range(0.0..8.0) * mean.sqrt()) as u64;
        Truncation {
            rows: rows.max(1),
            cap: cap.max(1),
        }
    });
    Phase {
        sampling_rate,
        noise_multiplier: log_uniform(random, 0.2, 20.0),
        steps: steps as u64,
        truncation,
    }
}

struct Found {
    broken: Vec<String>,
    /// The bounds are far apart: no breach on a rough grid, but worth counting.
    loose: bool,
}

fn check(number: u64, setting: &Setting) -> Found {
    let full = number % FULL == FULL - 1;
    let grid = GRIDS[usize::from(full)];
    let found = setting.ask(grid);
    let mut broken = Vec::new();
    let mut require = |holds: bool, what: &str, other: f64| {
        if !holds {
            broken.push(format!("{what} ({found:?} and {other}, grid {grid:e})"));
        }
    };
    // What the grid may add: about twice the tolerance, and some grid steps where ε is next to nothing.
    let slack = |epsilon: f64| 2.5 * grid * epsilon + 1e-3 * (grid / 8e-5).sqrt();
    // How tight upper bounds are, only full accuracy is held to: a rough grid is sound, and may be loose.
    let slack = |epsilon: f64| if full { slack(epsilon) } else { f64::INFINITY };
    require(
        found.lower >= 0.0 && found.lower <= found.upper,
        "not bounds",
        f64::NAN,
    );
    cheap_bounds(setting, found, &slack, &mut require);
    if number.is_multiple_of(RENYI)
        && setting.adjacency == Adjacency::AddRemove
        && !setting.capped()
    {
        let renyi = rdp::epsilon(&setting.phases, setting.delta).unwrap_or(f64::NAN);
        require(found.lower <= renyi, "lower bound above Rényi", renyi);
        require(found.upper <= renyi + slack(renyi), "above Rényi", renyi);
    }
    let (what, cheaper, dearer) = neighbour(number, setting, found, grid);
    require(
        cheaper.lower <= dearer.upper,
        &format!("{what}: bounds in disorder, {cheaper:?} > {dearer:?}"),
        cheaper.lower,
    );
    require(
        cheaper.upper <= dearer.upper + slack(dearer.upper) || cheaper.upper.is_infinite(),
        &format!("{what}: dearer, {cheaper:?} > {dearer:?}"),
        cheaper.upper,
    );
    Found {
        broken,
        loose: found.error() > 10.0 * grid * found.upper + 4e-3 * (grid / 8e-5).sqrt(),
    }
}

/// Closed forms: of full batches, of single steps, and of basic composition.
fn cheap_bounds(
    setting: &Setting,
    found: EpsilonBounds,
    slack: &dyn Fn(f64) -> f64,
    require: &mut dyn FnMut(bool, &str, f64),
) {
    let (delta, steps) = (setting.delta, setting.steps());
    let one_step = |phase: &Phase, delta: f64| one_step(phase, setting.adjacency, delta);
    let dearest = setting.phases.iter().map(|phase| one_step(phase, delta));
    let dearest = dearest.fold(0.0, f64::max);
    require(
        found.upper >= dearest * (1.0 - 1e-9),
        "below one step's closed form",
        dearest,
    );
    if setting.capped() {
        return;
    }
    let shares = setting.phases.iter();
    let basic: f64 = shares
        .map(|phase| phase.steps as f64 * one_step(phase, delta / steps))
        .sum();
    require(
        found.lower <= basic * (1.0 + 1e-6),
        "lower bound above basic composition",
        basic,
    );
    require(
        found.upper <= basic + slack(basic),
        "above basic composition",
        basic,
    );
    let full = setting.changed(|phase| phase.sampling_rate = 1.0);
    if let Ok(Some(mu)) = gaussian::mu(&full.phases, setting.adjacency) {
        let most = gaussian::epsilon(mu, delta).unwrap_or(f64::NAN);
        require(
            found.lower <= most * (1.0 + 1e-9),
            "lower bound above full batches",
            most,
        );
        require(
            found.upper <= most + slack(most),
            "above full batches",
            most,
        );
        // (Replaced rows' losses are bounded by the hair that is missing, which shows.)
        let nearly = |phase: &Phase| phase.sampling_rate > 1.0 - 1e-12;
        if setting.adjacency == Adjacency::AddRemove && setting.phases.iter().all(nearly) {
            require(
                found.upper >= most * (1.0 - 1e-6),
                "below the closed form",
                most,
            );
        }
    }
}

/// A question whose answer must not be larger, or not smaller: what it is, the cheaper one, the dearer.
fn neighbour(
    number: u64,
    setting: &Setting,
    found: EpsilonBounds,
    grid: f64,
) -> (&'static str, EpsilonBounds, EpsilonBounds) {
    let less = |what: &'static str, setting: Setting| (what, setting.ask(grid), found);
    match number % 6 {
        0 => less(
            "more noise",
            setting.changed(|phase| phase.noise_multiplier *= 1.1),
        ),
        1 => less(
            "fewer steps",
            setting.changed(|phase| phase.steps -= (phase.steps / 3).max(1)),
        ),
        2 if !setting.capped() => less(
            "less sampling",
            setting.changed(|phase| phase.sampling_rate /= 1.2),
        ),
        3 => less(
            "larger delta",
            Setting {
                delta: setting.delta * 1.5,
                phases: setting.phases.clone(),
                ..*setting
            },
        ),
        4 if setting.capped() => less("no cap", setting.changed(|phase| phase.truncation = None)),
        _ => {
            let other = |adjacency| Setting {
                adjacency,
                phases: setting.phases.clone(),
                ..*setting
            };
            let what = "replacing against removing";
            match setting.adjacency {
                Adjacency::AddRemove => (what, found, other(Adjacency::ReplaceOne).ask(grid)),
                Adjacency::ReplaceOne => (what, other(Adjacency::AddRemove).ask(grid), found),
            }
        }
    }
}

/// ε of one uncapped step: with the row removed, or replaced; δ(ε) = P(x > t) - e^ε·Q(x > t), t the outcome
/// whose loss is ε, by bisection.
fn one_step(phase: &Phase, adjacency: Adjacency, delta: f64) -> f64 {
    let (q, sigma) = (phase.sampling_rate, phase.noise_multiplier);
    let above = |t: f64, rate: f64, shift: f64| {
        (1.0 - rate) * tail(t / sigma) + rate * tail((t - shift) / sigma)
    };
    let back = match adjacency {
        Adjacency::AddRemove => 0.0,
        Adjacency::ReplaceOne => q,
    };
    let loss = |t: f64| {
        let part = |rate: f64, exponent: f64| {
            let exponent = exponent / (2.0 * sigma * sigma);
            if rate > 0.5 {
                (1.0 - rate + rate * exponent.exp()).ln()
            } else {
                (rate * exponent.exp_m1()).ln_1p()
            }
        };
        part(q, 2.0 * t - 1.0) - part(back, -2.0 * t - 1.0)
    };
    // In t and not in ε: both grow together.
    let delta_at = |t: f64| above(t, q, 1.0) - loss(t).exp() * above(t, back, -1.0);
    let (mut low, mut high) = (0.0, 40.0 * sigma + 1.0);
    if q < 1.0 || back > 0.0 {
        // δ at ε = 0 is at t = 1/2, or 0 where both sides move.
        low = if back > 0.0 { 0.0 } else { 0.5 };
    }
    if q == 1.0 && back == 0.0 {
        low = 0.5;
    }
    if delta_at(low) <= delta {
        return 0.0;
    }
    for _ in 0..45 {
        let middle = (low + high) / 2.0;
        if delta_at(middle) > delta * (1.0 + 1e-9) {
            low = middle;
        } else {
            high = middle;
        }
    }
    loss(low).max(0.0)
}

/// Φ(-x), by Legendre's continued fraction from 2 on and Marsaglia's series below; 1e-13 relative.
fn tail(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x > 2.0 {
        let terms = (400.0 / (x * x)) as i32 + 10;
        let below = (1..=terms).rev().fold(x, |rest, k| x + f64::from(k) / rest);
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
