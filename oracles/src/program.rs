//! The Go program of tests/go: building it, and handing it to one test at a time.
#![forbid(unsafe_code)]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::emulator::Isa;
use crate::find::{checkout, tool};
use crate::image::Image;

/// The program's files: they are the key under which a build is kept.
const SOURCES: &[&str] = &[
    "go.mod",
    "main.go",
    "callees_amd64.s",
    "callees_arm64.s",
    "callees_riscv64.s",
    "callees_s390x.s",
];

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

/// The Go program of tests/go, built (once per content), mapped (once per process), with zeroed
/// variables.
///
/// Waits until no other test of this process holds it. `None` means that Go is not on this machine,
/// which has been said aloud; the caller returns.
///
/// # Panics
///
/// If Go is missing and `FING_REQUIRE_ORACLES=1`; if the program does not build or cannot be
/// mapped; on a machine that no [`Isa`] is.
pub fn go() -> Option<Go> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if IMAGE.get().is_none() {
        let executable = build(&tool("go", "functions compiled by the Go compiler")?);
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

/// Builds the program with `go` into target/oracles and gives the executable; a build of the same
/// content is used again.
fn build(go: &Path) -> PathBuf {
    let folder = checkout().join("tests/go");
    let read = |name: &&str| {
        let path = folder.join(name);
        let text = fs::read_to_string(&path);
        text.unwrap_or_else(|e| panic!("oracle go: cannot read {}: {e}", path.display()))
    };
    let texts: Vec<String> = SOURCES.iter().map(read).collect();
    let sources: Vec<(&str, &str)> = SOURCES
        .iter()
        .copied()
        .zip(texts.iter().map(String::as_str))
        .collect();
    let isa = Isa::host().expect("oracle go: a machine of Isa");
    build_go(go, "callees", isa, &sources).unwrap_or_else(|e| panic!("oracle go: {e}"))
}

/// Builds a Go program for Linux on `isa`: a static executable under target/oracles. A build of the
/// same content is used again.
///
/// `None` means that Go is not on this machine, which has been said aloud.
///
/// # Errors
///
/// It does not compile.
///
/// # Panics
///
/// If Go is missing and `FING_REQUIRE_ORACLES=1`.
pub fn go_program(
    name: &str,
    isa: Isa,
    sources: &[(&str, &str)],
) -> Option<Result<PathBuf, String>> {
    let go = tool("go", "functions compiled by the Go compiler")?;
    Some(build_go(&go, name, isa, sources))
}

fn build_go(go: &Path, name: &str, isa: Isa, sources: &[(&str, &str)]) -> Result<PathBuf, String> {
    let store = checkout().join("target/oracles");
    let mut key = DefaultHasher::new();
    run(Command::new(go).arg("version").env("GOTOOLCHAIN", "local"))?.hash(&mut key);
    sources.hash(&mut key);
    let executable = store.join(format!("{name}-{}-{:016x}", isa.name(), key.finish()));
    if executable.is_file() {
        return Ok(executable);
    }
    // Other test binaries may build at the same time: each builds under its own name, the last
    // rename wins.
    let own = executable.with_extension(std::process::id().to_string());
    let folder = own.with_extension("source");
    let fail = |what: &str, path: &Path, e| format!("cannot {what} {}: {e}", path.display());
    fs::create_dir_all(&folder).map_err(|e| fail("make", &folder, e))?;
    for (file, text) in sources {
        let path = folder.join(file);
        fs::write(&path, text).map_err(|e| fail("write", &path, e))?;
    }
    run(Command::new(go)
        .args(["build", "-trimpath", "-o"])
        .arg(&own)
        .arg(".")
        .current_dir(&folder)
        .env("GOCACHE", store.join("go-cache"))
        .envs([
            ("CGO_ENABLED", "0"),
            ("GOOS", "linux"),
            ("GOARCH", isa.name()),
            ("GOAMD64", "v1"),
        ])
        .envs([
            ("GOTOOLCHAIN", "local"),
            ("GOPROXY", "off"),
            ("GOENV", "off"),
            ("GOFLAGS", ""),
            ("GOWORK", "off"),
        ]))?;
    fs::rename(&own, &executable).map_err(|e| fail("rename", &own, e))?;
    fs::remove_dir_all(&folder).map_err(|e| fail("remove", &folder, e))?;
    Ok(executable)
}

/// Runs a command and gives what it printed.
fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command
        .output()
        .map_err(|e| format!("cannot run {command:?}: {e}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{errors}", output.status))
}
