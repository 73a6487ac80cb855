//! What README.md and docs/ name has to exist: files, commands, public items, environment
//! variables.

use std::collections::BTreeSet;
use std::process::Command;

#[path = "support/files.rs"]
mod files;
#[path = "support/rust.rs"]
mod rust;

use files::{files, read, root};
use rust::{code, is_word, words};

/// Names in code spans that are not ours: Go's, Cranelift's and other peers'. An entry no document
/// uses is a fault.
const FOREIGN: &[&str] = &[
    "CallConv",
    "CreateFileMapping",
    "FlushInstructionCache",
    "FlushProcessWriteBuffers",
    "Goexit",
    "JITModule",
    "MapViewOfFile",
    "PreserveAll",
    "RtlAddFunctionTable",
    "VirtualAlloc",
    "VirtualFree",
    "mach_vm_remap",
    "process_weak_refs",
    "sys_icache_invalidate",
    "declare_value_needs_stack_map",
    "declare_var_needs_stack_map",
    "preserve_frame_pointers",
    "try_call",
    "user_data",
    "Cleaner",
    "Drop",
    "FinalizableType",
    "PhantomReference",
    "ReferenceGlue",
    "__gc",
    "add_finalizer",
    "get_all_finalizers",
    "get_finalized_object",
    "get_finalizers_for",
    "no_finalizer",
];

/// How the names of libffi's items begin.
const LIBFFI: &str = "ffi_";

/// First words of a span that make it a name in another crate or language.
const FOREIGN_ROOTS: &[&str] = &[
    "std",
    "core",
    "cranelift_jit",
    "cranelift_codegen",
    "cranelift_module",
];

/// Files in which an environment variable may be read.
const TEXTS: &[&str] = &[".rs", "install-oracles", "install-host", "test-host", "run"];

/// README.md and docs/*.md, as far as they are there.
fn documents() -> Vec<String> {
    files("docs", &[".md"])
        .into_iter()
        .chain(
            root()
                .join("README.md")
                .is_file()
                .then(|| "README.md".to_owned()),
        )
        .collect()
}

/// The inline code of a document with its line numbers; fenced blocks are left out.
fn spans(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let parts: Vec<&str> = line.split('`').collect();
            // Parts at odd places lie between backquotes; an even number of parts means an unclosed
            // one.
            let closed = parts.len() - (1 - parts.len() % 2);
            found.extend(
                parts[..closed]
                    .iter()
                    .skip(1)
                    .step_by(2)
                    .map(|span| (i + 1, (*span).to_owned())),
            );
        }
    }
    found
}

/// One source file: the names it defines, and all words in it.
struct Source {
    defines: BTreeSet<String>,
    mentions: BTreeSet<String>,
}

/// The sources of both libraries, and of the adapters that documents describe. A file defines its
/// items, and what stands at the start of a line as fields and variants do.
fn sources() -> Vec<Source> {
    const KEYWORDS: &str = "fn struct enum trait const static type mod union";
    let all = files("src", &[".rs"])
        .into_iter()
        .chain(files("stubs/src", &[".rs"]))
        .chain(files("examples/gc-arena/src", &[".rs"]))
        .chain(files("examples/mmtk/src", &[".rs"]));
    all.map(|file| {
        let code = code(&read(&file));
        let all: Vec<&str> = words(&code).collect();
        let items = all
            .windows(2)
            .filter(|pair| KEYWORDS.split(' ').any(|word| word == pair[0]));
        let members = code.lines().filter_map(|line| {
            let line = line.trim_start().trim_start_matches("pub ");
            let name = &line[..line.find(|c| !is_word(c))?];
            line[name.len()..]
                .trim_start()
                .starts_with([',', '(', '{', ':', '='])
                .then_some(name)
        });
        let defines = items
            .map(|pair| pair[1])
            .chain(members)
            .map(str::to_owned)
            .collect();
        Source {
            defines,
            mentions: all.into_iter().map(str::to_owned).collect(),
        }
    })
    .collect()
}

/// Whether a path such as `Stub::run` is there: each part is defined, the last one in a file that
/// speaks of the part before it.
fn is_defined(parts: &[&str], sources: &[Source]) -> bool {
    let ours: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !["fing", "fing_stubs", "crate", "Self"].contains(part))
        .collect();
    let (Some(last), before) = (ours.last(), ours.iter().rev().nth(1)) else {
        return true;
    };
    let all = ours
        .iter()
        .all(|part| sources.iter().any(|source| source.defines.contains(*part)));
    let together = |source: &Source| {
        source.defines.contains(*last)
            && before.is_none_or(|name| source.mentions.contains(*name) || is_module(name))
    };
    all && sources.iter().any(together)
}

/// Names of modules are not spoken of in the files they are.
fn is_module(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether a span names an item: `a::b`, `f()`, `snake_case`, or `CamelCase`. Gives its parts.
fn item(span: &str) -> Option<Vec<&str>> {
    let name = span.split(['(', '<']).next()?;
    let parts: Vec<&str> = name.split("::").collect();
    let plain = parts.iter().all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(is_word)
    });
    let camel = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.contains(|c: char| c.is_ascii_lowercase());
    let snake = name.contains('_') && !name.contains(|c: char| c.is_ascii_uppercase());
    (plain && (parts.len() > 1 || span.ends_with("()") || camel || snake)).then_some(parts)
}

/// Whether a span names a file of ours: no spaces, and it starts in a folder of the checkout or
/// ends as our files do.
fn path(span: &str) -> Option<&str> {
    let odd = |c: char| c.is_whitespace() || "*<>{}()#:$|\"".contains(c);
    let first = span.split('/').next()?;
    let ours = span.contains('/') && !first.is_empty() && root().join(first).is_dir();
    let ending = span
        .rsplit_once('.')
        .is_some_and(|(stem, end)| !stem.is_empty() && ["rs", "md", "toml"].contains(&end));
    (!span.contains(odd) && (ours || ending || span.starts_with("./"))).then_some(span)
}

/// Whether `fing <words up to the first option or operand>` is a command.
fn is_command(span: &str) -> Result<(), String> {
    let program = option_env!("CARGO_BIN_EXE_fing").ok_or("there is no program fing yet")?;
    let subcommand = span
        .split_whitespace()
        .nth(1)
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    let output = Command::new(program)
        .args(subcommand)
        .arg("--help")
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{} --help fails", subcommand.unwrap_or("fing")))
    }
}

#[test]
fn what_documents_name_exists() {
    let sources = sources();
    let readers: Vec<String> = ["src", "stubs", "oracles", "tests", "scripts", "benches"]
        .iter()
        .flat_map(|folder| files(folder, TEXTS))
        .collect();
    let texts: Vec<String> = readers
        .iter()
        .map(|file| read(file))
        .chain([read("test")])
        .collect();
    let (mut faults, mut used) = (Vec::new(), BTreeSet::new());
    for document in documents() {
        for (line, span) in spans(&read(&document)) {
            let mut fault =
                |why: String| faults.push(format!("{document}:{line}: `{span}`: {why}"));
            if let Some(foreign) = FOREIGN.iter().find(|name| **name == span) {
                used.insert(*foreign);
            } else if span == "fing" || span == "fing-stubs" || span.starts_with(LIBFFI) {
                // The crates.
            } else if span.starts_with("fing ") {
                is_command(&span).unwrap_or_else(fault);
            } else if let Some(path) = path(&span) {
                if !root().join(path).exists() {
                    fault("no such file".to_owned());
                }
            } else if let Some(variable) = span
                .split('=')
                .next()
                .filter(|name| name.starts_with("FING_"))
            {
                if !texts.iter().any(|text| text.contains(variable)) {
                    fault("no source reads this variable".to_owned());
                }
            } else if let Some(parts) = item(&span)
                && !FOREIGN_ROOTS.contains(&parts[0])
                && !is_defined(&parts, &sources)
            {
                fault("nothing defines it".to_owned());
            }
        }
    }
    faults.extend(
        FOREIGN
            .iter()
            .filter(|name| !used.contains(*name))
            .map(|name| format!("FOREIGN: no document uses {name}")),
    );
    assert!(faults.is_empty(), "documents:\n{}", faults.join("\n"));
}

#[test]
fn spans_are_told_apart() {
    assert_eq!(
        spans("a `b` c `d\n```\n`x`\n```\n`e` f"),
        [(1, "b".to_owned()), (5, "e".to_owned())]
    );
    assert_eq!(item("Type::method()"), Some(vec!["Type", "method"]));
    assert_eq!(item("int_arg_regs"), Some(vec!["int_arg_regs"]));
    assert_eq!(
        (item("RAX"), item("func(*T) int"), item("int")),
        (None, None, None)
    );
    assert_eq!(
        (path("tests/docs.rs"), path("go/amd64:9,15"), path("./test")),
        (Some("tests/docs.rs"), None, Some("./test"))
    );
}
