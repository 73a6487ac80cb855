//! minigo beside real Go: one program, which both run, times its own parts.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::contest::peers::{program, root};
use crate::measure::{Fault, Round, Subject, rounds};
use crate::plan::{Row, Scenario, Sizes, Source, Suite};

/// Parts of the program, as it prints them.
const PARTS: [&str; 7] = [
    "alloc",
    "lists",
    "fields",
    "weak-map",
    "by-hand",
    "plain",
    "finalizers",
];
/// The part whose memory is measured.
const REMEMBERED: &str = "finalizers";
/// Who runs the program, as the names of figures begin.
const OWNERS: [&str; 2] = ["go.", "fing.minigo-"];
/// How often the memory of a process is looked at: its peak, which the system keeps.
const LOOK: Duration = Duration::from_millis(1);

static SUITE: Suite = Suite {
    name: "minigo",
    sizes: Sizes::Chosen(&[1_000_000], 10_000_000),
    rounds: 5,
    warm_rounds: 1,
    alone: false,
    programs: &["go", "minigo"],
    start,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::of_suite(
        &SUITE,
        "minigo",
        "one program by minigo and by real Go; with: finalizers that are closures, beside the same \
         objects and closures without; by-hand: the closures called by the program; add: what \
         finalizers add",
        "ns/object",
        times,
    ),
    Scenario {
        name: "minigo-memory",
        group: "minigo",
        about: "the most memory of a process whose objects each have a closure as finalizer",
        unit: "MiB",
        source: Source::Suite(&SUITE, || {
            vec![
                Row::alone("go.peak"),
                Row::beside("fing.minigo-peak", "go.peak").at_most(1.25),
            ]
        }),
    },
];

fn times() -> Vec<Row> {
    let both = |part: &str| {
        let [go, own] = OWNERS.map(|owner| format!("{owner}{part}"));
        [Row::alone(&*go), Row::beside(own, &*go)]
    };
    let mut rows: Vec<Row> = PARTS.iter().flat_map(|part| both(part)).collect();
    // What the program does by itself bounds what finalizers can take.
    rows.extend(OWNERS.map(|owner| Row::beside(format!("{owner}calls"), format!("{owner}plain"))));
    let [go, own] =
        OWNERS.map(|owner| Row::beside(format!("{owner}with"), format!("{owner}plain")));
    rows.extend([go, own.at_most(1.5)]);
    let [go, own] = both("add");
    rows.extend([go, own.at_most(0.2)]);
    rows
}

fn start(n: usize) -> Result<Box<dyn Subject>, Fault> {
    let (whole, part) = (Compiled::new(n, "")?, Compiled::new(n, REMEMBERED)?);
    Ok(rounds(move || {
        let mut round = Round::new();
        for (owner, (whole, part)) in OWNERS
            .iter()
            .zip(whole.commands()?.into_iter().zip(part.commands()?))
        {
            let (text, _) = run(whole)?;
            let mut figure =
                |name: &str, value: f64| round.insert(format!("{owner}{name}").into(), value);
            let mut times = [0.0; PARTS.len()];
            for (part, time) in PARTS.iter().zip(&mut times) {
                let found = text
                    .lines()
                    .find_map(|line| line.strip_prefix(part)?.strip_prefix(' '));
                *time = found.ok_or("a part is missing")?.parse::<f64>()? / n as f64;
                figure(part, *time);
            }
            let [.., by_hand, plain, finalizers] = times;
            figure("calls", by_hand);
            figure("with", finalizers);
            figure("add", finalizers - plain);
            figure("peak", run(part)?.1 / 1024.0);
        }
        Ok(round)
    }))
}

/// The program for a number of objects, and all of its parts or one.
struct Compiled {
    source: PathBuf,
    binary: PathBuf,
}

impl Compiled {
    fn new(n: usize, part: &str) -> Result<Compiled, Fault> {
        let folder = root()
            .join("target/peers/minigo")
            .join(format!("{n}{part}"));
        std::fs::create_dir_all(&folder)?;
        let text = std::fs::read_to_string(root().join("benches/minigo/work.go"))?;
        let text = text.replace("N    = 1000", &format!("N    = {n}"));
        let text = text.replace("Part = \"\"", &format!("Part = \"{part}\""));
        let compiled = Compiled {
            source: folder.join("work.go"),
            binary: folder.join("work"),
        };
        std::fs::write(&compiled.source, text)?;
        let go = program("go").ok_or("no program go")?;
        let mut build = Command::new(go);
        build
            .args(["build", "-o"])
            .arg(&compiled.binary)
            .arg(&compiled.source);
        let output = build.output()?;
        match output.status.success() {
            true => Ok(compiled),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    }

    /// Real Go's program, and minigo.
    fn commands(&self) -> Result<[Command; 2], Fault> {
        let mut minigo = Command::new(program("minigo").ok_or("no program minigo")?);
        minigo.arg(&self.source);
        Ok([Command::new(&self.binary), minigo])
    }
}

/// Runs it to its end. Returns what it printed, and its most resident memory in KiB.
fn run(mut command: Command) -> Result<(String, f64), Fault> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let status = Path::new("/proc")
        .join(child.id().to_string())
        .join("status");
    let mut peak = 0.0_f64;
    while child.try_wait()?.is_none() {
        // The lines are gone when the process is.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let most = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(most) = most.and_then(|most| most.split_whitespace().next()) {
            peak = peak.max(most.parse()?);
        }
        std::thread::sleep(LOOK);
    }
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok((String::from_utf8(output.stdout)?, peak)),
        false => Err(format!("{command:?}: {}", output.status).into()),
    }
}
