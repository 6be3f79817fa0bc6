use serde::{Deserialize, Serialize};
use vaultlab_formats::checkpoint::{F32Tensor, Header, write_f32};
use vaultlab_formats::config::ModelConfig;
use vaultlab_privacy::ledger::{DatasetFingerprint, RunId};
use vaultlab_protocol::RunSettings;

use super::AdamWState;
use crate::EngineError;

const VERSION: u32 = 1;
const KEY: &str = "vaultlab_training";
const TENSORS: [&str; 3] = ["parameters", "first_moment", "second_moment"];

/// A training run as it stands after a step. It holds no random key: noise that a resumed run will draw must not be
/// on disk, so a resumed run draws fresh keys. It does hold the fingerprint of the rows, which can confirm a guess of
/// all of them: it is for the device that has the rows, not for publication.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Run, model and data it belongs to.
    pub header: CheckpointHeader,
    /// LoRA parameters, in the layout's order.
    pub parameters: Vec<f32>,
    /// The optimiser.
    pub optimizer: AdamWState,
}

/// What a checkpoint belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointHeader {
    version: u32,
    /// Settings of the run.
    pub run: RunSettings,
    /// The run in the ledger.
    pub run_id: RunId,
    /// The training rows.
    pub fingerprint: DatasetFingerprint,
    /// Steps done.
    pub step: u32,
    model: ModelIdentity,
}

/// Enough of a model to notice that a checkpoint belongs to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelIdentity {
    model_type: String,
    vocabulary: usize,
    hidden: usize,
    layers: usize,
    parameters: u64,
}

impl ModelIdentity {
    fn of(config: &ModelConfig) -> Self {
        Self {
            model_type: config.model_type.clone(),
            vocabulary: config.vocab_size,
            hidden: config.hidden_size,
            layers: config.num_layers(),
            parameters: config.parameters(),
        }
    }
}

impl CheckpointHeader {
    /// The header of a run at `step`.
    pub fn new(
        run: RunSettings,
        run_id: RunId,
        fingerprint: DatasetFingerprint,
        step: u32,
        config: &ModelConfig,
    ) -> Self {
        Self {
            version: VERSION,
            run,
            run_id,
            fingerprint,
            step,
            model: ModelIdentity::of(config),
        }
    }
}

impl Checkpoint {
    /// The checkpoint as one safetensors file.
    ///
    /// # Errors
    /// [`EngineError::Weights`] if it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        let shape = [self.parameters.len()];
        let values = [
            &self.parameters,
            &self.optimizer.first,
            &self.optimizer.second,
        ];
        let tensors: Vec<F32Tensor> = TENSORS
            .iter()
            .zip(values)
            .map(|(name, values)| F32Tensor {
                name,
                shape: &shape,
                values,
            })
            .collect();
        let header = serde_json::to_string(&self.header).map_err(|error| {
            EngineError::Resume(format!("the checkpoint could not be written: {error}"))
        })?;
        Ok(write_f32(&tensors, &[(KEY, &header)])?)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`EngineError::Resume`] for another kind of file or a newer version, [`EngineError::Weights`] for a
    /// damaged one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        let file = Header::parse_file(bytes)?;
        let header = file.metadata.get(KEY).ok_or_else(|| {
            EngineError::Resume("this file is no VaultLab training checkpoint".into())
        })?;
        let header: CheckpointHeader = serde_json::from_str(header).map_err(|error| {
            EngineError::Resume(format!("the checkpoint's header is damaged: {error}"))
        })?;
        if header.version != VERSION {
            return Err(EngineError::Resume(format!(
                "the checkpoint has version {}, this program reads {VERSION}",
                header.version
            )));
        }
        let [parameters, first, second] = TENSORS.map(|name| file.read_f32(bytes, name));
        let (parameters, first, second) = (parameters?, first?, second?);
        if first.len() != parameters.len() || second.len() != parameters.len() {
            return Err(EngineError::Resume(
                "the checkpoint's tensors differ in length".into(),
            ));
        }
        let step = header.step;
        Ok(Self {
            header,
            parameters,
            optimizer: AdamWState {
                first,
                second,
                step,
            },
        })
    }

    /// Checks that the checkpoint belongs to this model and these rows.
    ///
    /// # Errors
    /// [`EngineError::Resume`], saying which of the two differs.
    pub fn check(
        &self,
        config: &ModelConfig,
        fingerprint: DatasetFingerprint,
    ) -> Result<(), EngineError> {
        if self.header.model != ModelIdentity::of(config) {
            return Err(EngineError::Resume(
                "the checkpoint was made with another model; load that model first".into(),
            ));
        }
        if self.header.fingerprint != fingerprint {
            return Err(EngineError::Resume(
                "the checkpoint was made with other rows or another split; load the same file with the same columns, \
                 template, length and held-out share"
                    .into(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let config = include_bytes!("../../../../tests/golden/models/vaultgemma/config.json");
        let config = ModelConfig::parse(config).expect("the golden configuration is valid");
        let run = RunSettings {
            name: "run".into(),
            privacy: None,
            steps: 5,
            logical_batch: 4,
            micro_batch: 2,
            learning_rate: 1e-3,
            warmup_steps: 1,
            weight_decay: 0.0,
            lora: Default::default(),
            evaluate_every: 0,
            checkpoint_every: 0,
            insecure_seed: Some(1),
        };
        let fingerprint = DatasetFingerprint::of_rows([b"row"]);
        Checkpoint {
            header: CheckpointHeader::new(run, RunId::from_bytes([7; 16]), fingerprint, 3, &config),
            parameters: vec![1.0, -2.0],
            optimizer: AdamWState {
                first: vec![0.5, 0.25],
                second: vec![0.125, 1e-20],
                step: 3,
            },
        }
    }

    #[test]
    fn survives_a_round_trip() {
        let before = checkpoint();
        let after = Checkpoint::from_bytes(&before.to_bytes().expect("writes")).expect("reads");
        assert_eq!(before, after);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = checkpoint().to_bytes().expect("writes");
        for end in 0..bytes.len() {
            assert!(
                Checkpoint::from_bytes(&bytes[..end]).is_err(),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn other_rows_are_refused() {
        let config = include_bytes!("../../../../tests/golden/models/vaultgemma/config.json");
        let config = ModelConfig::parse(config).expect("the golden configuration is valid");
        let checkpoint = checkpoint();
        assert!(
            checkpoint
                .check(&config, checkpoint.header.fingerprint)
                .is_ok()
        );
        let other = DatasetFingerprint::of_rows([b"other"]);
        assert!(matches!(
            checkpoint.check(&config, other),
            Err(EngineError::Resume(_))
        ));
    }
}
