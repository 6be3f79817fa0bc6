use std::rc::Rc;

use js_sys::Uint8Array;
use vaultlab_engine::EngineError;
use vaultlab_engine::host::Host;
use vaultlab_protocol::{Event, Reply};
use wasm_bindgen::prelude::*;

use crate::{to_js, yielding};

#[wasm_bindgen]
extern "C" {
    /// What the worker gives the engine; see `www/src/engine/module.d.ts`.
    pub type JsHost;

    #[wasm_bindgen(method)]
    fn emit(this: &JsHost, reply: JsValue, bytes: Option<Vec<Uint8Array>>);

    #[wasm_bindgen(method, catch, js_name = loadLedger)]
    pub(crate) async fn load_ledger(this: &JsHost, fingerprint: String)
    -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = saveLedger)]
    pub(crate) async fn save_ledger(
        this: &JsHost,
        fingerprint: String,
        session: String,
        record: Uint8Array,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = ledgerDataSets)]
    pub(crate) async fn ledger_data_sets(this: &JsHost) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = loadRowHashes)]
    pub(crate) async fn load_row_hashes(
        this: &JsHost,
        fingerprint: String,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = saveRowHashes)]
    pub(crate) async fn save_row_hashes(
        this: &JsHost,
        fingerprint: String,
        record: Uint8Array,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = saveCheckpoint)]
    async fn save_checkpoint(this: &JsHost, bytes: Uint8Array) -> Result<JsValue, JsValue>;
}

/// The host of one request: its events carry the request's id.
pub struct RequestHost {
    id: u32,
    host: Rc<JsHost>,
}

impl RequestHost {
    pub(crate) fn new(id: u32, host: Rc<JsHost>) -> Self {
        Self { id, host }
    }

    fn send(&self, event: Event, bytes: Option<Vec<Uint8Array>>) {
        self.host.emit(to_js(&Reply { id: self.id, event }), bytes);
    }
}

impl Host for RequestHost {
    fn emit(&self, event: Event) {
        self.send(event, None);
    }

    fn emit_files(&self, event: Event, files: Vec<Vec<u8>>) {
        let bytes = files
            .iter()
            .map(|file| Uint8Array::from(file.as_slice()))
            .collect();
        self.send(event, Some(bytes));
    }

    async fn breathe(&self) {
        yielding::to_event_loop().await;
    }

    fn now_ms(&self) -> f64 {
        yielding::now_ms()
    }

    async fn save_checkpoint(&self, bytes: Vec<u8>) -> Result<(), EngineError> {
        let saved = self
            .host
            .save_checkpoint(Uint8Array::from(bytes.as_slice()))
            .await;
        saved.map(drop).map_err(|error| {
            EngineError::Source(format!(
                "the checkpoint could not be kept: {}",
                message(&error)
            ))
        })
    }
}

/// What a JavaScript exception says.
pub(crate) fn message(error: &JsValue) -> String {
    error
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()))
        .or_else(|| error.as_string())
        .unwrap_or_else(|| "unknown error".into())
}
