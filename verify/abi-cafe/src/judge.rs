//! Runs abi-cafe's sets and compares what comes of them with `sets.tsv`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

/// What is known of abi-cafe's sets: how many there are, and those that don't pass, with reasons.
const KNOWN: &str = include_str!("../sets.tsv");

/// Who calls whom, in abi-cafe's words; `clang` is fing.
const PAIRS: [(&str, &str); 2] = [("clang", "gcc"), ("gcc", "clang")];

/// A set and who calls in it.
type Set = (String, &'static str);

/// Judges the sets of these names, all if there are none. Fails if one does not pass that is not in
/// the list, or one passes that is.
///
/// # Errors
/// The judge can't be run, or the list is not as its head says.
pub fn main(names: &[String]) -> Result<ExitCode, String> {
    let (count, known) = list(KNOWN)?;
    let Some(judge) = fing_oracles::tool("abi-cafe", "fing as a C compiler") else {
        return Ok(ExitCode::SUCCESS);
    };
    let outcomes = run(&judge, names)?;
    let mut faults = 0;
    for ((name, direction), outcome) in &outcomes {
        let reason = known.get(&(name.clone(), *direction));
        let (said, is_fault) = match (outcome, reason) {
            (None, None) => ("passed".to_owned(), false),
            (Some(what), Some(reason)) => (format!("listed: {reason} ({what})"), false),
            (Some(what), None) => (format!("FAILED: {what}"), true),
            (None, Some(reason)) => (format!("FAILED: passes, but is listed: {reason}"), true),
        };
        faults += usize::from(is_fault);
        println!("{name:<20} {direction:<14} {said}");
    }
    let passed = outcomes
        .values()
        .filter(|outcome| outcome.is_none())
        .count();
    println!("{passed} of {} passed, {faults} faults", outcomes.len());
    let wanted = if names.is_empty() {
        count
    } else {
        PAIRS.len() * names.len()
    };
    if outcomes.len() != wanted {
        return Err(format!(
            "abi-cafe had {} sets, wanted {wanted}",
            outcomes.len()
        ));
    }
    Ok(if faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `sets COUNT`, and lines of set, direction (`*` for both) and reason.
fn list(text: &str) -> Result<(usize, BTreeMap<Set, &str>), String> {
    let (mut count, mut known) = (0, BTreeMap::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["sets", number] => count = number.parse().map_err(|e| format!("{line:?}: {e}"))?,
            [set, direction, reason] => {
                for name in PAIRS.map(direction_of) {
                    if [name, "*"].contains(&direction) {
                        known.insert((set.to_owned(), name), reason);
                    }
                }
            }
            _ => {
                return Err(format!(
                    "sets.tsv: found {line:?}, wanted set, direction and reason"
                ));
            }
        }
    }
    Ok((count, known))
}

fn direction_of(pair: (&'static str, &str)) -> &'static str {
    if pair.0 == "clang" {
        "fing calls gcc"
    } else {
        "gcc calls fing"
    }
}

/// What came of each set: nothing if it passed, else what went wrong.
fn run(judge: &Path, names: &[String]) -> Result<BTreeMap<Set, Option<String>>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", judge.display());
    let folder = Folder::new()?;
    let own = std::env::current_exe().map_err(|e| failed(&e))?;
    symlink(&own, folder.0.join("clang")).map_err(|e| failed(&e))?;
    let mut path = OsString::from(&folder.0);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let pairs = PAIRS
        .map(|(caller, callee)| format!("{caller}_calls_{callee}"))
        .join(",");
    let mut command = Command::new(judge);
    command.args([
        "--conventions",
        "c",
        "--reprs",
        "c",
        "--toolchains",
        "gcc,clang",
    ]);
    command.args([
        "--pairs",
        &pairs,
        "--minimize-vals",
        "noop",
        "--output-format",
        "json",
    ]);
    // They would have it ignore what comes of f16.
    command.arg("--disable-builtin-rules");
    if !names.is_empty() {
        command.args(["--tests", &names.join(",")]);
    }
    command.current_dir(&folder.0).env("PATH", path);
    command.env("FING_ABI_CAFE_LIBRARY", library(&own)?);
    let output = command.output().map_err(|e| failed(&e))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| failed(&format!("{e} in its report\n{errors}")))?;
    let tests = report["tests"]
        .as_array()
        .ok_or_else(|| failed(&"no tests in its report"))?;
    tests.iter().map(outcome).collect()
}

/// What the report says of one set.
fn outcome(test: &Value) -> Result<(Set, Option<String>), String> {
    let key = &test["key"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pair = (text(&key["caller"]), text(&key["callee"]));
    let pair = PAIRS
        .into_iter()
        .find(|known| (known.0, known.1) == (&*pair.0, &*pair.1));
    let direction = direction_of(pair.ok_or_else(|| format!("an unknown pair in {key}"))?);
    let set = (text(&key["test"]), direction);
    if test["conclusion"] == "passed" {
        return Ok((set, None));
    }
    let results = &test["results"];
    let stages = ["source", "build", "link", "run"];
    let error = stages.iter().find_map(|stage| {
        let error = results[stage].get("Err")?;
        Some(format!(
            "{stage}: {}",
            error.as_str().unwrap_or(&error.to_string())
        ))
    });
    let what = error.unwrap_or_else(|| {
        let checks = results["check"]["subtest_checks"].as_array();
        let all = checks.map_or(&[][..], Vec::as_slice);
        let wrong = all
            .iter()
            .filter(|check| check["result"].get("Err").is_some())
            .count();
        format!("{wrong} of {} functions see other values", all.len())
    });
    Ok((set, Some(what)))
}

/// The shared library of this package, beside the program or in the folder that tests are built in.
fn library(program: &Path) -> Result<PathBuf, String> {
    const NAME: &str = "libfing_abi_cafe.so";
    let folder = program.parent().unwrap_or(program);
    // Cargo writes it there; beside the program there may be an older one.
    let built = folder.join("deps").join(NAME);
    if built.is_file() {
        Ok(built)
    } else {
        Err(format!("no file {}", built.display()))
    }
}

/// A folder under `target/`, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oracles");
        let path = root.join(format!("abi-cafe-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        path.canonicalize()
            .map(Folder)
            .map_err(|e| format!("{}: {e}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("FING_KEEP").is_none() {
            // What is left is in target/.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
