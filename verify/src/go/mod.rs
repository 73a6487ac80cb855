//! Callees compiled by the Go compiler, for any signatures: each compares its arguments with what
//! it should be given and returns known results.
//!
//! The program is never started: its functions are called in the emulator ([`emulated`]).
#![forbid(unsafe_code)]

pub mod emulated;
mod source;

use std::path::PathBuf;

use fing_oracles::emulator::Isa;
use fing_oracles::go_program;
use fing_stubs::{Abi, Arch, Signature};

pub use crate::memory::Memory;
use crate::random::Random;

/// One function of the program.
#[derive(Clone, Debug)]
pub struct Callee {
    /// Its signature.
    pub signature: Signature,
    /// What it must be given, the receiver first.
    pub args: Vec<Memory>,
    /// What it returns.
    pub results: Vec<Memory>,
}

/// What the program's variables say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Calls since they were zeroed.
    pub calls: u64,
    /// The last function called.
    pub last: u64,
    /// Arguments that differed.
    pub faults: u64,
    /// The first of these.
    pub first: u64,
}

/// A Go program with a function for each signature.
#[derive(Debug)]
pub struct Program {
    /// The functions; number n is called `main.C<n>`.
    pub callees: Vec<Callee>,
    /// The executable.
    pub path: PathBuf,
    /// The machine.
    pub isa: Isa,
}

impl Program {
    /// Compiles functions of these signatures; `None` if Go is not here, which has been said aloud.
    ///
    /// # Errors
    /// It does not compile.
    pub fn build(
        isa: Isa,
        signatures: &[Signature],
        random: &mut Random,
    ) -> Option<Result<Program, String>> {
        // Go's layout is the same on all machines.
        let abi = Abi::go(Arch::Amd64);
        let callees: Vec<Callee> = signatures
            .iter()
            .map(|signature| Callee {
                signature: signature.clone(),
                args: signature
                    .arguments()
                    .map(|ty| Memory::random(abi, ty, random))
                    .collect(),
                results: signature
                    .results()
                    .iter()
                    .map(|ty| Memory::random(abi, ty, random))
                    .collect(),
            })
            .collect();
        let text = source::program(isa, &callees);
        let sources = [("go.mod", source::MODULE), ("main.go", text.as_str())];
        let path = match go_program("scale", isa, &sources)? {
            Ok(path) => path,
            Err(e) => return Some(Err(e)),
        };
        Some(Ok(Program { callees, path, isa }))
    }

    /// What the program's variables say after `wanted` calls of function `number`: so many calls,
    /// no fault; else what is wrong.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&self, number: usize, wanted: u64, state: State) -> Result<(), String> {
        let State {
            calls,
            last,
            faults,
            first,
        } = state;
        if calls != wanted || last != number as u64 {
            return Err(format!(
                "{calls} calls, the last of function {last}; wanted {wanted} of {number}"
            ));
        }
        if faults != 0 {
            return Err(format!(
                "{faults} arguments differ, the first is number {first}"
            ));
        }
        Ok(())
    }
}
