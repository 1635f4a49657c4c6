//! The command line: the same engine without a window.

mod analyze;
mod args;
pub mod bench;
mod check;
mod convert;
mod evaluate;
mod layers;
mod render;
mod report;
mod wanted;

use std::process::ExitCode;

use clap::Parser;

use crate::app::AppOptions;

pub use args::{Cli, Command, Setting};

/// Reads the command line and opens the door it names.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("ATTNSCOPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let result = match cli.command {
        Some(Command::Analyze(args)) => analyze::run(&args),
        Some(Command::Evaluate(args)) => evaluate::run(&args),
        Some(Command::Layers(args)) => layers::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Convert(args)) => convert::run(&args),
        Some(Command::Render(args)) => render::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Screenshots(args)) => {
            crate::app::take_screenshots(AppOptions::default(), &args.out)
        }
        None => crate::app::run(cli.window.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attnscope: {error}");
            ExitCode::FAILURE
        }
    }
}
