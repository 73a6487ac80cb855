//! A peer's program at work, in a process of its own: a line asks for a round, a line answers.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::subject::{Fault, Round, Subject};

/// How long a program may be silent.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program that speaks the protocol of `benches/peers/README.md`. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    ask: ChildStdin,
    lines: Receiver<String>,
    version: String,
    log: PathBuf,
}

#[derive(serde::Deserialize)]
struct Hello {
    version: String,
}

impl Process {
    /// Starts it, and waits for its first line. What it says on its standard error goes to `log`.
    ///
    /// # Errors
    /// It does not start, or does not say its version.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Process, Fault> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()?;
        let (Some(ask), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes to the program".into());
        };
        let (tell, lines) = channel();
        // Ends when the program does; a receiver that is gone has killed it.
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let mut process = Process {
            child,
            ask,
            lines,
            version: String::new(),
            log: log.to_owned(),
        };
        process.version = process.answer::<Hello>()?.version;
        Ok(process)
    }

    /// What it called itself.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    fn answer<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        let line = self.lines.recv_timeout(PATIENCE).map_err(|error| {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            let said = said.lines().last().unwrap_or("nothing").to_owned();
            format!("no answer ({error}); it said: {said}")
        })?;
        serde_json::from_str(&line).map_err(|error| format!("its line {line:?}: {error}").into())
    }
}

impl Subject for Process {
    fn round(&mut self) -> Result<Round, Fault> {
        // A program that has ended cannot be asked; what it said last is in the answer's error.
        let _ = self.ask.write_all(b"\n").and_then(|()| self.ask.flush());
        self.answer()
    }
}

/// A subject whose rounds have a process each.
pub(crate) struct Fresh<F>(pub(crate) F);

impl<F: FnMut() -> Result<Round, Fault>> Subject for Fresh<F> {
    fn round(&mut self) -> Result<Round, Fault> {
        (self.0)()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
