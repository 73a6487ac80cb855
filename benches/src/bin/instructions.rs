//! Instructions for each record, counted by valgrind: the same everywhere, whatever else the machine does.
//!
//! `cargo run --release -p fing-benches --bin instructions`. Each way is run twice, for different numbers of batches; the difference
//! of the counts, divided by the difference in records, is what a record costs: start and end of the process fall out.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::Command;

use fing_benches::callees::{Argument, Callee};
use fing_benches::calls::{Calls, RECORDS, Way};

/// Batches of the two runs.
const BATCHES: [u64; 2] = [20, 120];

/// The bar of docs/performance.md: libffi's instructions are at least this many times the stub's.
const BAR: f64 = 10.0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => table(),
        [way, argument, batches] => run(way, argument, batches.parse()?),
        _ => Err("instructions takes no arguments".into()),
    }
}

/// What valgrind runs.
fn run(way: &str, argument: &str, batches: u64) -> Result<(), Box<dyn Error>> {
    let way = Way::named(way).ok_or("no such way")?;
    let argument = Argument::ALL
        .into_iter()
        .find(|a| a.name() == argument)
        .ok_or("no such argument")?;
    let calls = Calls::new(way, Callee::Empty, argument)?;
    for _ in 0..batches {
        calls.run();
    }
    Ok(())
}

fn table() -> Result<(), Box<dyn Error>> {
    println!(
        "{:16} {:>8} {:>9}   {:>9}",
        "instructions for", "pointer", "interface", "libffi / it"
    );
    let libffi = both(Way::Libffi)?;
    let ways = [
        Way::Loop,
        Way::Stub,
        Way::OneByOne,
        Way::Go(0),
        Way::Go(1),
        Way::Go(9),
        Way::Interpreter,
    ];
    let mut missed = Vec::new();
    for way in ways {
        let [pointer, interface] = both(way)?;
        let ratios = [libffi[0] / pointer, libffi[1] / interface];
        println!(
            "{way:16} {pointer:>8.1} {interface:>9.1}   {:>5.1}x {:>5.1}x",
            ratios[0], ratios[1]
        );
        if matches!(way, Way::Stub | Way::Go(_)) && ratios.iter().any(|&ratio| ratio < BAR) {
            missed.push(way.to_string());
        }
    }
    println!("{:16} {:>8.1} {:>9.1}", Way::Libffi, libffi[0], libffi[1]);
    if missed.is_empty() {
        println!("kept   batch stubs: at most 1/{BAR} of libffi's instructions");
    } else {
        println!(
            "MISSED {}: over 1/{BAR} of libffi's instructions",
            missed.join(", ")
        );
    }
    Ok(())
}

/// Instructions for a record, by pointer and by interface.
fn both(way: Way) -> Result<[f64; 2], Box<dyn Error>> {
    let mut found = [0.0; 2];
    for (result, argument) in found.iter_mut().zip(Argument::ALL) {
        let [few, many] = [
            count(way, argument, BATCHES[0])?,
            count(way, argument, BATCHES[1])?,
        ];
        *result = (many - few) / ((BATCHES[1] - BATCHES[0]) * RECORDS as u64) as f64;
    }
    Ok(found)
}

/// Instructions of a whole process.
fn count(way: Way, argument: Argument, batches: u64) -> Result<f64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([
            way.to_string(),
            argument.name().to_owned(),
            batches.to_string(),
        ])
        .output()
        .map_err(|e| format!("running valgrind (Debian package valgrind): {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind: {way} failed:\n{text}").into());
    }
    let line = text
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1))
        .ok_or_else(|| format!("valgrind printed no count:\n{text}"))?;
    Ok(line.trim().parse()?)
}
