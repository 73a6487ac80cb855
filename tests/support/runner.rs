//! Runs programs of this build as processes of their own, in the emulator that runs this one: a
//! system starts no programs of another machine by itself.

use std::ffi::OsStr;
use std::process::Command;

/// The emulator with its arguments, separated by blanks, as `qemu-aarch64 -L
/// /usr/aarch64-linux-gnu`; `scripts/test-host` sets it.
const RUNNER: &str = "FING_TEST_RUNNER";

/// A command that runs `program`, which was built for the same target as this test.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else {
        return Command::new(program);
    };
    let mut command = Command::new(emulator);
    command.args(words).arg(program);
    command
}
