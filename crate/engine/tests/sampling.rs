//! The logits processors against transformers, filter by filter and chained, on the golden rows.

mod common;

use common::Golden;
use vaultlab_engine::generate::{Processors, Sampler, softmax};
use vaultlab_protocol::Sampling;

/// transformers' settings of the golden chain.
fn chain() -> Vec<(&'static str, Sampling)> {
    let plain = Sampling {
        temperature: 1.0,
        ..Sampling::default()
    };
    let penalty = Sampling {
        repetition_penalty: 1.4,
        ..plain
    };
    let temperature = Sampling {
        temperature: 0.9,
        ..penalty.clone()
    };
    let top_k = Sampling {
        top_k: 5,
        ..temperature.clone()
    };
    let top_p = Sampling {
        top_p: 0.9,
        ..top_k.clone()
    };
    let min_p = Sampling {
        min_p: 0.05,
        ..top_p.clone()
    };
    vec![
        ("repetition_penalty", penalty),
        ("temperature", temperature),
        ("top_k", top_k),
        ("top_p", top_p),
        ("min_p", min_p),
    ]
}

/// Each filter alone.
fn alone() -> Vec<(&'static str, Sampling)> {
    let plain = Sampling {
        temperature: 1.0,
        ..Sampling::default()
    };
    vec![
        (
            "repetition_penalty",
            Sampling {
                repetition_penalty: 1.4,
                ..plain.clone()
            },
        ),
        (
            "temperature",
            Sampling {
                temperature: 0.9,
                ..plain.clone()
            },
        ),
        (
            "top_k",
            Sampling {
                top_k: 5,
                ..plain.clone()
            },
        ),
        (
            "top_p",
            Sampling {
                top_p: 0.9,
                ..plain.clone()
            },
        ),
        (
            "min_p",
            Sampling {
                min_p: 0.05,
                ..plain
            },
        ),
    ]
}

fn check(golden: &Golden, row: &str, name: &str, settings: &Sampling, what: &str) {
    let mut logits = golden.f32(&format!("{row}.logits"));
    let history: Vec<u32> = golden
        .i64(&format!("{row}.prev_ids"))
        .iter()
        .map(|&id| id as u32)
        .collect();
    Processors::new(settings).apply(&mut logits, &history);
    let expected = golden.f32(&format!("{row}.{name}.logits"));
    for (id, (found, expected)) in logits.iter().zip(&expected).enumerate() {
        let equal = if expected.is_finite() {
            (found - expected).abs() <= 1e-5
        } else {
            found == expected
        };
        assert!(
            equal,
            "{what} {row}.{name}, id {id}: {found} against {expected}"
        );
    }
}

#[test]
fn processors_equal_transformers() {
    for family in ["vaultgemma", "gemma1", "gemma2", "gemma3"] {
        let golden = Golden::open(&format!("models/{family}/golden.safetensors"));
        for row in ["sampling", "sampling_b"] {
            for (name, settings) in alone() {
                check(&golden, row, &format!("only.{name}"), &settings, family);
            }
            for (name, settings) in chain() {
                check(&golden, row, &format!("chain.{name}"), &settings, family);
            }
        }
    }
}

#[test]
fn draws_follow_the_processed_distribution_and_the_seed() {
    let logits = vec![0.0, 1.0, -1.0, 2.0, f32::NEG_INFINITY];
    let settings = Sampling {
        temperature: 1.0,
        seed: 5,
        ..Sampling::default()
    };
    let expected = softmax(&logits);
    let draws = |settings: &Sampling| -> Vec<u32> {
        let mut sampler = Sampler::new(settings.clone());
        (0..40_000)
            .map(|_| sampler.next(logits.clone(), &[]))
            .collect()
    };
    let drawn = draws(&settings);
    for (id, &p) in expected.iter().enumerate() {
        let share = drawn.iter().filter(|&&d| d as usize == id).count() as f64 / drawn.len() as f64;
        // Five standard deviations of a binomial share.
        let slack = 5.0 * (f64::from(p) * (1.0 - f64::from(p)) / drawn.len() as f64).sqrt();
        assert!(
            (share - f64::from(p)).abs() <= slack,
            "id {id}: {share} against {p}"
        );
    }
    assert_eq!(
        drawn,
        draws(&settings),
        "the same seed gives the same draws"
    );
    assert_ne!(
        drawn,
        draws(&Sampling {
            seed: 6,
            ..settings
        })
    );
}

#[test]
fn greedy_takes_the_largest_and_of_equals_the_first() {
    let mut sampler = Sampler::new(Sampling::default());
    assert_eq!(sampler.next(vec![0.5, 3.0, 3.0, -1.0], &[]), 1);
}
