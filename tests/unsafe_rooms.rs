//! Where `unsafe` may stand, and what its notes cite: docs/unsafe.md is the list, this file holds
//! the sources to it.

use std::collections::{BTreeMap, BTreeSet};

#[path = "support/files.rs"]
mod files;
#[path = "support/rust.rs"]
mod rust;

use files::{files, read};
use rust::{code, words};

/// All source folders of libraries.
const CRATES: &[&str] = &[
    "src",
    "stubs/src",
    "oracles/src",
    "benches/src",
    "model/src",
    "verify/src",
    "verify/abi-cafe/src",
    "examples/mmtk/src",
    "examples/gc-arena/src",
    "examples/jit/src",
    "examples/minigo/src",
    "examples/minigo/front/src",
];

/// The rooms listed in docs/unsafe.md: bullets under "## Rooms" that begin with a path in
/// backquotes. A folder ends in `/`.
fn rooms(text: &str) -> Vec<&str> {
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Rooms"))
        .expect("docs/unsafe.md has a section Rooms");
    section
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split('`').next())
        .collect()
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let text = read("docs/unsafe.md");
    let rooms = rooms(&text);
    let (mut faults, mut entered) = (Vec::new(), BTreeSet::new());
    for folder in CRATES {
        let sources: BTreeMap<String, String> = files(folder, &[".rs"])
            .into_iter()
            .map(|file| (file.clone(), code(&read(&file))))
            .collect();
        for (file, code) in &sources {
            let room = rooms
                .iter()
                .find(|room| file == *room || room.ends_with('/') && file.starts_with(*room));
            let has_unsafe = words(code).any(|word| word == "unsafe");
            match room {
                Some(room) if has_unsafe => drop(entered.insert(*room)),
                Some(_) => {}
                None if has_unsafe => faults.push(format!(
                    "{file}: unsafe outside the rooms of docs/unsafe.md"
                )),
                // `forbid` holds for a module's children too; a crate's root cannot have it where
                // there is any room.
                None if file.ends_with("/lib.rs")
                    || file.ends_with("/main.rs")
                    || forbidden(file, &sources)
                    || is_around_a_room(file, code, &rooms) => {}
                None => faults.push(format!("{file}: wants #![forbid(unsafe_code)]")),
            }
        }
    }
    faults.extend(
        rooms
            .iter()
            .filter(|room| !entered.contains(*room))
            .map(|room| format!("docs/unsafe.md: room {room} has no unsafe code")),
    );
    assert!(faults.is_empty(), "unsafe:\n{}", faults.join("\n"));
}

/// Whether the file, a module around it or the crate's root forbids unsafe code.
fn forbidden(file: &str, sources: &BTreeMap<String, String>) -> bool {
    let mut around = vec![file.to_owned()];
    let mut folder = file.trim_end_matches(".rs");
    while let Some((outer, _)) = folder.rsplit_once('/') {
        around.extend(["", "/mod", "/lib"].map(|end| format!("{outer}{end}.rs")));
        folder = outer;
    }
    around
        .iter()
        .filter_map(|path| sources.get(path))
        .any(|code| code.contains("#![forbid(unsafe_code)]"))
}

/// Whether the file is a module that denies unsafe code to all its children but those that say why
/// they have some.
fn is_around_a_room(file: &str, code: &str, rooms: &[&str]) -> bool {
    let folder = file.strip_suffix("mod.rs");
    code.contains("#![deny(unsafe_code)]")
        && folder.is_some_and(|folder| rooms.iter().any(|room| room.starts_with(folder)))
}

/// Each `SAFETY:` note of the two libraries cites an invariant (`I4`) that docs/unsafe.md has:
/// bullets that begin with `**I4**`. Notes of tests may cite none.
#[test]
fn safety_notes_cite_invariants() {
    let text = read("docs/unsafe.md");
    let known: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split("**").next())
        .collect();
    let mut faults = Vec::new();
    let folders = ["src", "stubs/src", "tests", "stubs/tests"];
    for file in folders.iter().flat_map(|folder| files(folder, &[".rs"])) {
        let source = read(&file);
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        for (i, _) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with("// SAFETY:"))
        {
            let note: Vec<&str> = lines[i..]
                .iter()
                .take_while(|line| line.starts_with("//"))
                .copied()
                .collect();
            let cited: Vec<&str> = note
                .iter()
                .flat_map(|line| words(line))
                .filter(|word| is_citation(word))
                .collect();
            let unknown: Vec<_> = cited
                .iter()
                .filter(|name| !known.contains(**name))
                .collect();
            if !file.contains("tests") && cited.is_empty() || !unknown.is_empty() {
                faults.push(format!(
                    "{file}:{}: SAFETY note cites {cited:?}, unknown {unknown:?}",
                    i + 1
                ));
            }
        }
    }
    assert!(faults.is_empty(), "notes:\n{}", faults.join("\n"));
}

fn is_citation(word: &str) -> bool {
    word.strip_prefix('I')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
