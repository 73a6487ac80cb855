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
    /// Print the program as Cranelift's text, in place of running it.
    #[arg(long)]
    clif: bool,
    /// Collect at every safepoint, and overwrite dead objects.
    #[arg(long)]
    gc_stress: bool,
    /// Print the heap's and the finalizers' counters at the end.
    #[arg(long)]
    stats: bool,
    /// Call finalizers and cleanups by Go's ABI with so many integer argument registers.
    #[arg(long, value_name = "N")]
    int_regs: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let name = arguments.program.display().to_string();
    let text = match std::fs::read_to_string(&arguments.program) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("minigo: {name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let options = Options {
        clif: arguments.clif,
        gc_stress: arguments.gc_stress,
        stats: arguments.stats,
        int_regs: arguments.int_regs,
    };
    match run_program(&name, &text, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
