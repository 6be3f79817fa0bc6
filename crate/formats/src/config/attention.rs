//! Which layers attend to everything and which through a window.

use super::fields::Fields;
use super::{ConfigError, Family};

/// What a layer's queries may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionKind {
    /// Every earlier position and itself.
    Full,
    /// The last `window` positions, itself included: query q sees keys k with q - window < k <= q.
    Sliding {
        /// Number of keys a query sees at most.
        window: usize,
    },
}

/// One entry per layer.
pub(super) fn attention_kinds(
    fields: Fields,
    family: Family,
    layers: usize,
) -> Result<Vec<AttentionKind>, ConfigError> {
    if family == Family::Gemma {
        return Ok(vec![AttentionKind::Full; layers]);
    }
    let pattern = pattern(fields)?;
    let sliding: Vec<bool> = match (fields.list("layer_types")?, pattern) {
        (Some(list), pattern) => {
            let listed = listed(fields, list, layers)?;
            if let Some((key, period)) = pattern {
                agrees(fields, &listed, key, period)?;
            }
            listed
        }
        (None, Some((_, period))) => by_period(layers, period),
        // Before `layer_types` existed, Gemma 2's alternation was fixed by the architecture.
        (None, None) if matches!(family, Family::Gemma2 | Family::T5Gemma) => by_period(layers, 2),
        (None, None) => return Err(fields.missing("layer_types")),
    };
    let window = if sliding.contains(&true) {
        fields.size("sliding_window")?
    } else {
        0
    };
    Ok(sliding
        .into_iter()
        .map(|s| {
            if s {
                AttentionKind::Sliding { window }
            } else {
                AttentionKind::Full
            }
        })
        .collect())
}

/// `sliding_window_pattern` = p: every p-th layer is full, the others slide.
fn pattern(fields: Fields) -> Result<Option<(&'static str, usize)>, ConfigError> {
    for key in ["sliding_window_pattern", "_sliding_window_pattern"] {
        if fields.get(key).is_some() {
            return Ok(Some((key, fields.size(key)?)));
        }
    }
    Ok(None)
}

fn by_period(layers: usize, period: usize) -> Vec<bool> {
    (1..=layers).map(|n| n % period != 0).collect()
}

fn listed(
    fields: Fields,
    list: &[serde_json::Value],
    layers: usize,
) -> Result<Vec<bool>, ConfigError> {
    if list.len() != layers {
        return Err(ConfigError::Contradiction {
            first: fields.key("layer_types"),
            second: fields.key("num_hidden_layers"),
            detail: format!("{} entries for {layers} layers", list.len()),
        });
    }
    list.iter()
        .map(|entry| match entry.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            Some(other) => Err(ConfigError::Unsupported {
                key: fields.key("layer_types"),
                value: other.to_owned(),
                advice: "layers are full_attention or sliding_attention",
            }),
            None => Err(ConfigError::WrongType {
                key: fields.key("layer_types"),
                expected: "a list of strings",
            }),
        })
        .collect()
}

fn agrees(fields: Fields, listed: &[bool], key: &str, period: usize) -> Result<(), ConfigError> {
    let expected = by_period(listed.len(), period);
    match listed.iter().zip(&expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(layer) => Err(ConfigError::Contradiction {
            first: fields.key("layer_types"),
            second: fields.key(key),
            detail: format!("layer {layer} slides in one and not in the other"),
        }),
    }
}
