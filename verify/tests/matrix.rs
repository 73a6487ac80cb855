//! Every cell of the matrix, with few random signatures. `FING_VERIFY_CASES` says how many; `cargo
//! run -p fing-verify` does 1000.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_verify::run::{Options, Oracle, run};
use fing_verify::targets::TARGETS;

fn column(oracle: Oracle, cases: u64) {
    let cases = std::env::var("FING_VERIFY_CASES").map_or(cases, |text| text.parse().unwrap());
    let mut faults = Vec::new();
    for target in TARGETS.iter().filter(|target| oracle.judges(**target)) {
        let row = run(*target, oracle, Options { cases, seed: 1 }, &|_| {});
        println!(
            "{} {}: {} cases, {:?}",
            target.convention,
            oracle.name(),
            row.cases,
            row.skipped
        );
        assert!(
            row.skipped.is_some() || row.cases >= cases,
            "{}: {} cases",
            target.convention,
            row.cases
        );
        faults.extend(row.faults);
    }
    let shown: Vec<_> = faults.iter().take(10).cloned().collect();
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        shown.join("\n")
    );
}

#[test]
fn emulator() {
    column(Oracle::Emulator, 100);
}

#[test]
fn c() {
    column(Oracle::C, 100);
}

#[test]
fn values() {
    column(Oracle::Values, 100);
}

#[test]
fn go() {
    column(Oracle::Go, 50);
}

#[test]
fn pulley() {
    column(Oracle::Pulley, 100);
}

#[test]
fn entries() {
    column(Oracle::Entries, 50);
}

#[test]
fn callers() {
    column(Oracle::Callers, 100);
}
