//! The command: choosing cells, running two at a time, printing the table.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Parser;
use fing_verify::run::{Options, Oracle, Row, expected_cases, run};
use fing_verify::targets::{TARGETS, Target};
use indicatif::{ProgressBar, ProgressStyle};

/// Compares fing's stubs with what others say of the same calls.
#[derive(Parser)]
#[command(name = "fing-verify")]
struct Arguments {
    /// One JSON object a line instead of the table.
    #[arg(long)]
    json: bool,
    /// Random signatures for each target and oracle, beside the fixed ones.
    #[arg(long, default_value_t = 1000)]
    cases: u64,
    /// What the random signatures are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only targets whose triple or convention contains this (may be given several times).
    #[arg(long)]
    target: Vec<String>,
    /// Only this oracle, by its name in the table (may be given several times).
    #[arg(long)]
    oracle: Vec<String>,
    /// Only list what would be run.
    #[arg(long)]
    list: bool,
}

/// Faults printed for each cell.
const MOST_FAULTS: usize = 5;

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |list: &[String], names: &[&str]| {
        list.is_empty()
            || list
                .iter()
                .any(|part| names.iter().any(|name| name.contains(part.as_str())))
    };
    let cells: Vec<(Target, Oracle)> = TARGETS
        .iter()
        .filter(|target| wanted(&arguments.target, &[target.triple, target.convention]))
        .flat_map(|&target| Oracle::ALL.map(|oracle| (target, oracle)))
        .filter(|&(target, oracle)| oracle.judges(target))
        .filter(|(_, oracle)| {
            arguments.oracle.is_empty() || arguments.oracle.iter().any(|o| o == oracle.name())
        })
        .collect();
    if cells.is_empty() {
        eprintln!("fing-verify: no target and oracle of that name");
        return ExitCode::FAILURE;
    }
    if arguments.list {
        for (target, oracle) in cells {
            println!(
                "{:28} {:15} {}",
                target.triple,
                target.convention,
                oracle.name()
            );
        }
        return ExitCode::SUCCESS;
    }
    let options = Options {
        cases: arguments.cases,
        seed: arguments.seed,
    };
    let rows = run_all(&cells, options);
    let mut out = std::io::stdout().lock();
    let printed = if arguments.json {
        json(&mut out, &rows)
    } else {
        table(&mut out, &rows)
    };
    for fault in rows
        .iter()
        .flat_map(|row| row.faults.iter().take(MOST_FAULTS))
    {
        eprintln!("{fault}");
    }
    if printed.is_err() || rows.iter().any(|row| !row.faults.is_empty()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs the cells on as many threads as there are processors; the rows come in the order of the
/// cells.
fn run_all(cells: &[(Target, Oracle)], options: Options) -> Vec<Row> {
    let total = cells
        .iter()
        .map(|&(target, oracle)| expected_cases(target, oracle, options))
        .sum();
    // Hidden by itself when standard error is no terminal.
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&(target, oracle)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    cells.get(n)
                } {
                    bar.set_message(format!("{} {}", target.convention, oracle.name()));
                    let row = run(target, oracle, options, &|n| bar.inc(n));
                    let mut rows = rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    rows.push(row);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut rows = rows
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    rows.sort_by_key(|row| {
        cells
            .iter()
            .position(|&cell| cell == (row.target, row.oracle))
    });
    rows
}

fn table(out: &mut dyn Write, rows: &[Row]) -> std::io::Result<()> {
    writeln!(
        out,
        "{:28} {:15} {:9} {:>6} {:>6}",
        "target", "convention", "oracle", "cases", "failed"
    )?;
    for row in rows {
        write!(
            out,
            "{:28} {:15} {:9} {:>6} {:>6}",
            row.target.triple,
            row.target.convention,
            row.oracle.name(),
            row.cases,
            row.faults.len()
        )?;
        match &row.skipped {
            Some(why) => writeln!(out, "  skipped: {why}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn json(out: &mut dyn Write, rows: &[Row]) -> std::io::Result<()> {
    for row in rows {
        let line = serde_json::json!({
            "target": row.target.triple,
            "convention": row.target.convention,
            "oracle": row.oracle.name(),
            "cases": row.cases,
            "failed": row.faults.len(),
            "skipped": row.skipped,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
