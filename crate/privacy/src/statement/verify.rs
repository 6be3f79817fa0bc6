//! Checking a statement by itself: its ε from its own charges, and that its fields agree.
//!
//! What this cannot show is that the charges are all there were. A statement is not signed; whoever changes
//! charges and ε together makes another consistent statement.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    NOISE_THEOREM, NOT_COVERED, PrivacyStatement, SAMPLING, STATEMENT_FORMAT, STATEMENT_VERSION,
    UNIT, dimensions, lower_bound, steps, total_variation,
};
use crate::accountant::{self, ACCOUNTANT, AccountingError, Phase, rdp};
use crate::ledger::RunCharge;
use crate::noise::NOISE_SAMPLER;

/// By how much, relatively, ε computed again by the accountant that stated it may differ: its grid depends on
/// what was asked before, and the exponential function on the platform.
const SAME_ACCOUNTANT: f64 = 2e-4;

/// The same for plain arithmetic on doubles.
const ROUNDING: f64 = 1e-12;

/// What checking a statement found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// True if nothing was found.
    pub verified: bool,
    /// ε as stated.
    pub epsilon_stated: Option<f64>,
    /// ε of the statement's charges, by the accountant of this program.
    pub epsilon_recomputed: Option<f64>,
    /// A lower bound on the exact ε of the statement's charges.
    pub epsilon_lower: Option<f64>,
    /// The same by Rényi accounting, a looser bound found another way; `None` where it has none.
    pub epsilon_rdp: Option<f64>,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a statement in its JSON form. `adapter_weights` is the adapter's weights file, if that is to be
/// checked too.
pub fn verify(json: &[u8], adapter_weights: Option<&[u8]>) -> Verification {
    let mut found = Verification {
        verified: false,
        epsilon_stated: None,
        epsilon_recomputed: None,
        epsilon_lower: None,
        epsilon_rdp: None,
        problems: Vec::new(),
    };
    match parse(json) {
        Err(problem) => found.problems.push(problem),
        Ok(statement) => {
            found.epsilon_stated = Some(statement.epsilon);
            found.problems.extend(words(&statement));
            found.problems.extend(agreement(&statement));
            found.recompute(&statement);
            found
                .problems
                .extend(adapter_weights.and_then(|file| adapter(&statement, file)));
        }
    }
    found.verified = found.problems.is_empty();
    found
}

/// The statement, if it is one of a version that this program knows.
fn parse(json: &[u8]) -> Result<PrivacyStatement, String> {
    let value: Value =
        serde_json::from_slice(json).map_err(|error| format!("this is no JSON: {error}"))?;
    let format = value.get("format").and_then(Value::as_str);
    if format != Some(STATEMENT_FORMAT) {
        return Err(format!(
            "this is no privacy statement: its format is not {STATEMENT_FORMAT}"
        ));
    }
    match value.get("version").and_then(Value::as_u64) {
        Some(STATEMENT_VERSION) => {}
        Some(other) => {
            return Err(format!(
                "the statement has version {other}; this program checks version {STATEMENT_VERSION}"
            ));
        }
        None => return Err("the statement has no version".into()),
    }
    serde_json::from_value(value)
        .map_err(|error| format!("a field is missing or not what it should be: {error}"))
}

/// Checks what is fixed for a version of the program.
fn words(statement: &PrivacyStatement) -> Vec<String> {
    let mut problems = Vec::new();
    if !statement.secure {
        problems.push(
            "the run was in the insecure test mode: its noise can be computed from the seed, and ε means nothing"
                .into(),
        );
    }
    if statement.incomparable_data_sets > 0 {
        problems.push(format!(
            "the ledger held {} charged data sets whose rows were not recorded; if they share rows, ε is larger",
            statement.incomparable_data_sets
        ));
    }
    let mut fixed = |name: &str, stated: &str, known: &str| {
        if stated != known {
            problems.push(format!("{name} is not what this version promises"));
        }
    };
    fixed("unit", &statement.unit, UNIT);
    fixed("sampling", &statement.sampling, SAMPLING);
    fixed("noise", &statement.noise, NOISE_SAMPLER);
    fixed("noiseTheorem", &statement.noise_theorem, NOISE_THEOREM);
    let listed = statement.not_covered.iter().map(String::as_str);
    if !listed.eq(NOT_COVERED) {
        problems.push("notCovered is not the list of this version".into());
    }
    if statement.adjacency != accountant::Adjacency::AddRemove {
        problems.push("adjacency is not add-remove, which all charges are accounted under".into());
    }
    problems
}

/// Checks that the run's figures are those of its charges.
fn agreement(statement: &PrivacyStatement) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    for charge in &statement.charges {
        if charge.expected_batch == 0 || charge.expected_batch > charge.rows {
            problems.push(format!(
                "a charge of run {} has an impossible batch",
                charge.run
            ));
        }
    }
    let of_run: Vec<&RunCharge> = statement
        .charges
        .iter()
        .filter(|charge| charge.run == statement.run)
        .collect();
    let mut agree = |name: &str, agrees: bool| {
        if !agrees {
            problems.push(format!("{name} is not that of the run's charges"));
        }
    };
    agree("runSteps", statement.run_steps == steps(&of_run));
    agree("dimensions", statement.dimensions == dimensions(&of_run));
    let all = |same: &dyn Fn(&RunCharge) -> bool| of_run.iter().all(|charge| same(charge));
    agree("rows", all(&|charge| charge.rows == statement.rows));
    agree(
        "expectedBatch",
        all(&|charge| charge.expected_batch == statement.expected_batch),
    );
    agree(
        "noiseMultiplier",
        all(&|charge| charge.noise_multiplier == statement.noise_multiplier),
    );
    agree(
        "clipNorm",
        all(&|charge| charge.clip_norm == statement.clip_norm),
    );
    agree(
        "batchCap",
        all(&|charge| charge.batch_cap == statement.batch_cap),
    );
    let rate = statement.expected_batch as f64 / statement.rows as f64;
    agree(
        "samplingRate",
        near(statement.sampling_rate, rate, ROUNDING),
    );
    agree(
        "noiseTotalVariation",
        near(
            statement.noise_total_variation,
            total_variation(&statement.charges),
            ROUNDING,
        ),
    );
    problems
}

fn near(stated: f64, computed: f64, tolerance: f64) -> bool {
    stated == computed || (stated - computed).abs() <= tolerance * computed.abs()
}

fn adapter(statement: &PrivacyStatement, weights: &[u8]) -> Option<String> {
    match &statement.adapter_sha256 {
        None => Some("the statement names no adapter, so it may belong to another one".into()),
        Some(hash) if *hash != sha256(weights) => {
            Some("the adapter is not the one that the statement was made for".into())
        }
        Some(_) => None,
    }
}

impl Verification {
    /// Computes ε again, with both accountants.
    fn recompute(&mut self, statement: &PrivacyStatement) {
        let charges = statement.all_charges();
        let ask = |accountant: fn(&[Phase], f64) -> Result<f64, AccountingError>| {
            charges.epsilon_by(statement.delta, accountant)
        };
        let recomputed = match ask(accountant::epsilon) {
            Ok(epsilon) => epsilon,
            Err(error) => {
                self.problems
                    .push(format!("epsilon cannot be computed: {error}"));
                return;
            }
        };
        self.epsilon_recomputed = Some(recomputed);
        self.epsilon_rdp = ask(rdp_epsilon).ok();
        self.epsilon_lower = lower_bound(&charges, statement.delta).ok();
        let stated = statement.epsilon;
        let slack = SAME_ACCOUNTANT * recomputed;
        // By whatever accountant: an ε below the lower bound is false. This one's answer must come close, too.
        let least = self.epsilon_lower.unwrap_or(0.0).max(recomputed - slack);
        if stated < least {
            self.problems.push(format!(
                "epsilon is understated: {stated} is claimed, but the charges come to {recomputed}"
            ));
        }
        let gap = stated - self.epsilon_lower.unwrap_or(f64::NAN);
        if let Some(error) = statement.epsilon_error
            && (error < 0.0 || gap.is_nan() || (error - gap).abs() > slack)
        {
            self.problems
                .push("epsilonError is not the distance to the lower bound".into());
        }
        let looser = self.epsilon_rdp.unwrap_or(f64::INFINITY).max(recomputed);
        let most = if statement.accountant == ACCOUNTANT {
            recomputed + slack
        } else {
            looser * (1.0 + SAME_ACCOUNTANT)
        };
        if stated > most {
            self.problems.push(format!(
                "epsilon does not follow from the charges: {stated} is claimed, but they come to {recomputed}; a charge \
                 is missing or was altered"
            ));
        }
    }
}

fn rdp_epsilon(phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
    let mut total = rdp::RdpCurve::zero();
    for phase in phases {
        total.add(&rdp::RdpCurve::of_phase(phase)?);
    }
    Ok(total.epsilon(delta))
}
