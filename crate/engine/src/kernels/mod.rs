//! One typed wrapper per WGSL kernel: shapes checked, bind order and workgroup counts in one place.
//!
//! Tensors here are burn's GPU primitives in f32 (ids and packed words in i32), row-major.

mod attention;
mod elementwise;
mod launch;
mod loss;
mod matmul;
mod norm;
mod per_example;

pub use attention::AttentionShape;
pub(crate) use attention::{attention, attention_backward};
pub(crate) use elementwise::{dropout, gather_rows, gelu_gate, gelu_gate_backward, rope};
pub(crate) use loss::cross_entropy_in_place;
pub use matmul::Packing;
pub(crate) use matmul::{MatmulLayout, PackedParts, WeightSource, matmul, matvec};
pub(crate) use norm::{rms_norm, rms_norm_backward};
pub(crate) use per_example::{clip_accumulate, clip_to_grid, grid_noise, squared_norms};

/// Every kernel variant the engine can launch, as (name, complete WGSL): what the shader tests validate.
pub fn all_sources() -> Vec<(String, String)> {
    [
        attention::variants(),
        elementwise::variants(),
        loss::variants(),
        matmul::variants(),
        norm::variants(),
        per_example::variants(),
    ]
    .concat()
    .into_iter()
    .map(|kernel| (kernel.name.to_string(), kernel.source.to_string()))
    .collect()
}
