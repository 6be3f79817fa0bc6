//! The typed messages between a front end (page, command line) and the engine.
//!
//! Written once here with serde and generated for TypeScript by `cargo run -p xtask -- protocol`
//! (see `www/src/protocol.ts`). [`Command`] goes in, [`Event`] comes out. Bytes and file handles
//! travel beside a message, never inside it.
//!
//! Every struct uses camelCase on the wire; enums carry their variant in `type`.

mod audit;
mod data;
mod device;
mod error;
mod generate;
mod message;
mod model;
mod plan;
mod train;

pub use audit::*;
pub use data::*;
pub use device::*;
pub use error::*;
pub use generate::*;
pub use message::*;
pub use model::*;
pub use plan::*;
pub use train::*;
