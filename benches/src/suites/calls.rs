//! A call, by every way there is to make it.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::batch::{Calls, RECORDS, Way};
use crate::callees::{Callee, Kind};
use crate::measure::clock::since;
use crate::measure::{Fault, Round, Subject, rounds};
use crate::plan::{Row, Scenario, Sizes, Source, Suite};

/// A sample is at least this long, so that reading the clock does not count. In nanoseconds.
const SAMPLE: f64 = 30_000.0;

const fn suite(name: &'static str, start: fn(usize) -> Result<Box<dyn Subject>, Fault>) -> Suite {
    Suite {
        name,
        sizes: Sizes::Fixed(RECORDS),
        rounds: 300,
        warm_rounds: 0,
        alone: false,
        programs: &[],
        start,
    }
}

static EMPTY: Suite = suite("calls-empty", |_| start(Callee::Empty));
static COUNTING: Suite = suite("calls-counting", |_| start(Callee::Counting));
static TOUCHING: Suite = suite("calls-touching", |_| start(Callee::Touching));

const fn scenario(suite: &'static Suite, about: &'static str, rows: fn() -> Vec<Row>) -> Scenario {
    Scenario {
        name: suite.name,
        group: "calls",
        about,
        unit: "ns/record",
        source: Source::Suite(suite, rows),
    }
}

/// What the callee does hides some of what the stub does, so only the empty one leaves the stub as
/// much.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(&EMPTY, "a call of a function that returns at once", || {
        rows(1.25)
    }),
    scenario(&COUNTING, "a call of a function that counts", || rows(1.15)),
    scenario(
        &TOUCHING,
        "a call of a function that increments a word of its object",
        || rows(1.15),
    ),
];

/// Each way beside the loop by hand, and the stub that is entered for each record beside libffi.
fn rows(stub: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in Kind::PLAIN {
        let by_hand = Way::Loop.figure(kind);
        rows.push(Row::alone(&by_hand));
        for way in Way::all() {
            let row = Row::beside(way.figure(kind), &by_hand);
            rows.push(match way {
                Way::Loop => continue,
                Way::Stub => row.at_most(stub),
                Way::Go(0 | 9) => row.at_most(2.0),
                Way::OneByOne => {
                    Row::beside(way.figure(kind), Way::Libffi.figure(kind)).at_most(0.25)
                }
                _ => row,
            });
        }
    }
    rows
}

/// One way to call one kind.
struct Sampled {
    figure: String,
    calls: Calls,
    /// Batches of a sample.
    batches: usize,
}

impl Sampled {
    fn new(way: Way, callee: Callee, kind: Kind) -> Result<Sampled, Fault> {
        let mut sampled = Sampled {
            figure: way.figure(kind),
            calls: Calls::new(way, callee, kind)?,
            batches: 10,
        };
        let warm = (0..10).map(|_| sampled.sample()).fold(f64::MAX, f64::min);
        if callee == Callee::Touching && !sampled.calls.touched().all(|n| n == 100) {
            return Err(format!("{}: not every record was called", sampled.figure).into());
        }
        let batches = (SAMPLE / (warm * RECORDS as f64)).ceil();
        sampled.batches = batches.max(1.0) as usize;
        Ok(sampled)
    }

    fn sample(&self) -> f64 {
        let begun = Instant::now();
        for _ in 0..self.batches {
            self.calls.run();
        }
        since(begun, self.batches * RECORDS)
    }
}

fn start(callee: Callee) -> Result<Box<dyn Subject>, Fault> {
    let mut ways = Vec::new();
    for way in Way::all() {
        for kind in Kind::PLAIN {
            ways.push(Sampled::new(way, callee, kind)?);
        }
    }
    Ok(rounds(move || {
        let sample = |way: &Sampled| (way.figure.clone().into(), way.sample());
        Ok(ways.iter().map(sample).collect::<Round>())
    }))
}
