//! One table of ratios: every way to call, interleaved round by round, so that whatever else the machine does hits all alike.
//!
//! `cargo bench -p fing-benches --bench ratios`; takes some ten seconds.
#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Instant;

use fing_benches::callees::{Argument, Callee};
use fing_benches::calls::{Calls, RECORDS, Way};
use fing_benches::samples::Summary;

/// Rounds for each callee; each takes one sample of each way.
const ROUNDS: usize = 300;
/// A sample is this long at least, so that the clock's own cost does not count, in nanoseconds.
const SAMPLE: f64 = 30_000.0;

/// One way to call, with its samples in nanoseconds for each record.
struct Subject {
    way: Way,
    argument: Argument,
    calls: Calls,
    batches: usize,
    samples: Vec<f64>,
}

impl Subject {
    fn new(way: Way, callee: Callee, argument: Argument) -> Result<Subject, Box<dyn Error>> {
        let mut subject = Subject {
            way,
            argument,
            calls: Calls::new(way, callee, argument)?,
            batches: 10,
            samples: Vec::new(),
        };
        let warm = (0..10).map(|_| subject.sample()).fold(f64::MAX, f64::min);
        subject.batches = (SAMPLE / (warm * RECORDS as f64)).ceil().max(1.0) as usize;
        Ok(subject)
    }

    fn sample(&self) -> f64 {
        let begun = Instant::now();
        for _ in 0..self.batches {
            self.calls.run();
        }
        begun.elapsed().as_nanos() as f64 / (self.batches * RECORDS) as f64
    }
}

/// The bars of docs/performance.md, held against medians.
#[derive(Default)]
struct Bars(Vec<String>);

impl Bars {
    fn at_most(&mut self, what: &str, ratio: f64, bar: f64) {
        self.hold(
            ratio <= bar,
            format!("{what} = {ratio:.2}x (at most {bar}x)"),
        );
    }

    fn at_least(&mut self, what: &str, ratio: f64, bar: f64) {
        self.hold(
            ratio >= bar,
            format!("{what} = {ratio:.1}x (at least {bar}x)"),
        );
    }

    fn hold(&mut self, kept: bool, text: String) {
        self.0
            .push(format!("{} {text}", if kept { "kept  " } else { "MISSED" }));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{RECORDS} records a batch, {ROUNDS} interleaved rounds; nanoseconds a record, median (min-max);"
    );
    println!("to the loop and to libffi: median of the rounds' ratios\n");
    let mut bars = Bars::default();
    for callee in Callee::ALL {
        let mut subjects = Vec::new();
        for way in Way::all() {
            for argument in Argument::ALL {
                subjects.push(Subject::new(way, callee, argument)?);
            }
        }
        for _ in 0..ROUNDS {
            for subject in &mut subjects {
                let sample = subject.sample();
                subject.samples.push(sample);
            }
        }
        report(callee, &subjects, &mut bars);
    }
    for line in &bars.0 {
        println!("{line}");
    }
    Ok(())
}

fn report(callee: Callee, subjects: &[Subject], bars: &mut Bars) {
    println!(
        "{:9} {:15} {:9} {:>22} {:>8} {:>10}",
        callee.name(),
        "way",
        "argument",
        "ns",
        "/ loop",
        "libffi /"
    );
    for subject in subjects {
        let samples_of = |way| {
            let found = subjects
                .iter()
                .find(|s| s.way == way && s.argument == subject.argument);
            found.map_or(&[][..], |s| &s.samples)
        };
        let to_loop = Summary::of_ratios(&subject.samples, samples_of(Way::Loop)).median;
        let from_libffi = Summary::of_ratios(samples_of(Way::Libffi), &subject.samples).median;
        println!(
            "{:9} {:15} {:9} {:>22} {to_loop:>7.2}x {from_libffi:>9.1}x",
            "",
            subject.way,
            subject.argument.name(),
            Summary::of(subject.samples.iter().copied()).to_string(),
        );
        let what = |ratio: &str| format!("{}, {}: {ratio}", callee.name(), subject.argument.name());
        match subject.way {
            Way::Stub => {
                // What the callee does hides some of what the stub does.
                let bar = if callee == Callee::Empty { 1.25 } else { 1.15 };
                bars.at_most(&what("batch stub / loop"), to_loop, bar);
            }
            Way::OneByOne => bars.at_least(&what("libffi / one call"), from_libffi, 4.0),
            // Go's counting callees count in another place than the loop's.
            Way::Go(n @ (0 | 9)) if callee != Callee::Counting => {
                bars.at_most(&what(&format!("Go {n} batch stub / loop")), to_loop, 2.0);
            }
            _ => {}
        }
    }
    println!();
}
