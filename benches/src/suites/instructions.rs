//! Instructions for each record, counted by valgrind: the same whatever else the machine does.
//!
//! Each way is run twice, for different numbers of batches; the difference of the counts, divided
//! by the difference in records, is what a record costs: start and end of the process fall out.
#![forbid(unsafe_code)]

use std::process::Command;

use super::batch::{Calls, RECORDS, Way};
use crate::callees::{Callee, Kind};
use crate::measure::{Fault, Round, Subject, rounds};
use crate::plan::{Row, Scenario, Source, Suite};

/// Batches of the two runs.
const BATCHES: [usize; 2] = [20, 120];
/// A batch stub takes at most this part of libffi's instructions.
const PART: f64 = 0.1;

const WAYS: [Way; 8] = [
    Way::Loop,
    Way::Stub,
    Way::OneByOne,
    Way::Go(0),
    Way::Go(1),
    Way::Go(9),
    Way::Interpreter,
    Way::Libffi,
];

static SUITE: Suite = Suite::of_instructions("instructions", RECORDS, |_| Ok(start()));

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "instructions",
    group: "calls",
    about: "instructions for a call of a function that returns at once",
    unit: "instructions/record",
    source: Source::Suite(&SUITE, rows),
}];

fn rows() -> Vec<Row> {
    let row = |(kind, way): (Kind, Way)| {
        let row = Row::beside(way.figure(kind), Way::Libffi.figure(kind));
        match way {
            Way::Stub | Way::Go(_) => row.at_most(PART),
            _ => row,
        }
    };
    let kinds = Kind::PLAIN.into_iter();
    kinds
        .flat_map(|kind| WAYS.map(|way| row((kind, way))))
        .collect()
}

/// Calls so many batches of a way, for valgrind to count.
///
/// # Errors
/// There is no such way or kind, or it has no stub.
pub(crate) fn call_batches(way: &str, kind: &str, batches: usize) -> Result<(), Fault> {
    let found = Way::all().find(|one| one.to_string() == way);
    let way = found.ok_or_else(|| format!("no way {way:?}"))?;
    let found = Kind::PLAIN.into_iter().find(|one| one.name() == kind);
    let kind = found.ok_or_else(|| format!("no kind {kind:?}"))?;
    let calls = Calls::new(way, Callee::Empty, kind)?;
    for _ in 0..batches {
        calls.run();
    }
    Ok(())
}

fn start() -> Box<dyn Subject> {
    rounds(|| {
        let mut round = Round::new();
        for way in WAYS {
            for kind in Kind::PLAIN {
                let each = of_each(&["batches", &way.to_string(), kind.name()])?;
                round.insert(way.figure(kind).into(), each);
            }
        }
        Ok(round)
    })
}

/// Instructions of one of the records, or calls, of which this program makes [`RECORDS`] in each
/// batch, told to do so by these arguments and a number of batches.
///
/// # Errors
/// valgrind's.
pub(crate) fn of_each(arguments: &[&str]) -> Result<f64, Fault> {
    let [few, many] = BATCHES.map(|batches| count(arguments, batches));
    let records = (BATCHES[1] - BATCHES[0]) * RECORDS;
    Ok((many? - few?) / records as f64)
}

/// Instructions of a whole process.
fn count(arguments: &[&str], batches: usize) -> Result<f64, Fault> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .arg(batches.to_string())
        .output()
        .map_err(|error| format!("running valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind: {arguments:?} failed:\n{text}").into());
    }
    let line = text
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1))
        .ok_or_else(|| format!("valgrind printed no count:\n{text}"))?;
    Ok(line.trim().parse()?)
}
