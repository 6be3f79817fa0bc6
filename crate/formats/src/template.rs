//! What surrounds a prompt and a response: the notebooks' instruction form and Gemma's chat form.

use thiserror::Error;

use crate::config::Family;

/// The instruction form: `before_prompt`, prompt, `before_response`, response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructionTemplate {
    /// Text before the prompt.
    pub before_prompt: String,
    /// Text between prompt and response.
    pub before_response: String,
}

impl Default for InstructionTemplate {
    /// The form of the flashcard fine-tune.
    fn default() -> Self {
        Self {
            before_prompt: "Instruction:\nAnswer this question truthfully.\n\nQuestion:\n"
                .to_owned(),
            before_response: "\n\nResponse:\n".to_owned(),
        }
    }
}

impl InstructionTemplate {
    /// The text a model is given to answer.
    pub fn prompt(&self, prompt: &str) -> String {
        [&self.before_prompt, prompt, &self.before_response].concat()
    }
}

/// Who says a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions for the whole conversation; only first, and only where the model knows it.
    System,
    /// The person.
    User,
    /// The model (`assistant` elsewhere).
    Model,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What a model's chat form does with a system turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemRole {
    /// Gemma 1 and 2 have none.
    Refused,
    /// Gemma 3 puts it before the first user turn, with a blank line between.
    BeforeFirstUser,
}

impl SystemRole {
    /// The rule of a family's instruction-tuned models. T5Gemma takes Gemma 2's; VaultGemma has none
    /// and refuses too.
    pub fn of(family: Family) -> Self {
        match family {
            Family::Gemma3 => Self::BeforeFirstUser,
            Family::Gemma | Family::Gemma2 | Family::VaultGemma | Family::T5Gemma => Self::Refused,
        }
    }
}

/// Why a conversation cannot be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A system turn for a model that has none.
    #[error("this model knows no system role; put the instructions in the first user turn")]
    SystemRefused,
    /// Turns do not alternate user, model, user, …
    #[error(
        "turn {turn} is out of order; after an optional system turn, user and model take turns"
    )]
    OutOfOrder {
        /// Number of the turn, from 1.
        turn: usize,
    },
    /// Nothing to answer.
    #[error("the conversation has no user turn")]
    Empty,
}

/// Renders a conversation in Gemma's chat form, ready for the model's answer:
/// `<bos>`, then `<start_of_turn>{role}\n{content}<end_of_turn>\n` per turn with trimmed content,
/// then `<start_of_turn>model\n` if the last turn is the user's. A system text stands as written before
/// the first user turn's, with a blank line between, as Gemma 3's published template has it. Encode the
/// result with `Tokenizer::encode_with_bos`, which does not add a second BOS.
///
/// # Errors
/// [`TemplateError`].
pub fn gemma_chat(turns: &[Turn], system: SystemRole) -> Result<String, TemplateError> {
    let (preface, turns, skipped) = match turns.split_first() {
        Some((first, rest)) if first.role == Role::System => {
            if system == SystemRole::Refused {
                return Err(TemplateError::SystemRefused);
            }
            (Some(first.content.as_str()), rest, 1)
        }
        _ => (None, turns, 0),
    };
    if turns.is_empty() {
        return Err(TemplateError::Empty);
    }
    let mut text = "<bos>".to_owned();
    for (i, turn) in turns.iter().enumerate() {
        let (expected, name) = if i % 2 == 0 {
            (Role::User, "user")
        } else {
            (Role::Model, "model")
        };
        if turn.role != expected {
            return Err(TemplateError::OutOfOrder {
                turn: i + 1 + skipped,
            });
        }
        text.push_str("<start_of_turn>");
        text.push_str(name);
        text.push('\n');
        if let (0, Some(preface)) = (i, preface) {
            text.push_str(preface);
            text.push_str("\n\n");
        }
        text.push_str(turn.content.trim());
        text.push_str("<end_of_turn>\n");
    }
    if turns.len() % 2 == 1 {
        text.push_str("<start_of_turn>model\n");
    }
    Ok(text)
}
