//! `fing targets`: what this build and this machine can do for each target and convention.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use fing::stubs::{Abi, CacheOptions, CodePolicy, Compiler, Signature, StubCache};
use target_lexicon::Triple;

/// The table of targets, conventions and the oracles that each was compared with. A test keeps it
/// true.
const TABLE: &str = include_str!("../../../docs/targets.md");

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// One target's convention.
struct Row<'a> {
    target: &'a str,
    convention: &'a str,
    /// Whether this build makes code for it.
    generated: bool,
    /// Whether that code runs on this machine.
    native: bool,
    /// Whether the interpreter of assignments can make its calls on this machine.
    interpreted: bool,
    /// The independent implementations that its calls were compared with.
    oracles: Vec<&'a str>,
}

/// The rows of the document's first table: target, convention, and the oracles whose column says
/// yes.
fn table() -> impl Iterator<Item = (&'static str, &'static str, Vec<&'static str>)> {
    let mut rows = TABLE
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().trim_matches('`'))
                .collect::<Vec<_>>()
        });
    let head = rows.next().unwrap_or_default();
    rows.filter(|cells| cells.len() > 2 && !cells[0].starts_with('-'))
        .map(move |cells| {
            let oracles = head
                .iter()
                .zip(&cells)
                .skip(2)
                .filter(|(_, cell)| **cell == "yes")
                .map(|(name, _)| *name);
            (cells[0], cells[1], oracles.collect())
        })
}

/// Whether a cache of this policy has stubs for the convention here.
fn served(abi: Abi, policy: CodePolicy) -> bool {
    let options = CacheOptions::default()
        .policy(policy)
        .arena_capacity(1 << 20);
    let pointer: Result<Signature, _> = "func(*int)".parse();
    match (StubCache::new(options), pointer) {
        (Ok(cache), Ok(signature)) => cache.for_signature(&signature, abi).is_ok(),
        _ => false,
    }
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    table().map(|(target, convention, oracles)| {
        let abi: Option<Abi> = convention.parse().ok();
        let triple: Option<Triple> = target.parse().ok();
        let here = |policy| abi.is_some_and(|abi| served(abi, policy));
        Row {
            target,
            convention,
            generated: triple.is_some_and(|triple| Compiler::for_target(triple).is_ok()),
            native: here(CodePolicy::Generate),
            interpreted: here(CodePolicy::Interpret),
            oracles,
        }
    })
}

pub(crate) fn run(arguments: &Arguments) -> super::Output {
    let mut out = std::io::stdout().lock();
    if !arguments.json {
        writeln!(
            out,
            "{:28} {:16} {:10} {:7} {:12} checked by",
            "target", "convention", "generated", "native", "interpreted"
        )?;
    }
    let word = |yes| if yes { "yes" } else { "-" };
    for row in rows() {
        let Row {
            target,
            convention,
            generated,
            native,
            interpreted,
            oracles,
        } = row;
        if arguments.json {
            let line = serde_json::json!({
                "target": target, "convention": convention, "generated": generated,
                "native": native, "interpreted": interpreted, "oracles": oracles,
            });
            writeln!(out, "{line}")?;
        } else {
            let (generated, native, interpreted) =
                (word(generated), word(native), word(interpreted));
            let oracles = oracles.join(", ");
            writeln!(
                out,
                "{target:28} {convention:16} {generated:10} {native:7} {interpreted:12} {oracles}"
            )?;
        }
    }
    if !arguments.json {
        writeln!(
            out,
            "\ngenerated: this build makes code for it (feature all-arch: for every machine \
             Cranelift has)"
        )?;
        writeln!(
            out,
            "native: that code runs on this machine; interpreted: calls work here without it"
        )?;
        writeln!(
            out,
            "checked by: independent implementations it was compared with; see docs/targets.md"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
