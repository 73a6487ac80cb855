//! The `fing` command as a user meets it, and the example.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Output, Stdio};

use fing::{Abi, Arch};

#[path = "support/runner.rs"]
mod runner;

#[path = "../examples/embed.rs"]
mod embed;

fn fing(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = runner::command(env!("CARGO_BIN_EXE_fing"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that refuses its arguments reads nothing.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Every vector of the six machines, printed by the Go compiler, as the command prints it.
#[test]
fn layout_prints_what_the_go_compiler_prints() {
    let vectors = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/stubs/tests/vectors/arch.jsonl"
    ))
    .unwrap();
    let wanted: Vec<serde_json::Value> = vectors
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut compared = 0;
    for arch in ["amd64", "arm64", "riscv64", "s390x", "ppc64", "loong64"] {
        let lines: Vec<_> = wanted.iter().filter(|line| line["arch"] == arch).collect();
        let input: String = lines
            .iter()
            .map(|line| {
                format!(
                    "{}\t{}\n",
                    line["id"].as_str().unwrap(),
                    line["sig"].as_str().unwrap()
                )
            })
            .collect();
        let output = fing(&["layout", "--json", "--arch", arch], input.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let found: Vec<serde_json::Value> = text(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(found.len(), lines.len());
        for (found, wanted) in found.iter().zip(lines) {
            // A lone result may be written without parentheses; the command prints it with them.
            let same = |key: &str| found[key] == wanted[key];
            assert!(
                wanted
                    .as_object()
                    .unwrap()
                    .keys()
                    .all(|key| key == "sig" || same(key))
                    && found.as_object().unwrap().len() == wanted.as_object().unwrap().len(),
                "{arch}: found {found}\nwanted {wanted}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 6 * 302);
}

#[test]
fn layout_reports_bad_lines_and_goes_on() {
    let input = b"func(int)\n\nid\tfunc(strin)\nfunc(string) (int\nfunc(\xff)\nlast\tfunc(bool)\n";
    let output = fing(&["layout", "--json"], input);
    assert_eq!(output.status.code(), Some(1));
    let ids: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(ids, ["1", "last"]);
    let complaints: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(
        complaints,
        [
            "fing layout: line 3: column 9: found \"strin\", wanted a type: Go's own, or a name \
             defined here",
            "fing layout: line 4: column 18: found end of text, wanted \",\" or \")\"",
            "fing layout: line 5: found bytes that are not UTF-8",
        ]
    );
}

#[test]
fn layout_takes_register_counts() {
    let output = fing(
        &["layout", "--int-regs", "1", "--json", "func(any, int)"],
        b"",
    );
    let line: serde_json::Value = serde_json::from_str(text(&output.stdout)).unwrap();
    let host = Arch::host().unwrap();
    let registers = Abi::go(host).machine().int_regs;
    assert_eq!(
        (&line["in"][0]["stack"], &line["in"][1]["regs"][0]["name"]),
        (&0.into(), &registers[0].into())
    );
    let (most, more) = (registers.len(), registers.len() + 1);
    for (arguments, complaint) in [
        (
            ["layout", "--int-regs", &more.to_string()],
            &*format!("ABI: {more} integer argument registers, wanted at most {most} on {host}"),
        ),
        (
            ["layout", "--arch", "sparc"],
            "ABI: machine \"sparc\", wanted one of amd64",
        ),
    ] {
        let output = fing(&arguments, b"");
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains(complaint),
            "{}",
            text(&output.stderr)
        );
    }
}

/// Hostile input: long, deep, and both.
#[test]
fn layout_survives_anything() {
    let deep = format!("func({}int)", "*".repeat(1_000_000));
    let wide = format!("func({})", vec!["int"; 100_000].join(", "));
    let open = "func(struct { A ".repeat(100_000);
    let input = [deep, wide, open].join("\n");
    let output = fing(&["layout", "--json"], input.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stdout).lines().count(),
        1,
        "the wide one is fine"
    );
    assert_eq!(text(&output.stderr).lines().count(), 2);
}

#[test]
fn explain_refuses_what_it_has_to() {
    let host = ["explain", "func(*int)"];
    for (arguments, complaint) in [
        (
            vec!["explain", "func(*int) [100000]int"],
            "wanted at most 131072",
        ),
        (vec!["explain", "func(*int"], "column 10: found end of text"),
        (
            vec!["explain", "func([3]int)", "--abi", "sysv"],
            "parameter 0 is [3]int",
        ),
        (
            [&host[..], &["--abi", "sysv", "--int-regs", "3"]].concat(),
            "other register counts for sysv/amd64",
        ),
        (
            [&host[..], &["--int-regs", "10"]].concat(),
            "wanted at most 9 on amd64",
        ),
        ([&host[..], &["--abi", "aapcs"]].concat(), "aapcs/amd64"),
        (
            [&host[..], &["--target", "i686-unknown-linux-gnu"]].concat(),
            "compiler for i686-unknown-linux-gnu",
        ),
    ] {
        let output = fing(&arguments, b"");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(complaint),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let output = fing(&["explain", "func(*int)", "--target", "nowhere"], b"");
    assert_eq!(
        output.status.code(),
        Some(2),
        "a bad argument, which clap refuses"
    );
}

/// Every convention of docs/targets.md, for its target, as text and as JSON: those this build makes
/// code for.
#[test]
fn every_target_is_listed_and_explained() {
    let output = fing(&["targets", "--json"], b"");
    let rows: Vec<serde_json::Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(rows.len() >= 16, "{}", text(&output.stdout));
    let table = text(&fing(&["targets"], b"").stdout).to_owned();
    let mut explained = 0;
    for row in &rows {
        let [target, convention] = ["target", "convention"].map(|key| row[key].as_str().unwrap());
        assert!(table.contains(convention) && table.contains(target));
        assert!(!row["oracles"].as_array().unwrap().is_empty(), "{row}");
        let abi = convention.split('/').next().unwrap();
        let arguments = [
            "explain",
            "func(*int) (int, float32)",
            "--target",
            target,
            "--abi",
            abi,
        ];
        let page = fing(&arguments, b"");
        let json = fing(&[&arguments[..], &["--json"]].concat(), b"");
        assert_eq!(
            page.status.success(),
            row["generated"].as_bool().unwrap(),
            "{}",
            text(&page.stderr)
        );
        if !page.status.success() {
            assert!(
                text(&page.stderr).contains("feature all-arch"),
                "{}",
                text(&page.stderr)
            );
            continue;
        }
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        let key = json["key"].as_str().unwrap();
        assert!(
            key.starts_with(convention) && text(&page.stdout).contains(key),
            "{key}"
        );
        assert!(
            json["code"].as_str().unwrap().len() > 40
                && text(&page.stdout).contains("machine code, ")
        );
        explained += 1;
    }
    assert!(
        explained
            >= if cfg!(feature = "all-arch") {
                rows.len()
            } else {
                1
            }
    );
}

#[test]
fn explain_shows_every_stage() {
    let native = Abi::host_native().unwrap().to_string();
    let native = native.split('/').next().unwrap();
    for abi in [
        &["--abi", native][..],
        &[],
        &["--int-regs", "0"],
        &["--int-regs", "1"],
    ] {
        let output = fing(&[&["explain", "func(any) [4]int64"], abi].concat(), b"");
        let page = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for stage in [
            "signature ",
            "assignment",
            "frame\n",
            "frame size",
            "stub key",
            "CLIF",
            "machine code",
            "bytes",
        ] {
            assert!(page.contains(stage), "{abi:?}: {stage} is missing:\n{page}");
        }
        assert_eq!(page.contains("veneer, "), abi.first() != Some(&"--abi"));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn demo_closes_streams_and_confirms_each_count() {
    let output = fing(&["demo"], b"");
    let page = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in [
        "5 objects, 5 open files",
        "referred to: 5 open files",
        "4 objects freed: 1 open files",
        "and the last one: 0 open files",
    ] {
        assert!(page.contains(line), "{page}");
    }
    let confirmed = |case: &str, number: &str| {
        page.lines()
            .filter(|line| line.contains(case) && line.ends_with(number))
            .count()
    };
    let counts = usize::from(fing::stubs::seed::MAX_INT_ARG_REGS) + 1;
    assert_eq!(
        (confirmed("pointer", " -1"), confirmed("interface", " -2")),
        (counts, counts),
        "{page}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_trace_of_the_demo_has_collections_queue_and_calls_on_their_threads() {
    let file = std::env::temp_dir().join(format!("fing-trace-{}.json", std::process::id()));
    let output = fing(&["demo", "--trace", file.to_str().unwrap()], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let trace = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&trace).unwrap();
    let mut open: HashMap<u64, Vec<(&str, f64)>> = HashMap::new();
    let (mut threads, mut spans) = (HashMap::new(), HashMap::new());
    let (mut phases, mut instants, mut queue) = (Vec::new(), 0, Vec::new());
    for event in trace["traceEvents"].as_array().unwrap() {
        let name = event["name"].as_str().unwrap();
        let thread = event["tid"].as_u64().unwrap();
        let time = event["ts"].as_f64();
        let stack = open.entry(thread).or_default();
        match event["ph"].as_str().unwrap() {
            "M" => drop(threads.insert(thread, event["args"]["name"].as_str().unwrap())),
            "B" => {
                assert!(stack.last().is_none_or(|outer| outer.1 <= time.unwrap()));
                stack.push((name, time.unwrap()));
                *spans.entry((threads[&thread], name)).or_insert(0) += 1;
            }
            "E" => {
                let (began, from) = stack.pop().unwrap();
                assert!(began == name && from <= time.unwrap());
            }
            "X" => {
                assert!(event["dur"].as_f64().unwrap() >= 0.0);
                // Not before the span: the clocks are read a moment apart.
                assert_eq!(stack.last().unwrap().0, "collect");
                phases.push(name);
            }
            "C" => queue.push(event["args"]["waiting"].as_u64().unwrap()),
            "i" => instants += usize::from(name == "collection"),
            other => panic!("a phase that is not expected: {other}"),
        }
    }
    assert!(open.values().all(Vec::is_empty), "spans that do not end");
    // What the demonstration says of itself.
    let page = text(&output.stdout);
    let figure = |name: &str| -> usize {
        let before = page.split(name).next().unwrap();
        before.split_whitespace().last().unwrap().parse().unwrap()
    };
    let collections = figure(" collections,");
    assert_eq!(spans[&("main", "collect")], collections);
    assert_eq!((phases.len(), instants), (4 * collections, collections));
    assert_eq!(phases[..4], ["stopping", "marking", "deciding", "sweeping"]);
    assert_eq!(spans[&("fing", "call")], figure(" executed,"));
    assert_eq!(spans[&("fing", "drain")], figure(" drains,"));
    assert_eq!(spans.len(), 3, "{spans:?}");
    // At most as many wait as a collection has queued: the goroutine may have begun with some.
    assert_eq!(queue.len(), collections + figure(" drains,"));
    assert_eq!(queue.last(), Some(&0));
    assert!(queue.iter().max() <= Some(&4), "{queue:?}");
}

#[test]
fn the_example_runs() {
    embed::main().unwrap();
}

/// The same options mean the same to both commands that look at one signature.
#[test]
fn layout_and_explain_take_the_same_options() {
    let host = Arch::host().unwrap().to_string();
    let options = [
        "--abi",
        "go",
        "--target",
        &host,
        "--int-regs",
        "2",
        "--json",
    ];
    for command in ["layout", "explain"] {
        let arguments = [&[command, "func(any)"], &options[..]].concat();
        let output = fing(&arguments, b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let line: serde_json::Value = serde_json::from_str(text(&output.stdout)).unwrap();
        assert!(line.is_object(), "{command}: {line}");
    }
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = fing(&["completions", shell], b"");
        assert!(output.status.success());
        let script = text(&output.stdout);
        for word in ["layout", "explain", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
