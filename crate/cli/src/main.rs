//! `vaultlab`: the engine on the command line. JSON on standard output, progress and errors on standard error.

mod args;
mod commands;
mod files;
mod host;

use std::process::ExitCode;

use args::{Arguments, Subcommand};
use clap::Parser;

/// Why a command failed; one line.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let device = arguments.device.into();
    let result = pollster::block_on(async {
        match arguments.command {
            Subcommand::Logits(args) => commands::logits::run(&args, device).await,
            Subcommand::Generate(args) => commands::generate::run(args, device).await,
            Subcommand::Beam(args) => commands::beam::run(&args, device).await,
            Subcommand::Finetune(args) => commands::finetune::run(args, device).await,
            Subcommand::Audit(args) => commands::audit::run(*args, device).await,
            Subcommand::AuditBound(args) => commands::audit::bound(&args),
            Subcommand::Grads(args) => commands::grads::run(&args, device).await,
            Subcommand::Epsilon(args) => commands::accounting::epsilon(&args),
            Subcommand::Calibrate(args) => commands::accounting::calibrate(&args),
            Subcommand::Verify(args) => commands::verify::run(&args),
        }
    });
    match result {
        Ok(value) => {
            println!("{value}");
            // A check that ends badly has findings to print, like any other.
            if value["verified"] == false {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            let line = error.to_string().replace('\n', " ");
            eprintln!("vaultlab: {line}");
            ExitCode::FAILURE
        }
    }
}
