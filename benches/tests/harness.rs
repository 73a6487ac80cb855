//! `fing bench` works: its report is whole, its formats are as they are said to be, peers that are missing are named. And what
//! docs/performance.md says to type can be typed. Nothing is timed here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FIELDS: [&str; 8] = [
    "scenario", "subject", "n", "unit", "median", "min", "max", "runs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fing"))
        .arg("bench")
        .args(arguments)
        // No runtime but those that the checkout has of its own.
        .env("PATH", "")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A file that goes when this value does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the folder of build output.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Names after a word at the beginning of lines of `--list`.
fn listed(kind: &str) -> Vec<String> {
    let output = bench(&["--list"]);
    assert!(output.status.success());
    let lines = text(&output.stdout).lines();
    let names = lines.filter_map(|line| {
        let rest = line.strip_prefix(kind)?.strip_prefix(' ')?;
        Some(rest.split(':').next()?.to_owned())
    });
    names.collect()
}

#[test]
fn quick_run_reports_every_scenario_in_every_form() {
    let json = Scratch::new("bench.json");
    let html = Scratch::new("bench.html");
    let document = Scratch::new("bench.md");
    let marked = "before\n<!-- begin: fing bench -->\nold\n<!-- end: fing bench -->\nafter\n";
    std::fs::write(&document.0, marked).unwrap();
    let output = bench(&[
        "--quick",
        "--sizes",
        "1k",
        "--subjects",
        "fing,loop,libffi,go,java,gc-arena",
        "--json",
        json.path(),
        "--html",
        html.path(),
        "--document",
        document.path(),
    ]);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{printed}\n{said}");

    let (scenarios, subjects) = (listed("scenario"), listed("subject"));
    let lines = json.read();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        let fields: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(fields, FIELDS);
        let name = |field: &str| line[field].as_str().unwrap().to_owned();
        assert!(subjects.contains(&name("subject")), "{line}");
        assert!(scenarios.contains(&name("scenario")), "{line}");
        assert_eq!((&line["n"], &line["runs"]), (&1000.into(), &3.into()));
        let [min, median, max] =
            ["min", "median", "max"].map(|field| line[field].as_f64().unwrap());
        assert!(min <= median && median <= max, "{line}");
    }
    for scenario in &scenarios {
        let of = |whose: &str| {
            let mut lines = lines
                .iter()
                .filter(|line| line["scenario"] == scenario.as_str());
            lines.any(|line| line["subject"].as_str().unwrap().split('.').next() == Some(whose))
        };
        assert!(of("fing"), "{scenario}: no figure of fing's");
        let by_hand = ["drain", "drain-8", "register", "memory"].contains(&&**scenario);
        assert_eq!(of("loop"), by_hand, "{scenario}");
        assert!(printed.contains(&format!("\n{scenario}: ")), "{scenario}");
        assert!(
            html.read().contains(&format!("<h2 id=\"{scenario}\">")),
            "{scenario}"
        );
        assert!(
            document.read().contains(&format!("\n### {scenario}\n")),
            "{scenario}"
        );
    }

    // A sum of phases is nobody's who has only some of them, and a difference nobody's who has nothing to take away.
    let having = |scenario: &str| -> Vec<&str> {
        let lines = lines.iter().filter(|line| line["scenario"] == scenario);
        lines
            .map(|line| line["subject"].as_str().unwrap())
            .collect()
    };
    let (lifecycle, whole) = (having("lifecycle"), having("end-to-end"));
    for registered_when_made in ["fing.none", "fing.implied"] {
        assert!(!lifecycle.contains(&registered_when_made), "{lifecycle:?}");
        assert!(whole.contains(&registered_when_made), "{whole:?}");
    }
    assert!(lifecycle.contains(&"fing.bulk"), "{lifecycle:?}");
    assert!(having("register-random").contains(&"fing.pointer"));
    let differences = having("live-cost");
    assert!(differences.contains(&"fing.pointer") && !differences.contains(&"fing.none"));
    for (scenario, unit) in [
        ("register-random", "ns/object"),
        ("memory", "B/object"),
        ("tree-make", "ns/node"),
    ] {
        let mut of = lines.iter().filter(|line| line["scenario"] == scenario);
        assert!(of.all(|line| line["unit"] == unit), "{scenario}");
    }

    // What is missing is named in every form: there is neither java nor cargo in an empty path.
    for peer in ["java", "gc-arena"] {
        assert!(said.contains(&format!("skipped {peer}: ")), "{said}");
        assert!(printed.contains(&format!("  {peer}: ")), "{printed}");
        assert!(html.read().contains(&format!("<tr><td>{peer}<td>")));
        assert!(document.read().contains(&format!("| {peer} | skipped: ")));
    }
    let go = lines.iter().any(|line| line["subject"] == "go.pointer");
    if root().join(".oracles/go/bin/go").is_file() {
        assert!(go, "Go is here, but there is no figure of its:\n{said}");
        for scenario in &scenarios {
            let by_registers = scenario.starts_with("int-arg-regs");
            let of_go = |subject: &&str| subject.starts_with("go.");
            assert_ne!(
                having(scenario).iter().any(of_go),
                by_registers,
                "{scenario}"
            );
        }
    } else {
        assert!(said.contains("skipped go: no program go"), "{said}");
        let required = std::env::var_os("FING_REQUIRE_ORACLES").is_some();
        assert!(!required, "Go is not here: scripts/install-oracles");
        eprintln!("SKIPPED: a peer's program, for there is no Go");
    }

    // The page needs nothing from elsewhere; a name space is no address to load.
    let page = html.read().replace("http://www.w3.org/2000/svg", "");
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    let document = document.read();
    assert!(document.starts_with("before\n") && document.ends_with("\nafter\n"));
    assert!(!document.contains("\nold\n"));
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, wanted) in [
        (["--subjects", "pascal"], "--subjects: found \"pascal\""),
        (["--scenarios", "tea"], "--scenarios: found \"tea\""),
        (["--sizes", "7"], "wanted 100 to 100M objects"),
        (["--rounds", "0"], "0"),
        (["--document", "/nowhere.md"], "--document /nowhere.md"),
        (["--json", "/nowhere/x"], "No such file"),
    ] {
        let output = bench(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[test]
fn memory_is_measured_in_a_process_of_its_own() {
    let alone = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fing"));
        command
            .arg("bench-memory")
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = alone(&["fing.prepared", "200000"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let round: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let [set, queued] = ["memory", "queued"].map(|phase| round[phase].as_f64().unwrap());
    // A number of 4 bytes beside the object, and then its address, in a packed block of the queue.
    assert!((2.0..16.0).contains(&set), "{round}");
    assert!((10.0..32.0).contains(&queued), "{round}");
    for (subject, wanted) in [
        ("tea", "wanted a subject that --list shows"),
        ("go.pointer", "not of this process"),
    ] {
        let output = alone(&[subject, "100"]);
        assert!(!output.status.success(), "{subject}");
        let said = text(&output.stderr);
        assert!(said.contains(wanted), "{subject}: {said}");
    }
}

/// Faults of a command that docs/performance.md shows.
fn fault(command: &str) -> Option<String> {
    const HARNESS: &str = "cargo run --release --features bench -- bench";
    let target = |prefix: &str, folder: &str| {
        let name = command.strip_prefix(prefix)?.split_whitespace().next()?;
        let file = format!("{folder}/{name}.rs");
        Some((!root().join(&file).is_file()).then(|| format!("no {file}")))
    };
    if let Some(arguments) = command.strip_prefix(HARNESS) {
        let arguments: Vec<&str> = arguments.split_whitespace().chain(["--list"]).collect();
        let output = bench(&arguments);
        return (!output.status.success()).then(|| text(&output.stderr).to_owned());
    }
    if command.starts_with("scripts/") {
        return (!root().join(command).is_file()).then(|| "no such script".to_owned());
    }
    target("cargo bench -p fing-benches --bench ", "benches/benches")
        .or_else(|| {
            target(
                "cargo run --release -p fing-benches --bin ",
                "benches/src/bin",
            )
        })
        .unwrap_or_else(|| Some("unknown command".to_owned()))
}

#[test]
fn commands_of_the_document_can_be_typed() {
    let document = std::fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let commands = document.lines().filter_map(|line| line.strip_prefix("$ "));
    let faults: Vec<String> = commands
        .clone()
        .filter_map(|command| Some(format!("{command}: {}", fault(command)?)))
        .collect();
    assert!(
        faults.is_empty(),
        "docs/performance.md:\n{}",
        faults.join("\n")
    );
    assert!(
        commands
            .clone()
            .any(|command| command.contains("--document docs/performance.md"))
    );
    for wrong in [
        "cargo bench -p fing-benches --bench tea",
        "tea",
        "scripts/tea",
    ] {
        assert!(fault(wrong).is_some(), "{wrong}");
    }
    // Every scenario of the harness is in the tables, and nothing else.
    let tables = document
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    assert_eq!(tables.collect::<Vec<_>>(), listed("scenario"));
}
