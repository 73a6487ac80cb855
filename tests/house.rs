//! What the sources promise beside their layers: few rooms, few names at the root, lines that can
//! be read, and no code of the user's where it must not run.

#[path = "support/files.rs"]
mod files;
#[path = "support/rust.rs"]
mod rust;

use files::{files, read, root};
use rust::{code, words};

/// Columns of a line of Rust.
const COLUMNS: usize = 100;
/// Columns of a line of a document, but for tables and code.
const DOCUMENT_COLUMNS: usize = 140;
/// Entries of src/ beside lib.rs and bin/.
const ENTRIES: usize = 12;
/// Names at the crate's root, modules included.
const NAMES: usize = 45;

#[test]
fn no_line_is_too_long() {
    let mut faults = Vec::new();
    let mut check = |file: &str, n: usize, line: &str, most: usize| {
        let columns = line.chars().count();
        if columns > most {
            faults.push(format!(
                "{file}:{n}: {columns} columns, wanted at most {most}"
            ));
        }
    };
    for file in files("", &[".rs"]) {
        for (n, line) in (1..).zip(read(&file).lines()) {
            check(&file, n, line, COLUMNS);
        }
    }
    for file in files("", &[".md"]) {
        let mut in_code = false;
        for (n, line) in (1..).zip(read(&file).lines()) {
            let begin = line.trim_start();
            in_code ^= begin.starts_with("```");
            if !in_code && !begin.starts_with('|') {
                check(&file, n, line, DOCUMENT_COLUMNS);
            }
        }
    }
    let count = faults.len();
    faults.truncate(40);
    assert_eq!(count, 0, "lines, the first:\n{}", faults.join("\n"));
}

#[test]
fn the_source_folder_has_few_entries() {
    let entries = std::fs::read_dir(root().join("src")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names
        .filter(|name| !["lib.rs", "bin"].contains(&&**name))
        .collect();
    assert!(names.len() <= ENTRIES, "{} entries: {names:?}", names.len());
}

/// What a crate's `lib.rs` makes public at its root: names of `pub use`, and modules.
fn root_names(lib: &str) -> Vec<String> {
    let lib = code(lib);
    let mut names = Vec::new();
    let mut depth = 0;
    for statement in lib.split_inclusive([';', '{', '}']) {
        let text = statement.trim();
        if depth == 0
            && let Some(module) = text.strip_prefix("pub mod ")
        {
            names.extend(words(module).next().map(str::to_owned));
        }
        let at = text.find("pub use ");
        if let Some(at) = at.filter(|_| depth == 0) {
            // A group is cut at its brace: its names are what comes behind that.
            let from = lib.find(&text[at..]).unwrap();
            let whole = lib[from..].split(';').next().unwrap();
            let group = whole.split_once('{').map(|(_, group)| group);
            match group {
                Some(group) => {
                    let members = group.trim_end_matches('}').split(',');
                    names.extend(members.filter_map(|name| words(name).last().map(str::to_owned)));
                }
                None => names.extend(words(whole).last().map(str::to_owned)),
            }
        }
        depth += usize::from(text.ends_with('{'));
        depth -= usize::from(text.ends_with('}') && depth > 0);
    }
    names
}

#[test]
fn root_names_are_found() {
    let lib = "mod a;\npub mod b;\npub mod c {\n    pub use crate::a::X;\n}\n\
               pub use a::{Y, z};\npub use a as w;\npub use a::V;\n";
    assert_eq!(root_names(lib), ["b", "c", "Y", "z", "w", "V"]);
}

#[test]
fn the_root_has_few_names_and_none_by_glob() {
    let lib = read("src/lib.rs");
    let names = root_names(&lib);
    println!("{} names at the root: {names:?}", names.len());
    assert!(names.len() <= NAMES, "{} names: {names:?}", names.len());
    for file in files("src", &[".rs"])
        .iter()
        .chain(&files("stubs/src", &[".rs"]))
    {
        let text = code(&read(file));
        let globs = text.split(';').filter(|statement| {
            statement.trim_start().starts_with("pub use ") && statement.contains('*')
        });
        assert_eq!(globs.count(), 0, "{file} re-exports by glob");
    }
}

/// Subscribers of `tracing` are code of the user's: `base::events` calls them with no lock held,
/// and catches their panics.
#[test]
fn events_are_sent_in_one_way() {
    for file in files("src", &[".rs"]) {
        if file.starts_with("src/bin/") || file == "src/base/events.rs" {
            continue;
        }
        let text = code(&read(&file));
        for (at, _) in text.match_indices("tracing::") {
            let before: String = text[..at].chars().filter(|c| !c.is_whitespace()).collect();
            let guarded = ["tell(||", "tell(||{", "span(||", "span(||{"]
                .iter()
                .any(|call| before.ends_with(call));
            assert!(
                guarded,
                "{file} sends an event that base::events does not guard"
            );
        }
    }
}
