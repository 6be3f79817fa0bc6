//! The engine for a dedicated worker: parses commands, calls [`Lab`], reports events. No logic of its own.

mod host;
mod source;
mod store;
mod yielding;

use std::rc::Rc;

use serde::Serialize;
use vaultlab_engine::lab::{Lab, NamedSource};
use vaultlab_protocol::Request;
use wasm_bindgen::prelude::*;

use host::{JsHost, RequestHost};
use source::{JsByteSource, JsSource};
use store::JsLedgerStore;

/// The engine behind one page.
#[wasm_bindgen]
pub struct Engine {
    lab: Rc<Lab<JsLedgerStore>>,
    host: Rc<JsHost>,
}

#[wasm_bindgen]
impl Engine {
    /// An engine with nothing open; `host` receives its events and keeps its ledgers and checkpoints.
    #[wasm_bindgen(constructor)]
    pub fn new(host: JsHost) -> Self {
        console_error_panic_hook::set_once();
        let host = Rc::new(host);
        Self {
            lab: Rc::new(Lab::new(JsLedgerStore::new(Rc::clone(&host)))),
            host,
        }
    }

    /// Carries out a request whose files come beside it; resolves once `done` or `failed` was emitted.
    ///
    /// # Errors
    /// If the request is not one of the protocol's.
    pub fn handle(
        &self,
        request: JsValue,
        files: Option<Vec<JsByteSource>>,
    ) -> Result<js_sys::Promise, JsError> {
        let request: Request = serde_wasm_bindgen::from_value(request)?;
        let files = files
            .unwrap_or_default()
            .into_iter()
            .map(|file| NamedSource {
                name: file.name(),
                source: Box::new(JsSource::new(file)),
            })
            .collect();
        let (lab, host) = (Rc::clone(&self.lab), Rc::clone(&self.host));
        // The future owns all it needs: a borrow of `self` across an await would refuse the next call.
        Ok(wasm_bindgen_futures::future_to_promise(async move {
            let host = RequestHost::new(request.id, host);
            lab.handle(request.command, files, &host).await;
            Ok(JsValue::UNDEFINED)
        }))
    }
}

/// A value as plain JavaScript: objects for maps, numbers for integers.
fn to_js(value: &impl Serialize) -> JsValue {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .unwrap_or_else(|error| JsValue::from_str(&error.to_string()))
}
