//! Processes that measure: a peer's program, which does a round for each line it is sent, and this
//! program anew.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::work::phase;
use crate::measure::{Fault, Round, Subject, rounds};

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

/// Its first line.
#[derive(serde::Deserialize)]
struct Hello {
    version: String,
}

impl Process {
    /// Starts it, and waits for its first line. Its standard error goes to `log`.
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
        // Ends when the program does: it is killed when the receiver is dropped.
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
        // If it has ended, this fails, and the error of `answer` has the last line of its log.
        let _ = self.ask.write_all(b"\n").and_then(|()| self.ask.flush());
        let round: Round = self.answer()?;
        match round
            .keys()
            .find(|name| !phase::ALL.contains(&name.as_ref()))
        {
            Some(unknown) => Err(format!("its phase {unknown:?} is unknown").into()),
            None => Ok(round),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killing one that has ended fails, and changes nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A subject each of whose rounds is a new process of this program: the hidden command `alone` with
/// these arguments.
pub(crate) fn in_new_process(arguments: [String; 3]) -> Box<dyn Subject> {
    rounds(move || {
        let output = Command::new(std::env::current_exe()?)
            .arg("alone")
            .args(&arguments)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    })
}
