//! Builds the wasm modules of the page: cargo, then wasm-bindgen, then Binaryen's wasm-opt.
//!
//! Cargo decides by itself what to rebuild. The two later steps are skipped for a module whose
//! bytes and tool versions are those of the last build.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";

/// What Chromium, Firefox and Safari all accept and rustc or wasm-bindgen emit. `--all-features` would let
/// wasm-opt write instructions that browsers refuse.
const FEATURES: [&str; 7] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// One wasm module.
struct Module {
    /// File stem, and what it is called on the command line.
    name: &'static str,
    /// Cargo package.
    package: &'static str,
    /// Folder it is written to, from the repository's root.
    folder: &'static str,
    /// Whether wasm-opt is worth its time.
    optimise: bool,
}

const MODULES: [Module; 3] = [
    // The planner on the page's main thread.
    Module {
        name: "privacy",
        package: "vaultlab-web-privacy",
        folder: "www/src/wasm/privacy",
        optimise: true,
    },
    // The engine in the page's worker.
    Module {
        name: "engine",
        package: "vaultlab-web-engine",
        folder: "www/src/wasm/engine",
        optimise: true,
    },
    // The engine's comparisons with reference data, for the tests only.
    Module {
        name: "parity",
        package: "vaultlab-parity",
        folder: "target/parity",
        optimise: false,
    },
];

/// Names of the modules that the page is made of.
pub const PAGE: [&str; 2] = ["privacy", "engine"];

/// Builds the modules of these names.
pub fn build(root: &Path, names: &[&str]) -> Result<()> {
    let module = |name: &&str| MODULES.iter().find(|module| module.name == *name);
    let modules: Vec<&Module> = names
        .iter()
        .map(|name| module(name).with_context(|| format!("there is no wasm module {name}")))
        .collect::<Result<_>>()?;
    let artifacts = compile(root, &modules)?;
    for module in modules {
        let built = artifacts
            .iter()
            .find(|path| path.file_stem() == Some(OsStr::new(&module.package.replace('-', "_"))))
            .with_context(|| format!("cargo built no wasm file for {}", module.package))?;
        package(root, module, built)?;
    }
    Ok(())
}

/// Compiles all packages in one cargo run and returns the wasm files it names.
fn compile(root: &Path, modules: &[&Module]) -> Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["build", "--release", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    for module in modules {
        command.args(["--package", module.package]);
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo could not build the wasm modules"
    );

    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    let mut artifacts = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cargo's message is not JSON")?;
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let names = message["filenames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        artifacts.extend(
            names
                .filter(|name| name.ends_with(".wasm"))
                .map(PathBuf::from),
        );
    }
    Ok(artifacts)
}

/// Runs wasm-bindgen and wasm-opt on one built module, unless the last run had the same input.
fn package(root: &Path, module: &Module, built: &Path) -> Result<()> {
    let wasm_opt = root.join("node_modules/binaryen/bin/wasm-opt");
    ensure!(
        wasm_opt.exists(),
        "node_modules/binaryen is missing; run `npm ci` first"
    );
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let binaryen = fs::read(root.join("node_modules/binaryen/package.json"))
        .context("cannot read Binaryen's version")?;
    let stamp = stamp(&[&bytes, &binaryen, include_bytes!("wasm.rs")]);

    let folder = root.join(module.folder);
    let stamp_path = folder.join(".stamp");
    if fs::read_to_string(&stamp_path).is_ok_and(|last| last == stamp) {
        println!("{}: unchanged", module.name);
        return Ok(());
    }

    // The stamp is written last, so that an interrupted run is repeated.
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut bindgen = Bindgen::new();
    bindgen
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false);
    bindgen
        .remove_name_section(true)
        .remove_producers_section(true);
    bindgen
        .input_bytes(module.name, bytes.clone())
        .out_name(module.name)
        .generate(&folder)?;

    let bound = folder.join(format!("{}_bg.wasm", module.name));
    if module.optimise {
        optimise(&wasm_opt, &bound)?;
    }
    let size = fs::metadata(&bound)?.len();
    println!(
        "{}: {} bytes from cargo, {size} bytes as packaged",
        module.name,
        bytes.len()
    );
    fs::write(&stamp_path, stamp).with_context(|| format!("cannot write {}", stamp_path.display()))
}

/// Replaces a wasm file by wasm-opt's smaller version of it.
fn optimise(wasm_opt: &Path, wasm: &Path) -> Result<()> {
    let status = Command::new("node")
        .arg(wasm_opt)
        .args(FEATURES)
        .arg("-Os")
        .arg(wasm)
        .arg("-o")
        .arg(wasm)
        .status()
        .context("cannot run node")?;
    if !status.success() {
        bail!("wasm-opt failed on {}", wasm.display());
    }
    Ok(())
}

/// SHA-256 over all parts, as hexadecimal digits.
fn stamp(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
