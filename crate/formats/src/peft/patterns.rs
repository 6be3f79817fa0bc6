//! Matching module paths against target names and patterns, as PEFT does.

use regex::Regex;

use super::PeftError;
use crate::config::PROJECTIONS;

/// Which layers are adapted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Whole paths or last segments (`q_proj`).
    Names(Vec<String>),
    /// Every linear layer of the blocks (`all-linear`).
    AllLinear,
    /// A regular expression the whole path must match.
    Pattern(String),
}

/// Targets ready for matching.
pub(super) struct Matcher {
    pub(super) targets: Compiled,
    pub(super) excluded: Option<Compiled>,
    /// Layer numbers, if only some are adapted.
    pub(super) layers: Option<Vec<usize>>,
    /// Names of the list the layer number must follow; any if empty.
    pub(super) layers_pattern: Vec<String>,
}

pub(super) enum Compiled {
    Names(Vec<String>),
    Pattern(Regex),
}

impl Compiled {
    pub(super) fn new(targets: &Targets, key: &'static str) -> Result<Self, PeftError> {
        Ok(match targets {
            Targets::Names(names) => Self::Names(names.clone()),
            Targets::AllLinear => Self::Names(PROJECTIONS.map(str::to_owned).to_vec()),
            Targets::Pattern(pattern) => Self::Pattern(whole(pattern, key)?),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|name| is_or_ends_with(path, name)),
            Self::Pattern(pattern) => pattern.is_match(path),
        }
    }
}

impl Matcher {
    pub(super) fn matches(&self, path: &str) -> bool {
        let excluded = self.excluded.as_ref().is_some_and(|e| e.matches(path));
        !excluded && self.targets.matches(path) && self.layer_matches(path)
    }

    fn layer_matches(&self, path: &str) -> bool {
        // PEFT applies layer numbers to lists of names only, not to patterns.
        let (Some(layers), Compiled::Names(_)) = (&self.layers, &self.targets) else {
            return true;
        };
        let segments: Vec<&str> = path.split('.').collect();
        let number = segments.windows(2).find_map(|pair| {
            let number = pair[1].parse::<usize>().ok()?;
            let named =
                self.layers_pattern.is_empty() || self.layers_pattern.iter().any(|p| p == pair[0]);
            named.then_some(number)
        });
        number.is_some_and(|n| layers.contains(&n))
    }

    /// Refuses a list of names of which one matches nothing in the model.
    pub(super) fn every_name_used<'a>(
        &self,
        paths: impl Iterator<Item = &'a str>,
    ) -> Result<(), PeftError> {
        let Compiled::Names(names) = &self.targets else {
            return Ok(());
        };
        let mut unused: Vec<&String> = names.iter().collect();
        for path in paths {
            unused.retain(|name| !is_or_ends_with(path, name));
        }
        match unused.first() {
            None => Ok(()),
            Some(target) => Err(PeftError::TargetNotInModel {
                target: (*target).clone(),
            }),
        }
    }
}

/// The first entry of an ordered pattern table that applies to a path. PEFT matches each key as a
/// regular expression at the end of the path, after a dot or from the start.
pub(super) fn lookup<T: Copy>(
    table: &[(String, T)],
    key: &'static str,
    path: &str,
) -> Result<Option<T>, PeftError> {
    for (pattern, value) in table {
        let matches = if pattern.chars().all(is_plain) {
            ends_with_plain(path, pattern)
        } else {
            regex(&format!(r"^(.*\.)?({pattern})$"), key)?.is_match(path)
        };
        if matches {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

/// A letter of a pattern that needs no compiling. PEFT writes paths, so that is the usual case, and
/// adapters with a pattern per layer would be compiled for every layer.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
}

/// What the regular expression would do: letters match themselves, a dot anything.
fn ends_with_plain(path: &str, pattern: &str) -> bool {
    let Some(at) = path.len().checked_sub(pattern.len()) else {
        return false;
    };
    let (head, tail) = path.as_bytes().split_at(at);
    let letters = tail.iter().zip(pattern.as_bytes());
    (head.is_empty() || head.ends_with(b"."))
        && letters.into_iter().all(|(t, p)| *p == b'.' || t == p)
}

fn whole(pattern: &str, key: &'static str) -> Result<Regex, PeftError> {
    regex(&format!("^(?:{pattern})$"), key)
}

fn regex(pattern: &str, key: &'static str) -> Result<Regex, PeftError> {
    Regex::new(pattern).map_err(|e| PeftError::BadPattern {
        key,
        detail: e.to_string(),
    })
}

fn is_or_ends_with(path: &str, name: &str) -> bool {
    path == name
        || path
            .strip_suffix(name)
            .is_some_and(|head| head.ends_with('.'))
}
