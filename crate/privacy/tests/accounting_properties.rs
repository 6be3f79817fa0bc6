//! What must hold of Rényi accounting for every setting: an accountant that breaks one of these is wrong somewhere.

use proptest::prelude::*;
use vaultlab_privacy::accountant::rdp::{RdpCurve, default_orders, epsilon};
use vaultlab_privacy::accountant::{AccountingError, Phase};

/// ε is computed with a head-room of 1e-9 for rounding; comparisons allow twice that.
const ROUNDING: f64 = 1.0 + 2e-9;

/// Noise multipliers from hopeless to drowning.
fn sigmas() -> impl Strategy<Value = f64> {
    (-2.5_f64..4.0).prop_map(f64::exp)
}

/// Sampling rates from one row in a million to all rows, q = 1 itself included.
fn rates() -> impl Strategy<Value = f64> {
    prop_oneof![9 => (-14.0_f64..0.0).prop_map(f64::exp), 1 => Just(1.0)]
}

fn deltas() -> impl Strategy<Value = f64> {
    (-28.0_f64..-1.0).prop_map(f64::exp)
}

fn phases() -> impl Strategy<Value = Phase> {
    (rates(), sigmas(), 1..20_000_u64).prop_map(|(sampling_rate, noise_multiplier, steps)| Phase {
        sampling_rate,
        noise_multiplier,
        steps,
        truncation: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// More noise, fewer steps, smaller q or larger δ never cost more.
    #[test]
    fn monotone_in_everything(phase in phases(), delta in deltas(), grow in 1.0_f64..3.0) {
        let base = epsilon(&[phase], delta).unwrap();
        let cheaper = [
            (Phase { noise_multiplier: phase.noise_multiplier * grow, ..phase }, delta),
            (Phase { steps: (phase.steps as f64 / grow) as u64, ..phase }, delta),
            (Phase { sampling_rate: phase.sampling_rate / grow, ..phase }, delta),
            (phase, (delta * grow).min(0.5)),
        ];
        for (phase, delta) in cheaper {
            let found = epsilon(&[phase], delta).unwrap();
            prop_assert!(found <= base * ROUNDING, "{phase:?}, δ {delta}: {found} above {base}");
        }
    }

    /// Neither the order of phases nor how a phase is cut into pieces matters.
    #[test]
    fn composition_ignores_order_and_cuts(mut run in prop::collection::vec(phases(), 1..5), delta in deltas()) {
        let once = epsilon(&run, delta).unwrap();
        run.reverse();
        let first = run[0];
        run[0].steps = first.steps / 3;
        run.push(Phase { steps: first.steps - first.steps / 3, ..first });
        let again = epsilon(&run, delta).unwrap();
        prop_assert!((once - again).abs() <= once * 1e-12, "{once} and {again}");
    }

    /// A composition costs at least as much as its dearest part.
    #[test]
    fn no_part_costs_more_than_the_whole(a in phases(), b in phases(), delta in deltas()) {
        let both = epsilon(&[a, b], delta).unwrap();
        let alone = |phase: Phase, delta: f64| epsilon(&[phase], delta).unwrap();
        prop_assert!(both * ROUNDING >= alone(a, delta).max(alone(b, delta)));
    }

    /// Subsampling never costs more than full batches, and RDP never more at a smaller order.
    #[test]
    fn sampling_only_helps(phase in phases(), delta in deltas()) {
        let full = epsilon(&[Phase { sampling_rate: 1.0, ..phase }], delta).unwrap();
        prop_assert!(epsilon(&[phase], delta).unwrap() <= full * ROUNDING);
        let rdp = vaultlab_privacy::accountant::rdp::step_rdp(
            phase.sampling_rate, phase.noise_multiplier, default_orders(),
        );
        for (pair, orders) in rdp.windows(2).zip(default_orders().windows(2)) {
            // RDP grows with α; the absolute floor of 1e-15 on ln A_α is 1e-14 at α = 1.1.
            prop_assert!(pair[0] <= pair[1] * ROUNDING + 1e-14, "orders {orders:?}: {pair:?}");
        }
    }

    /// Any numbers at all: an answer that is a bound, or a typed error; never NaN, never a panic.
    #[test]
    fn nonsense_is_answered_or_refused(
        q in prop_oneof![any::<f64>(), 0.0..=1.0_f64, rates()],
        sigma in prop_oneof![any::<f64>(), (-700.0_f64..700.0).prop_map(f64::exp)],
        steps in any::<u64>(),
        delta in prop_oneof![any::<f64>(), (-700.0_f64..0.0).prop_map(f64::exp)],
    ) {
        let phase = Phase { sampling_rate: q, noise_multiplier: sigma, steps, truncation: None };
        match epsilon(&[phase], delta) {
            Ok(found) => prop_assert!(found >= 0.0),
            Err(AccountingError::SamplingRate(_)) => prop_assert!(!(0.0..=1.0).contains(&q)),
            Err(AccountingError::NoiseMultiplier(_)) => prop_assert!(!(sigma > 0.0 && sigma.is_finite())),
            Err(AccountingError::Delta(_)) => prop_assert!(!(delta > 0.0 && delta < 1.0)),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

/// Nothing run costs nothing; no sampling costs nothing; no noise worth the name costs without bound.
#[test]
fn ends_of_the_range() {
    let phase = Phase {
        sampling_rate: 0.1,
        noise_multiplier: 1.0,
        steps: 100,
        truncation: None,
    };
    assert_eq!(epsilon(&[], 1e-5).unwrap(), 0.0);
    assert_eq!(epsilon(&[Phase { steps: 0, ..phase }], 1e-5).unwrap(), 0.0);
    assert_eq!(
        epsilon(
            &[Phase {
                sampling_rate: 0.0,
                ..phase
            }],
            1e-5
        )
        .unwrap(),
        0.0
    );
    assert_eq!(RdpCurve::zero().epsilon(1e-5), 0.0);
    assert!(
        epsilon(
            &[Phase {
                noise_multiplier: 1e-2,
                ..phase
            }],
            1e-5
        )
        .unwrap()
            > 1e5
    );
    assert_eq!(
        epsilon(
            &[Phase {
                noise_multiplier: 1e-200,
                ..phase
            }],
            1e-5
        )
        .unwrap(),
        f64::INFINITY
    );
    assert_eq!(
        epsilon(
            &[Phase {
                noise_multiplier: 1e-200,
                steps: 0,
                ..phase
            }],
            1e-5
        )
        .unwrap(),
        0.0
    );
    // So much noise that σ² overflows: ε is what rounding leaves, and nothing panics.
    for (q, sigma) in [(1e-87, 9.4e306), (0.5, 1e200), (1.0, 1e200), (0.5, 1e7)] {
        let drowned = Phase {
            sampling_rate: q,
            noise_multiplier: sigma,
            steps: 100,
            truncation: None,
        };
        assert!(epsilon(&[drowned], 1e-5).unwrap() < 1e-2);
    }
    for delta in [0.0, 1.0, -1e-5, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            epsilon(&[phase], delta),
            Err(AccountingError::Delta(_))
        ));
    }
}

/// A small ε is still found: 2,048 is the largest order, and orders up to 63 would end near 0.1.
#[test]
fn large_orders_serve_small_epsilon() {
    let phase = Phase {
        sampling_rate: 0.01,
        noise_multiplier: 20.0,
        steps: 100,
        truncation: None,
    };
    let found = epsilon(&[phase], 1e-5).unwrap();
    assert!(found < 0.04, "{found}");
}

/// Both evaluations of A_α against 50-digit quadrature (and the exact sum for α = 2048) with mpmath,
/// from cases where A_α - 1 is lost in double precision to cases where it overflows. The tolerance is
/// the head-room of 1e-9 that `step_rdp` adds, and the floor of 1e-15/(α-1).
#[test]
fn moments_match_high_precision() {
    #[rustfmt::skip]
    let cases = [
        (0.01, 1.0, 1.1, 9.241471084686958e-5),
        (0.07111111111111111, 1.0, 3.7, 2.203972910227977e-2),
        (0.001, 4.0, 1.5, 4.836925104278302e-8),
        (1e-6, 10.0, 2.5, 1.256270891855009e-14),
        (0.0088, 0.338821, 1.4, 2.235539048270378e-2),
        (0.5, 2.0, 10.9, 7.001274654610443e-1),
        (0.9999, 0.7, 5.5, 5.612122682179236),
        (0.02, 0.1, 1.3, 4.804790209379627e1),
        (0.0001, 1.0, 32.0, 6.492551874444418),
        (0.3, 50.0, 2048.0, 4.487551004636391e-2),
        (1e-5, 2.0, 7.3, 1.036709854236865e-10),
        (0.2, 0.06, 1.2, 1.570100391920621e2),
    ];
    for (q, sigma, alpha, expected) in cases {
        let found = vaultlab_privacy::accountant::rdp::step_rdp(q, sigma, &[alpha])[0];
        let head_room = expected * 2e-9 + 2e-15 / (alpha - 1.0);
        assert!(
            found >= expected,
            "q {q}, σ {sigma}, α {alpha}: {found:e} below {expected:e}"
        );
        assert!(
            found <= expected + head_room,
            "q {q}, σ {sigma}, α {alpha}: {found:e} above {expected:e}"
        );
    }
}
