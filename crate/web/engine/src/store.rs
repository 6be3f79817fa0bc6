use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use vaultlab_privacy::ledger::{DatasetFingerprint, LedgerStore, SessionId, StoreError};
use wasm_bindgen::prelude::*;

use crate::host::{JsHost, message};

/// Ledger records in the browser's storage, written with strict durability.
#[derive(Clone)]
pub struct JsLedgerStore(Rc<JsHost>);

impl JsLedgerStore {
    pub(crate) fn new(host: Rc<JsHost>) -> Self {
        Self(host)
    }
}

impl LedgerStore for JsLedgerStore {
    async fn load(&self, fingerprint: &DatasetFingerprint) -> Result<Vec<Vec<u8>>, StoreError> {
        let records = self.0.load_ledger(fingerprint.to_string()).await;
        let records = records.map_err(|error| StoreError::reading(message(&error)))?;
        // Anything but a list of bytes is an error: it must never look like an empty ledger.
        let records: Array = records
            .dyn_into()
            .map_err(|_| StoreError::reading("the storage gave no list of records"))?;
        records
            .iter()
            .map(|record| match record.dyn_into::<Uint8Array>() {
                Ok(bytes) => Ok(bytes.to_vec()),
                Err(_) => Err(StoreError::reading("a record in the storage is no bytes")),
            })
            .collect()
    }

    async fn save_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        session: &SessionId,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let saved = self.0.save_ledger(
            fingerprint.to_string(),
            session.to_string(),
            Uint8Array::from(record),
        );
        saved
            .await
            .map(drop)
            .map_err(|error| StoreError::writing(message(&error)))
    }
}
