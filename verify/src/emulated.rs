//! Stubs in the emulator: the machine's registers and memory at each callee's first instruction,
//! and after the stub's return.
//!
//! A run calls a few records. The stub is entered by the machine's C convention with junk in every
//! register but the four that carry its arguments. At each callee's first instruction everything is
//! compared; then what the convention lets a callee change is changed: registers, the frame with
//! its spill slots and results, the hidden result, the stack below; and results are left where the
//! convention wants them. At the end the caller's registers, stack and memory must be as they were,
//! and the results in their blocks. Memory that is not the stub's to write is read-only or not
//! there.
#![forbid(unsafe_code)]

mod call;

use std::collections::HashMap;

use fing_oracles::emulator::Library;
use fing_stubs::faults::Fault;
use fing_stubs::{Abi, Assignment, Compiler, KeyOptions, Signature, StubKey, Type, assign};

use crate::expect::check_single;
use crate::machine::{CODE, CODE_BYTES, Machine};
use crate::random::Random;
use crate::targets::Target;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{signature} by {abi} on {triple}, key {key}: {what}")]
pub struct Wrong {
    signature: String,
    abi: Abi,
    triple: &'static str,
    key: String,
    what: String,
}

/// Where a record has the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The only argument in the record; results are dropped.
    Record,
    /// In a block; results go to another.
    Block,
}

/// Runs stubs of one target.
pub struct Emulated {
    target: Target,
    library: &'static Library,
    compiler: Compiler,
    machine: Machine,
    /// Where each key's image is.
    images: HashMap<StubKey, Image>,
    free: u64,
}

/// A stub in memory.
#[derive(Clone, Copy, Debug)]
struct Image {
    start: u64,
    end: u64,
}

impl std::fmt::Debug for Emulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Emulated({:?}, {} keys)", self.target, self.images.len())
    }
}

/// What is to be called, and how: all that a run depends on beside the stub.
pub struct Wanted {
    /// The signature.
    pub signature: Signature,
    /// The assignment, of the signature with the context behind its parameters where it is an
    /// argument.
    pub assignment: Assignment,
    /// Whether the context is the last argument.
    pub context: bool,
    /// Where the arguments are.
    pub form: Form,
}

impl Wanted {
    /// For a signature by a convention.
    ///
    /// # Errors
    /// The convention does not have it.
    pub fn new(
        signature: &Signature,
        abi: Abi,
        options: KeyOptions,
        form: Form,
    ) -> Result<Wanted, String> {
        let context = options.context_argument;
        let called = if context {
            let mut params = signature.params().to_vec();
            params.push(Type::unsafe_pointer());
            let receiver = signature.receiver().cloned();
            let with = Signature::new(receiver, params, signature.results().to_vec(), false);
            let with = with.and_then(|with| match signature.fixed() {
                Some(fixed) => with.c_variadic(fixed),
                None => Ok(with),
            });
            with.map_err(|e| e.to_string())?
        } else {
            signature.clone()
        };
        Ok(Wanted {
            signature: signature.clone(),
            assignment: assign(&called, abi).map_err(|e| e.to_string())?,
            context,
            form,
        })
    }
}

impl Emulated {
    /// An emulator for a target.
    ///
    /// # Errors
    /// This build does not compile for it, or the emulator cannot be opened.
    pub fn new(library: &'static Library, target: Target, seed: u64) -> Result<Emulated, String> {
        let random = Random::for_purpose(seed, target.convention);
        let isa = target.physical().isa;
        Ok(Emulated {
            target,
            library,
            compiler: target.compiler().map_err(|e| e.to_string())?,
            machine: Machine::new(library, isa, random).map_err(|e| e.to_string())?,
            images: HashMap::new(),
            free: CODE,
        })
    }

    /// As [`Emulated::new`], with a mistake in every stub.
    ///
    /// # Errors
    /// As [`Emulated::new`].
    pub fn with_fault(
        library: &'static Library,
        target: Target,
        fault: Fault,
    ) -> Result<Emulated, String> {
        let mut emulated = Emulated::new(library, target, 1)?;
        emulated.compiler.plant(fault);
        Ok(emulated)
    }

    /// Keys that were compiled so far and are in the emulator's memory.
    pub fn keys(&self) -> usize {
        self.images.len()
    }

    /// Compiles `signature`'s stub (once for each key), runs it over a few records, and compares
    /// everything.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn verify(
        &mut self,
        signature: &Signature,
        abi: Abi,
        options: KeyOptions,
        form: Form,
    ) -> Result<(), Wrong> {
        let mut key_text = String::new();
        let mut inner = || {
            let key = match form {
                Form::Record => StubKey::new(signature, abi, options),
                Form::Block => StubKey::block(signature, abi, options),
            };
            let key = key.map_err(|e| e.to_string())?;
            key_text = key.to_string();
            self.judge(&Wanted::new(signature, abi, options, form)?, &key)
        };
        let outcome = inner();
        outcome.map_err(|what| Wrong {
            signature: signature.to_string(),
            abi,
            triple: self.target.triple,
            key: key_text,
            what,
        })
    }

    /// As [`Emulated::verify`], with the stub of a key that may be another signature's: a wrong one
    /// has to be found out.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn judge(&mut self, wanted: &Wanted, key: &StubKey) -> Result<(), String> {
        if wanted.assignment.args.len() == 1 {
            check_single(&wanted.assignment, self.target.physical())?;
        }
        let image = self.image(key)?;
        self.call(wanted, image)
    }

    /// The key's image in the emulator's memory.
    fn image(&mut self, key: &StubKey) -> Result<Image, String> {
        if let Some(&found) = self.images.get(key) {
            return Ok(found);
        }
        let compiled = self
            .compiler
            .compile(key, false)
            .map_err(|e| e.to_string())?;
        let bytes = compiled.image().map_err(|e| e.to_string())?;
        if self.free + bytes.len() as u64 > CODE + CODE_BYTES {
            // Code that was run is never overwritten: a fresh machine is simpler than the
            // emulator's rules for that.
            let random = self.machine.random.clone();
            self.machine = Machine::new(self.library, self.machine.isa(), random)
                .map_err(|e| e.to_string())?;
            self.images.clear();
            self.free = CODE;
        }
        let image = Image {
            start: self.free,
            end: self.free + bytes.len() as u64,
        };
        self.free = image.end.next_multiple_of(64);
        self.machine.put(image.start, &bytes);
        self.images.insert(key.clone(), image);
        Ok(image)
    }
}
