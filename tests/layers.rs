//! The layering of both crates: a statement of policy. To make a build pass, change the code, not
//! the tables.
//!
//! A module may use itself, and what its crate's table puts below it, directly or by a chain. Tests
//! and each crate's `lib.rs` may use all.

use std::collections::{BTreeMap, BTreeSet};

#[path = "support/files.rs"]
mod files;
#[path = "support/rust.rs"]
mod rust;

use files::{files, read};
use rust::{code, is_word, words};

/// `a, b < c, d`: c and d may use a and b, and whatever those may use.
const STUBS: &str = "
    quote < signature;
    planted < key, code;
    lock < compile, tools;
    signature < go_frame;
    signature < abi < assign < check, print;
    abi < c;
    assign, gate < error;
    abi < block;
    check, error, record, block < key < faults, veneer < lower < compile;
    error, gate, record, abi, barrier < host < unwind;
    error, veneer < unwind < tools < code;
    unwind < compile;
    code, compile < publish;
    compile < fuzzing, inward;
    inward < clif, entry;
    record, compile, host < interp;
    interp, publish < stub < call < cache < function < entry;
    lock < frames, function;
    record < seed;
";

/// As [`STUBS`], for the runtime.
const FING: &str = "
    base < order, types, world;
    order, types, world < heap;
    order, types, world < calls;
    order, calls < foreign;
    heap, calls < runtime;
    foreign, runtime < conformance;
";

/// Source folders with their tables.
const CRATES: &[(&str, &str)] = &[("src", FING), ("stubs/src", STUBS)];

/// Each module with all it may use.
fn closure(table: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in table
        .split(';')
        .map(str::trim)
        .filter(|rule| !rule.is_empty())
    {
        let levels: Vec<Vec<&str>> = rule
            .split('<')
            .map(|level| level.split(',').map(str::trim).collect())
            .collect();
        for (i, level) in levels.iter().enumerate() {
            for module in level {
                below
                    .entry(module)
                    .or_default()
                    .extend(levels[..i].last().into_iter().flatten());
            }
        }
    }
    loop {
        let wider: BTreeMap<_, BTreeSet<_>> = below
            .iter()
            .map(|(module, direct)| {
                (
                    *module,
                    direct
                        .iter()
                        .flat_map(|d| &below[d])
                        .chain(direct)
                        .copied()
                        .collect(),
                )
            })
            .collect();
        if wider == below {
            return below;
        }
        below = wider;
    }
}

#[test]
fn tables_have_no_cycle() {
    for table in [STUBS, FING] {
        for (module, below) in closure(table) {
            assert!(!below.contains(module), "{module} is below itself");
        }
    }
    assert_eq!(
        closure("a < b, c < d; b < e")["d"],
        BTreeSet::from(["a", "b", "c"])
    );
}

/// A file's module path: `heap/alloc.rs` is heap::alloc, `heap/mod.rs` is heap.
fn module_path<'a>(folder: &str, file: &'a str) -> Vec<&'a str> {
    let inside = &file[folder.len() + 1..file.len() - ".rs".len()];
    inside.split('/').filter(|part| *part != "mod").collect()
}

/// Test code: a `tests` module or folder, and what follows `#[cfg(test)] mod tests {` in a file.
fn without_tests<'a>(path: &[&str], code: &'a str) -> &'a str {
    if path.contains(&"tests") {
        return "";
    }
    let inline = code.match_indices("#[cfg(test)]").find(|(at, mark)| {
        code[at + mark.len()..]
            .trim_start()
            .starts_with("mod tests {")
    });
    inline.map_or(code, |(at, _)| &code[..at])
}

/// Top-level names a file uses: behind `crate::`, and behind as many `super::` as lead to the
/// crate's root.
fn uses<'a>(path: &[&str], code: &'a str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let (before, path_text) = code.split_at(at);
            if before.ends_with(|c| is_word(c) || c == '$' || c == ':') {
                continue;
            }
            let rest = path_text.trim_start_matches("super::");
            let supers = (path_text.len() - rest.len()) / "super::".len();
            if supers == 0 || supers == path.len() + modules_around(before) {
                names.extend(first_names(rest.trim_start_matches("crate::")));
            }
        }
    }
    names
}

/// How many inline modules are open at the end of `code`.
fn modules_around(code: &str) -> usize {
    let mut open = Vec::new();
    for (at, brace) in code.match_indices(['{', '}']) {
        if brace == "}" {
            open.pop();
        } else {
            let heading = code[..at].trim_end().rsplit(char::is_whitespace).nth(1);
            open.push(heading == Some("mod"));
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

/// The name `text` starts with, or the first name of each member of the group it starts with.
fn first_names(text: &str) -> Vec<&str> {
    let Some(group) = text.strip_prefix('{') else {
        return words(text).take(1).collect();
    };
    let (mut names, mut depth, mut fresh) = (Vec::new(), 0, true);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && is_word(c) => {
                names.extend(words(&group[i..]).next());
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn uses_are_found() {
    let found = |code| uses(&["heap", "alloc"], code);
    assert_eq!(
        found("use crate::{a, b::{c, d}, e}; $crate::f; super::g; super::super::h::i()"),
        ["a", "b", "e", "h"]
    );
    assert_eq!(
        found("mod inner { use super::super::a; use super::super::super::b; } pub(in crate::c) x"),
        ["c", "b"]
    );
}

/// Which module each name that `lib.rs` re-exports is from.
fn reexports(lib: &str) -> BTreeMap<&str, &str> {
    let statements = lib
        .split(';')
        .filter_map(|statement| statement.trim_start().strip_prefix("pub use "));
    statements
        .flat_map(|statement| {
            let mut names = words(statement);
            let module = names.find(|name| *name != "crate");
            names.filter_map(move |name| Some((name, module?)))
        })
        .collect()
}

#[test]
fn modules_use_only_what_is_below_them() {
    let mut faults = Vec::new();
    for (folder, table) in CRATES {
        let table = closure(table);
        let lib = code(&read(&format!("{folder}/lib.rs")));
        let reexports = reexports(&lib);
        for file in files(folder, &[".rs"]) {
            let path = module_path(folder, &file);
            let (whole, module) = (code(&read(&file)), path[0]);
            // A program under bin/ is a crate of its own: it sees what is public.
            if module == "lib" || module == "bin" || module == "main" {
                continue;
            }
            let Some(below) = table.get(module) else {
                faults.push(format!("{file}: module {module} is not in the table"));
                continue;
            };
            for used in uses(&path, without_tests(&path, &whole)) {
                let from = reexports.get(used).copied().unwrap_or(used);
                if from != module && !below.contains(from) {
                    faults.push(format!(
                        "{file}: uses {from} (crate::{used}), which is not below {module}"
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "layers:\n{}", faults.join("\n"));
}
