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
        list(records)?
            .iter()
            .map(|record| bytes(record, "a record in the storage is no bytes"))
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

    async fn data_sets(&self) -> Result<Vec<DatasetFingerprint>, StoreError> {
        let name = |name: JsValue| name.as_string()?.parse().ok();
        list(self.0.ledger_data_sets().await)?
            .iter()
            .map(|value| {
                // A name that cannot be read may stand for a data set that was charged.
                name(value).ok_or_else(|| StoreError::reading("a record has a key that is none"))
            })
            .collect()
    }

    async fn load_rows(
        &self,
        fingerprint: &DatasetFingerprint,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let record = self.0.load_row_hashes(fingerprint.to_string()).await;
        let record = record.map_err(|error| StoreError::reading(message(&error)))?;
        if record.is_null() {
            return Ok(None);
        }
        bytes(record, "a record of rows in the storage is no bytes").map(Some)
    }

    async fn save_rows_durably(
        &self,
        fingerprint: &DatasetFingerprint,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let saved = self
            .0
            .save_row_hashes(fingerprint.to_string(), Uint8Array::from(record));
        saved
            .await
            .map(drop)
            .map_err(|error| StoreError::writing(message(&error)))
    }
}

/// Anything but a list is an error: it must never look like an empty ledger.
fn list(value: Result<JsValue, JsValue>) -> Result<Array, StoreError> {
    value
        .map_err(|error| StoreError::reading(message(&error)))?
        .dyn_into()
        .map_err(|_| StoreError::reading("the storage gave no list"))
}

fn bytes(value: JsValue, otherwise: &str) -> Result<Vec<u8>, StoreError> {
    match value.dyn_into::<Uint8Array>() {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(_) => Err(StoreError::reading(otherwise)),
    }
}
