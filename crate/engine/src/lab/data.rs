use vaultlab_formats::dataset::{Table, guess_columns, read_table};
use vaultlab_formats::examples::{
    Encoded, Example, IGNORED, Row, canonical, encode_row, encode_translation, split_held_out,
};
use vaultlab_formats::template::InstructionTemplate;
use vaultlab_formats::tokenizer::Tokenizer;
use vaultlab_privacy::accountant::Phase;
use vaultlab_privacy::ledger::{DatasetFingerprint, DatasetRows, LedgerStore, Overlap, RowLedger};
use vaultlab_privacy::session::PrivacyError;
use vaultlab_protocol::{
    BatchTruncation, ColumnMapping, DataSettings, Event, LedgerOverlap, LedgerReport, LineProblem,
    PlanPhase, RowPreview, RowsReport, TableReport,
};

use super::model::instruction;
use super::{LoadedModel, NamedSource, State, only_file};
use crate::EngineError;
use crate::host::Host;
use crate::train::TrainingData;

const SAMPLE_ROWS: usize = 20;
/// Problems shown; the rest are counted in the last one's place.
const MOST_PROBLEMS: usize = 100;
/// Rows tokenised between two looks at the front end's messages.
const ROWS_A_BREATH: usize = 200;
/// The held-out split depends on the rows' texts alone, so that reloading a file gives the same split.
const SPLIT_SEED: u64 = 0;

impl State {
    pub(super) async fn read_table<H: Host>(
        &mut self,
        file_name: &str,
        files: Vec<NamedSource>,
        host: &H,
    ) -> Result<(), EngineError> {
        let bytes = only_file(files, "a data file").await?;
        let table = read_table(&bytes, (!file_name.is_empty()).then_some(file_name))
            .map_err(|error| EngineError::Data(error.to_string()))?;
        host.emit(Event::Table(report(&table)));
        self.table = Some(table);
        self.rows = None;
        Ok(())
    }

    pub(super) async fn prepare_rows<H: Host>(
        &mut self,
        settings: &DataSettings,
        host: &H,
    ) -> Result<(), EngineError> {
        let table = self
            .table
            .as_ref()
            .ok_or_else(|| EngineError::NotReady("no data file is read yet".into()))?;
        let model = self.model()?;
        let (data, report) = prepare_rows(table, settings, RowEncoder::of(model), host).await?;
        host.emit(Event::Rows(report));
        self.rows = Some(data);
        self.data_settings = Some(settings.clone());
        Ok(())
    }

    pub(super) async fn read_ledger<S: LedgerStore, H: Host>(
        &self,
        store: &S,
        delta: f64,
        host: &H,
    ) -> Result<(), EngineError> {
        let rows = &self.rows()?.rows;
        let ledger = RowLedger::read(store, rows)
            .await
            .map_err(PrivacyError::from)?;
        let spent = ledger.spent(delta).map_err(PrivacyError::from)?;
        host.emit(Event::Ledger(LedgerReport {
            fingerprint: rows.fingerprint().to_string(),
            epsilon: spent.epsilon,
            delta,
            steps: saturated(spent.charges.steps()),
            runs: spent.charges.runs() as u32,
            phases: spent.charges.phases().iter().map(plan_phase).collect(),
            overlaps: ledger.overlaps().iter().map(overlap).collect(),
            incomparable: ledger.incomparable().len() as u32,
        }));
        Ok(())
    }
}

fn plan_phase(phase: &Phase) -> PlanPhase {
    PlanPhase {
        sampling_rate: phase.sampling_rate,
        noise_multiplier: phase.noise_multiplier,
        steps: saturated(phase.steps),
        truncation: phase.truncation.map(|cut| BatchTruncation {
            rows: saturated(cut.rows),
            cap: saturated(cut.cap),
        }),
    }
}

fn overlap(other: &Overlap) -> LedgerOverlap {
    LedgerOverlap {
        fingerprint: other.fingerprint.to_string(),
        shared_rows: saturated(other.shared_rows),
        rows: saturated(other.rows),
        steps: saturated(other.ledger.steps()),
        runs: other.ledger.runs() as u32,
    }
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn report(table: &Table) -> TableReport {
    let guess = guess_columns(table);
    let mut problems: Vec<LineProblem> = table
        .problems
        .iter()
        .take(MOST_PROBLEMS)
        .map(|problem| LineProblem {
            line: problem.line,
            message: problem.message.clone(),
        })
        .collect();
    if let (Some(last), true) = (problems.last_mut(), table.problems.len() > MOST_PROBLEMS) {
        last.message = format!(
            "and {} more lines with problems",
            table.problems.len() - MOST_PROBLEMS + 1
        );
    }
    TableReport {
        format: table.format.name().into(),
        columns: table.columns.clone(),
        rows: table.rows.len() as u32,
        sample: table.rows.iter().take(SAMPLE_ROWS).cloned().collect(),
        mapping: match guess {
            Some(guess) => ColumnMapping {
                prompt: guess.prompt,
                response: guess.response,
            },
            None => ColumnMapping::default(),
        },
        problems,
    }
}

/// The table's rows with the mapping applied.
fn mapped_rows(table: &Table, mapping: &ColumnMapping) -> Result<Vec<Row>, EngineError> {
    let column = |name: &str| {
        table
            .columns
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| {
                EngineError::Data(format!(
                    "the file has no column named {name}; its columns are {}",
                    table.columns.join(", ")
                ))
            })
    };
    let prompt = mapping.prompt.as_deref().map(column).transpose()?;
    let response = column(&mapping.response)?;
    let row = |cells: &Vec<String>| Row {
        prompt: prompt.map(|index| cells[index].clone()),
        response: cells[response].clone(),
    };
    Ok(table.rows.iter().map(row).collect())
}

/// A row as the page previews it.
fn preview(row: &Row, example: &Example, template: &InstructionTemplate) -> RowPreview {
    RowPreview {
        prompt: row
            .prompt
            .as_deref()
            .map(|prompt| template.prompt(prompt))
            .unwrap_or_default(),
        response: row.response.clone(),
        tokens: (example.source.len() + example.ids.len()) as u32,
        target_tokens: example
            .labels
            .iter()
            .skip(1)
            .filter(|&&label| label != IGNORED)
            .count() as u32,
        truncated: example.truncated,
    }
}

/// How rows become what a model reads.
#[derive(Clone, Copy)]
pub struct RowEncoder<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens that each of its stacks can hold.
    pub context: usize,
    /// True if an encoder reads the prompt; otherwise prompt and response are one text.
    pub has_encoder: bool,
}

impl<'a> RowEncoder<'a> {
    /// The encoder of a model's rows.
    pub fn of(model: &'a LoadedModel) -> Self {
        let config = &model.decoder.config;
        let source = config.encoder.as_ref().map(|encoder| encoder.context);
        Self {
            tokenizer: &model.tokenizer,
            context: config.context.min(source.unwrap_or(usize::MAX)),
            has_encoder: source.is_some(),
        }
    }

    /// Encodes a row.
    ///
    /// # Errors
    /// [`EngineError::Tokenizer`].
    pub fn encode(
        &self,
        template: &InstructionTemplate,
        row: &Row,
        max_tokens: usize,
    ) -> Result<Encoded, EngineError> {
        let encode = match self.has_encoder {
            true => encode_translation,
            false => encode_row,
        };
        encode(self.tokenizer, template, row, max_tokens)
            .map_err(|error| EngineError::Tokenizer(error.to_string()))
    }
}

/// Splits and tokenises the rows of a table.
///
/// # Errors
/// [`EngineError::Data`] for an unknown column or no usable row, [`EngineError::Settings`] for a length that the
/// model cannot hold.
pub async fn prepare_rows<H: Host>(
    table: &Table,
    settings: &DataSettings,
    encoder: RowEncoder<'_>,
    host: &H,
) -> Result<(TrainingData, RowsReport), EngineError> {
    let (length, context) = (settings.max_tokens as usize, encoder.context);
    if length < 2 || length > context {
        return Err(EngineError::Settings(format!(
            "rows can have 2 to {context} tokens with this model, not {length}"
        )));
    }
    let rows = mapped_rows(table, &settings.mapping)?;
    let template = instruction(settings.template.clone());
    let split = split_held_out(&rows, settings.held_out, SPLIT_SEED);
    let held_out: std::collections::HashSet<usize> = split.held_out.iter().copied().collect();

    let mut data = TrainingData {
        train: Vec::new(),
        held_out: Vec::new(),
        rows: DatasetRows::of_rows(Vec::<Vec<u8>>::new()),
    };
    let mut canonical_rows = Vec::new();
    let mut identities = Vec::new();
    let mut report = RowsReport {
        train_rows: 0,
        held_out_rows: 0,
        truncated: 0,
        skipped: 0,
        duplicates: 0,
        tokens: 0,
        longest: 0,
        fingerprint: String::new(),
        preview: Vec::new(),
    };
    for (index, row) in rows.iter().enumerate() {
        if index % ROWS_A_BREATH == 0 {
            host.emit(Event::Progress {
                stage: "Tokenising rows".into(),
                done: index as u64,
                total: rows.len() as u64,
                unit: "rows".into(),
                eta_seconds: None,
            });
            host.breathe().await;
        }
        let Encoded::Example(example) = encoder.encode(&template, row, length)? else {
            report.skipped += 1;
            continue;
        };
        report.truncated += u32::from(example.truncated);
        let tokens = example.source.len() + example.ids.len();
        report.tokens += tokens as u64;
        report.longest = report.longest.max(tokens as u32);
        if report.preview.len() < SAMPLE_ROWS {
            report.preview.push(preview(row, &example, &template));
        }
        if held_out.contains(&index) {
            data.held_out.push(example);
        } else {
            data.train.push(example);
            canonical_rows.push(canonical(row));
            identities.push(table.row_identity(index));
        }
    }
    if data.train.is_empty() {
        return Err(EngineError::Data(
            "no row is left to train on: every row is empty, held out, or has no response within the length".into(),
        ));
    }
    let distinct: std::collections::HashSet<&Vec<u8>> = canonical_rows.iter().collect();
    report.duplicates = (canonical_rows.len() - distinct.len()) as u32;
    // Before rows were known by all their cells, a data set had its name from the mapped texts.
    data.rows =
        DatasetRows::of_rows(&identities).formerly(DatasetFingerprint::of_rows(&canonical_rows));
    report.fingerprint = data.rows.fingerprint().to_string();
    report.train_rows = data.train.len() as u32;
    report.held_out_rows = data.held_out.len() as u32;
    Ok((data, report))
}
