use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// One training example before tokenisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The question, or the whole text when there is no response column.
    pub prompt: String,
    /// The answer the loss is taken on.
    pub response: String,
}

/// Which columns feed prompt and response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ColumnMapping {
    /// Column put in the prompt template.
    pub prompt: Option<String>,
    /// Column the model learns to answer with.
    pub response: String,
}

/// A data file read as a table.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct TableReport {
    /// Detected format: json, jsonl, csv, tsv or text.
    pub format: String,
    /// Column names in file order.
    pub columns: Vec<String>,
    /// Rows read.
    pub rows: u32,
    /// The first rows, a cell per column.
    pub sample: Vec<Vec<String>>,
    /// The guess; the visitor can change it.
    pub mapping: ColumnMapping,
    /// Lines that could not be read; reading goes on after them.
    pub problems: Vec<LineProblem>,
}

/// A line that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LineProblem {
    /// Line in the file, from 1.
    pub line: u32,
    /// What is wrong, without quoting the private text.
    pub message: String,
}

/// The prompt template: what surrounds a row's prompt and response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PromptTemplate {
    /// Text before the prompt.
    pub before_prompt: String,
    /// Text between prompt and response.
    pub before_response: String,
}

impl Default for PromptTemplate {
    /// The flashcard notebook's instruction form.
    fn default() -> Self {
        Self {
            before_prompt: "Instruction:\nAnswer this question truthfully.\n\nQuestion:\n".into(),
            before_response: "\n\nResponse:\n".into(),
        }
    }
}

/// How rows become token sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct DataSettings {
    /// Columns in use.
    pub mapping: ColumnMapping,
    /// Text around them.
    pub template: PromptTemplate,
    /// Longest sequence in tokens; longer rows are cut.
    pub max_tokens: u32,
    /// Share of rows held out for evaluation, 0 to 0.5.
    pub held_out: f64,
}

/// The tokenised data set.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RowsReport {
    /// Rows the private step samples from.
    pub train_rows: u32,
    /// Rows held out for evaluation.
    pub held_out_rows: u32,
    /// Rows cut at the maximum length.
    pub truncated: u32,
    /// Rows left out: empty, or no response token within the maximum length.
    pub skipped: u32,
    /// Exact duplicates among the training rows (each counts as a row of its own).
    pub duplicates: u32,
    /// Tokens over all rows.
    #[ts(type = "number")]
    pub tokens: u64,
    /// Longest row in tokens.
    pub longest: u32,
    /// SHA-256 of the canonical rows, order-free; the ledger's key.
    pub fingerprint: String,
    /// Previews of the first rows.
    pub preview: Vec<RowPreview>,
}

/// One row as it will be trained.
#[derive(Clone, Debug, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RowPreview {
    /// Text of the prompt with its template.
    pub prompt: String,
    /// Text of the response.
    pub response: String,
    /// Tokens in all.
    pub tokens: u32,
    /// Tokens the loss is taken on, EOS included.
    pub target_tokens: u32,
    /// True if cut at the maximum length.
    pub truncated: bool,
}
