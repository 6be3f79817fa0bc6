//! The one-run audit's experiment: which canaries join the rows, and how the finished adapter is attacked.

use vaultlab_formats::examples::Example;
use vaultlab_privacy::audit::{AuditCounts, CanaryPlan, GuessRule};
use vaultlab_privacy::ledger::DatasetRows;
use vaultlab_privacy::randomness::Randomness;

use super::TrainingData;
use super::audit_scores::calibrated_scores;
use crate::EngineError;
use crate::lora::DeviceAdapter;
use crate::model::Decoder;

/// A row made up for an audit.
#[derive(Clone, Debug)]
pub struct MadeUpRow {
    /// As it is trained.
    pub example: Example,
    /// Its canonical bytes, which the ledger knows it by.
    pub identity: Vec<u8>,
}

/// Training rows with canaries among them, and the coins that decided which.
pub struct AuditedRows {
    data: TrainingData,
    canaries: Vec<Example>,
    plan: CanaryPlan,
}

/// What the attack on an adapter gave.
#[derive(Clone, Debug)]
pub struct Attack {
    /// Canaries, guesses and right guesses.
    pub counts: AuditCounts,
    /// Each canary's score; higher speaks for inclusion.
    pub scores: Vec<f64>,
}

impl AuditedRows {
    /// Throws the coins and puts the included canaries, and all of `planted`, behind the rows of `base`. All
    /// are part of the data set from here on: its fingerprint, its number of rows and its ledger count them.
    ///
    /// # Errors
    /// [`EngineError::Settings`] for no canary or more guesses than canaries.
    pub fn draw(
        base: &TrainingData,
        canaries: Vec<MadeUpRow>,
        planted: Vec<MadeUpRow>,
        rule: GuessRule,
        randomness: Randomness,
    ) -> Result<Self, EngineError> {
        let plan = CanaryPlan::draw(canaries.len(), rule, randomness)
            .map_err(|error| EngineError::Settings(error.to_string()))?;
        let mut data = base.clone();
        let included = plan.included().map(|canary| &canaries[canary]);
        let added: Vec<&MadeUpRow> = included.chain(&planted).collect();
        let identities = DatasetRows::of_rows(added.iter().map(|row| &row.identity));
        data.rows = data.rows.joined_with(&identities);
        data.train
            .extend(added.iter().map(|row| row.example.clone()));
        Ok(Self {
            data,
            canaries: canaries.into_iter().map(|canary| canary.example).collect(),
            plan,
        })
    }

    /// The rows to train on.
    pub fn data(&self) -> &TrainingData {
        &self.data
    }

    /// For each canary, whether its coin put it into the rows.
    pub fn coins(&self) -> Vec<bool> {
        let mut coins = vec![false; self.canaries.len()];
        self.plan.included().for_each(|canary| coins[canary] = true);
        coins
    }

    /// Scores every canary by the calibrated loss, guesses by the rule fixed beforehand, and counts.
    ///
    /// # Errors
    /// What `pause`, awaited between forward passes with the number of rows computed, returns, and a failed
    /// read-back.
    pub async fn attack<P: AsyncFnMut(usize) -> Result<(), EngineError>>(
        &self,
        model: &Decoder,
        adapter: &DeviceAdapter,
        rows_at_once: usize,
        pause: P,
    ) -> Result<Attack, EngineError> {
        let canaries: Vec<&Example> = self.canaries.iter().collect();
        let scores = calibrated_scores(model, adapter, &canaries, rows_at_once, pause).await?;
        let counts = self
            .plan
            .count(&scores)
            .map_err(|error| EngineError::Settings(error.to_string()))?;
        Ok(Attack { counts, scores })
    }
}
