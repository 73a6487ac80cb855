//! Random programs: Go source that real Go and minigo run, with the same output.
//!
//! They are those of the runtime's differential suite. `FING_CASES=n` runs n of them in place of
//! the usual number, `FING_SEED=n` begins with case n.

#[path = "../../../tests/differential/generate.rs"]
mod generate;
#[expect(dead_code, reason = "made for the runtime's differential suite")]
#[path = "../../../tests/differential/program.rs"]
mod program;
#[path = "random/render.rs"]
mod render;

use std::path::{Path, PathBuf};
use std::process::Command;

use fing_oracles::emulator::Isa;

use program::Program;
use render::Form;

/// How many cases there are, and how they are run.
struct Run {
    cases: u64,
    form: Form,
    together: usize,
    flags: &'static [&'static [&'static str]],
}

/// Under stress few: a collection at each safepoint takes its time.
const RUNS: [Run; 2] = [
    Run {
        cases: 2000,
        form: Form::Text,
        together: 50,
        flags: &[&[]],
    },
    Run {
        cases: 30,
        form: Form::Code,
        together: 1,
        flags: &[&[], &["--gc-stress"]],
    },
];
/// Cases of one source file.
const FILE: usize = 2000;

/// What a program prints: a line for each group of operations of each case.
fn output(command: &mut Command, what: &str) -> Vec<String> {
    let output = command.output().expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("text");
    let last = text.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{what} after {last:?}: {errors}");
    text.lines().map(str::to_owned).collect()
}

fn compare(cases: &[(u64, Program)], run: &Run) {
    let source = render::source(cases, run.form, run.together);
    let files = [
        ("go.mod", "module random\n\ngo 1.24\n"),
        ("main.go", &source),
    ];
    let Some(built) = fing_oracles::go_program("minigo-random", Isa::Amd64, &files) else {
        return;
    };
    let go = built.unwrap_or_else(|error| panic!("Go: {error}"));
    // Nothing but the program's own collections, and one thread for finalizers and cleanups.
    let settings = [("GOGC", "off"), ("GOMAXPROCS", "1")];
    let theirs = output(Command::new(&go).envs(settings), "Go");
    let path = write(&format!("{:?}{}", run.form, cases[0].0), &source);
    for flags in run.flags {
        let what = format!("minigo {flags:?}");
        let mut minigo = Command::new(env!("CARGO_BIN_EXE_minigo"));
        let ours = output(minigo.args(*flags).arg(&path), &what);
        let differs = theirs
            .iter()
            .zip(&ours)
            .find(|(theirs, ours)| theirs != ours);
        if let Some((theirs, ours)) = differs {
            panic!("{what} differs:\n{ours}\nGo:\n{theirs}\n{}", path.display());
        }
        assert_eq!(ours.len(), theirs.len(), "{what}: lines");
    }
    // What cases are made of really happens in them.
    let events: Vec<&str> = theirs.iter().flat_map(|line| line.split(' ')).collect();
    for (sign, each) in [("F", 2), ("C", 1), ("I", 0), ("w", 2)] {
        let found = events
            .iter()
            .filter(|event| event.starts_with(sign))
            .count();
        let least = (cases.len() * each).max(cases.len() / 3);
        assert!(found >= least, "{found} events {sign}, wanted {least}");
    }
}

fn write(name: &str, source: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random{name}.go"));
    std::fs::write(&path, source).expect("written");
    path
}

fn run(run: &Run) {
    let (first, cases) = (fing_oracles::seed(), fing_oracles::cases(run.cases));
    let numbers: Vec<u64> = (first..first + cases).collect();
    for numbers in numbers.chunks(FILE) {
        let cases = numbers.iter().map(|n| (*n, generate::program(*n)));
        compare(&cases.collect::<Vec<_>>(), run);
    }
}

#[test]
fn random_programs() {
    run(&RUNS[0]);
}

#[test]
fn random_programs_as_code() {
    run(&RUNS[1]);
}
