use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::CheckpointError;

/// A tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct F32Tensor<'a> {
    /// Name.
    pub name: &'a str,
    /// Row-major shape.
    pub shape: &'a [usize],
    /// Values, row-major.
    pub values: &'a [f32],
}

/// Writes f32 tensors as one safetensors file. `metadata` becomes `__metadata__`; transformers and
/// PEFT expect `format` = `pt` there, which is added unless given.
///
/// # Errors
/// [`CheckpointError::CannotWrite`] for a shape that does not fit its values or a repeated name.
pub fn write_f32(
    tensors: &[F32Tensor],
    metadata: &[(&str, &str)],
) -> Result<Vec<u8>, CheckpointError> {
    let mut seen = std::collections::HashSet::new();
    let views = tensors
        .iter()
        .map(|t| {
            let cannot = |detail: String| CheckpointError::CannotWrite {
                name: t.name.to_owned(),
                detail,
            };
            if !seen.insert(t.name) || t.name == "__metadata__" {
                return Err(cannot("the name is taken".to_owned()));
            }
            let count = t
                .shape
                .iter()
                .try_fold(1usize, |n, &dim| n.checked_mul(dim));
            if count != Some(t.values.len()) {
                return Err(cannot(format!(
                    "shape {:?} does not hold {} values",
                    t.shape,
                    t.values.len()
                )));
            }
            // safetensors is little-endian, and so is every target we build for.
            TensorView::new(Dtype::F32, t.shape.to_vec(), bytemuck::cast_slice(t.values))
                .map(|view| (t.name, view))
                .map_err(|e| cannot(e.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut info: HashMap<String, String> = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    info.extend(
        metadata
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    safetensors::serialize(views, Some(info)).map_err(|e| CheckpointError::CannotWrite {
        name: String::new(),
        detail: e.to_string(),
    })
}
