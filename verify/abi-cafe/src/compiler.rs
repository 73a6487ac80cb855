//! The program as the `clang` that abi-cafe runs: `clang [FLAG...] -o OUT.o -c NAME_caller.c`.
#![forbid(unsafe_code)]

use std::fs;
use std::process::{Command, ExitCode};

use crate::rewrite::{callees, callers};

/// Rewrites the file and has gcc compile it.
///
/// # Errors
/// No file, or one that is not as abi-cafe writes them; gcc is not there.
pub fn main(arguments: &[String]) -> Result<ExitCode, String> {
    let source = arguments.iter().find(|argument| argument.ends_with(".c"));
    let source = source.ok_or_else(|| format!("found {arguments:?}, wanted a file of C"))?;
    let rewrite = match source {
        caller if caller.ends_with("_caller.c") => callers,
        callee if callee.ends_with("_callee.c") => callees,
        _ => return Err(format!("found {source}, wanted *_caller.c or *_callee.c")),
    };
    let failed = |e: &dyn std::fmt::Display| format!("{source}: {e}");
    let text = fs::read_to_string(source).map_err(|e| failed(&e))?;
    let made = source.replace(".c", ".fing.c");
    fs::write(&made, rewrite(&text).map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
    let arguments = arguments
        .iter()
        .map(|argument| if argument == source { &made } else { argument });
    let gcc = fing_oracles::tool("gcc", "abi-cafe").ok_or("gcc is not on this machine")?;
    let status = Command::new(gcc)
        .arg("-w")
        .args(arguments)
        .status()
        .map_err(|e| failed(&e))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
