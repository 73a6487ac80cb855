//! The `fing` command: demonstrates finalizers, and shows assignments and stubs.
#![deny(unsafe_code)]

mod convention;
#[cfg(target_os = "linux")]
mod demo;
mod explain;
mod layout;
mod targets;
#[cfg(target_os = "linux")]
mod trace;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Finalizers for language VMs, called through stubs that Cranelift makes for their signatures.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Close C streams by collecting the objects that own them, then run Go's register ABI test
    Demo {
        /// Write a trace of collections, queue and calls to this file, for Perfetto or Chrome
        #[arg(long, value_name = "FILE")]
        trace: Option<std::path::PathBuf>,
    },
    /// Show where an ABI puts the arguments and results of function signatures
    Layout(layout::Arguments),
    /// Show one signature's way from declaration to machine code
    Explain(explain::Arguments),
    /// List the targets and conventions, and what this build and machine can do for each
    Targets(targets::Arguments),
    /// Print a script that completes this command's arguments in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where a command's output goes. A reader that has seen enough (`| head`) is no error.
type Output = std::io::Result<ExitCode>;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        #[cfg(target_os = "linux")]
        Command::Demo { trace } => demo::run(trace.as_deref()),
        #[cfg(not(target_os = "linux"))]
        Command::Demo { .. } => Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "demo: it looks at the open files of its process as Linux has them",
        )),
        Command::Layout(arguments) => layout::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Targets(arguments) => targets::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "fing", &mut script);
            std::io::stdout()
                .write_all(&script)
                .map(|()| ExitCode::SUCCESS)
        }
    };
    match outcome {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fing: {error}");
            ExitCode::FAILURE
        }
    }
}
