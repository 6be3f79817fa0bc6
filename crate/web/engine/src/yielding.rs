//! Letting the worker's messages in. A message to oneself is not clamped to 4 ms, as nested timers are.

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageChannel, WorkerGlobalScope};

/// Returns after the messages that were waiting have been handled.
pub(crate) async fn to_event_loop() {
    let Ok(channel) = MessageChannel::new() else {
        return;
    };
    let promise = Promise::new(&mut |resolve: Function, _reject: Function| {
        channel.port1().set_onmessage(Some(&resolve));
        // A failed post leaves nothing to wait for; resolving at once is all that can be done.
        if channel.port2().post_message(&JsValue::UNDEFINED).is_err() {
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    });
    // The promise cannot be rejected: nothing holds its other end.
    let _ = JsFuture::from(promise).await;
    channel.port1().close();
}

/// Milliseconds since the worker began.
pub(crate) fn now_ms() -> f64 {
    js_sys::global()
        .dyn_into::<WorkerGlobalScope>()
        .ok()
        .and_then(|scope| scope.performance())
        .map_or(0.0, |performance| performance.now())
}
