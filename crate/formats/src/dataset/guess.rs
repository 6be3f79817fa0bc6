use super::Table;

/// Names of prompt columns; an earlier one is preferred.
const PROMPTS: [&str; 14] = [
    "question",
    "instruction",
    "prompt",
    "input",
    "query",
    "source",
    "src",
    "problem",
    "title",
    "user",
    "front",
    "q",
    "en",
    "context",
];

/// Names of response columns; an earlier one is preferred.
const RESPONSES: [&str; 14] = [
    "output",
    "answer",
    "response",
    "completion",
    "target",
    "tgt",
    "reply",
    "solution",
    "assistant",
    "answers",
    "back",
    "a",
    "fr",
    "text",
];

/// Rows looked at.
const SAMPLE: usize = 500;

/// Which columns hold prompt and response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnGuess {
    /// Name of the prompt column; `None` if the rows are plain text.
    pub prompt: Option<String>,
    /// Name of the response column.
    pub response: String,
}

/// Guesses prompt and response columns: by usual names, else the two columns with the longest text.
/// A constant column (the flashcards' `instruction`) or a mostly empty one is passed over while
/// another candidate is left. `None` for a table without columns.
pub fn guess_columns(table: &Table) -> Option<ColumnGuess> {
    let response = named(table, &RESPONSES, None);
    let prompt = named(table, &PROMPTS, response);
    let (prompt, response) = match (prompt, response) {
        (Some(prompt), Some(response)) => (Some(prompt), response),
        // Rows of plain text, perhaps with a label beside them.
        (None, Some(response)) if is_named(table, response, "text") => (None, response),
        (None, Some(response)) => (longest(table, Some(response)), response),
        (Some(prompt), None) => match longest(table, Some(prompt)) {
            Some(response) => (Some(prompt), response),
            None => (None, prompt),
        },
        (None, None) => {
            let first =
                longest(table, None).or_else(|| (!table.columns.is_empty()).then_some(0))?;
            match longest(table, Some(first)) {
                // The question usually stands before the answer.
                Some(second) => (Some(first.min(second)), first.max(second)),
                None => (None, first),
            }
        }
    };
    Some(ColumnGuess {
        prompt: prompt.map(|column| table.columns[column].clone()),
        response: table.columns[response].clone(),
    })
}

/// True for a usual name of a prompt or response column, or of an identifier.
pub(super) fn is_known_name(cell: &str) -> bool {
    let cell = cell.trim().to_lowercase();
    // One- and two-letter names are too likely to be data.
    let known = PROMPTS
        .iter()
        .chain(&RESPONSES)
        .filter(|name| name.len() > 2);
    known
        .chain(&["id", "category", "label"])
        .any(|name| *name == cell)
}

fn named(table: &Table, names: &[&str], taken: Option<usize>) -> Option<usize> {
    let candidates: Vec<usize> = names
        .iter()
        .filter_map(|name| (0..table.columns.len()).find(|&c| is_named(table, c, name)))
        .filter(|&column| Some(column) != taken)
        .collect();
    candidates
        .iter()
        .copied()
        .find(|&c| varies(table, c))
        .or(candidates.first().copied())
}

fn is_named(table: &Table, column: usize, name: &str) -> bool {
    table.columns[column].trim().to_lowercase() == name
}

fn sample(table: &Table, column: usize) -> impl Iterator<Item = &str> {
    table
        .rows
        .iter()
        .take(SAMPLE)
        .filter_map(move |row| row.get(column))
        .map(|cell| cell.trim())
}

/// True if at least half of the rows have something here, and not all the same.
fn varies(table: &Table, column: usize) -> bool {
    let rows = table.rows.len().min(SAMPLE);
    let filled: Vec<&str> = sample(table, column)
        .filter(|cell| !cell.is_empty())
        .collect();
    let constant = rows > 1 && filled.iter().all(|cell| *cell == filled[0]);
    !filled.is_empty() && filled.len() * 2 >= rows && !constant
}

/// The column with the longest text on average, numbers not counted.
fn longest(table: &Table, taken: Option<usize>) -> Option<usize> {
    let length = |column: usize| -> usize {
        sample(table, column)
            .filter(|c| c.parse::<f64>().is_err())
            .map(str::len)
            .sum()
    };
    (0..table.columns.len())
        .filter(|&column| Some(column) != taken)
        .map(|column| (column, length(column)))
        .filter(|&(_, length)| length > 0)
        // The first of equals.
        .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)))
        .map(|(column, _)| column)
}
