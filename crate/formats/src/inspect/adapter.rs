use serde::Serialize;

use crate::checkpoint::Header;
use crate::peft::{AdapterConfig, PeftError, check_header};

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterDescription {
    /// The model it was trained on, as written.
    pub base_model: Option<String>,
    /// `CAUSAL_LM`, `SEQ_2_SEQ_LM`, …
    pub task_type: Option<String>,
    /// Rank, where no pattern says otherwise.
    pub rank: usize,
    /// Alpha, where no pattern says otherwise.
    pub alpha: f64,
    /// True for `alpha / sqrt(r)`.
    pub rslora: bool,
    /// Adapted layers.
    pub layers: usize,
    /// Last segments of their paths, sorted.
    pub projections: Vec<String>,
    /// Ranks in use, sorted.
    pub ranks: Vec<usize>,
    /// Trainable parameters.
    pub parameters: u64,
    /// Bytes of the tensor file.
    pub file_bytes: u64,
    /// Keys of the configuration that are not known.
    pub unknown_keys: Vec<String>,
}

/// Describes an adapter from `adapter_config.json` and the header of its tensor file.
///
/// # Errors
/// [`PeftError`] for everything but plain LoRA, by name.
pub fn adapter(config_json: &[u8], header: &Header) -> Result<AdapterDescription, PeftError> {
    let config = AdapterConfig::parse(config_json)?;
    let layers = check_header(&config, header)?;
    let sorted = |mut list: Vec<usize>| {
        list.sort_unstable();
        list.dedup();
        list
    };
    let mut projections: Vec<String> = layers
        .iter()
        .map(|l| l.path.rsplit('.').next().unwrap_or_default().to_owned())
        .collect();
    projections.sort_unstable();
    projections.dedup();
    Ok(AdapterDescription {
        base_model: config.base_model,
        task_type: config.task_type,
        rank: config.rank,
        alpha: config.alpha,
        rslora: config.rslora,
        layers: layers.len(),
        projections,
        ranks: sorted(layers.iter().map(|l| l.rank).collect()),
        parameters: layers
            .iter()
            .map(|l| l.rank as u64 * (l.inputs + l.outputs))
            .sum(),
        file_bytes: header.file_len(),
        unknown_keys: config.unknown_keys,
    })
}
