//! The claim of a run: as data that can be checked, and in words, to be shown wherever ε is shown and
//! exported with every adapter.
//!
//! A statement holds no fingerprint of the rows: whoever has a guess of the whole data set could confirm
//! it with one. It names runs by random identifiers, and holds every charge that its ε counts, so that
//! [`verify`] can compute ε again.

mod text;
mod verify;

use serde::{Deserialize, Serialize};

use crate::accountant::{ACCOUNTANT, AccountingError, Adjacency, pld};
use crate::ledger::{Charges, RowLedger, RunCharge, RunId, Spent};
use crate::noise::NOISE_SAMPLER;
use crate::session::PrivacyPlan;

pub use verify::{Verification, sha256, verify};

/// What the field `format` of a statement says.
pub const STATEMENT_FORMAT: &str = "vaultlab-privacy-statement";

/// Version of the form of statements.
pub const STATEMENT_VERSION: u64 = 1;

/// The unit of protection.
pub const UNIT: &str = "one row of the training data";

/// How batches are drawn.
pub const SAMPLING: &str = "Poisson: each row joins each batch independently with probability exactly expectedBatch/rows; \
     of a draw larger than batchCap, batchCap rows are kept, chosen uniformly";

/// Why the accountant's theorem for the real-valued Gaussian holds for integer noise.
pub const NOISE_THEOREM: &str = "each release is a function of what the real-valued Gaussian mechanism would release for the same \
     integers (v + floor(N) = floor(v + N)), so its privacy carries over by post-processing (Dwork, Roth 2014, \
     Proposition 2.1); clipped gradients are rounded toward zero, so rounding lengthens none";

/// What ε does not cover, a sentence each.
pub const NOT_COVERED: [&str; 10] = [
    "What the screen shows during training and no noise protects: losses, gradient norms, the share of \
     rows clipped, the sizes of the batches drawn, and timing. Treat them as private.",
    "Rows held out for evaluation, and every loss or answer computed from them.",
    "A person with several rows: the protection is that of one row, and weakens with each further one.",
    "Choosing among runs by their results on private rows, and settings tuned on them. (All runs in this \
     ledger that used a row are added up, but not what the choice itself tells.)",
    "Runs that this ledger does not know: it is kept in this browser or folder only. Within it a row is \
     recognised by its columns' names and texts; the same row reworded, or under other column names, counts \
     as another.",
    "The number of rows, the expected batch size and all other settings: they are treated as public.",
    "An adversary who can tell ChaCha20's output from random bits: batches and noise are only as random as \
     it and the key, which came from the platform's cryptographic generator and was not kept.",
    "How long a computation takes, and other side channels. As to floating point: it only decides what a \
     row's gradient is, which is then clipped by a bound on its true length, summed and noised in integers. \
     That a row's gradient is the same, to the last bit, whatever rows are computed beside it, is tested, \
     not proven.",
    "Whoever can read this device's memory or storage while the rows are on it: the ledger, with hashes of \
     the rows, and checkpoints stay there.",
    "What others know about a person from elsewhere, a model trained without privacy included.",
];

/// The privacy claim of a run, with all that is needed to check it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivacyStatement {
    /// [`STATEMENT_FORMAT`].
    pub format: String,
    /// [`STATEMENT_VERSION`].
    pub version: u64,
    /// False for a run in the insecure test mode; then nothing below is a guarantee.
    pub secure: bool,
    /// Whose presence is hidden.
    pub unit: String,
    /// Which data sets count as neighbours.
    pub adjacency: Adjacency,
    /// Upper bound on ε, by the row that most was charged to.
    pub epsilon: f64,
    /// How far `epsilon` may lie above the exact ε of the charges; absent where no lower bound is known.
    pub epsilon_error: Option<f64>,
    /// δ.
    pub delta: f64,
    /// The run.
    pub run: RunId,
    /// Steps charged for this run.
    pub run_steps: u64,
    /// Rows N.
    pub rows: u64,
    /// Expected logical batch B.
    pub expected_batch: u64,
    /// Sampling rate q = B/N.
    pub sampling_rate: f64,
    /// Largest batch, if larger draws are cut.
    pub batch_cap: Option<u64>,
    /// Noise multiplier σ.
    pub noise_multiplier: f64,
    /// Clipping norm C.
    pub clip_norm: f64,
    /// Coordinates that noise was drawn for at each step.
    pub dimensions: u64,
    /// How batches were drawn.
    pub sampling: String,
    /// Accountant and version.
    pub accountant: String,
    /// How the noise was drawn.
    pub noise: String,
    /// What carries the accountant's theorem over to this noise.
    pub noise_theorem: String,
    /// Total-variation distance between the noise as drawn and as accounted, over all charges; δ covers it.
    pub noise_total_variation: f64,
    /// Every charge that `epsilon` counts, this run's among them, in an order that tells nothing.
    pub charges: Vec<RunCharge>,
    /// Charged data sets in the ledger that share rows with this one; their charges are counted.
    pub overlapping_data_sets: u64,
    /// Charged data sets in the ledger whose rows were not recorded; their charges are not counted.
    pub incomparable_data_sets: u64,
    /// What ε does not cover.
    pub not_covered: Vec<String>,
    /// SHA-256 of the adapter's weights file, once there is one.
    pub adapter_sha256: Option<String>,
}

impl PrivacyStatement {
    /// The statement of a run as its ledger stands, `spent` being the ledger's at the plan's δ.
    pub(crate) fn new(
        plan: &PrivacyPlan,
        run: RunId,
        spent: &Spent,
        ledger: &RowLedger,
        secure: bool,
    ) -> Self {
        let charges: Vec<RunCharge> = spent.charges.iter().copied().collect();
        let of_run: Vec<&RunCharge> = charges.iter().filter(|charge| charge.run == run).collect();
        Self {
            format: STATEMENT_FORMAT.into(),
            version: STATEMENT_VERSION,
            secure,
            unit: UNIT.into(),
            adjacency: Adjacency::AddRemove,
            epsilon: spent.epsilon,
            epsilon_error: epsilon_error(spent, plan.delta),
            delta: plan.delta,
            run,
            run_steps: steps(&of_run),
            rows: plan.rows,
            expected_batch: plan.expected_batch,
            sampling_rate: plan.sampling_rate(),
            batch_cap: plan.batch_cap,
            noise_multiplier: plan.noise_multiplier,
            clip_norm: plan.clip_norm,
            dimensions: dimensions(&of_run),
            sampling: SAMPLING.into(),
            accountant: ACCOUNTANT.into(),
            noise: NOISE_SAMPLER.into(),
            noise_theorem: NOISE_THEOREM.into(),
            noise_total_variation: total_variation(&charges),
            overlapping_data_sets: ledger.overlaps().len() as u64,
            incomparable_data_sets: ledger.incomparable().len() as u64,
            not_covered: NOT_COVERED.map(String::from).into(),
            adapter_sha256: None,
            charges,
        }
    }

    /// The same statement, tied to the bytes of the adapter's weights file.
    pub fn of_adapter(self, weights_file: &[u8]) -> Self {
        Self {
            adapter_sha256: Some(sha256(weights_file)),
            ..self
        }
    }

    /// The statement as JSON, for export and for [`verify`].
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts always serialise")
    }

    /// All charges that ε counts.
    pub fn all_charges(&self) -> Charges {
        Charges::new(&self.charges)
    }
}

/// The stated ε less the accountant's lower bound.
fn epsilon_error(spent: &Spent, delta: f64) -> Option<f64> {
    let lower = lower_bound(&spent.charges, delta).ok()?;
    Some((spent.epsilon - lower).max(0.0)).filter(|error| error.is_finite())
}

/// A lower bound on the ε of the charges; the exact one is not below it.
fn lower_bound(charges: &Charges, delta: f64) -> Result<f64, AccountingError> {
    charges.epsilon_by(delta, |phases, delta| {
        Ok(pld::epsilon(phases, delta, Adjacency::AddRemove)?.lower)
    })
}

fn steps(charges: &[&RunCharge]) -> u64 {
    charges
        .iter()
        .fold(0, |sum, charge| sum.saturating_add(charge.steps))
}

fn dimensions(charges: &[&RunCharge]) -> u64 {
    let dimensions = charges.iter().map(|charge| charge.dimensions);
    dimensions.max().unwrap_or(0)
}

fn total_variation(charges: &[RunCharge]) -> f64 {
    charges.iter().map(RunCharge::sampler_error).sum()
}
