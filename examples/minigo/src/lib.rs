//! minigo: a compiler for a subset of Go, whose programs run on fing's heap.
//!
//! See the README beside this crate for the subset, and for how its parts fit together.

mod ast;
mod check;
mod constant;
mod parse;
mod scan;
mod source;
mod types;

pub use source::CompileError;

use check::entity::Program;
use source::{Pos, Sources};

/// Parses and checks a program.
fn front(name: &str, text: &str) -> Result<Program, CompileError> {
    let mut sources = Sources::default();
    let mut next_id = 0;
    let start = sources.add(name, text);
    let parsed = parse::parse(text, start, &mut next_id);
    let main = parsed.map_err(|fault| sources.error(&fault))?;
    let checked = check::check(vec![main], next_id);
    let _ = Pos(0);
    checked.map_err(|fault| sources.error(&fault))
}
/// Checks.
///
/// # Errors
/// Ones.
pub fn check_text(name: &str, text: &str) -> Result<(), CompileError> {
    front(name, text).map(drop)
}
