//! What fing's speed is measured with: one program for all scenarios. `README.md` says how it is
//! used.
//!
//! Everything is measured side by side in one run and reported with ratios; nanoseconds depend on
//! the machine. For Linux on x86-64.
#![deny(unsafe_code)]

mod by_hand;
mod callees;
mod cli;
mod contest;
mod plan;
mod report;

/// fing's public interface as the measurements use it. No other module names an item of the crate
/// `fing`, so that a change of its interface is a change here only. (`fing_stubs` is used where
/// stubs are measured.)
mod api {
    pub(crate) mod foreign;
    pub(crate) mod functions;
    pub(crate) mod vm;
    pub(crate) mod world;
}

/// Clocks, memory, random orders, arithmetic on samples, and facts about the machine.
mod measure {
    pub(crate) mod allocator;
    pub(crate) mod callgrind;
    pub(crate) mod clock;
    pub(crate) mod floor;
    pub(crate) mod machine;
    pub(crate) mod memory;
    pub(crate) mod random;
    mod round;
    pub(crate) mod samples;

    pub(crate) use round::{Fault, Round, Subject, expect, rounds};
}

/// Figures of fing's beside those of the machine, measured together in one process.
mod suites {
    mod batch;
    pub(crate) mod callbacks;
    pub(crate) mod calls;
    pub(crate) mod collector;
    pub(crate) mod instructions;
    pub(crate) mod minigo;
    pub(crate) mod runtime;
    pub(crate) mod stubs;
    pub(crate) mod values;
    pub(crate) mod vm;
}

fn main() -> std::process::ExitCode {
    cli::run()
}
