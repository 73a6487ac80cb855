//! Runs one test of this program again in a process of its own, for what would end or change this
//! one. Under an emulator (`FING_TEST_RUNNER`, set by `scripts/test-host`) the child runs there
//! too: a system starts no programs of another machine by itself.

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
    let runner = std::env::var("FING_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(PART, part);
    command
}

/// Runs [`command`] to its end.
pub(crate) fn run(test: &str, part: &str) -> Output {
    command(test, part).output().expect("this program runs")
}
