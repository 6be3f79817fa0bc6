//! The one type that owns sampler, noise and accounting.
//!
//! A [`PrivateSession`] hands out one [`OpenStep`] at a time: the rows that the Poisson sampler drew.
//! The engine computes the clipped sum of their gradients and gives it to [`OpenStep::release`], which
//! writes the charge durably and only then draws the noise. What comes back, a [`ReleasedGradient`], is
//! the only thing an optimiser accepts, and there is no other way to make one:
//!
//! ```compile_fail,E0451
//! use vaultlab_privacy::session::ReleasedGradient;
//! // The fields are private, and there is no constructor.
//! let forged = ReleasedGradient { values: vec![0.0] };
//! ```
//!
//! A step is consumed by its release: one sum, one charge, one noisy gradient.
//!
//! ```compile_fail,E0382
//! # use vaultlab_privacy::ledger::MemoryStore;
//! # use vaultlab_privacy::session::{HostSum, OpenStep};
//! async fn twice(step: OpenStep<'_, MemoryStore>, first: HostSum, second: HostSum) {
//!     step.release(first).await;
//!     step.release(second).await; // use of moved value: `step`
//! }
//! ```
//!
//! Neither can a step be duplicated, nor two be open at once:
//!
//! ```compile_fail,E0599
//! # use vaultlab_privacy::ledger::MemoryStore;
//! # use vaultlab_privacy::session::OpenStep;
//! fn copy(step: OpenStep<'_, MemoryStore>) {
//!     let copies = (step.clone(), step); // no method named `clone`
//! }
//! ```
//!
//! ```compile_fail,E0499
//! # use vaultlab_privacy::ledger::MemoryStore;
//! # use vaultlab_privacy::session::PrivateSession;
//! fn two(session: &mut PrivateSession<MemoryStore>) {
//!     let first = session.open_step();
//!     let second = session.open_step(); // second mutable borrow
//!     drop(first);
//! }
//! ```
//!
//! A [`ClippedSum`] stays where it was computed, in integers on a [`Grid`](crate::grid::Grid), and what is
//! read of it has noise on it already:
//!
//! ```compile_fail,E0616
//! # use vaultlab_privacy::session::HostSum;
//! fn peek(sum: &HostSum) -> i32 {
//!     sum.values[0] // field `values` is private
//! }
//! ```
//!
//! Written as intended, it compiles:
//!
//! ```
//! # use vaultlab_privacy::ledger::MemoryStore;
//! # use vaultlab_privacy::session::{HostSum, PrivacyError, PrivateSession};
//! async fn train(session: &mut PrivateSession<MemoryStore>) -> Result<(), PrivacyError> {
//!     loop {
//!         let step = match session.open_step() {
//!             Ok(step) => step,
//!             Err(PrivacyError::PlanFinished { .. } | PrivacyError::BudgetSpent { .. }) => return Ok(()),
//!             Err(other) => return Err(other),
//!         };
//!         let mut sum = HostSum::new(step.grid(), 8);
//!         for _row in step.rows() {
//!             let gradient = [0.5; 8]; // of this row's loss, by the engine
//!             sum.add_row(&[(0, &gradient)]);
//!         }
//!         let gradient = step.release(sum).await?;
//!         let _update: &[f32] = gradient.values();
//!     }
//! }
//! ```

mod gradient;
mod plain;
mod plan;
mod private;

pub use gradient::{ClippedSum, GradientPrivacy, HostSum, ReleasedGradient, SumLost};
pub use plain::{PlainPlan, PlainSession, PlainStep};
pub use plan::{PlanError, PrivacyPlan};
pub use private::{OpenStep, PrivateSession};

use thiserror::Error;

use crate::accountant::AccountingError;
use crate::ledger::{LedgerError, RunId};
use crate::randomness::NoRandomness;

/// Why a session cannot begin or a step not be taken.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PrivacyError {
    /// The plan is out of range.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The accountant cannot answer.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// The next step would pass the budget.
    #[error(
        "the next step would bring epsilon to {next:.4}, past the budget of {budget}; {spent:.4} is spent on these rows"
    )]
    BudgetSpent {
        /// ε spent on these rows.
        spent: f64,
        /// ε after one more step.
        next: f64,
        /// The budget.
        budget: f64,
    },
    /// All planned steps were taken.
    #[error("all {steps} planned steps were taken")]
    PlanFinished {
        /// Steps planned.
        steps: u32,
    },
    /// The plan is for another number of rows than there are.
    #[error(
        "the plan is for {planned} rows, but the data set has {given}; plan again for these rows"
    )]
    OtherRows {
        /// Rows of the plan.
        planned: u64,
        /// Rows of the data set.
        given: u64,
    },
    /// More steps were done than planned.
    #[error("the checkpoint stands at step {done}, but the plan has {planned} steps")]
    BeyondPlan {
        /// Steps done before.
        done: u32,
        /// Steps planned.
        planned: u32,
    },
    /// The ledger knows the run with another sampling rate, noise multiplier or clipping norm.
    #[error(
        "run {0} was begun with another sampling rate, noise or clipping norm; start a new run for the new plan"
    )]
    PlanChanged(RunId),
    /// The ledger failed; nothing was released.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The sum was clipped, or rounded, otherwise than the plan says.
    #[error(
        "the gradients were clipped or rounded to another grid than the plan's; this is a defect"
    )]
    GridMismatch,
    /// The device that held the sum failed.
    #[error(transparent)]
    SumLost(#[from] SumLost),
}
