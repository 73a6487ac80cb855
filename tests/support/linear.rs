//! Whether many things take as many instructions, each, as few do. Valgrind counts them, so nothing
//! else that the machine does changes the outcome.

use std::env;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

/// How many things there are, in the process that is counted.
const COUNT: &str = "FING_LINEAR_COUNT";
/// How many times as many the second time.
const TIMES: usize = 8;
/// How many times as many instructions they may take: they take 64 times as many if each looks at
/// all others, and 9 times if they are kept in a tree.
const MOST: u64 = 10;

/// What valgrind counts begins and ends with this function, on the thread that calls it.
#[inline(never)]
fn counted_by_valgrind(run: &mut dyn FnMut()) {
    run();
    // The call above is none in tail position, which would not return to here.
    black_box(());
}

/// The instructions of `test`, run by itself with so many things.
fn instructions(valgrind: &Path, test: &str, count: usize) -> u64 {
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_by_valgrind*")
        .arg(env::current_exe().unwrap())
        .args(["--exact", test])
        .env(COUNT, count.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}, {count} things: {text}");
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    let instructions = line.and_then(|(_, number)| number.trim().parse().ok());
    match instructions {
        None | Some(0) => panic!("{test}, {count} things: valgrind counted nothing:\n{text}"),
        Some(instructions) => instructions,
    }
}

/// Holds that `run` takes as many instructions for each of so many things as of eight times as
/// many. What `prepare` does is not counted. `test` is the caller's path, by which it is run again.
pub(crate) fn is_linear_after<T>(
    test: &str,
    count: usize,
    prepare: impl Fn(usize) -> T,
    run: impl Fn(T),
) {
    let given = env::var(COUNT).ok();
    let is_counted = given.is_some();
    let mut prepared = Some(prepare(given.map_or(count, |text| text.parse().unwrap())));
    counted_by_valgrind(&mut || prepared.take().into_iter().for_each(&run));
    if is_counted {
        return;
    }
    if !cfg!(target_arch = "x86_64") {
        // Valgrind runs programs of the machine that it is on, and this one may be emulated.
        return;
    }
    let Some(valgrind) = fing_oracles::tool("valgrind", "instructions of few things and of many")
    else {
        return;
    };
    let few = instructions(&valgrind, test, count);
    let many = instructions(&valgrind, test, TIMES * count);
    assert!(
        many < MOST * few,
        "{test}: {TIMES} times as many took {many} instructions, and {few} before"
    );
}

/// As [`is_linear_after`], with nothing to prepare.
pub(crate) fn is_linear(test: &str, count: usize, run: impl Fn(usize)) {
    is_linear_after(test, count, |count| count, run);
}
