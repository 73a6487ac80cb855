//! The harness works: its report is whole, its formats are as `benches/README.md` says, peers that
//! are missing are named. And what docs/performance.md says to type can be typed. Nothing is timed
//! here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const HARNESS: &str = "cargo run --release -p fing-benches -- ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn harness(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fing-benches"))
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

/// Name and group of each scenario that is listed with these arguments.
fn scenarios(arguments: &[&str]) -> Vec<(String, String)> {
    let output = harness(&[arguments, &["--list"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout).lines();
    let scenario = |line: &str| {
        let (head, _about) = line.strip_prefix("scenario ")?.split_once("): ")?;
        let (name, group) = head.split_once(" (")?;
        Some((name.to_owned(), group.to_owned()))
    };
    lines.filter_map(scenario).collect()
}

/// Whose the listed subjects are.
fn owners() -> BTreeSet<String> {
    let output = harness(&["--list"]);
    let lines = text(&output.stdout).lines();
    let names = lines.filter_map(|line| line.strip_prefix("subject ")?.split('.').next());
    names.map(str::to_owned).collect()
}

/// One run of everything, with few objects.
struct Run {
    printed: String,
    said: String,
    lines: Vec<Value>,
    page: String,
    document: String,
}

impl Run {
    fn new() -> Run {
        let files = ["json", "html", "md"].map(|kind| Scratch::new(&format!("harness.{kind}")));
        let [json, html, document] = &files;
        let (begin, end) = ("<!-- begin: fing-benches -->", "<!-- end: fing-benches -->");
        let marked = format!("before\n{begin}\nold\n{end}\nafter\n");
        std::fs::write(&document.0, marked).unwrap();
        let output = harness(&[
            "--quick",
            "--rounds",
            "2",
            "--bars",
            "--scenario",
            "lives,closures,steady,calls,stubs,callbacks,values,runtime,collector,vm,minigo",
            "--n",
            "200",
            "--subject",
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
        let lines = json.read();
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        Run {
            printed: printed.to_owned(),
            said: said.to_owned(),
            lines: lines.lines().map(parse).collect(),
            page: html.read(),
            document: document.read(),
        }
    }

    /// Lines of a scenario.
    fn of(&self, scenario: &str) -> Vec<&Value> {
        let lines = self.lines.iter();
        lines.filter(|line| line["scenario"] == scenario).collect()
    }

    /// Subjects of a scenario.
    fn subjects(&self, scenario: &str) -> Vec<&str> {
        let lines = self.of(scenario).into_iter();
        lines
            .map(|line| line["subject"].as_str().unwrap())
            .collect()
    }

    /// Whether a scenario has rows of this owner.
    fn has(&self, scenario: &str, whose: &str) -> bool {
        let subjects = self.subjects(scenario).into_iter();
        subjects
            .filter_map(|one| one.split('.').next())
            .any(|owner| owner == whose)
    }
}

/// The fields of a line of JSON, as the README lists them.
fn fields() -> Vec<String> {
    let readme = read("benches/README.md");
    let section = readme.split("## JSON").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

#[test]
fn a_run_reports_every_scenario_in_every_form() {
    let run = Run::new();
    lines_are_as_described(&run);
    every_scenario_is_in_every_form(&run);
    sums_and_differences_are_whole(&run);
    what_is_missing_is_named(&run);
    the_page_needs_nothing_else(&run);
    let document = &run.document;
    assert!(document.starts_with("before\n") && document.ends_with("\nafter\n"));
    assert!(!document.contains("\nold\n"));
}

fn lines_are_as_described(run: &Run) {
    let (names, owners) = (scenarios(&[]), owners());
    let owners: BTreeSet<&str> = owners.iter().map(String::as_str).chain(["floor"]).collect();
    let fields = fields();
    let mut rows = BTreeSet::new();
    for line in &run.lines {
        let found: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert!(fields.iter().eq(found), "{line}: wanted {fields:?}");
        let name = |field: &str| line[field].as_str().unwrap();
        let (scenario, subject) = (name("scenario"), name("subject"));
        assert!(
            owners.contains(subject.split('.').next().unwrap()),
            "{line}"
        );
        let (_, group) = names.iter().find(|(name, _)| name == scenario).unwrap();
        // Batches have their size, and the steady state its number of live objects.
        let n = line["n"].as_u64().unwrap();
        assert!(
            n == 200 || n == 512 && ["calls", "stubs", "callbacks", "values"].contains(&&**group),
            "{line}"
        );
        let of = |field: &str| line[field].as_f64().unwrap();
        assert!(
            of("min") <= of("median") && of("median") <= of("max"),
            "{line}"
        );
        assert_eq!(line["runs"], 2, "{line}");
        assert!(rows.insert((scenario, subject)), "twice: {line}");
    }
}

fn every_scenario_is_in_every_form(run: &Run) {
    for (scenario, group) in scenarios(&[]) {
        let scenario = &*scenario;
        // It takes valgrind, which is not in an empty path.
        if scenario.ends_with("instructions") {
            assert!(!run.has(scenario, "fing"));
            continue;
        }
        if group == "minigo" && run.said.contains("skipped fing.minigo: ") {
            continue;
        }
        assert!(run.has(scenario, "fing"), "{scenario}: no figure of fing's");
        let by_hand = ["drain", "drain-8", "register", "memory"].contains(&scenario);
        let compared = [
            "calls-empty",
            "calls-counting",
            "calls-touching",
            "runtime-drain",
        ];
        let by_hand = by_hand || compared.contains(&scenario);
        assert_eq!(run.has(scenario, "loop"), by_hand, "{scenario}");
        let heading = format!("\n{scenario}: ");
        assert!(run.printed.contains(&heading), "{scenario} ({group})");
        let heading = format!("<h2 id=\"{scenario}\">");
        assert!(run.page.contains(&heading), "{scenario} ({group})");
        let heading = format!("\n### {scenario}\n");
        assert!(run.document.contains(&heading), "{scenario} ({group})");
    }
    for (scenario, unit) in [
        ("register-random", "ns/object"),
        ("memory", "B/object"),
        ("tree-make", "ns/node"),
        ("calls-empty", "ns/record"),
    ] {
        assert!(
            run.of(scenario).iter().all(|line| line["unit"] == unit),
            "{scenario}"
        );
    }
}

/// A sum of phases is nobody's who has only some of them, and a difference nobody's who has nothing
/// to take away.
fn sums_and_differences_are_whole(run: &Run) {
    let (lifecycle, whole) = (run.subjects("lifecycle"), run.subjects("end-to-end"));
    for registered_when_made in ["fing.none", "fing.implied"] {
        assert!(!lifecycle.contains(&registered_when_made), "{lifecycle:?}");
        assert!(whole.contains(&registered_when_made), "{whole:?}");
    }
    assert!(lifecycle.contains(&"fing.bulk"), "{lifecycle:?}");
    assert!(run.subjects("register-random").contains(&"fing.pointer"));
    let differences = run.subjects("live-cost");
    assert!(differences.contains(&"fing.pointer") && !differences.contains(&"fing.none"));
    // Only what has a context is compared to the same without one.
    let contexts = run.subjects("closures-memory").into_iter();
    assert!(contexts.clone().all(|one| one.ends_with(".closure")));
    assert_eq!(contexts.filter(|one| one.starts_with("fing")).count(), 1);
    assert!(
        run.subjects("closures-set")
            .starts_with(&["fing.pointer", "fing.closure"])
    );
    assert!(run.subjects("steady-growth").contains(&"fing.none"));
}

/// There is neither java nor cargo nor valgrind in an empty path.
fn what_is_missing_is_named(run: &Run) {
    let Run { printed, said, .. } = run;
    for name in ["java", "gc-arena", "fing.instructions"] {
        assert!(said.contains(&format!("skipped {name}: ")), "{said}");
        assert!(printed.contains(&format!("  {name}: ")), "{printed}");
        assert!(run.page.contains(&format!("<tr><td>{name}<td>")));
        assert!(run.document.contains(&format!("| {name} | skipped: ")));
    }
    if !root().join(".oracles/go/bin/go").is_file() {
        assert!(said.contains("skipped go: no program go"), "{said}");
        let required = std::env::var_os("FING_REQUIRE_ORACLES").is_some();
        assert!(!required, "Go is not here: scripts/install-oracles");
        eprintln!("SKIPPED: a peer's program, for there is no Go");
        return;
    }
    for (scenario, group) in scenarios(&[]) {
        let minigo = group == "minigo" && !said.contains("skipped fing.minigo: ");
        let peers = minigo || ["lives", "closures", "steady"].contains(&&*group);
        let alone = ["int-arg-regs", "steady-owned"];
        let alone = alone.iter().any(|name| scenario.starts_with(name));
        assert_eq!(
            run.has(&scenario, "go"),
            peers && !alone,
            "{scenario}:\n{said}"
        );
    }
    for name in ["closures-set", "closures-run", "closures-memory"] {
        assert!(run.subjects(name).contains(&"go.closure"), "{name}");
    }
}

/// The page needs nothing from elsewhere; a name space is no address to load.
fn the_page_needs_nothing_else(run: &Run) {
    let page = run.page.replace("http://www.w3.org/2000/svg", "");
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
}

#[test]
fn every_bar_has_a_verdict() {
    let scenario = "calls-empty,steady-growth";
    let output = harness(&[
        "--quick",
        "--n",
        "200",
        "--bars",
        "--scenario",
        scenario,
        "--subject",
        "fing",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bars = text(&output.stdout).split("\nBars\n").nth(1).unwrap();
    let verdicts: Vec<&str> = bars.lines().collect();
    for line in &verdicts {
        assert!(
            line.starts_with("kept   ") || line.starts_with("MISSED "),
            "{line}"
        );
    }
    // Two kinds of argument: the stub, entered for each record, of Go with 0 and with 9 registers.
    let of = |name: &str| verdicts.iter().filter(|line| line.contains(name)).count();
    assert_eq!(
        (of(" calls-empty, "), of(" steady-growth, ")),
        (8, 1),
        "{bars}"
    );
    // Scenarios without bars are left out, if none are named.
    let barred = scenarios(&["--bars"]);
    let has = |name: &str| barred.iter().any(|(found, _)| found == name);
    assert!(has("closures-set") && has("stubs-find") && has("runtime-life"));
    assert!(!has("register") && !has("stubs-frame"));
}

#[test]
fn names_and_groups_choose_scenarios() {
    let names = |arguments: &[&str]| -> Vec<String> {
        scenarios(arguments)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(names(&["--scenario", "drain"]), ["drain"]);
    assert_eq!(
        names(&["--scenario", "drain-8", "--scenario", "free"]),
        ["drain-8", "free"]
    );
    let closures = names(&["--scenario", "closures"]);
    assert_eq!(closures.len(), 5);
    assert!(closures.iter().all(|name| name.starts_with("closures-")));
    let all: BTreeSet<String> = names(&[]).into_iter().collect();
    assert_eq!(all.len(), names(&[]).len(), "two scenarios have one name");
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, wanted) in [
        (["--subject", "pascal"], "--subject: found \"pascal\""),
        (["--scenario", "tea"], "--scenario: found \"tea\""),
        (["--n", "7"], "wanted 100 to 100M objects"),
        (["--rounds", "0"], "0"),
        (["--document", "/nowhere.md"], "--document /nowhere.md"),
        (["--json", "/nowhere/x"], "No such file"),
    ] {
        let output = harness(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[test]
fn memory_is_measured_in_a_process_of_its_own() {
    let output = harness(&["alone", "fing.prepared", "memory", "200000"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let round: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [set, queued] = ["memory", "queued"].map(|phase| round[phase].as_f64().unwrap());
    // A number of 4 bytes beside the object, and then its address, in a packed block of the queue.
    assert!((2.0..16.0).contains(&set), "{round}");
    assert!((10.0..32.0).contains(&queued), "{round}");
    for (arguments, wanted) in [
        (
            ["alone", "tea", "memory", "100"],
            "wanted one that --list shows",
        ),
        (
            ["alone", "go.pointer", "memory", "100"],
            "no such work in this process",
        ),
        (
            ["alone", "fing.pointer", "tea", "100"],
            "no work \"tea\" in a process of its own",
        ),
        (["batches", "tea", "pointer", "1"], "no way \"tea\""),
    ] {
        let output = harness(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

/// What is wrong with a command that docs/performance.md shows.
fn fault(command: &str) -> Option<String> {
    if let Some(arguments) = command.strip_prefix(HARNESS) {
        let arguments: Vec<&str> = arguments.split_whitespace().chain(["--list"]).collect();
        let output = harness(&arguments);
        return (!output.status.success()).then(|| text(&output.stderr).to_owned());
    }
    if command.starts_with("scripts/") {
        return (!root().join(command).is_file()).then(|| "no such script".to_owned());
    }
    Some("unknown command".to_owned())
}

#[test]
fn commands_of_the_document_can_be_typed() {
    let document = read("docs/performance.md");
    let commands: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    let faults: Vec<String> = commands
        .iter()
        .filter_map(|command| Some(format!("{command}: {}", fault(command)?)))
        .collect();
    assert!(
        faults.is_empty(),
        "docs/performance.md:\n{}",
        faults.join("\n")
    );
    for wrong in [&*format!("{HARNESS}--scenario tea"), "tea", "scripts/tea"] {
        assert!(fault(wrong).is_some(), "{wrong}");
    }
    // The tables are those of the command that stands above them.
    let tables = document
        .split("<!-- begin: fing-benches -->")
        .nth(1)
        .unwrap();
    let mut lines = tables.lines();
    let command = lines.find_map(|line| line.strip_prefix("$ ")).unwrap();
    assert!(
        command.contains("--document docs/performance.md"),
        "{command}"
    );
    let arguments: Vec<&str> = command.strip_prefix(HARNESS).unwrap().split(' ').collect();
    let wanted: Vec<String> = scenarios(&arguments)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let found: Vec<&str> = lines.filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(found, wanted);
}
