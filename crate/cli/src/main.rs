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
            Subcommand::Finetune(args) => commands::finetune::run(args, device).await,
            Subcommand::Grads(args) => commands::grads::run(&args, device).await,
            Subcommand::Epsilon(args) => commands::accounting::epsilon(&args),
            Subcommand::Calibrate(args) => commands::accounting::calibrate(&args),
        }
    });
    match result {
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let line = error.to_string().replace('\n', " ");
            eprintln!("vaultlab: {line}");
            ExitCode::FAILURE
        }
    }
}
