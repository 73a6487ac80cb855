//! Go programs of the tests: building them, and handing that of tests/go to one test at a time.
#![forbid(unsafe_code)]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::find::{checkout, tool};
use crate::image::Image;

/// The files of tests/go.
const SOURCES: &[&str] = &["go.mod", "main.go", "callees_amd64.s"];

/// Variables of the program that callees write; zeroed for each test.
const STATE: &[&str] = &[
    "Confirmed",
    "Calls",
    "Methods",
    "Captured",
    "LastWord0",
    "LastWord1",
    "Saved",
    "Log",
    "Sum",
];

static IMAGE: OnceLock<Image> = OnceLock::new();
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The mapped Go program, lent to one test: its variables are shared by the whole process.
#[derive(Debug)]
pub struct Go {
    image: &'static Image,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Go {
    type Target = Image;

    fn deref(&self) -> &Image {
        self.image
    }
}

/// The Go program of tests/go, built (once per content), mapped (once per process), with zeroed variables.
///
/// Waits until no other test of this process holds it. `None` means that Go is not on this machine, which has been said aloud;
/// the caller returns.
///
/// # Panics
///
/// If Go is missing and `FING_REQUIRE_ORACLES=1`; if the program does not build or cannot be mapped.
pub fn go() -> Option<Go> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if IMAGE.get().is_none() {
        let executable = build("tests/go", SOURCES)?;
        let image = Image::map(&executable)
            .unwrap_or_else(|e| panic!("oracle go: {}: {e}", executable.display()));
        let _ = IMAGE.set(image);
    }
    let image = IMAGE.get()?;
    for name in STATE {
        image.zero(&format!("main.{name}"));
    }
    Some(Go { image, _turn: turn })
}

/// Builds the Go program in `folder` of the checkout, which consists of `files`, and gives the executable, which is in
/// target/oracles. A build of the same content is used again.
///
/// `None` means that Go is not on this machine, which has been said aloud; the caller returns.
///
/// # Panics
///
/// If Go is missing and `FING_REQUIRE_ORACLES=1`; if the program does not build.
pub fn build(folder: &str, files: &[&str]) -> Option<PathBuf> {
    let go = tool("go", "programs compiled by the Go compiler")?;
    let sources = checkout().join(folder);
    let store = checkout().join("target/oracles");
    let mut key = DefaultHasher::new();
    run(Command::new(&go).arg("version").env("GOTOOLCHAIN", "local")).hash(&mut key);
    for name in files {
        let path = sources.join(name);
        fs::read(&path)
            .unwrap_or_else(|e| panic!("oracle go: cannot read {}: {e}", path.display()))
            .hash(&mut key);
    }
    let name = folder.replace('/', "-");
    let executable = store.join(format!("{name}-{:016x}", key.finish()));
    if !executable.is_file() {
        fs::create_dir_all(&store)
            .unwrap_or_else(|e| panic!("oracle go: cannot make {}: {e}", store.display()));
        // Other test binaries may build at the same time: each builds under its own name, the last rename wins.
        let fresh = executable.with_extension(std::process::id().to_string());
        run(Command::new(&go)
            .args(["build", "-trimpath", "-o"])
            .arg(&fresh)
            .arg(".")
            .current_dir(&sources)
            .env("GOCACHE", store.join("go-cache"))
            .envs([
                ("CGO_ENABLED", "0"),
                ("GOOS", "linux"),
                ("GOARCH", "amd64"),
                ("GOAMD64", "v1"),
            ])
            .envs([
                ("GOTOOLCHAIN", "local"),
                ("GOPROXY", "off"),
                ("GOENV", "off"),
                ("GOFLAGS", ""),
                ("GOWORK", "off"),
            ]));
        fs::rename(&fresh, &executable)
            .unwrap_or_else(|e| panic!("oracle go: cannot rename {}: {e}", fresh.display()));
    }
    Some(executable)
}

/// Runs a command and gives what it printed.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("oracle go: cannot run {command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "oracle go: {command:?}: {}\n{errors}",
        output.status
    );
    output.stdout
}
