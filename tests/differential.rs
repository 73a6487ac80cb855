//! The same programs, run by fing and by real Go: after each collection the same finalizers and
//! cleanups have run, and the same weak handles are nil. Order within one collection is not
//! compared, as Go promises none.
//!
//! `FING_CASES=n` runs n programs in place of the usual number; `FING_SEED=n` begins with program
//! n.

#[path = "differential/generate.rs"]
mod generate;
#[path = "differential/go.rs"]
mod go;
#[path = "support/go_side.rs"]
mod go_side;
#[path = "differential/ours.rs"]
mod ours;
#[path = "differential/program.rs"]
mod program;
#[path = "differential/shrink.rs"]
mod shrink;

use std::path::Path;

use go_side::go_side;
use program::{Op, Program};

const CASES: u64 = 600;
/// Programs that one Go process runs.
const BATCH: usize = 500;

/// Fails with a minimal program if one of them does not do the same.
fn compare(go_side: &Path, programs: &[Program]) {
    for batch in programs.chunks(BATCH) {
        let theirs = go::run(go_side, batch);
        let ours = batch.iter().map(ours::run);
        let differs = ours.zip(&theirs).position(|(ours, theirs)| ours != *theirs);
        let Some(differs) = differs else { continue };
        let failing = |programs: &[Program]| {
            let theirs = go::run(go_side, programs);
            let ours = programs.iter().map(ours::run);
            ours.zip(theirs)
                .map(|(ours, theirs)| ours != theirs)
                .collect()
        };
        let small = shrink::shrink(batch[differs].clone(), failing);
        let theirs = go::run(go_side, std::slice::from_ref(&small));
        panic!(
            "fing and Go differ on\n{small}fing: {:#?}\nGo: {:#?}",
            ours::run(&small),
            theirs[0]
        );
    }
}

#[test]
fn random_programs() {
    let Some(go_side) = go_side() else { return };
    let (first, cases) = (fing_oracles::seed(), fing_oracles::cases(CASES));
    for from in (first..first + cases).step_by(BATCH) {
        let to = (from + BATCH as u64).min(first + cases);
        let programs: Vec<_> = (from..to).map(generate::program).collect();
        compare(&go_side, &programs);
    }
}

/// What random programs are made of really happens in them.
#[test]
fn random_programs_do_something() {
    let programs: Vec<_> = (0..60).map(generate::program).collect();
    let stories: Vec<String> = programs.iter().flat_map(ours::run).collect();
    let count = |sign: char| {
        stories
            .iter()
            .flat_map(|line| line.split(' '))
            .filter(|event| event.starts_with(sign))
            .count()
    };
    let collections = programs
        .iter()
        .flat_map(|program| &program.0)
        .filter(|op| matches!(op, Op::Collect | Op::Twice))
        .count();
    assert_eq!(stories.len(), collections);
    for (sign, least) in [('F', 150), ('I', 10), ('C', 50), ('w', 300)] {
        assert!(
            count(sign) >= least,
            "{} events {sign}, wanted {least}",
            count(sign)
        );
    }
}
