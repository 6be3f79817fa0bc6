//! Audits as bug detectors: white-box audits of the session's real release, each shown to fire on a defect
//! planted on purpose, and to stay quiet on the code as it is.
//!
//! After Nasr, Hayes, Steinke, Balle, Tramèr, Jagielski, Carlini, Terzis 2023, "Tight Auditing of
//! Differentially Private Machine Learning", <https://arxiv.org/abs/2302.07956>: the canaries are rows whose
//! gradient points along a coordinate of their own, twenty times as long as the clipping norm, and a canary's
//! score is what the released updates hold there. That is as strong as an attack gets.
//!
//! All random choices follow from test seeds, so every outcome is fixed. The thresholds are such that with
//! fresh randomness the right code would be accused with probability below 10^-6 per detector.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use vaultlab_privacy::audit::{CanaryPlan, GuessRule, p_value};
use vaultlab_privacy::calibrate::noise_multiplier;
use vaultlab_privacy::grid::{Grid, norm_at_most};
use vaultlab_privacy::ledger::{DatasetRows, MemoryStore, RunId};
use vaultlab_privacy::noise::StepNoise;
use vaultlab_privacy::randomness::Randomness;
use vaultlab_privacy::session::{ClippedSum, HostSum, PrivacyPlan, PrivateSession, SumLost};

/// Canaries, each with a coordinate of its own.
const CANARIES: usize = 1000;
/// Rows besides the canaries.
const OTHERS: usize = 50;
const CLIP: f64 = 0.5;
/// Five standard deviations, one-sided: 2.9e-7.
const FIVE_SIGMA: f64 = 5.0;

/// What is wrong with the training code.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    /// Nothing: the sum is the crate's own.
    None,
    /// Noise is not added.
    NoNoise,
    /// Noise has half its standard deviation.
    HalfNoise,
    /// Every step takes the same noise.
    NoiseOfFirstStep,
    /// Coordinates 64 apart share their noise.
    NoiseRepeats,
    /// Rows are not clipped.
    NoClipping,
    /// Each row is added twice.
    AddedTwice,
    /// A step's rows are added to the next step's sum too: left-over gradients.
    LeftOver,
}

/// A sum with a defect, of the crate's public pieces.
struct DefectiveSum {
    values: Vec<i32>,
    grid: Grid,
    defect: Defect,
}

impl DefectiveSum {
    fn add_row(&mut self, parts: &[(usize, &[f32])]) {
        let norm = match self.defect {
            Defect::NoClipping => CLIP,
            _ => norm_at_most(parts.iter().map(|(_, part)| *part)),
        };
        let multiplier = self.grid.multiplier(norm);
        let times = 1 + i32::from(self.defect == Defect::AddedTwice);
        for &(first, part) in parts {
            for (sum, &value) in self.values[first..].iter_mut().zip(part) {
                *sum += times * Grid::round(value, multiplier);
            }
        }
    }
}

impl ClippedSum for DefectiveSum {
    fn dimensions(&self) -> usize {
        self.values.len()
    }

    fn grid(&self) -> Grid {
        self.grid
    }

    async fn noised(mut self, noise: StepNoise) -> Result<Vec<i32>, SumLost> {
        let fixed = StepNoise::of_known_key([7; 8], self.grid.noise_bits());
        for (coordinate, value) in (0_u32..).zip(&mut self.values) {
            *value += match self.defect {
                Defect::NoNoise => 0,
                Defect::HalfNoise => noise.integer(coordinate) / 2,
                Defect::NoiseOfFirstStep => fixed.integer(coordinate),
                Defect::NoiseRepeats => noise.integer(coordinate % 64),
                _ => noise.integer(coordinate),
            };
        }
        Ok(self.values)
    }
}

/// A session on a ledger of its own.
fn begin(plan: PrivacyPlan, randomness: Randomness) -> PrivateSession<MemoryStore> {
    let rows = DatasetRows::of_rows((0..plan.rows).map(u64::to_le_bytes));
    let run = RunId::from_bytes([1; 16]);
    let begun = PrivateSession::begin(plan, rows, run, 0, randomness, MemoryStore::default());
    pollster::block_on(begun).expect("begins")
}

/// The canary's gradient: twenty times too long, along its own coordinate.
const CANARY_GRADIENT: [f32; 1] = [20.0 * CLIP as f32];

/// Released updates of a run, times the expected batch and over C: sums in units of the clipping norm.
struct Releases {
    plan: PrivacyPlan,
    canaries: CanaryPlan,
    steps: Vec<Vec<f64>>,
}

/// Trains `plan` (its number of rows and batch as shares of all rows) with the defect, from a test seed.
fn run(
    noise: f64,
    steps: u32,
    sampling: (u64, u64),
    delta: f64,
    defect: Defect,
    seed: u32,
) -> Releases {
    let rule = GuessRule::balanced(CANARIES);
    let canaries = CanaryPlan::draw(CANARIES, rule, Randomness::InsecureSeed(seed)).expect("draws");
    let included: Vec<usize> = canaries.included().collect();
    let rows = (OTHERS + included.len()) as u64;
    let plan = PrivacyPlan {
        rows,
        expected_batch: rows * sampling.0 / sampling.1,
        noise_multiplier: noise,
        clip_norm: CLIP,
        steps,
        delta,
        budget_epsilon: 1e9,
        batch_cap: None,
    };
    let mut random = ChaCha20Rng::seed_from_u64(u64::from(seed));
    let mut random_gradient = || -> Vec<f32> {
        (0..CANARIES)
            .map(|_| {
                if random.next_u32() & 1 == 0 {
                    0.1
                } else {
                    -0.1
                }
            })
            .collect()
    };
    let others: Vec<Vec<f32>> = (0..OTHERS).map(|_| random_gradient()).collect();
    let gradient = |row: usize| -> (usize, &[f32]) {
        match included.get(row) {
            Some(&canary) => (canary, &CANARY_GRADIENT),
            None => (0, &others[row - included.len()]),
        }
    };
    let randomness = Randomness::InsecureSeed(seed);
    let mut session = begin(plan, randomness);
    let mut before: Vec<usize> = Vec::new();
    let mut releases = Vec::new();
    for _ in 0..steps {
        let step = session.open_step().expect("opens");
        let rows = step.rows().to_vec();
        let released = if defect == Defect::None {
            let mut sum = HostSum::new(step.grid(), CANARIES);
            for &row in &rows {
                sum.add_row(&[gradient(row)]);
            }
            pollster::block_on(step.release(sum))
        } else {
            let mut sum = DefectiveSum {
                values: vec![0; CANARIES],
                grid: step.grid(),
                defect,
            };
            let left_over: &[usize] = if defect == Defect::LeftOver {
                &before
            } else {
                &[]
            };
            for &row in rows.iter().chain(left_over) {
                sum.add_row(&[gradient(row)]);
            }
            pollster::block_on(step.release(sum))
        };
        let scale = plan.expected_batch as f64 / CLIP;
        let released = released.expect("is released");
        releases.push(
            released
                .values()
                .iter()
                .map(|&value| f64::from(value) * scale)
                .collect(),
        );
        before = rows;
    }
    Releases {
        plan,
        canaries,
        steps: releases,
    }
}

impl Releases {
    /// The canaries' scores: all that was released along their coordinates.
    fn scores(&self) -> Vec<f64> {
        (0..CANARIES)
            .map(|canary| self.steps.iter().map(|step| step[canary]).sum())
            .collect()
    }

    /// Black box in form, white box in score: refutes ε at the plan's δ with p < 10^-6 (Steinke, Nasr,
    /// Jagielski 2023).
    fn one_run_audit_refutes(&self, epsilon: f64) -> bool {
        let counts = self.canaries.count(&self.scores()).expect("one score each");
        p_value(counts, epsilon, self.plan.delta).expect("in range") < 1e-6
    }

    /// The mean score of included canaries less that of the others is at most T·q·C if no row weighs more
    /// than C in a step it joins, and joins with probability q. Each mean has a known standard error: noise
    /// σ²·T, a canary's own sampling q(1-q)·T, and the other rows' common part, bounded by their number.
    fn weighs_too_much(&self) -> bool {
        let scores = self.scores();
        let mut included = vec![false; CANARIES];
        self.canaries
            .included()
            .for_each(|canary| included[canary] = true);
        let mean = |side: bool| {
            let chosen: Vec<f64> = (0..CANARIES)
                .filter(|&c| included[c] == side)
                .map(|c| scores[c])
                .collect();
            (
                chosen.iter().sum::<f64>() / chosen.len() as f64,
                chosen.len() as f64,
            )
        };
        let ((with, n), (without, m)) = (mean(true), mean(false));
        let q = self.plan.sampling_rate();
        let steps = f64::from(self.plan.steps);
        // The others' clipped gradients are C/sqrt(CANARIES) a coordinate with random signs, and add up over steps.
        let others = OTHERS as f64 / CANARIES as f64 * (q * steps).powi(2);
        let noise = self.plan.noise_multiplier.powi(2) * steps;
        let variance = (noise + steps * q * (1.0 - q) + others) / n + (noise + others) / m;
        with - without > steps * q + FIVE_SIGMA * variance.sqrt()
    }

    /// Coordinates of canaries left out hold noise and the others' part only. Their mean square over
    /// coordinates and steps is that of the noise or more; its relative standard error is sqrt(2/n).
    fn noise_is_too_small(&self) -> bool {
        let mut left_out = vec![true; CANARIES];
        self.canaries
            .included()
            .for_each(|canary| left_out[canary] = false);
        let values: Vec<f64> = self
            .steps
            .iter()
            .flat_map(|step| {
                step.iter()
                    .zip(&left_out)
                    .filter(|&(_, &out)| out)
                    .map(|(&value, _)| value)
            })
            .collect();
        let n = values.len() as f64;
        let mean_square = values.iter().map(|value| value * value).sum::<f64>() / n;
        mean_square < self.plan.noise_multiplier.powi(2) * (1.0 - FIVE_SIGMA * (2.0 / n).sqrt())
    }

    /// Differences of neighbouring steps, left-out coordinates only: without the common part, so that what
    /// correlates is noise. Under fresh noise, the products of two independent such values have mean zero.
    fn noise_repeats(&self) -> bool {
        let mut left_out: Vec<bool> = vec![true; CANARIES];
        self.canaries
            .included()
            .for_each(|canary| left_out[canary] = false);
        let same_noise = self.steps.windows(2).any(|pair| {
            // Noise that is the same cancels; what is left is a fraction of its variance.
            let differences: Vec<f64> = (0..CANARIES)
                .filter(|&c| left_out[c])
                .map(|c| pair[1][c] - pair[0][c])
                .collect();
            let n = differences.len() as f64;
            let mean_square = differences.iter().map(|d| d * d).sum::<f64>() / n;
            let fresh = 2.0 * self.plan.noise_multiplier.powi(2);
            mean_square < fresh * (1.0 - 6.0 * (2.0 / n).sqrt())
        });
        same_noise
            || self
                .steps
                .iter()
                .any(|step| (1..=128).any(|lag| correlates(step, &left_out, lag)))
    }
}

/// Do left-out coordinates `lag` apart have correlated values? Over n independent pairs a correlation has
/// standard error 1/sqrt(n). Seven of them: 1.3e-12 one-sided, below 10^-6 over all lags and steps together.
fn correlates(step: &[f64], left_out: &[bool], lag: usize) -> bool {
    let pairs: Vec<(f64, f64)> = (0..step.len() - lag)
        .filter(|&c| left_out[c] && left_out[c + lag])
        .map(|c| (step[c], step[c + lag]))
        .collect();
    let sum = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>();
    let correlation = sum(|p| p.0 * p.1) / (sum(|p| p.0 * p.0) * sum(|p| p.1 * p.1)).sqrt();
    correlation > 7.0 / (pairs.len() as f64).sqrt()
}

/// δ of the claims: so small that its part in a p-value cannot reach 10^-6 with 1,000 canaries.
const DELTA: f64 = 1e-9;

/// A run calibrated to ε = 1: four steps over all rows.
fn calibrated_to_one(defect: Defect, seed: u32) -> Releases {
    let sigma = noise_multiplier(1.0, 1.0, 4, DELTA).expect("in range");
    run(sigma, 4, (1, 1), DELTA, defect, seed)
}

/// A run with little noise, in which a single row's weight shows: twenty steps over half of the rows.
fn lightly_noised(defect: Defect, seed: u32) -> Releases {
    run(1.0, 20, (1, 2), DELTA, defect, seed)
}

/// The right code, on several seeds: no detector fires.
#[test]
fn the_code_as_it_is_passes_every_detector() {
    for seed in 0..5 {
        let releases = calibrated_to_one(Defect::None, seed);
        assert!(!releases.one_run_audit_refutes(1.0), "seed {seed}");
        assert!(
            !releases.noise_is_too_small() && !releases.noise_repeats(),
            "seed {seed}"
        );
        assert!(!releases.weighs_too_much(), "seed {seed}");
        let releases = lightly_noised(Defect::None, seed);
        assert!(!releases.weighs_too_much(), "seed {seed}");
        assert!(
            !releases.noise_is_too_small() && !releases.noise_repeats(),
            "seed {seed}"
        );
    }
}

/// Without noise every canary gives itself away, and the claim of ε = 1 falls.
#[test]
fn missing_noise_refutes_epsilon_one() {
    let releases = calibrated_to_one(Defect::NoNoise, 1);
    assert!(releases.one_run_audit_refutes(1.0));
    // And far more than 1. (Half are guessed to be in, while the coins put some more or fewer in: a few guesses are wrong.)
    assert!(releases.one_run_audit_refutes(2.0));
    assert!(releases.noise_is_too_small());
}

/// Half of the noise shows in the variance long before it shows in guesses.
#[test]
fn noise_that_is_too_small_is_caught() {
    assert!(calibrated_to_one(Defect::HalfNoise, 2).noise_is_too_small());
    assert!(lightly_noised(Defect::HalfNoise, 2).noise_is_too_small());
}

/// Without clipping the canaries stand out of noise calibrated to ε = 1, and weigh more than C.
#[test]
fn missing_clipping_is_caught() {
    assert!(calibrated_to_one(Defect::NoClipping, 3).one_run_audit_refutes(1.0));
    assert!(lightly_noised(Defect::NoClipping, 3).weighs_too_much());
}

/// A row that is added twice weighs 2C. (No guesser could see it at ε = 1: the noise hides the double too.)
#[test]
fn rows_added_twice_are_caught() {
    assert!(lightly_noised(Defect::AddedTwice, 4).weighs_too_much());
}

/// Gradients left over from the step before make a row count in steps that did not draw it.
#[test]
fn left_over_gradients_are_caught() {
    assert!(lightly_noised(Defect::LeftOver, 5).weighs_too_much());
}

/// Noise drawn once for all steps cancels in the difference of two of them.
#[test]
fn noise_reused_across_steps_is_caught() {
    assert!(lightly_noised(Defect::NoiseOfFirstStep, 6).noise_repeats());
    assert!(calibrated_to_one(Defect::NoiseOfFirstStep, 6).noise_repeats());
}

/// Noise shared by coordinates correlates at their distance.
#[test]
fn noise_reused_across_coordinates_is_caught() {
    assert!(lightly_noised(Defect::NoiseRepeats, 7).noise_repeats());
}

/// Two sessions on the same rows: with keys of their own their noise is fresh; with a key used twice, as a
/// resumed session that kept its key would, the second release cancels the first one's noise.
#[test]
fn a_key_used_twice_is_caught_and_fresh_keys_are_not() {
    let release = |randomness| -> Vec<f64> {
        let plan = PrivacyPlan {
            rows: 100,
            expected_batch: 100,
            noise_multiplier: 1.0,
            clip_norm: CLIP,
            steps: 1,
            delta: DELTA,
            budget_epsilon: 1e9,
            batch_cap: None,
        };
        let mut session = begin(plan, randomness);
        let step = session.open_step().expect("opens");
        let sum = HostSum::new(step.grid(), CANARIES);
        let released = pollster::block_on(step.release(sum)).expect("is released");
        released
            .values()
            .iter()
            .map(|&v| f64::from(v) * 100.0 / CLIP)
            .collect()
    };
    // Mean square of the difference over 2σ²: 1 ± sqrt(2/1000) if fresh; five of these either way.
    let share = |a: &[f64], b: &[f64]| {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / (2.0 * CANARIES as f64)
    };
    let margin = FIVE_SIGMA * (2.0 / CANARIES as f64).sqrt();
    let fresh = share(&release(Randomness::Secure), &release(Randomness::Secure));
    assert!((fresh - 1.0).abs() < margin, "{fresh}");
    let twice = share(
        &release(Randomness::InsecureSeed(9)),
        &release(Randomness::InsecureSeed(9)),
    );
    assert!(twice < 1.0 - margin, "{twice}");
    assert_eq!(twice, 0.0, "the same sum and the same noise");
}

/// Steps with the same sum release different values in every coordinate but a few that agree by chance.
#[test]
fn the_same_sum_is_never_released_twice_alike() {
    let releases = calibrated_to_one(Defect::None, 8);
    // At 2^k grid units a standard deviation, k ≥ 8, two draws agree with probability below 2^-9 · 0.29.
    for pair in releases.steps.windows(2) {
        let alike = pair[0].iter().zip(&pair[1]).filter(|(a, b)| a == b).count();
        assert!(alike < 20, "{alike} of {CANARIES} coordinates agree");
    }
}
