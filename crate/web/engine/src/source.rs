use std::ops::Range;
use std::pin::Pin;

use js_sys::Uint8Array;
use vaultlab_engine::EngineError;
use vaultlab_engine::weights::ByteSource;
use wasm_bindgen::prelude::*;

use crate::host::message;

#[wasm_bindgen]
extern "C" {
    /// A file the worker opened: picked, dropped or behind a URL.
    pub type JsByteSource;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn name(this: &JsByteSource) -> String;

    #[wasm_bindgen(method, getter)]
    fn size(this: &JsByteSource) -> f64;

    #[wasm_bindgen(method, catch)]
    async fn read(this: &JsByteSource, start: f64, end: f64) -> Result<JsValue, JsValue>;
}

/// A [`ByteSource`] that pulls from JavaScript.
pub(crate) struct JsSource(JsByteSource);

impl JsSource {
    pub(crate) fn new(source: JsByteSource) -> Self {
        Self(source)
    }
}

impl ByteSource for JsSource {
    fn size(&self) -> u64 {
        self.0.size() as u64
    }

    fn read(
        &self,
        range: Range<u64>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, EngineError>> + '_>> {
        Box::pin(async move {
            let name = self.0.name();
            let bytes = self.0.read(range.start as f64, range.end as f64).await;
            let bytes = bytes.map_err(|error| {
                EngineError::Source(format!("{name} could not be read: {}", message(&error)))
            })?;
            let bytes = bytes
                .dyn_into::<Uint8Array>()
                .map_err(|_| EngineError::Source(format!("{name} did not give bytes")))?
                .to_vec();
            if bytes.len() as u64 != range.end - range.start {
                return Err(EngineError::Source(format!("{name} ended early")));
            }
            Ok(bytes)
        })
    }
}
