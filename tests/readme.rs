//! README.md as a reader meets it: it is short, and what its console blocks show is what the
//! commands print.
//!
//! In a ```` ```console ```` block a line `$ command` is followed by the command's output. A line
//! `...` stands for any lines, and `...` within a line for any text.

use std::fs;
use std::path::Path;
use std::process::Command;

const MAX_LINES: usize = 150;

/// Commands that are known, but not run here: what they print depends on the machine, so no output
/// is shown for them.
const NOT_RUN: &[&str] = &["./test", "cargo run --release -p fing-benches"];

/// A command and the output shown for it.
#[derive(Debug, PartialEq)]
struct Shown<'a> {
    line: usize,
    command: &'a str,
    output: Vec<&'a str>,
}

fn shown(text: &str) -> Vec<Shown<'_>> {
    let (mut found, mut inside): (Vec<Shown>, bool) = (Vec::new(), false);
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            found.push(Shown {
                line: i + 1,
                command,
                output: Vec::new(),
            });
        } else if let Some(last) = found.last_mut().filter(|_| inside) {
            last.output.push(line);
        }
    }
    found
}

/// Splits a command at blanks, outside single and double quotes.
fn arguments(command: &str) -> Vec<String> {
    let (mut all, mut current, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => all.extend(current.take()),
            (c, _) => current.get_or_insert_default().push(c),
        }
    }
    all.extend(current);
    all
}

/// What the program `fing` is called with, if the command calls it: directly, or by
/// `cargo run ... --`.
fn fing_arguments(command: &str) -> Option<Vec<String>> {
    let all = arguments(command);
    match all.first()?.as_str() {
        "fing" => Some(all[1..].to_vec()),
        "cargo"
            if all.get(1).is_some_and(|word| word == "run")
                && !all.iter().any(|word| word == "--example" || word == "-p") =>
        {
            let end = all
                .iter()
                .position(|word| word == "--")
                .map_or(all.len(), |at| at + 1);
            Some(all[end..].to_vec())
        }
        _ => None,
    }
}

/// Whether `text` is `pattern`, in which `...` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split("...");
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether the lines printed are those shown, where a line `...` stands for any number of lines.
fn lines_match(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"...", later)) => {
            (0..=printed.len()).any(|skip| lines_match(later, &printed[skip..]))
        }
        Some((first, later)) => printed
            .split_first()
            .is_some_and(|(line, more)| matches(first, line) && lines_match(later, more)),
    }
}

#[test]
fn readme_is_short_and_shows_what_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = fs::read_to_string(root.join("README.md")) else {
        return;
    };
    assert!(
        text.lines().count() < MAX_LINES,
        "README.md has {} lines, wanted fewer than {MAX_LINES}",
        text.lines().count()
    );
    let commands = shown(&text);
    for known in NOT_RUN {
        let used = commands
            .iter()
            .any(|shown| shown.command.starts_with(known));
        assert!(used, "NOT_RUN: README.md does not show {known}");
    }
    for Shown {
        line,
        command,
        output,
    } in commands
    {
        let Some(arguments) = fing_arguments(command) else {
            assert!(
                NOT_RUN.iter().any(|known| command.starts_with(known)),
                "README.md:{line}: unknown command: {command}"
            );
            assert!(
                output.is_empty(),
                "README.md:{line}: output is shown for a command that is not run here: {command}"
            );
            continue;
        };
        let program = option_env!("CARGO_BIN_EXE_fing")
            .unwrap_or_else(|| panic!("README.md:{line}: there is no program fing yet"));
        let result = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .output()
            .unwrap_or_else(|e| panic!("README.md:{line}: {e}"));
        let printed = [result.stdout, result.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            lines_match(&output, &lines),
            "README.md:{line}: `{command}` is shown with\n{}\nand prints\n{printed}",
            output.join("\n")
        );
    }
}

#[test]
fn blocks_and_wildcards() {
    let text = "$ no\n```console\n$ fing demo\na\nb\n$ cargo build\n```\n```rust\n$ no\n```";
    let demo = Shown {
        line: 3,
        command: "fing demo",
        output: vec!["a", "b"],
    };
    assert_eq!(
        shown(text),
        [
            demo,
            Shown {
                line: 6,
                command: "cargo build",
                output: vec![]
            }
        ]
    );
    assert_eq!(
        fing_arguments("cargo run -q -- explain 'func(*T) int' \"\""),
        Some(vec!["explain".into(), "func(*T) int".into(), String::new()])
    );
    assert_eq!(fing_arguments("cargo run -p fing-benches -- --list"), None);
    assert!(
        matches("took ... ns", "took 12 ns")
            && matches("a", "a")
            && !matches("a...b", "ac")
            && !matches("a", "ab")
    );
    assert!(
        lines_match(&["x", "...", "y"], &["x", "1", "2", "y"])
            && !lines_match(&["x", "..."], &["y"])
    );
}
