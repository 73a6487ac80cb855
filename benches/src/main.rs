//! What fing's speed is measured with: one program for all scenarios. `README.md` says how it is used.
//!
//! Everything is measured side by side in one run and reported with ratios; nanoseconds depend on the machine. For Linux
//! on x86-64.
#![deny(unsafe_code)]

mod api;
mod by_hand;
mod callees;
mod cli;
mod contest;
mod measure;
mod plan;
mod report;
mod suites;

fn main() -> std::process::ExitCode {
    cli::run()
}
