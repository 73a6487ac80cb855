//! Runs one test of this program again in a process of its own, for what would end or change this
//! one.

#[path = "runner.rs"]
mod runner;

use std::process::{Command, Output};

/// Names the part of a test that a child process is to run.
const PART: &str = "FING_TEST_PART";

/// Whether this process is the child for this part.
pub(crate) fn is_child(part: &str) -> bool {
    std::env::var(PART).is_ok_and(|given| given == part)
}

/// A command that runs only the test of this name, as the child for this part.
pub(crate) fn command(test: &str, part: &str) -> Command {
    let program = std::env::current_exe().expect("this program's path");
    let mut command = runner::command(program);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(PART, part);
    command
}

/// Runs [`command`] to its end.
pub(crate) fn run(test: &str, part: &str) -> Output {
    command(test, part).output().expect("this program runs")
}
