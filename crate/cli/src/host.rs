//! The program around the engine: progress on standard error, checkpoints beside the adapter.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use vaultlab_engine::EngineError;
use vaultlab_engine::host::Host;
use vaultlab_protocol::{EvaluationReport, Event, StepReport};

use crate::files;

/// A terminal.
pub struct Terminal {
    begun: Instant,
    checkpoint: Option<PathBuf>,
    /// What training reported.
    pub steps: RefCell<Vec<StepReport>>,
    /// Held-out losses.
    pub evaluations: RefCell<Vec<EvaluationReport>>,
}

impl Terminal {
    /// A terminal that keeps checkpoints at `checkpoint`.
    pub fn new(checkpoint: Option<PathBuf>) -> Self {
        Self {
            begun: Instant::now(),
            checkpoint,
            steps: RefCell::default(),
            evaluations: RefCell::default(),
        }
    }
}

impl Host for Terminal {
    fn emit(&self, event: Event) {
        match event {
            Event::Step(step) => {
                let number =
                    |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
                eprintln!(
                    "step {}/{}  rows {}  loss {}  epsilon {}  {:.0} tokens/s  {:.0} s left",
                    step.step,
                    step.steps,
                    step.rows,
                    number(step.loss),
                    number(step.epsilon),
                    step.tokens_per_second,
                    step.eta_seconds
                );
                self.steps.borrow_mut().push(step);
            }
            Event::Evaluation(evaluation) => {
                eprintln!(
                    "held-out loss {:.4} after {} steps",
                    evaluation.loss, evaluation.step
                );
                self.evaluations.borrow_mut().push(evaluation);
            }
            Event::Warning { message } => eprintln!("warning: {message}"),
            _ => {}
        }
    }

    fn emit_files(&self, event: Event, _files: Vec<Vec<u8>>) {
        self.emit(event);
    }

    async fn breathe(&self) {}

    fn now_ms(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1e3
    }

    async fn save_checkpoint(&self, bytes: Vec<u8>) -> Result<(), EngineError> {
        match &self.checkpoint {
            Some(path) => files::write(path, &bytes),
            None => Ok(()),
        }
    }
}
