//! Programs run by real Go: one process, any number of programs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::program::{Program, Story};

/// What real Go does with each program.
pub(crate) fn run(executable: &Path, programs: &[Program]) -> Vec<Story> {
    // One thread: several wait for each other at every collection.
    let mut go = Command::new(executable)
        .env("GOMAXPROCS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = go.stdin.take().unwrap();
    let text: String = programs.iter().map(Program::to_string).collect();
    // A thread of its own: Go may answer before it has read everything.
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = go.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(
        output.status.success(),
        "Go: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut stories = Vec::new();
    let mut story = Story::new();
    for line in text.lines() {
        match line {
            "end" => stories.push(std::mem::take(&mut story)),
            line => story.push(line.to_owned()),
        }
    }
    assert_eq!(stories.len(), programs.len(), "Go answered each program");
    stories
}
