//! Each program's output is that of real Go, normally and with a collection at every safepoint.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

fn programs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the programs' folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut programs: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "go"))
        .collect();
    programs.sort();
    assert!(programs.len() >= 20, "{} programs", programs.len());
    programs
}

fn run(program: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minigo"));
    command
        .args(flags)
        .arg(program)
        .output()
        .expect("minigo runs")
}

/// The output, and the first line of errors, as the file beside the program has it.
fn shown(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    match errors.lines().next() {
        None => out.into_owned(),
        Some(error) => format!("{out}stderr: {error}\n"),
    }
}

fn expected(program: &Path) -> String {
    let path = program.with_extension("out");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn compare(flags: &[&str]) {
    for program in programs() {
        let output = run(&program, flags);
        let wanted = expected(&program);
        assert_eq!(shown(&output), wanted, "{} {flags:?}", program.display());
        let code = if wanted.contains("stderr: ") { 2 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{}", program.display());
    }
}

#[test]
fn programs_print_what_go_prints() {
    compare(&[]);
}

#[test]
fn collections_at_every_safepoint_change_nothing() {
    compare(&["--gc-stress"]);
}

/// The files beside the programs are what real Go prints. `FING_WRITE_OUTPUTS` writes them.
#[test]
fn outputs_are_those_of_go() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let go = root.join(".oracles/go/bin/go");
    if !go.exists() {
        let required = std::env::var_os("FING_REQUIRE_ORACLES").is_some();
        assert!(!required, "{} is required and not there", go.display());
        eprintln!("skipped: no Go at {}", go.display());
        return;
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    for program in programs() {
        let built = cache.join(program.file_stem().expect("a name"));
        let mut build = Command::new(&go);
        build.args(["build", "-o"]).arg(&built).arg(&program);
        build
            .env("GOCACHE", cache.join("cache"))
            .env("GOTOOLCHAIN", "local");
        build
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .env("GOPATH", cache.join("path"));
        let status = build.status().expect("Go runs");
        assert!(status.success(), "{} is no valid Go", program.display());
        let output = Command::new(&built).output().expect("the program runs");
        let found = shown(&output);
        if std::env::var_os("FING_WRITE_OUTPUTS").is_some() {
            std::fs::write(program.with_extension("out"), &found).expect("written");
        }
        assert_eq!(found, expected(&program), "{}", program.display());
    }
}
