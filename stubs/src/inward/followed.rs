//! Entries without a slot, for modules that are not this crate's: the veneer calls a body that
//! follows it, and the body calls its handler by a symbol.
#![forbid(unsafe_code)]

use std::ops::Range;

use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::{Context, FinalizedMachReloc, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilder;

use super::compile::{Parts, check_machine};
use super::lower::{HandlerCall, lower};
use super::moves::EntryKey;
use super::veneer::{BODY_ALIGNMENT, Plan, Way};
use crate::unwind::CallState;
use crate::{Compiler, StubError};

/// An entry without a slot: its veneer followed by its body, to be run at any multiple of 16.
pub(crate) struct FollowedEntry {
    pub(crate) code: Vec<u8>,
    /// Those of the handler's call, counted from the first byte of `code`.
    pub(crate) relocations: Vec<FinalizedMachReloc>,
    /// The body, which has the names that the relocations refer to.
    pub(crate) function: Function,
    /// How unwinders see each part's call; empty where Cranelift has no System V information.
    pub(crate) states: Vec<(Range<u32>, CallState)>,
}

/// Compiles an entry that calls its handler by what `call` adds to the body, for an ISA that
/// differs from the compiler's in its settings at most.
///
/// # Errors
/// As [`compile_entry`](super::compile_entry).
pub(crate) fn compile_followed(
    compiler: &Compiler,
    isa: &OwnedTargetIsa,
    key: &EntryKey,
    call: impl FnOnce(&mut FunctionBuilder<'_>, HandlerCall),
) -> Result<FollowedEntry, StubError> {
    check_machine(compiler, key)?;
    let mut plan = Plan::of(key);
    plan.way = Way::Following;
    let mut context = Context::for_function(lower(compiler, key, &plan, call));
    let parts = Parts::new(isa, key, &plan, &mut context)?;
    let mut code = parts.veneer.bytes;
    code.resize(code.len().next_multiple_of(BODY_ALIGNMENT), 0);
    let body = code.len() as u32;
    code.extend(&parts.body);
    let mut relocations = parts.relocations;
    for relocation in &mut relocations {
        relocation.offset += body;
        if let FinalizedRelocTarget::Func(offset) = &mut relocation.target {
            *offset += body;
        }
    }
    let ranges = [0..body, body..code.len() as u32];
    let states = [parts.veneer_state, parts.body_state];
    let states = ranges.into_iter().zip(states);
    Ok(FollowedEntry {
        code,
        relocations,
        function: context.func,
        states: states
            .filter_map(|(range, state)| Some((range, state?)))
            .collect(),
    })
}
