//! Exposure of planted secrets on an audit's adapter.

use rand::RngExt;
use rand_chacha::ChaCha20Rng;
use vaultlab_formats::examples::{Example, IGNORED};
use vaultlab_privacy::audit::{AuditError, exposure, sampled_exposure};
use vaultlab_protocol::{DataSettings, ExposureReport, SecretCandidates, SecretSettings};

use super::canaries::text_row;
use crate::EngineError;
use crate::lab::LoadedModel;
use crate::lora::DeviceAdapter;
use crate::train::{MadeUpRow, TrainingData, row_losses};

/// Digits of the longest secret whose space is counted.
const MOST_DIGITS: u32 = 9;

/// A secret with its candidates, ready to be scored.
pub(super) struct Secret {
    /// The row with the secret in it.
    pub row: MadeUpRow,
    /// True if the row is to join the training rows.
    pub plant: bool,
    /// The row with the secret, then with each candidate; only where they differ is a target.
    rows: Vec<Example>,
    sampled: bool,
}

impl Secret {
    /// Makes the rows.
    ///
    /// # Errors
    /// [`EngineError::Settings`] without candidates, for digits that are none, and for rows too long.
    pub fn new(
        settings: &SecretSettings,
        model: &LoadedModel,
        data: &DataSettings,
        random: &mut ChaCha20Rng,
    ) -> Result<Self, EngineError> {
        let row = |secret: &str| {
            let response = format!("{}{secret}{}", settings.before, settings.after);
            text_row(&settings.prompt, &response, model, data)
        };
        let (candidates, sampled) = candidates(settings, random)?;
        let planted = row(&settings.secret)?;
        let mut rows = vec![planted.example.clone()];
        for candidate in &candidates {
            rows.push(row(candidate)?.example);
        }
        ignore_common_start(&mut rows);
        Ok(Self {
            row: planted,
            plant: settings.plant,
            rows,
            sampled,
        })
    }

    /// Rows that [`Self::expose`] computes.
    pub fn rows(&self) -> usize {
        2 * self.rows.len()
    }

    /// Exposure with the adapter on, and off, the adapter having been trained on `trained`.
    ///
    /// # Errors
    /// What `pause` returns, and a failed read-back.
    pub async fn expose<P: AsyncFnMut(usize) -> Result<(), EngineError>>(
        &self,
        model: &LoadedModel,
        adapter: &DeviceAdapter,
        trained: &TrainingData,
        rows_at_once: usize,
        mut pause: P,
    ) -> Result<ExposureReport, EngineError> {
        let rows: Vec<&Example> = self.rows.iter().collect();
        let decoder = &model.decoder;
        let off = row_losses(decoder, None, &rows, rows_at_once, &mut pause).await?;
        let on = row_losses(decoder, Some(adapter), &rows, rows_at_once, async |done| {
            pause(rows.len() + done).await
        });
        let on = on.await?;
        let failed = |error: AuditError| EngineError::Settings(error.to_string());
        let mut report = ExposureReport {
            trained: trained.train.iter().any(|row| {
                (&row.source, &row.ids) == (&self.row.example.source, &self.row.example.ids)
            }),
            bits: 0.0,
            bits_before: 0.0,
            rank: 0,
            candidates: rows.len() as u32,
            sampled: self.sampled,
            at_least_bits: None,
        };
        if self.sampled {
            let found = sampled_exposure(on[0], &on[1..]).map_err(failed)?;
            report.bits = found.bits;
            report.rank = found.as_likely as u32 + 1;
            report.at_least_bits = Some(found.at_least_bits);
            report.bits_before = sampled_exposure(off[0], &off[1..]).map_err(failed)?.bits;
        } else {
            let found = exposure(on[0], &on[1..]).map_err(failed)?;
            report.bits = found.bits;
            report.rank = found.rank as u32;
            report.bits_before = exposure(off[0], &off[1..]).map_err(failed)?.bits;
        }
        Ok(report)
    }
}

/// The texts besides the secret, and whether they are a random sample of the space.
fn candidates(
    settings: &SecretSettings,
    random: &mut ChaCha20Rng,
) -> Result<(Vec<String>, bool), EngineError> {
    let secret = settings.secret.as_str();
    let (candidates, sampled) = match &settings.candidates {
        SecretCandidates::Listed { texts } => {
            let mut others: Vec<String> = texts
                .iter()
                .filter(|&text| text != secret)
                .cloned()
                .collect();
            // A text listed twice is one candidate.
            others.sort();
            others.dedup();
            (others, false)
        }
        SecretCandidates::Digits { at_most } => {
            let digits = secret.len() as u32;
            if !(1..=MOST_DIGITS).contains(&digits) || !secret.bytes().all(|c| c.is_ascii_digit()) {
                return Err(EngineError::Settings(format!(
                    "a secret whose candidates are all numbers must have 1 to {MOST_DIGITS} digits and nothing else"
                )));
            }
            let space = 10_u32.pow(digits);
            let written = |number: u32| format!("{number:0width$}", width = digits as usize);
            if *at_most >= space - 1 {
                let others = (0..space).map(written).filter(|text| text != secret);
                (others.collect(), false)
            } else {
                // With replacement, the secret itself not left out: independent draws from the whole space.
                let draw = |_| written(random.random_range(0..space));
                ((0..*at_most).map(draw).collect(), true)
            }
        }
    };
    if candidates.is_empty() {
        return Err(EngineError::Settings(
            "a secret needs at least one candidate besides itself".into(),
        ));
    }
    Ok((candidates, sampled))
}

/// Takes the targets from the tokens with which all rows begin: they add the same to every loss, and leaving
/// them out keeps rounding from breaking ties among the rest.
fn ignore_common_start(rows: &mut [Example]) {
    let Some((first, others)) = rows.split_first() else {
        return;
    };
    let common = |other: &Example| {
        let pairs = first.ids.iter().zip(&other.ids);
        pairs.take_while(|(a, b)| a == b).count()
    };
    let start = others.iter().map(common).min().unwrap_or(0);
    for row in rows {
        row.labels[..start].fill(IGNORED);
    }
}
