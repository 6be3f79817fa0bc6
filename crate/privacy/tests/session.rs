//! The session keeps its word: what is released, what is charged, and when it refuses.

mod common;

use common::{DIMENSIONS, PLAN, SEED, begin, close, fingerprint, rows, run_id, step};
use proptest::prelude::*;
use vaultlab_privacy::accountant::{AccountingError, epsilon};
use vaultlab_privacy::grid::Grid;
use vaultlab_privacy::ledger::{Ledger, MemoryStore, RowLedger};
use vaultlab_privacy::noise::StepNoise;
use vaultlab_privacy::randomness::Randomness;
use vaultlab_privacy::session::{
    ClippedSum, GradientPrivacy, HostSum, PlainPlan, PlainSession, PlanError, PrivacyError,
    PrivacyPlan, PrivateSession, SumLost,
};

/// All steps of a run, and its ε at the end.
fn run_all(session: &mut PrivateSession<MemoryStore>) -> Vec<Vec<f32>> {
    let mut released = Vec::new();
    loop {
        match step(session) {
            Ok(gradient) => released.push(gradient.values().to_vec()),
            Err(PrivacyError::PlanFinished { steps: 12 }) => return released,
            Err(other) => panic!("{other}"),
        }
    }
}

/// ε after a run is the accountant's for exactly the steps released, and the ledger's.
#[test]
fn a_run_costs_what_the_accountant_says() {
    let store = MemoryStore::default();
    let mut session = begin(PLAN, 1, 0, store.clone()).unwrap();
    assert_eq!(session.epsilon(), 0.0);
    for done in 1..=PLAN.steps {
        let next = session.epsilon_after_next_step();
        let gradient = step(&mut session).unwrap();
        assert_eq!(
            (gradient.step(), gradient.values().len()),
            (done, DIMENSIONS)
        );
        assert_eq!(session.steps_done(), done);
        let phase = PrivacyPlan {
            steps: done,
            ..PLAN
        }
        .phase();
        let expected = epsilon(&[phase], PLAN.delta).unwrap();
        assert!(close(session.epsilon(), expected));
        assert!((next / expected - 1.0).abs() < 1e-12);
    }
    assert!(matches!(
        session.open_step(),
        Err(PrivacyError::PlanFinished { steps: 12 })
    ));
    let ledger = pollster::block_on(Ledger::read(&store, &fingerprint())).unwrap();
    assert_eq!((ledger.steps(), ledger.runs()), (12, 1));
    assert!(close(session.epsilon(), PLAN.epsilon().unwrap()));
}

/// In test mode a run resumed at any step equals the uninterrupted one bit for bit, and costs the same.
#[test]
fn a_resumed_test_run_equals_an_uninterrupted_one() {
    let whole = run_all(&mut begin(PLAN, 1, 0, MemoryStore::default()).unwrap());
    for pause in 0..=PLAN.steps {
        let store = MemoryStore::default();
        let mut first = begin(PLAN, 1, 0, store.clone()).unwrap();
        let mut released: Vec<_> = (0..pause)
            .map(|_| step(&mut first).unwrap().values().to_vec())
            .collect();
        drop(first);
        let mut second = begin(PLAN, 1, pause, store).unwrap();
        released.extend(run_all(&mut second));
        assert_eq!(released, whole, "paused after {pause}");
        assert!(close(second.epsilon(), PLAN.epsilon().unwrap()));
    }
}

/// With secure randomness two runs share neither batches nor noise, and are labelled private.
#[test]
fn secure_runs_never_repeat() {
    let release = || {
        let begun = PrivateSession::begin(
            PLAN,
            rows(0..PLAN.rows),
            run_id(1),
            0,
            Randomness::Secure,
            MemoryStore::default(),
        );
        let mut session = pollster::block_on(begun).unwrap();
        let gradient = step(&mut session).unwrap();
        let noise_on_sum = PLAN.noise_multiplier * PLAN.clip_norm;
        assert_eq!(
            gradient.privacy(),
            GradientPrivacy::Private { noise_on_sum }
        );
        assert!(session.is_secure() && session.statement().secure);
        gradient.values().to_vec()
    };
    assert_ne!(release(), release());
}

/// The test mode says at every turn that it gives no privacy.
#[test]
fn test_mode_is_labelled_insecure() {
    let mut session = begin(PLAN, 1, 0, MemoryStore::default()).unwrap();
    let gradient = step(&mut session).unwrap();
    assert!(matches!(
        gradient.privacy(),
        GradientPrivacy::InsecureTest { .. }
    ));
    assert_eq!(gradient.privacy().label(), "INSECURE test, no privacy");
    assert!(!session.is_secure());
    assert!(session.statement().to_string().starts_with("NO PRIVACY"));
}

/// The release is (sum + noise)/B with noise of standard deviation σ·C: against the same stream without
/// a sum the difference is sum/B to a grid unit, and the noise alone has the right size (χ² with 10⁵ degrees
/// of freedom strays from its mean by sqrt(2·10⁵), here at most 5 times).
#[test]
fn releases_the_noised_sum_over_the_expected_batch() {
    let release = |value: f32| {
        let mut session = begin(PLAN, 1, 0, MemoryStore::default()).unwrap();
        let open = session.open_step().unwrap();
        let mut sum = HostSum::new(open.grid(), 100_000);
        sum.add_row(&[(0, &[value])]);
        let gradient = pollster::block_on(open.release(sum)).unwrap();
        (gradient.values().to_vec(), gradient.expected_noise_norm())
    };
    let ((noise, norm), (noisy, _)) = (release(0.0), release(0.4));
    let unit = Grid::of_plan(&PLAN).spacing() / 20.0;
    assert!((f64::from(noisy[0] - noise[0]) - 0.4 / 20.0).abs() < 2.0 * unit + 1e-8);
    assert_eq!(noisy[1..], noise[1..]);
    let deviation = PLAN.noise_multiplier * PLAN.clip_norm / 20.0;
    let chi: f64 = noise
        .iter()
        .map(|&x| (f64::from(x) / deviation).powi(2))
        .sum();
    assert!(((chi - 1e5) / 2e5_f64.sqrt()).abs() < 5.0);
    assert!((norm / (0.5 * 1e5_f64.sqrt()) - 1.0).abs() < 1e-5);
}

/// A step given up costs nothing, gives nothing, and comes back with the same rows.
#[test]
fn a_dropped_step_charges_nothing() {
    let store = MemoryStore::default();
    let mut session = begin(PLAN, 1, 0, store.clone()).unwrap();
    let rows = session.open_step().unwrap().rows().to_vec();
    assert_eq!(session.open_step().unwrap().rows(), rows);
    assert_eq!(session.epsilon(), 0.0);
    let ledger = pollster::block_on(Ledger::read(&store, &fingerprint())).unwrap();
    assert_eq!(ledger.steps(), 0);
    step(&mut session).unwrap();
    assert_ne!(session.open_step().unwrap().rows(), rows);
}

/// A sum clipped or rounded otherwise than the plan says is refused before anything is charged.
#[test]
fn sums_on_another_grid_are_refused() {
    let mut session = begin(PLAN, 1, 0, MemoryStore::default()).unwrap();
    for other in [
        PrivacyPlan {
            clip_norm: 1.0,
            ..PLAN
        },
        PrivacyPlan {
            noise_multiplier: 0.5,
            ..PLAN
        },
        PrivacyPlan {
            expected_batch: 2_000,
            rows: 100_000,
            ..PLAN
        },
    ] {
        let open = session.open_step().unwrap();
        let sum = HostSum::new(Grid::of_plan(&other), 4);
        let refused = pollster::block_on(open.release(sum));
        assert_eq!(refused.err(), Some(PrivacyError::GridMismatch));
    }
    assert_eq!(session.epsilon(), 0.0);
}

/// A device that fails after the charge releases nothing, the charge stays, and no other sum gets the noise
/// that the device was given.
#[test]
fn a_lost_sum_stays_charged_and_its_noise_is_never_used_again() {
    struct Lost(Grid, std::rc::Rc<std::cell::RefCell<Vec<StepNoise>>>, bool);
    impl ClippedSum for Lost {
        fn dimensions(&self) -> usize {
            1
        }
        fn grid(&self) -> Grid {
            self.0
        }
        async fn noised(self, noise: StepNoise) -> Result<Vec<i32>, SumLost> {
            self.1.borrow_mut().push(noise);
            // Either an error, or fewer values than there are coordinates.
            if self.2 {
                Err(SumLost("unplugged".into()))
            } else {
                Ok(Vec::new())
            }
        }
    }
    let seen = std::rc::Rc::default();
    let mut session = begin(PLAN, 1, 0, MemoryStore::default()).unwrap();
    for reported in [true, false] {
        let before = session.epsilon();
        let open = session.open_step().unwrap();
        let sum = Lost(open.grid(), std::rc::Rc::clone(&seen), reported);
        let end = pollster::block_on(open.release(sum));
        assert!(matches!(end, Err(PrivacyError::SumLost(_))));
        assert!(session.epsilon() > before);
    }
    step(&mut session).unwrap();
    let seen = seen.borrow();
    assert_ne!(seen[0].key(), seen[1].key());
}

/// An empty batch takes a noisy step and is charged like any other: not doing so would tell who was in.
#[test]
fn an_empty_batch_still_steps() {
    let plan = PrivacyPlan {
        rows: 1000,
        expected_batch: 1,
        steps: 20,
        ..PLAN
    };
    let mut session = begin(plan, 1, 0, MemoryStore::default()).unwrap();
    let mut empty = 0;
    for _ in 0..20 {
        empty += u32::from(session.open_step().unwrap().rows().is_empty());
        assert!(
            step(&mut session)
                .unwrap()
                .values()
                .iter()
                .any(|&value| value != 0.0)
        );
    }
    assert!(empty > 2, "about e^-1 of 20");
    assert!(close(session.epsilon(), plan.epsilon().unwrap()));
}

/// A cap bounds every batch, is accounted as such (it costs more than no cap), and the statement says so.
#[test]
fn a_cap_is_drawn_charged_and_stated() {
    let capped = PrivacyPlan {
        batch_cap: Some(22),
        ..PLAN
    };
    let mut session = begin(capped, 1, 0, MemoryStore::default()).unwrap();
    let mut largest = 0;
    for _ in 0..12 {
        largest = largest.max(session.open_step().unwrap().rows().len());
        if step(&mut session).is_err() {
            break;
        }
    }
    assert_eq!(largest, 22, "of twelve draws around 20 some are cut");
    let charge = *session.spent().charges.iter().next().unwrap();
    assert_eq!(charge.batch_cap, Some(22));
    let steps = session.steps_done();
    assert!(close(
        session.epsilon(),
        PrivacyPlan { steps, ..capped }.epsilon().unwrap()
    ));
    assert!(session.epsilon() > PrivacyPlan { steps, ..PLAN }.epsilon().unwrap());
    let text = session.statement().mechanism();
    assert!(text.contains("Of a draw of more than 22 rows, 22 were kept, chosen uniformly."));
}

/// The statement names what was run, rounds ε up, and never says more than the ledger.
#[test]
fn the_statement_says_what_was_run() {
    let begun = PrivateSession::begin(
        PLAN,
        rows(0..PLAN.rows),
        run_id(1),
        0,
        Randomness::Secure,
        MemoryStore::default(),
    );
    let mut session = pollster::block_on(begun).unwrap();
    for _ in 0..3 {
        step(&mut session).unwrap();
    }
    let statement = session.statement();
    assert_eq!(
        (
            statement.epsilon,
            statement.run_steps,
            statement.all_charges().steps(),
        ),
        (session.epsilon(), 3, 3)
    );
    let text = statement.to_string();
    let quoted: f64 = text
        .split("ε ≤ ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(quoted >= session.epsilon() && quoted <= session.epsilon() + 1e-4);
    for part in [
        "the 1 run on record",
        "δ = 1e-4",
        "3 steps",
        "200 rows",
        "20/200",
        "1 × 0.5",
        "Poisson",
        "one row added or removed",
        "Not covered",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let read: vaultlab_privacy::statement::PrivacyStatement =
        serde_json::from_str(&serde_json::to_string(&statement).unwrap()).unwrap();
    assert_eq!(read, statement);
}

/// The comparison without privacy draws the same batches, adds nothing, and says so.
#[test]
fn the_plain_session_is_labelled() {
    let plan = PlainPlan {
        rows: 200,
        expected_batch: 20,
        steps: 2,
    };
    let mut plain = PlainSession::begin(plan, 0, SEED).unwrap();
    let mut private = begin(PLAN, 1, 0, MemoryStore::default()).unwrap();
    let open = plain.open_step().unwrap();
    assert_eq!(open.rows(), private.open_step().unwrap().rows());
    let gradient = open.release(&[20.0, -5.0]);
    assert_eq!(gradient.values(), [1.0, -0.25]);
    assert_eq!(
        (gradient.privacy().label(), gradient.expected_noise_norm()),
        ("without privacy", 0.0)
    );
    plain.open_step().unwrap().release(&[0.0]);
    assert!(matches!(
        plain.open_step(),
        Err(PrivacyError::PlanFinished { steps: 2 })
    ));
}

/// Each field of a plan has its own refusal.
#[test]
fn plans_out_of_range_are_refused() {
    let refused = |plan: PrivacyPlan| match begin(plan, 1, 0, MemoryStore::default()) {
        Err(PrivacyError::Plan(problem)) => problem,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted {plan:?}"),
    };
    assert!(matches!(
        refused(PrivacyPlan { rows: 0, ..PLAN }),
        PlanError::Rows(0)
    ));
    assert!(matches!(
        refused(PrivacyPlan {
            expected_batch: 0,
            ..PLAN
        }),
        PlanError::ExpectedBatch { .. }
    ));
    assert!(matches!(
        refused(PrivacyPlan {
            expected_batch: 201,
            ..PLAN
        }),
        PlanError::ExpectedBatch { .. }
    ));
    assert!(matches!(
        refused(PrivacyPlan {
            batch_cap: Some(19),
            ..PLAN
        }),
        PlanError::BatchCap { cap: 19, batch: 20 }
    ));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            refused(PrivacyPlan {
                clip_norm: bad,
                ..PLAN
            }),
            PlanError::ClipNorm(_)
        ));
        assert!(matches!(
            refused(PrivacyPlan {
                budget_epsilon: bad,
                ..PLAN
            }),
            PlanError::Budget(_)
        ));
        let noise = PlanError::Accounting(AccountingError::NoiseMultiplier(bad));
        let found = refused(PrivacyPlan {
            noise_multiplier: bad,
            ..PLAN
        });
        assert_eq!(found.to_string(), noise.to_string());
        let found = refused(PrivacyPlan { delta: bad, ..PLAN });
        assert!(matches!(
            found,
            PlanError::Accounting(AccountingError::Delta(_))
        ));
    }
    let beyond = begin(PLAN, 1, 13, MemoryStore::default());
    assert!(matches!(
        beyond,
        Err(PrivacyError::BeyondPlan {
            done: 13,
            planned: 12
        })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the plans, and however runs on the same rows follow each other: ε never passes the
    /// budget, and training stops only when the plan is done or one more step would pass it.
    #[test]
    fn the_budget_holds(
        batch in 1..=60_u64, sigma in 0.4_f64..3.0, steps in 0..40_u32, budget in 0.3_f64..6.0,
        others in prop::collection::vec((1..=60_u64, 0.4_f64..3.0), 0..3),
    ) {
        let store = MemoryStore::default();
        let first = PrivacyPlan {
            rows: 60, expected_batch: batch, noise_multiplier: sigma, steps, budget_epsilon: budget, ..PLAN
        };
        let next = others.iter().map(|&(expected_batch, noise_multiplier)| PrivacyPlan {
            expected_batch, noise_multiplier, ..first
        });
        let mut last = 0.0;
        for (run, plan) in std::iter::once(first).chain(next).enumerate() {
            let mut session = begin(plan, run as u8, 0, store.clone()).unwrap();
            let end = loop {
                if let Err(end) = step(&mut session) {
                    break end;
                }
                prop_assert!(session.epsilon() <= budget && session.epsilon() >= last);
                last = session.epsilon();
            };
            match end {
                PrivacyError::PlanFinished { .. } => prop_assert_eq!(session.steps_done(), steps),
                PrivacyError::BudgetSpent { next, .. } => prop_assert!(next > budget),
                other => prop_assert!(false, "{other}"),
            }
            if run == 0 {
                let alone = |steps| PrivacyPlan { steps, ..first }.epsilon().unwrap();
                prop_assert!(alone(session.steps_done()) <= budget * (1.0 + 1e-4));
                if session.steps_done() < steps {
                    prop_assert!(alone(session.steps_done() + 1) > budget * (1.0 - 1e-4));
                }
            }
        }
        let ledger = pollster::block_on(RowLedger::read(&store, &rows(0..60))).unwrap();
        prop_assert!(close(ledger.spent(first.delta).unwrap().epsilon, last));
    }
}
