//! What the engine asks of the program around it (page worker, command line, test).

use std::cell::Cell;
use std::rc::Rc;

use vaultlab_protocol::Event;

use crate::EngineError;

/// The program around the engine. One thread; futures stay on it.
#[allow(async_fn_in_trait)]
pub trait Host {
    /// Passes an event of the running command on.
    fn emit(&self, event: Event);

    /// Passes an event on with the bytes of its files.
    fn emit_files(&self, event: Event, files: Vec<Vec<u8>>);

    /// Lets the program's own messages in, then returns.
    async fn breathe(&self);

    /// Milliseconds on a monotonic clock.
    fn now_ms(&self) -> f64;

    /// Keeps the checkpoint of the running training, replacing the last one as a whole.
    ///
    /// # Errors
    /// [`EngineError::Source`] if it may not be kept.
    async fn save_checkpoint(&self, bytes: Vec<u8>) -> Result<(), EngineError>;
}

/// What the visitor wants of the running job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    #[default]
    GoOn,
    /// Finish the step, keep a checkpoint, end.
    Pause,
    /// End now and keep what was finished.
    Stop,
}

/// A wish that the program sets while a job runs, and the job looks at.
#[derive(Clone, Debug, Default)]
pub struct Control(Rc<Cell<Wish>>);

impl Control {
    /// States a wish.
    pub fn set(&self, wish: Wish) {
        self.0.set(wish);
    }

    /// The wish as it stands.
    pub fn wish(&self) -> Wish {
        self.0.get()
    }

    /// Fails once the visitor wants the job to end now.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`].
    pub fn check(&self) -> Result<(), EngineError> {
        match self.wish() {
            Wish::Stop => Err(EngineError::Cancelled),
            Wish::GoOn | Wish::Pause => Ok(()),
        }
    }
}
