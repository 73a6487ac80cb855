//! `cargo run -p fing-verify`: checks every target by every oracle there is for it.
#![forbid(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod cli;

use std::process::ExitCode;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn main() -> ExitCode {
    cli::main()
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn main() -> ExitCode {
    eprintln!("fing-verify: the oracles are programs for Linux on x86-64");
    ExitCode::FAILURE
}
