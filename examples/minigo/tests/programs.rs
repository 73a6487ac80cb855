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

/// A text; with escapes if it is no UTF-8.
fn text(bytes: &[u8]) -> String {
    let escaped = |_| bytes.escape_ascii().to_string().replace("\\n", "\n");
    String::from_utf8(bytes.to_vec()).unwrap_or_else(escaped)
}

/// The output, and the first line of errors, as the file beside the program has it.
fn shown(output: &Output) -> String {
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    match errors.lines().next() {
        None => out,
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

/// Counts of integer argument registers that Go's ABI has on amd64; other machines have more.
const COUNTS: std::ops::RangeInclusive<usize> = 0..=9;

#[test]
fn programs_print_what_go_prints() {
    compare(&[]);
}

#[test]
fn collections_at_every_safepoint_change_nothing() {
    compare(&["--gc-stress"]);
}

#[test]
fn every_register_count_changes_nothing() {
    std::thread::scope(|scope| {
        for half in [0, 1] {
            scope.spawn(move || {
                for count in COUNTS.filter(|count| count % 2 == half) {
                    compare(&["--int-regs", &count.to_string()]);
                }
            });
        }
    });
}

/// Each finalizer and cleanup of the seed's test comes through an entry for the count.
#[test]
fn finalizers_are_called_by_the_register_abi() {
    let program = folder().join("register_abi.go");
    for count in COUNTS {
        let count = count.to_string();
        for stress in [&[][..], &["--gc-stress"]] {
            let flags = [&["--stats", "--int-regs", &count], stress].concat();
            let output = run(&program, &flags);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{flags:?}: {errors}");
            let calls = errors.lines().last();
            assert_eq!(calls, Some("calls by Go's ABI: 6"), "{flags:?}");
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(printed, expected(&program), "{flags:?}");
        }
    }
    let output = run(&program, &["--stats"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("calls by Go's ABI"), "{errors}");
}

/// Generated code takes most objects from windows, without a call; under stress it calls for each.
#[test]
fn objects_come_from_windows() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("windows.go");
    let program = "package main\n\ntype T struct{ next *T }\n\nfunc main() {\n\tvar list *T\n\
                   \tfor i := range 20000 {\n\t\tif i%100 == 0 {\n\t\t\tlist = nil\n\t\t}\n\
                   \t\tlist = &T{list}\n\t}\n}\n";
    std::fs::write(&path, program).expect("written");
    let refills = |flags: &[&str]| {
        let output = run(&path, &[&["--stats"], flags].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = errors
            .lines()
            .find_map(|line| line.strip_prefix("refills of windows: "));
        let refills = line.and_then(|number| number.parse::<u64>().ok());
        refills.unwrap_or_else(|| panic!("no refills in {errors}"))
    };
    let (usual, stressed) = (refills(&[]), refills(&["--gc-stress"]));
    assert!(
        (1..2000).contains(&usual),
        "{usual} calls for 20000 objects"
    );
    assert!(stressed >= 20000, "{stressed} calls for 20000 objects");
}

/// A program of the folder with one piece of its text replaced, run by a shell's command.
fn run_changed(name: &str, piece: [&str; 2], command: &str) -> Output {
    let text = std::fs::read_to_string(folder().join(name)).expect("a program");
    assert!(text.contains(piece[0]), "{name} has no {}", piece[0]);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text.replace(piece[0], piece[1])).expect("written");
    let mut shell = Command::new("sh");
    let minigo = env!("CARGO_BIN_EXE_minigo");
    shell.args(["-c", command, minigo]).arg(&path);
    shell.output().expect("a shell runs")
}

/// As many timers as there can be no threads.
#[test]
fn timers_take_no_goroutines() {
    let pieces = ["Many = 300", "Many = 40_000"];
    let output = run_changed("timers.go", pieces, "exec \"$0\" \"$1\"");
    assert_eq!(shown(&output), expected(&folder().join("timers.go")));
}

/// More files than a process may have at a time.
#[test]
fn files_are_closed_by_collections() {
    let command = "ulimit -n 200 && exec \"$0\" \"$1\"";
    let output = run_changed("open_files.go", ["i%50", "i%51"], command);
    assert_eq!(shown(&output), expected(&folder().join("open_files.go")));
    let output = run_changed("open_files.go", ["i%50", "i%5000"], command);
    let printed = shown(&output);
    assert!(printed.contains("too many open files"), "{printed}");
}

#[test]
fn register_counts_that_the_machine_has_not_are_refused() {
    let output = run(&folder().join("register_abi.go"), &["--int-regs", "99"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    let begin = "--int-regs 99: ABI: 99 integer argument registers, wanted at most ";
    assert!(errors.starts_with(begin), "{errors}");
}

/// What a test prints, without what differs from run to run, and without the lines of source files,
/// which minigo does not know when it runs.
fn report(printed: &[u8]) -> String {
    let mut report = String::new();
    for line in String::from_utf8_lossy(printed).lines() {
        let time =
            |rest: &str| rest.ends_with("s)") && rest.starts_with(|c: char| c.is_ascii_digit());
        let line = match line.rsplit_once(" (").filter(|(_, rest)| time(rest)) {
            Some((name, _)) => name.to_owned(),
            None => match line.split_once("_test.go:") {
                Some((file, said)) => {
                    let depth = file.len() - file.trim_start().len();
                    let said = said.split_once(": ").expect("a place").1;
                    format!("{}{said}", " ".repeat(depth))
                }
                None => line.to_owned(),
            },
        };
        report.push_str(&format!("{line}\n"));
        if line == "FAIL" || line == "PASS" {
            break;
        }
    }
    report
}

/// `--test` prints what `go test` prints.
#[test]
fn tests_run_as_those_of_go() {
    let file = folder().join("tests/list_test.go");
    if let Some((mut test, _)) = go("test") {
        let output = test.arg("-vet=off").arg(&file).output().expect("Go runs");
        let found = report(&output.stdout);
        if std::env::var_os("FING_WRITE_OUTPUTS").is_some() {
            std::fs::write(file.with_extension("out"), &found).expect("written");
        }
        assert_eq!(found, expected(&file));
    }
    let wanted = expected(&file);
    for flags in [&["--test"][..], &["--test", "--gc-stress"]] {
        let output = run(&file, flags);
        assert_eq!(report(&output.stdout), wanted, "{flags:?}");
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
    }
    let program = "package p\n\nimport \"testing\"\n\nfunc TestNothing(t *testing.T) {}\n";
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nothing_test.go");
    std::fs::write(&path, program).expect("written");
    let output = run(&path, &["--test"]);
    assert_eq!(shown(&output), "PASS\n");
    assert!(output.status.success());
}

/// A command of real Go, if it is there, and its cache.
fn go(command: &str) -> Option<(Command, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let go = root.join(".oracles/go/bin/go");
    if !go.exists() {
        let required = std::env::var_os("FING_REQUIRE_ORACLES").is_some();
        assert!(!required, "{} is required and not there", go.display());
        eprintln!("skipped: no Go at {}", go.display());
        return None;
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let mut go = Command::new(&go);
    go.arg(command)
        .env("GOCACHE", cache.join("cache"))
        .env("GOTOOLCHAIN", "local")
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPATH", cache.join("path"));
    Some((go, cache))
}

/// The files beside the programs are what real Go prints. `FING_WRITE_OUTPUTS` writes them.
#[test]
fn outputs_are_those_of_go() {
    for program in programs() {
        let Some((mut build, cache)) = go("build") else {
            return;
        };
        let built = cache.join(program.file_stem().expect("a name"));
        build.arg("-o").arg(&built).arg(&program);
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
