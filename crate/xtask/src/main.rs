//! Build steps that need Rust libraries, so that `Cargo.lock` pins their versions:
//!
//! - `cargo run -p xtask -- wasm [privacy] [engine] [parity]` builds wasm modules, those of the page unless named.
//! - `cargo run -p xtask -- protocol [--check]` writes `www/src/protocol.ts`, or only compares it.

mod protocol;
mod wasm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str =
    "usage: cargo run -p xtask -- wasm [privacy] [engine] [parity] | protocol [--check]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["wasm"] => wasm::build(&root(), &wasm::PAGE),
        ["wasm", ref names @ ..] => wasm::build(&root(), names),
        ["protocol"] => protocol::write(&root()),
        ["protocol", "--check"] => protocol::check(&root()),
        _ => bail!("{USAGE}"),
    }
}

/// The repository's root folder.
fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path.pop();
    path
}
