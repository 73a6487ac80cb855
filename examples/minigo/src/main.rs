//! The `minigo` command: compiles a Go program of minigo's subset and runs it.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use minigo::{Options, run_program};

/// Compiles a Go program of minigo's subset and runs it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The program's file.
    program: PathBuf,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let Arguments { program, options } = Arguments::parse();
    let name = program.display().to_string();
    let text = std::fs::read_to_string(&program);
    let text = text.map_err(|error| format!("minigo: {name}: {error}"));
    match text.and_then(|text| run_program(&name, &text, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
