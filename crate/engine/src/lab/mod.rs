//! Everything a front end can ask for, as one object: commands in, events out.
//!
//! One job runs at a time and owns the state while it does; pause, stop and cancel reach it through [`Control`].

mod adapters;
mod audit;
mod data;
mod model;
mod report;
mod training;

use std::cell::RefCell;
use std::collections::BTreeMap;

use vaultlab_formats::dataset::Table;
use vaultlab_privacy::ledger::LedgerStore;
use vaultlab_protocol::{Command, DataSettings, Event};

use crate::EngineError;
use crate::device::{self, OpenDevice};
use crate::host::{Control, Host, Wish};
use crate::train::TrainingData;
use crate::weights::ByteSource;
pub use adapters::{HeldAdapter, export_adapter, import_adapter};
pub use audit::{Audit, Audited};
pub use data::{RowEncoder, prepare_rows};
pub use model::{LoadedModel, load_model};
pub use report::error_report;

/// A file that came with a command.
pub struct NamedSource {
    /// File name.
    pub name: String,
    /// Its bytes.
    pub source: Box<dyn ByteSource>,
}

/// The engine behind one front end.
pub struct Lab<S> {
    store: S,
    control: Control,
    /// Taken by the running job.
    state: RefCell<Option<State>>,
}

/// What is open and loaded.
#[derive(Default)]
struct State {
    device: Option<OpenDevice>,
    model: Option<LoadedModel>,
    table: Option<Table>,
    rows: Option<TrainingData>,
    /// What the rows were prepared with.
    data_settings: Option<DataSettings>,
    adapters: BTreeMap<String, HeldAdapter>,
}

impl State {
    fn device(&self) -> Result<&OpenDevice, EngineError> {
        self.device
            .as_ref()
            .ok_or_else(|| EngineError::NotReady("no device is open yet".into()))
    }

    fn model(&self) -> Result<&LoadedModel, EngineError> {
        self.model
            .as_ref()
            .ok_or_else(|| EngineError::NotReady("no model is loaded yet".into()))
    }

    fn rows(&self) -> Result<&TrainingData, EngineError> {
        self.rows
            .as_ref()
            .ok_or_else(|| EngineError::NotReady("no rows are prepared yet".into()))
    }

    fn adapter(&self, name: &str) -> Result<&HeldAdapter, EngineError> {
        self.adapters
            .get(name)
            .ok_or_else(|| EngineError::NotReady(format!("there is no adapter named {name}")))
    }
}

impl<S: LedgerStore + Clone> Lab<S> {
    /// An engine with nothing open, whose ledgers are kept in `store`.
    pub fn new(store: S) -> Self {
        Self {
            store,
            control: Control::default(),
            state: RefCell::new(Some(State::default())),
        }
    }

    /// Carries a command out and emits what it gives, [`Event::Done`] or [`Event::Failed`] last.
    pub async fn handle<H: Host>(&self, command: Command, files: Vec<NamedSource>, host: &H) {
        match command {
            Command::Pause => self.control.set(Wish::Pause),
            Command::Stop | Command::Cancel => self.control.set(Wish::Stop),
            job => {
                let Some(mut state) = self.state.borrow_mut().take() else {
                    let busy = EngineError::NotReady(
                        "another job is running; wait for it, or cancel it".into(),
                    );
                    host.emit(Event::Failed(error_report(&busy)));
                    return;
                };
                self.control.set(Wish::GoOn);
                let result = self.job(&mut state, job, files, host).await;
                let health = state
                    .device
                    .as_ref()
                    .map_or(Ok(()), |device| device.health.check());
                self.state.borrow_mut().replace(state);
                // The cause is worth more than what followed from it.
                if let Err(error) = health.and(result) {
                    host.emit(Event::Failed(error_report(&error)));
                    return;
                }
            }
        }
        host.emit(Event::Done);
    }

    async fn job<H: Host>(
        &self,
        state: &mut State,
        command: Command,
        files: Vec<NamedSource>,
        host: &H,
    ) -> Result<(), EngineError> {
        match command {
            Command::OpenDevice { choice } => {
                // Tensors live on the old device: nothing of the model survives it, rows and host-side adapters do.
                state.model = None;
                let open = device::open(choice).await?;
                host.emit(Event::Device(open.report.clone()));
                state.device = Some(open);
                Ok(())
            }
            Command::LoadModel { name, weights } => {
                state
                    .load_model(name, weights, files, host, &self.control)
                    .await
            }
            Command::Generate {
                prompt,
                template,
                adapter,
                sampling,
            } => {
                state
                    .generate(prompt, template, adapter, sampling, host, &self.control)
                    .await
            }
            Command::ReadTable { file_name } => state.read_table(&file_name, files, host).await,
            Command::PrepareRows { settings } => state.prepare_rows(&settings, host).await,
            Command::ReadLedger { delta } => state.read_ledger(&self.store, delta, host).await,
            Command::Train { run } => {
                state
                    .train(run, self.store.clone(), host, &self.control)
                    .await
            }
            Command::Audit { run, audit } => {
                state
                    .audit(run, &audit, self.store.clone(), host, &self.control)
                    .await
            }
            Command::ResumeTraining => {
                state
                    .resume(files, self.store.clone(), host, &self.control)
                    .await
            }
            Command::Evaluate { adapter } => state.evaluate(adapter, host, &self.control).await,
            Command::ExportAdapter { adapter } => state.export(&adapter, host),
            Command::ImportAdapter { name } => state.import(name, files, host).await,
            Command::RemoveAdapter { adapter } => {
                let removed = state.adapter(&adapter)?.report.clone();
                state.adapters.remove(&adapter);
                host.emit(Event::Adapter(removed));
                Ok(())
            }
            Command::Pause | Command::Stop | Command::Cancel => Ok(()),
        }
    }
}

/// The one file of a command that takes one.
async fn only_file(files: Vec<NamedSource>, what: &str) -> Result<Vec<u8>, EngineError> {
    match files.as_slice() {
        [file] => crate::weights::read_all(file.source.as_ref()).await,
        _ => Err(EngineError::Source(format!(
            "{what} comes as one file, {} were given",
            files.len()
        ))),
    }
}
