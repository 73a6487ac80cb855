//! minigo: a compiler for a subset of Go, whose programs run on fing's heap.
//!
//! See the README beside this crate for the subset, and for how its parts fit together.

mod ast;
mod check;
mod constant;
mod layout;
mod lower;
mod parse;
mod run;
mod scan;
mod source;
mod types;

pub use run::Options;
pub use source::CompileError;

use std::collections::HashSet;

use check::entity::Program;
use source::{Sources, fault};

/// The library, in Go: by the path that imports it.
const PRELUDE: &[(&str, &str)] = &[
    ("runtime", include_str!("../prelude/runtime.go")),
    ("fmt", include_str!("../prelude/fmt.go")),
    ("errors", include_str!("../prelude/errors.go")),
    ("time", include_str!("../prelude/time.go")),
    ("sync", include_str!("../prelude/sync.go")),
    ("sync/atomic", include_str!("../prelude/atomic.go")),
    ("strings", include_str!("../prelude/strings.go")),
    ("strconv", include_str!("../prelude/strconv.go")),
    ("sort", include_str!("../prelude/sort.go")),
    ("os", include_str!("../prelude/os.go")),
    ("weak", include_str!("../prelude/weak.go")),
];

/// Parses and checks a program with what it imports.
fn front(name: &str, text: &str) -> Result<Program, CompileError> {
    let mut sources = Sources::default();
    let start = sources.add(name, text);
    let checked = (|| {
        let mut next_id = 0;
        let main = parse::parse(text, start, &mut next_id)?;
        if &*main.package != "main" {
            return fault(start, "the program is not package main");
        }
        let mut open: Vec<(source::Pos, String)> = main.imports.clone();
        open.push((start, "runtime".to_owned()));
        let mut files = vec![main];
        let mut known = HashSet::new();
        while let Some((pos, path)) = open.pop() {
            if !known.insert(path.clone()) {
                continue;
            }
            let Some((_, text)) = PRELUDE.iter().find(|(known, _)| *known == path) else {
                return fault(pos, format!("package {path} is outside minigo's subset"));
            };
            let start = sources.add(&format!("{path}.go"), text);
            let file = parse::parse(text, start, &mut next_id)?;
            open.extend(file.imports.iter().cloned());
            files.push(file);
        }
        // The program itself is checked last, but imports are found in the order of its own list.
        files.reverse();
        check::check(files, next_id)
    })();
    checked.map_err(|fault| sources.error(&fault))
}

/// Checks a program without compiling it.
///
/// # Errors
/// The first mistake in the program, or what is outside the subset.
pub fn check_program(name: &str, text: &str) -> Result<(), CompileError> {
    front(name, text).map(drop)
}

/// Why a program was not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A mistake in the program, or something outside the subset.
    Compile(CompileError),
    /// A limit of minigo's, or of this machine.
    Run(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Compile(error) => error.fmt(f),
            Error::Run(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Compiles a program and runs it. The process ends when the program ends, so this returns only
/// with [`Options::clif`].
///
/// # Errors
/// The program is no valid Go or outside the subset, or the machine lacks something.
pub fn run_program(name: &str, text: &str, options: Options) -> Result<(), Error> {
    let program = front(name, text).map_err(Error::Compile)?;
    run::run(program, options).map_err(Error::Run)
}
