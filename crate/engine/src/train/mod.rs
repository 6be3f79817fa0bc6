//! The private step: per-example gradients, clipping, the release through the privacy session, AdamW.

mod accumulate;
mod adamw;
mod audit;
mod audit_scores;
mod backprop;
mod checkpoint;
mod evaluate;
mod gradient_sum;
mod schedule;
mod step_gradients;
mod trainer;

pub use accumulate::{Accumulator, Clipping, FloatSum, GridSum};
pub use adamw::{AdamW, AdamWState};
pub use audit::{Attack, AuditedRows, MadeUpRow};
pub use audit_scores::{calibrated_scores, row_losses};
pub use backprop::{BackwardPass, backward};
pub use checkpoint::Checkpoint;
pub use evaluate::held_out_loss;
pub use gradient_sum::{BatchReadings, RowDropout, gradient_sum, read};
pub use schedule::learning_rate;
pub use trainer::{TrainOutcome, Trainer, TrainingData};
