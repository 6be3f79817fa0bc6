use std::path::Path;

use serde_json::Value;
use vaultlab_privacy::statement::{PrivacyStatement, verify};

use crate::args::Verify;
use crate::{Failure, files};

const WEIGHTS: &str = "adapter_model.safetensors";
const TEXT: &str = "privacy_statement.txt";

/// Checks a statement by itself, and against the adapter's weights and the statement in words beside them.
pub fn run(args: &Verify) -> Result<Value, Failure> {
    let json = files::read(&args.statement)?;
    let weights = match &args.adapter {
        Some(folder) => Some(files::read(&folder.join(WEIGHTS))?),
        None => None,
    };
    let mut found = verify(&json, weights.as_deref());
    if let Some(folder) = &args.adapter {
        found.problems.extend(words(&json, &folder.join(TEXT))?);
        found.verified = found.problems.is_empty();
    }
    Ok(serde_json::to_value(found)?)
}

/// A problem if the statement in words is there and says something else.
fn words(json: &[u8], path: &Path) -> Result<Option<String>, Failure> {
    let Ok(statement) = serde_json::from_slice::<PrivacyStatement>(json) else {
        return Ok(None); // found already
    };
    if !path.exists() {
        return Ok(None);
    }
    let same = files::read(path)? == statement.to_string().into_bytes();
    Ok((!same).then(|| format!("{TEXT} does not say what the statement says")))
}
