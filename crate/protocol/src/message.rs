use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::*;

/// What a front end asks of the engine. One job (load, generate, train, evaluate) runs at a time;
/// `Pause`, `Stop` and `Cancel` act on the running one.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Command {
    /// Pick and open a device. Answer: [`Event::Device`].
    OpenDevice {
        /// The visitor's choice.
        choice: DeviceChoice,
    },
    /// Load a model whose files travel beside the message. Answer: [`Event::Model`].
    LoadModel {
        /// Name shown on the page.
        name: String,
        /// Device representation of the frozen matrices.
        weights: WeightFormat,
    },
    /// Answer a prompt, streamed. Answer: [`Event::Token`]s, then [`Event::Answer`].
    Generate {
        /// The question; put in `template` when given, else used as it is.
        prompt: String,
        /// Template around the prompt.
        template: Option<PromptTemplate>,
        /// Adapter by name; `None` is the base model.
        adapter: Option<String>,
        /// Sampling settings.
        sampling: Sampling,
    },
    /// Read a data file whose bytes travel beside the message. Answer: [`Event::Table`].
    ReadTable {
        /// File name; its extension is a hint.
        file_name: String,
    },
    /// Tokenise the table with a mapping. Answer: [`Event::Rows`].
    PrepareRows {
        /// Mapping, template, length, split.
        settings: DataSettings,
    },
    /// What the ledger holds for the prepared rows. Answer: [`Event::Ledger`].
    ReadLedger {
        /// δ to state ε at.
        delta: f64,
    },
    /// Train a new adapter. Answer: [`Event::Step`]s, [`Event::Evaluation`]s, then [`Event::TrainEnded`].
    Train {
        /// The run.
        run: RunSettings,
    },
    /// Train a new adapter on the prepared rows with canaries among them, and attack it. Answer: what
    /// [`Command::Train`] answers, then [`Event::Audit`]. The canaries are part of the data set: the ledger
    /// counts the run for all its rows.
    Audit {
        /// The run.
        run: RunSettings,
        /// The canaries and secrets.
        audit: AuditSettings,
    },
    /// Go on from a checkpoint whose bytes travel beside the message.
    ResumeTraining,
    /// Pause the running training: finish the step, write a checkpoint, end with [`TrainEnd::Paused`].
    Pause,
    /// Stop the running training and keep its adapter.
    Stop,
    /// Cancel the running generation or load.
    Cancel,
    /// Mean held-out loss with an adapter. Answer: [`Event::Evaluation`].
    Evaluate {
        /// Adapter by name; `None` is the base model.
        adapter: Option<String>,
    },
    /// Export an adapter in PEFT form; the files come beside [`Event::AdapterFiles`].
    ExportAdapter {
        /// Adapter by name.
        adapter: String,
    },
    /// Load a PEFT adapter whose files travel beside the message. Answer: [`Event::Adapter`].
    ImportAdapter {
        /// Name to hold it under.
        name: String,
    },
    /// Drop an adapter.
    RemoveAdapter {
        /// Adapter by name.
        adapter: String,
    },
}

/// A command with the id its events repeat.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Chosen by the front end.
    pub id: u32,
    /// The command.
    pub command: Command,
}

/// What the engine reports.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// A device is open.
    Device(DeviceReport),
    /// Progress of a long job.
    Progress {
        /// What is being done, e.g. "Reading weights".
        stage: String,
        /// Bytes or items done.
        #[ts(type = "number")]
        done: u64,
        /// Bytes or items in all; 0 if unknown.
        #[ts(type = "number")]
        total: u64,
        /// Unit of both: "bytes", "rows" or "tokens".
        unit: String,
        /// Expected seconds to the end, if known.
        eta_seconds: Option<f64>,
    },
    /// A model is loaded.
    Model(ModelReport),
    /// A piece of an answer.
    Token {
        /// Text to append.
        text: String,
    },
    /// An answer is complete.
    Answer(Answer),
    /// A data file was read.
    Table(TableReport),
    /// Rows are tokenised.
    Rows(RowsReport),
    /// The ledger of the prepared rows.
    Ledger(LedgerReport),
    /// A training step was taken.
    Step(StepReport),
    /// Held-out loss.
    Evaluation(EvaluationReport),
    /// Training ended; the adapter is loaded under its run's name.
    TrainEnded {
        /// Why.
        end: TrainEnd,
        /// Steps done.
        step: u32,
        /// The adapter, selectable at once.
        adapter: AdapterReport,
    },
    /// An audit is finished.
    Audit(AuditReport),
    /// A checkpoint was written.
    CheckpointSaved {
        /// Steps done.
        step: u32,
    },
    /// An adapter is loaded or was removed.
    Adapter(AdapterReport),
    /// Files of an exported adapter travel beside this event.
    AdapterFiles {
        /// Adapter by name.
        adapter: String,
        /// File names in the order of the bytes.
        files: Vec<String>,
    },
    /// Something the visitor should know; the job goes on.
    Warning {
        /// One or two sentences.
        message: String,
    },
    /// The command failed.
    Failed(ErrorReport),
    /// The command is finished; nothing more comes under its id.
    Done,
}

/// An event with the id of the command it answers.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// Id of the request.
    pub id: u32,
    /// The event.
    pub event: Event,
}
