//! A statement can be checked by itself: what was run passes, and whatever is changed in it is found.

mod common;

use common::{PLAN, begin_on, rows, run_id, step};
use serde_json::{Value, json};
use vaultlab_privacy::ledger::MemoryStore;
use vaultlab_privacy::randomness::Randomness;
use vaultlab_privacy::session::{PrivacyPlan, PrivateSession};
use vaultlab_privacy::statement::{PrivacyStatement, Verification, sha256, verify};

const WEIGHTS: &[u8] = b"the bytes of a weights file";

/// The statement of three secure steps, after two of another run on rows that overlap.
fn statement() -> PrivacyStatement {
    let store = MemoryStore::default();
    let secure = |rows, plan: PrivacyPlan, run| {
        let begun = PrivateSession::begin(
            plan,
            rows,
            run_id(run),
            0,
            Randomness::Secure,
            store.clone(),
        );
        pollster::block_on(begun).unwrap()
    };
    let other = PrivacyPlan {
        noise_multiplier: 1.5,
        ..PLAN
    };
    let mut earlier = secure(rows(100..300), other, 2);
    (0..2).for_each(|_| drop(step(&mut earlier).unwrap()));
    let mut session = secure(rows(0..200), PLAN, 1);
    (0..3).for_each(|_| drop(step(&mut session).unwrap()));
    session.statement().of_adapter(WEIGHTS)
}

fn check(statement: &Value) -> Verification {
    verify(statement.to_string().as_bytes(), Some(WEIGHTS))
}

/// What a run states is verified, with and without its adapter, and ε is the same computed again.
#[test]
fn an_honest_statement_is_verified() {
    let statement = statement();
    for weights in [Some(WEIGHTS), None] {
        let found = verify(statement.to_json().as_bytes(), weights);
        assert!(found.verified && found.problems.is_empty(), "{found:?}");
        let (stated, recomputed) = (
            found.epsilon_stated.unwrap(),
            found.epsilon_recomputed.unwrap(),
        );
        assert_eq!(stated, statement.epsilon);
        assert!((stated / recomputed - 1.0).abs() < 1e-3);
        assert!(found.epsilon_rdp.unwrap() >= recomputed * (1.0 - 1e-9));
    }
    assert_eq!(statement.all_charges().steps(), 5);
    assert_eq!(statement.overlapping_data_sets, 1);
}

/// The known digest of "abc" (FIPS 180-2, B.1).
#[test]
fn the_adapter_hash_is_sha256() {
    assert_eq!(
        sha256(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

/// Every field, changed by itself: in particular in every direction that would make the claim look better
/// than the run was. Each is found.
#[test]
fn every_changed_field_is_found() {
    let honest = serde_json::to_value(statement()).unwrap();
    assert!(check(&honest).verified);
    let epsilon = honest["epsilon"].as_f64().unwrap();
    let first = honest["charges"][0]["run"] == honest["run"];
    let own = if first { "/charges/0" } else { "/charges/1" };
    let others = if first { "/charges/1" } else { "/charges/0" };
    let changes: Vec<(String, Value)> = vec![
        ("/format".into(), json!("another")),
        ("/version".into(), json!(2)),
        ("/version".into(), json!(0)),
        ("/secure".into(), json!(false)),
        ("/unit".into(), json!("all rows of a person")),
        ("/adjacency".into(), json!("replace-one")),
        ("/epsilon".into(), json!(0.99 * epsilon)),
        ("/epsilon".into(), json!(0.5)),
        ("/epsilon".into(), json!(-1.0)),
        ("/epsilon".into(), json!(1.05 * epsilon)),
        ("/epsilon".into(), Value::Null),
        ("/epsilonError".into(), json!(-1.0)),
        ("/epsilonError".into(), json!(0.1)),
        ("/delta".into(), json!(1e-6)),
        ("/delta".into(), json!(1e-2)),
        ("/delta".into(), json!(0.0)),
        ("/run".into(), json!("ab".repeat(16))),
        ("/runSteps".into(), json!(2)),
        ("/runSteps".into(), json!(4)),
        ("/rows".into(), json!(2000)),
        ("/rows".into(), json!(0)),
        ("/expectedBatch".into(), json!(2)),
        ("/samplingRate".into(), json!(0.01)),
        ("/batchCap".into(), json!(20)),
        ("/noiseMultiplier".into(), json!(2.0)),
        ("/clipNorm".into(), json!(0.1)),
        ("/dimensions".into(), json!(1)),
        ("/sampling".into(), json!("shuffled")),
        ("/noise".into(), json!("Gaussian")),
        ("/noiseTheorem".into(), json!("")),
        ("/noiseTotalVariation".into(), json!(0.0)),
        ("/incomparableDataSets".into(), json!(1)),
        ("/notCovered".into(), json!([])),
        ("/notCovered/0".into(), json!("nothing")),
        ("/adapterSha256".into(), json!(sha256(b"another"))),
        ("/adapterSha256".into(), Value::Null),
        ("/charges".into(), json!([])),
        ("/charges".into(), json!([honest.pointer(own)])),
        ("/charges".into(), json!([honest.pointer(others)])),
        (format!("{own}/steps"), json!(2)),
        (format!("{own}/steps"), json!(4)),
        (format!("{own}/rows"), json!(2000)),
        (format!("{own}/expectedBatch"), json!(10)),
        (format!("{own}/expectedBatch"), json!(201)),
        (format!("{own}/noiseMultiplier"), json!(2.0)),
        (format!("{own}/noiseMultiplier"), json!(0.9)),
        (format!("{own}/clipNorm"), json!(0.1)),
        (format!("{own}/dimensions"), json!(0)),
        (format!("{own}/run"), json!("cd".repeat(16))),
        (format!("{others}/steps"), json!(1)),
        (format!("{others}/steps"), json!(3)),
        (format!("{others}/rows"), json!(2000)),
        (format!("{others}/rows"), json!(100)),
        (format!("{others}/expectedBatch"), json!(1)),
        (format!("{others}/noiseMultiplier"), json!(3.0)),
        (format!("{others}/noiseMultiplier"), json!(0.0)),
    ];
    for (field, value) in changes {
        let mut changed = honest.clone();
        *changed.pointer_mut(&field).unwrap() = value.clone();
        let found = check(&changed);
        assert!(
            !found.verified && !found.problems.is_empty(),
            "{field} = {value} was not found"
        );
    }
}

/// Every field is needed, but for the two that may be absent.
#[test]
fn every_missing_field_is_found() {
    let honest = serde_json::to_value(statement()).unwrap();
    let fields: Vec<String> = honest.as_object().unwrap().keys().cloned().collect();
    assert!(fields.len() > 20);
    for field in fields {
        let mut cut = honest.clone();
        cut.as_object_mut().unwrap().remove(&field);
        let found = check(&cut);
        // What may be absent: there was no cap, and an error bound is not needed to compute ε again.
        let optional = ["batchCap", "epsilonError"].contains(&field.as_str());
        assert_eq!(found.verified, optional, "{field}: {found:?}");
    }
}

/// The accountant that a statement names decides how closely ε must agree: another one's may be larger than
/// this one's, up to Rényi accounting, but never smaller.
#[test]
fn another_accountant_may_be_looser_only() {
    let mut statement = serde_json::to_value(statement()).unwrap();
    let rdp = check(&statement).epsilon_rdp.unwrap();
    statement["accountant"] = json!("another accountant");
    assert!(check(&statement).verified);
    statement["epsilonError"] = Value::Null;
    statement["epsilon"] = json!(rdp);
    assert!(check(&statement).verified);
    statement["epsilon"] = json!(1.01 * rdp);
    assert!(!check(&statement).verified);
    statement["epsilon"] = json!(0.5 * rdp);
    assert!(!check(&statement).verified);
}

/// An insecure run's statement never passes, and neither does what is no statement at all.
#[test]
fn tests_and_nonsense_are_refused() {
    let mut session = begin_on(rows(0..200), PLAN, 1, 0, MemoryStore::default()).unwrap();
    step(&mut session).unwrap();
    let insecure = verify(session.statement().to_json().as_bytes(), None);
    assert!(!insecure.verified);
    assert!(insecure.problems[0].contains("insecure"));
    for nonsense in ["", "{}", "[]", "null", "\u{0}", "{\"format\":1}"] {
        assert!(!verify(nonsense.as_bytes(), None).verified);
    }
}

/// An exported statement holds nothing by which a guess of the rows could be confirmed.
#[test]
fn no_fingerprint_is_exported() {
    let statement = statement();
    for data_set in [rows(0..200), rows(100..300)] {
        let name = data_set.fingerprint().to_string();
        assert!(!statement.to_json().contains(&name));
        assert!(!statement.to_string().contains(&name));
    }
}
