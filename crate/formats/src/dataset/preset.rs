//! The data sets of the reference fine-tunes, as values: what to fetch, which columns count, how many
//! rows. Fetching and unpacking are the caller's.

use super::{DatasetError, Format, Table, read_table};
use crate::template::InstructionTemplate;

/// Where a preset's file is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresetSource {
    /// A data set on the Hugging Face hub; the file is the one with this ending.
    Hub {
        /// `owner/name`.
        dataset: &'static str,
        /// Ending of the file's name.
        file_ending: &'static str,
    },
    /// A file the visitor brings: released as an archive that a page cannot fetch.
    File {
        /// What to look for.
        name: &'static str,
        /// Ending of its name inside the archive.
        file_ending: &'static str,
    },
}

/// A data set with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Short name: `flashcards`, `dolly` or `mtnt`.
    pub id: &'static str,
    /// Name to show.
    pub title: &'static str,
    /// Where its file is.
    pub source: PresetSource,
    /// Licence as its publishers state it, where they do.
    pub licence: Option<&'static str>,
    /// Format of the file.
    pub format: Format,
    /// Column names of a file without header.
    pub columns: Option<&'static [&'static str]>,
    /// Column of the prompt.
    pub prompt: &'static str,
    /// Column of the response.
    pub response: &'static str,
    /// Rows with text in this column are left out.
    pub must_be_empty: Option<&'static str>,
    /// How many rows the reference fine-tune takes, from the start.
    pub rows: usize,
    /// What surrounds prompt and response.
    pub template: InstructionTemplate,
}

/// Medical Meadow flashcards, Dolly 15k and MTNT English to French.
pub fn presets() -> [Preset; 3] {
    let template = |before_prompt: &str, before_response: &str| InstructionTemplate {
        before_prompt: before_prompt.to_owned(),
        before_response: before_response.to_owned(),
    };
    [
        Preset {
            id: "flashcards",
            title: "Medical flashcards (Medical Meadow)",
            source: PresetSource::Hub {
                dataset: "medalpaca/medical_meadow_medical_flashcards",
                file_ending: ".json",
            },
            licence: None,
            format: Format::Json,
            columns: None,
            prompt: "input",
            response: "output",
            must_be_empty: None,
            rows: 1000,
            template: InstructionTemplate::default(),
        },
        Preset {
            id: "dolly",
            title: "Dolly 15k, rows without context",
            source: PresetSource::Hub {
                dataset: "databricks/databricks-dolly-15k",
                file_ending: ".jsonl",
            },
            licence: Some("CC BY-SA 3.0"),
            format: Format::Jsonl,
            columns: None,
            prompt: "instruction",
            response: "response",
            must_be_empty: Some("context"),
            rows: 1000,
            template: template("Instruction:\n", "\n\nResponse:\n"),
        },
        Preset {
            id: "mtnt",
            title: "MTNT, English to French",
            source: PresetSource::File {
                name: "MTNT",
                file_ending: "train.en-fr.tsv",
            },
            licence: None,
            format: Format::Tsv,
            columns: Some(&["id", "source", "target"]),
            prompt: "source",
            response: "target",
            must_be_empty: None,
            rows: 1000,
            template: template("", ""),
        },
    ]
}

impl Preset {
    /// Reads the preset's file: its first [`Preset::rows`] rows that count.
    ///
    /// # Errors
    /// As [`read_table`], and [`DatasetError::MissingColumn`] if it is another file.
    pub fn read(&self, bytes: &[u8]) -> Result<Table, DatasetError> {
        let name = match self.format {
            Format::Json => "preset.json",
            Format::Jsonl => "preset.jsonl",
            Format::Csv => "preset.csv",
            Format::Tsv => "preset.tsv",
            Format::Text => "preset.txt",
        };
        let mut table = match self.columns {
            Some(columns) => super::read_headerless(bytes, columns)?,
            None => read_table(bytes, Some(name))?,
        };
        let column = |name: &str| {
            let found = table.columns.iter().position(|c| c == name);
            found.ok_or_else(|| DatasetError::MissingColumn {
                column: name.to_owned(),
            })
        };
        column(self.prompt)?;
        column(self.response)?;
        if let Some(name) = self.must_be_empty {
            let column = column(name)?;
            table.rows.retain(|row| row[column].trim().is_empty());
        }
        Ok(table.first(self.rows))
    }
}
