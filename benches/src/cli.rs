//! The command line: what is measured, and where the report goes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::contest::peers;
use crate::contest::subjects::{self, Spec};
use crate::contest::work::Work;
use crate::measure::machine::{self, Facts};
use crate::measure::{Fault, samples};
use crate::plan::rounds::Plan;
use crate::plan::scenarios;
use crate::report::markdown::{self, Document};
use crate::report::{Report, page};
use crate::suites::{callbacks, instructions, values, vm};

/// Measures fing beside a loop by hand, libffi, what the machine itself can do, and other runtimes
#[derive(Parser)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    measure: Arguments,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(clap::Args)]
struct Arguments {
    /// Three rounds with 10k objects: shows that everything works, the figures mean little
    #[arg(long)]
    quick: bool,
    /// Numbers of objects [default: what is usual for each scenario]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = samples::parse_count)]
    n: Vec<usize>,
    /// Rounds of each subject [default: fewer with more objects]
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only these scenarios, by their names or those of their groups
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    scenario: Vec<String>,
    /// Only these subjects: `go` for all of Go's, or `go.pointer`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    subject: Vec<String>,
    /// Also print of each bar whether it is kept; of all scenarios, only those that have bars
    #[arg(long)]
    bars: bool,
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

/// What the harness starts itself anew for.
#[derive(Subcommand)]
enum Hidden {
    /// Do one round in this process, and print it as a line of JSON
    #[command(hide = true)]
    Alone {
        subject: String,
        /// A kind of work, or `suite`
        work: String,
        objects: usize,
    },
    /// Call a number of batches, for valgrind to count their instructions
    #[command(hide = true)]
    Batches {
        way: String,
        kind: String,
        batches: usize,
    },
    /// Make a number of objects as generated code does, for valgrind to count their instructions
    #[command(hide = true)]
    Objects { way: String, objects: usize },
    /// The same, of calls with C's values
    #[command(hide = true)]
    Values {
        case: String,
        way: String,
        batches: usize,
    },
    /// The same, of callbacks that are called or made
    #[command(hide = true)]
    Callbacks {
        case: String,
        way: String,
        batches: usize,
    },
}

const QUICK: (usize, u32) = (10_000, 3);

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.hidden {
        None => measure(&cli.measure),
        Some(Hidden::Alone {
            subject,
            work,
            objects,
        }) => alone(subject, work, *objects),
        Some(Hidden::Batches { way, kind, batches }) => {
            instructions::call_batches(way, kind, *batches).map(|()| ExitCode::SUCCESS)
        }
        Some(Hidden::Objects { way, objects }) => {
            vm::make_objects(way, *objects).map(|()| ExitCode::SUCCESS)
        }
        Some(Hidden::Values { case, way, batches }) => {
            values::call_batches(case, way, *batches).map(|()| ExitCode::SUCCESS)
        }
        Some(Hidden::Callbacks { case, way, batches }) => {
            callbacks::batches(case, way, *batches).map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        // A reader that has seen enough (`| head`) is no error.
        let closed = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if closed {
            return ExitCode::SUCCESS;
        }
        eprintln!("fing-benches: {error}");
        ExitCode::FAILURE
    })
}

/// One round in a process of its own.
fn alone(subject: &str, work: &str, objects: usize) -> Result<ExitCode, Fault> {
    let all = subjects::all();
    let found = all.iter().find(|spec| spec.name == subject);
    let spec = found.ok_or_else(|| format!("found {subject:?}, wanted one that --list shows"))?;
    let mut subject = match (Work::alone(work), spec.suite()) {
        (Some(work), _) => spec.here(work, objects)?,
        (None, Some(suite)) if work == "suite" => (suite.start)(objects)?,
        _ => return Err(format!("{subject}: no work {work:?} in a process of its own").into()),
    };
    let line = serde_json::to_string(&subject.round()?)?;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(ExitCode::SUCCESS)
}

/// Those of `all` that a name of `wanted` is for; all if none is wanted.
fn choose<T>(
    what: &str,
    all: Vec<T>,
    wanted: &[String],
    is: impl Fn(&T, &str) -> bool,
) -> Result<Vec<T>, Fault> {
    let is_unknown = |name: &&String| !all.iter().any(|one| is(one, name));
    if let Some(unknown) = wanted.iter().find(is_unknown) {
        return Err(format!("{what}: found {unknown:?}, wanted one that --list shows").into());
    }
    let chosen = |one: &T| wanted.is_empty() || wanted.iter().any(|name| is(one, name));
    Ok(all.into_iter().filter(chosen).collect())
}

fn plan(arguments: &Arguments) -> Result<Plan, Fault> {
    let mut scenarios = choose(
        "--scenario",
        scenarios().collect(),
        &arguments.scenario,
        |scenario, name| scenario.is_named(name),
    )?;
    if arguments.bars && arguments.scenario.is_empty() {
        scenarios.retain(|scenario| scenario.has_bars());
    }
    let subjects = choose(
        "--subject",
        subjects::all(),
        &arguments.subject,
        |subject, name| subject.name == name || subject.name.split('.').next() == Some(name),
    )?;
    let sizes = match &arguments.n[..] {
        [] if arguments.quick => vec![QUICK.0],
        sizes => sizes.to_vec(),
    };
    let rounds = arguments.rounds.or(arguments.quick.then_some(QUICK.1));
    Ok(Plan {
        scenarios,
        subjects,
        sizes,
        rounds: rounds.map(|rounds| rounds as usize),
        warm_rounds: arguments.quick.then_some(1),
    })
}

fn measure(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let mut plan = plan(arguments)?;
    plan.keep_needed();
    let mut out = std::io::stdout().lock();
    if arguments.list {
        for scenario in &plan.scenarios {
            let (name, group, about) = (scenario.name, scenario.group, scenario.about);
            writeln!(out, "scenario {name} ({group}): {about}")?;
        }
        for subject in &plan.subjects {
            writeln!(out, "subject {}", subject.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Before anything takes long: the files can be written.
    let json = arguments.json.as_ref().map(File::create).transpose()?;
    let html = arguments.html.as_ref().map(File::create).transpose()?;
    let document = arguments.document.as_deref().map(Document::read);
    let document = document.transpose()?;
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
    if arguments.bars {
        write!(out, "{}", report.to_bars())?;
    }
    if let Some(mut file) = json {
        file.write_all(report.to_json()?.as_bytes())?;
    }
    if let Some(mut file) = html {
        file.write_all(page::page(&report)?.as_bytes())?;
    }
    if let Some(document) = document {
        document.write(&report.to_markdown(&markdown::command()))?;
    }
    Ok(if report.results.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the peers' programs, and takes what cannot be measured here out of the subjects. Returns
/// the versions of the peers, and why the others are skipped; the reasons are also reported at
/// once.
fn prepare(subjects: &mut Vec<Spec>) -> (Facts, Facts) {
    let mut prepared: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut peers, mut skipped) = (Facts::new(), Facts::new());
    let mut skip = |name: &str, reason: String| {
        eprintln!("skipped {name}: {reason}");
        skipped.push((name.to_owned(), reason));
        false
    };
    subjects.retain(|subject| {
        if let Some(peer) = subject.peer() {
            return *prepared
                .entry(peer.name)
                .or_insert_with(|| match peer.prepare() {
                    Ok(version) => {
                        peers.push((peer.name.to_owned(), version));
                        true
                    }
                    Err(reason) => skip(peer.name, reason.to_string()),
                });
        }
        let mut needs = subject
            .suite()
            .map_or(&[][..], |suite| suite.programs)
            .iter();
        match needs.find(|program| peers::program(program).is_none()) {
            Some(program) => skip(&subject.name, format!("no program {program}")),
            None => true,
        }
    });
    (peers, skipped)
}
