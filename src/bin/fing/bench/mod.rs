//! `fing bench`: fing measured beside what one would write by hand, libffi, and other runtimes, all in one run.
#![forbid(unsafe_code)]

mod document;
mod machine;
mod page;
mod peers;
mod process;
mod report;
mod rounds;
mod runtime;
mod samples;
mod scenario;
pub(crate) mod subject;
mod subjects;
mod tree;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use machine::Facts;
use report::Report;
use rounds::Plan;
use scenario::SCENARIOS;
use subject::{Fault, Work};
use subjects::Spec;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Three rounds with 10k objects: shows that everything works, the figures mean little
    #[arg(long)]
    quick: bool,
    /// Numbers of objects [default: 10k,100k,1M,10M]
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = samples::parse_count)]
    sizes: Vec<usize>,
    /// Rounds of each subject [default: from 21 with 10k objects to 3 with 10M]
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only these scenarios, by name
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Only these subjects: `go` for all of Go's, or `go.pointer`
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    subjects: Vec<String>,
    /// Also write one JSON object a line
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also put the tables into a Markdown document, between its two marks
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Only list the scenarios and subjects that would be measured
    #[arg(long)]
    list: bool,
}

const QUICK: (usize, u32) = (10_000, 3);
const SIZES: &[usize] = &[10_000, 100_000, 1_000_000, 10_000_000];

pub(crate) fn run(arguments: &Arguments) -> super::Output {
    match measure(arguments) {
        Ok(status) => Ok(status),
        Err(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => Err(*error),
            Err(error) => {
                eprintln!("fing bench: {error}");
                Ok(ExitCode::FAILURE)
            }
        },
    }
}

/// A subject's round of [`Work::Memory`], for which it wants a process of its own.
#[derive(clap::Args)]
pub(crate) struct Alone {
    subject: String,
    objects: usize,
}

/// Does such a round, and prints it as a line of JSON.
pub(crate) fn run_alone(arguments: &Alone) -> super::Output {
    let round = subjects::all()
        .into_iter()
        .find(|spec| spec.name == arguments.subject)
        .ok_or_else(|| Fault::from("wanted a subject that --list shows"))
        .and_then(|spec| spec.here(Work::Memory, arguments.objects)?.round())
        .and_then(|round| Ok(serde_json::to_string(&round)?));
    match round {
        Ok(line) => writeln!(std::io::stdout(), "{line}").map(|()| ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("fing bench-memory {}: {error}", arguments.subject);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Those of `all` that a name of `wanted` is for; all if none is wanted.
fn choose<T>(
    what: &str,
    all: Vec<T>,
    wanted: &[String],
    is: impl Fn(&T, &str) -> bool,
) -> Result<Vec<T>, Fault> {
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !all.iter().any(|one| is(one, name)))
    {
        return Err(format!("{what}: found {unknown:?}, wanted one that --list shows").into());
    }
    let chosen = |one: &T| wanted.is_empty() || wanted.iter().any(|name| is(one, name));
    Ok(all.into_iter().filter(chosen).collect())
}

fn measure(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let scenarios = choose(
        "--scenarios",
        SCENARIOS.iter().collect(),
        &arguments.scenarios,
        |scenario, name| scenario.name == name,
    )?;
    let subjects = choose(
        "--subjects",
        subjects::all(),
        &arguments.subjects,
        |subject, name| subject.name == name || subject.name.split('.').next() == Some(name),
    )?;
    let sizes = match &arguments.sizes {
        sizes if !sizes.is_empty() => sizes.clone(),
        _ if arguments.quick => vec![QUICK.0],
        _ => SIZES.to_vec(),
    };
    let rounds = arguments.rounds.or(arguments.quick.then_some(QUICK.1));
    let mut plan = Plan {
        scenarios,
        subjects,
        sizes,
        rounds: rounds.map(|rounds| rounds as usize),
        warm_rounds: arguments.quick.then_some(1),
    };
    let mut out = std::io::stdout().lock();
    if arguments.list {
        for scenario in &plan.scenarios {
            writeln!(out, "scenario {}: {}", scenario.name, scenario.about)?;
        }
        for subject in &plan.subjects {
            writeln!(out, "subject {}", subject.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Before anything takes long: the files can be written.
    let json = arguments
        .json
        .as_ref()
        .map(std::fs::File::create)
        .transpose()?;
    let html = arguments
        .html
        .as_ref()
        .map(std::fs::File::create)
        .transpose()?;
    let document = arguments
        .document
        .as_deref()
        .map(document::Document::read)
        .transpose()?;
    let machine = machine::facts();
    let (peers, skipped) = prepare(&mut plan.subjects);
    let results = plan.measure();
    let report = Report {
        plan,
        results,
        machine,
        peers,
        skipped,
    };
    write!(out, "{}", report.to_text())?;
    if let Some(mut file) = json {
        file.write_all(report.to_json()?.as_bytes())?;
    }
    if let Some(mut file) = html {
        file.write_all(page::page(&report)?.as_bytes())?;
    }
    if let Some(document) = document {
        document.write(&report.to_markdown(&document::command()))?;
    }
    Ok(if report.results.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the peers' programs; takes those that cannot be had out of the subjects, aloud. Versions, and reasons.
fn prepare(subjects: &mut Vec<Spec>) -> (Facts, Facts) {
    let mut prepared: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut peers, mut skipped) = (Facts::new(), Facts::new());
    subjects.retain(|subject| {
        let Some(peer) = subject.peer() else {
            return true;
        };
        *prepared.entry(peer.name).or_insert_with(|| {
            let name = peer.name.to_owned();
            match peer.prepare() {
                Ok(version) => {
                    peers.push((name, version));
                    true
                }
                Err(reason) => {
                    eprintln!("skipped {name}: {reason}");
                    skipped.push((name, reason.to_string()));
                    false
                }
            }
        })
    });
    (peers, skipped)
}
