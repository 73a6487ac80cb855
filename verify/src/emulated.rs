//! Stubs in the emulator: the machine's registers and memory at each callee's first instruction, and after the stub's return.
//!
//! A run calls a few records. The stub is entered by the machine's C convention with junk in every register but the four
//! that carry its arguments. At each callee's first instruction everything is compared; then what the convention lets a callee change is
//! changed: registers, the frame with its spill slots and results, the hidden result, the stack below. At the end
//! the caller's registers, stack and memory must be as they were. Memory that is not the stub's to write is read-only or not there.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use fing_oracles::emulator::{Isa, Library};
use fing_stubs::{Abi, Assignment, Compiler, KeyOptions, Signature, StubKey, assign};

use crate::cases::image;
use crate::expect::{Expected, check_single, expected};
use crate::machine::{
    CALLEE_BYTES, CALLEES, CALLER_BYTES, CODE, CODE_BYTES, G, Machine, PAGE, PROGRESS, RECORDS,
    RETURN, STACK, STACK_TOP,
};
use crate::random::Random;
use crate::targets::Target;

/// The progress cell, in the midst of its page.
const CELL: u64 = PROGRESS + 8 * 77;
const RECORD_BYTES: u64 = 32;
/// How much below the stack pointer a callee changes.
const BELOW: u64 = 512;

/// Records of one run.
const CALLS: u64 = 3;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{signature} by {abi} on {triple}, key {key}: {what}")]
pub struct Fault {
    signature: String,
    abi: Abi,
    triple: &'static str,
    key: String,
    what: String,
}

/// Runs stubs of one target.
pub struct Emulated {
    target: Target,
    library: &'static Library,
    compiler: Compiler,
    machine: Machine,
    /// Where each key's image is, and its length.
    images: HashMap<StubKey, (u64, u64)>,
    free: u64,
    memory: Memory,
}

/// What was put into memory, to compare with at the end.
#[derive(Default)]
struct Memory {
    progress: Vec<u8>,
    caller: Vec<u8>,
}

impl std::fmt::Debug for Emulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Emulated({:?}, {} keys)", self.target, self.images.len())
    }
}

/// One call to be looked at: numbers in the byte order of the machine go through here.
struct Call<'a> {
    key: &'a StubKey,
    assignment: &'a Assignment,
    records: Vec<Given>,
    image: (u64, u64),
    sp: u64,
}

/// What one record was given.
struct Given {
    context: u64,
    expected: Expected,
}

impl Emulated {
    /// An emulator for a target.
    ///
    /// # Errors
    /// This build does not compile for it, or the emulator cannot be opened.
    pub fn new(library: &'static Library, target: Target, seed: u64) -> Result<Emulated, String> {
        let compiler = target.compiler().map_err(|e| e.to_string())?;
        let random = Random::for_purpose(seed, target.convention);
        let machine =
            Machine::new(library, target.physical().isa, random).map_err(|e| e.to_string())?;
        Ok(Emulated {
            target,
            library,
            compiler,
            machine,
            images: HashMap::new(),
            free: CODE,
            memory: Memory::default(),
        })
    }

    /// Keys that were compiled so far and are in the emulator's memory.
    pub fn keys(&self) -> usize {
        self.images.len()
    }

    /// Compiles `signature`'s stub (once for each key), runs it over a few records, and compares everything.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn verify(
        &mut self,
        signature: &Signature,
        abi: Abi,
        options: KeyOptions,
    ) -> Result<(), Fault> {
        let mut key_text = String::new();
        self.verify_inner(signature, abi, options, &mut key_text)
            .map_err(|what| Fault {
                signature: signature.to_string(),
                abi,
                triple: self.target.triple,
                key: key_text,
                what,
            })
    }

    fn verify_inner(
        &mut self,
        signature: &Signature,
        abi: Abi,
        options: KeyOptions,
        key_text: &mut String,
    ) -> Result<(), String> {
        let assignment = assign(signature, abi).map_err(|e| e.to_string())?;
        let key = StubKey::of(signature, &assignment, options).map_err(|e| e.to_string())?;
        *key_text = key.to_string();
        self.judge(&assignment, &key)
    }

    /// As [`Emulated::verify`], with the stub of a key that may be another signature's: a wrong one has to be found out.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn judge(&mut self, assignment: &Assignment, key: &StubKey) -> Result<(), String> {
        check_single(assignment, self.target.physical())?;
        let image = self.image(key)?;
        self.call(key, assignment, image)
    }

    /// The key's image in the emulator's memory.
    fn image(&mut self, key: &StubKey) -> Result<(u64, u64), String> {
        if let Some(&found) = self.images.get(key) {
            return Ok(found);
        }
        let compiled = self
            .compiler
            .compile(key, false)
            .map_err(|e| e.to_string())?;
        let bytes = compiled.image().map_err(|e| e.to_string())?;
        let length = bytes.len() as u64;
        if self.free + length > CODE + CODE_BYTES {
            // Code that was run is never overwritten: a fresh machine is simpler than the emulator's rules for that.
            let random = self.machine.random.clone();
            self.machine = Machine::new(self.library, self.machine.isa(), random)
                .map_err(|e| e.to_string())?;
            self.images.clear();
            self.free = CODE;
        }
        let at = self.free;
        self.free = (at + length).next_multiple_of(64);
        self.machine.put(at, &bytes);
        self.images.insert(key.clone(), (at, length));
        Ok((at, length))
    }

    fn call(
        &mut self,
        key: &StubKey,
        assignment: &Assignment,
        image: (u64, u64),
    ) -> Result<(), String> {
        let records = self.records(assignment)?;
        let entry = self.target.entry();
        self.machine.trash(PROGRESS, PROGRESS + PAGE);
        self.memory.progress = self.machine.get(PROGRESS, PAGE);
        let top = STACK_TOP - CALLER_BYTES;
        // Anywhere the C convention allows, with room above for what the caller provides.
        let caller_sp = top + 16 * self.machine.random.below(32);
        let below = BELOW + u64::from(key.frame() + key.hidden()) * 2 + 0x400;
        self.machine.trash(caller_sp - below, STACK_TOP);
        self.machine.junk_registers();
        for (register, value) in
            entry
                .ints
                .iter()
                .zip([RECORDS, RECORDS + CALLS * RECORD_BYTES, CELL, G])
        {
            self.machine.set(register, value.into());
        }
        let sp = self.machine.push_return(caller_sp);
        let preserved: Vec<(&str, u128)> = entry
            .preserved
            .iter()
            .map(|&register| (register, self.machine.emulator.register(register)))
            .collect();
        self.memory.caller = self.machine.get(top, CALLER_BYTES);
        let call = Call {
            key,
            assignment,
            records,
            image,
            sp,
        };
        let mut pc = image.0;
        for n in 0..CALLS {
            self.machine
                .emulator
                .run(pc, CALLEES + CALLEE_BYTES * n)
                .map_err(|e| format!("call {n}: {e}"))?;
            pc = self
                .callee(&call, n)
                .map_err(|e| format!("call {n}: {e}"))?;
        }
        self.machine
            .emulator
            .run(pc, RETURN)
            .map_err(|e| format!("after the last call: {e}"))?;
        self.after(&preserved, caller_sp)
            .map_err(|e| format!("after the return: {e}"))
    }

    /// Writes the records and says what each callee must find.
    fn records(&mut self, assignment: &Assignment) -> Result<Vec<Given>, String> {
        let mut given = Vec::new();
        for n in 0..CALLS {
            let mut words = self.machine.random.bytes(16);
            let context = self.machine.random.word();
            let mut images = Vec::new();
            for value in &assignment.args {
                let bytes = image(&value.ty, &mut self.machine.random);
                words[..bytes.len()].copy_from_slice(&bytes);
                images.push(bytes);
            }
            given.push(Given {
                context,
                expected: expected(assignment, self.target.physical(), &images)?,
            });
            let at = RECORDS + RECORD_BYTES * n;
            self.machine.put_word(at, CALLEES + CALLEE_BYTES * n);
            self.machine.put_word(at + 8, context);
            self.machine.put(at + 16, &words);
        }
        Ok(given)
    }

    /// Compares what there is at a callee's first instruction, then does what a callee may. Gives the address it returns to.
    fn callee(&mut self, call: &Call<'_>, n: u64) -> Result<u64, String> {
        let convention = self.target.physical();
        let isa = convention.isa;
        let given = &call.records[n as usize];
        let sp = self.machine.emulator.word(isa.sp());
        let (back, sp_at_call) = match isa.link() {
            Some(link) => (self.machine.emulator.word(link), sp),
            None => (self.machine.get_word(sp), sp + 8),
        };
        if !(call.image.0..call.image.0 + call.image.1).contains(&back) {
            return Err(format!("return address {back:#x} is not in the stub"));
        }
        same(
            "progress",
            self.machine.get_word(CELL),
            RECORDS + RECORD_BYTES * n,
        )?;
        if !sp_at_call.is_multiple_of(convention.alignment) {
            return Err(format!(
                "stack pointer {sp_at_call:#x}, wanted a multiple of {}",
                convention.alignment
            ));
        }
        if isa == Isa::Amd64 && self.machine.emulator.word("rflags") & 1 << 10 != 0 {
            return Err("the direction flag is set".into());
        }
        for register in &given.expected.registers {
            let found = self.machine.emulator.word(register.name) & register.mask;
            same(register.name, found, register.value & register.mask)?;
        }
        let base = sp + convention.argument_base;
        let assignment = call.assignment;
        let frame_end = base
            + assignment
                .frame_size
                .max(convention.home.1.saturating_sub(convention.argument_base));
        if frame_end > call.sp || sp < STACK {
            return Err(format!(
                "the frame ends at {frame_end:#x}, above the stub's own at {:#x}",
                call.sp
            ));
        }
        for bytes in &given.expected.frame {
            let found = self
                .machine
                .get(base + bytes.offset, bytes.bytes.len() as u64);
            let masked = |all: &[u8]| -> Vec<u8> {
                all.iter().zip(&bytes.mask).map(|(b, m)| b & m).collect()
            };
            if masked(&found) != masked(&bytes.bytes) {
                return Err(format!(
                    "frame at {}: found {found:02x?}, wanted {:02x?}",
                    bytes.offset, bytes.bytes
                ));
            }
        }
        if convention.is_go() {
            same(
                convention.context,
                self.machine.emulator.word(convention.context),
                given.context,
            )?;
            same(convention.g, self.machine.emulator.word(convention.g), G)?;
        }
        if let Some(register) = call.key.context_argument() {
            let name = convention.ints[usize::from(register)];
            same(name, self.machine.emulator.word(name), given.context)?;
        }
        if !convention.zero.is_empty() && self.machine.emulator.register(convention.zero) != 0 {
            return Err(format!(
                "{} is {:#x}, wanted 0",
                convention.zero,
                self.machine.emulator.register(convention.zero)
            ));
        }
        if let Some(bytes) = assignment.hidden_result {
            let at = self.machine.emulator.word(convention.result_address);
            if at < frame_end || at + bytes > call.sp {
                return Err(format!(
                    "the hidden result's {bytes} bytes are at {at:#x}, wanted between the frame's end {frame_end:#x} and {:#x}",
                    call.sp
                ));
            }
            if !at.is_multiple_of(8) {
                return Err(format!(
                    "the hidden result is at {at:#x}, wanted a multiple of 8"
                ));
            }
            self.machine.trash(at, at + bytes);
        }
        let written = if convention.is_go() {
            assignment.frame_size
        } else {
            assignment.args_end.next_multiple_of(8)
        };
        self.machine.trash(base, base + written);
        self.machine
            .trash(sp + convention.home.0, sp + convention.home.1);
        self.machine.trash(sp - BELOW, sp);
        for register in isa.registers() {
            if !convention.preserved.contains(&register.as_str()) {
                let value = self.machine.random.wide();
                self.machine.set(&register, value);
            }
        }
        if isa.link().is_none() {
            self.machine.trash(sp, sp + 8);
        }
        self.machine
            .emulator
            .set_register(isa.sp(), sp_at_call.into());
        Ok(back)
    }

    /// What the caller finds.
    fn after(&mut self, preserved: &[(&str, u128)], sp: u64) -> Result<(), String> {
        let isa = self.target.entry().isa;
        same(isa.sp(), self.machine.emulator.word(isa.sp()), sp)?;
        for &(register, value) in preserved {
            let found = self.machine.emulator.register(register);
            if found != value {
                return Err(format!(
                    "{register} is {found:#x}, the caller had {value:#x}"
                ));
            }
        }
        same(
            "progress",
            self.machine.get_word(CELL),
            RECORDS + CALLS * RECORD_BYTES,
        )?;
        let mut wanted = std::mem::take(&mut self.memory.progress);
        let mut found = self.machine.get(PROGRESS, PAGE);
        for bytes in [&mut wanted, &mut found] {
            bytes[8 * 77..8 * 78].fill(0);
        }
        if wanted != found {
            return Err("memory around the progress cell has changed".into());
        }
        let start = STACK_TOP - CALLER_BYTES;
        let found = self.machine.get(start, CALLER_BYTES);
        let home = self.target.entry().home;
        // On x86-64 the return address lies below the caller's memory, and the home area counts from it.
        let from = sp - if isa.link().is_none() { 8 } else { 0 };
        for (n, (found, wanted)) in found.iter().zip(&self.memory.caller).enumerate() {
            let at = start + n as u64;
            let own = at < sp || (from + home.0..from + home.1).contains(&at);
            if !own && found != wanted {
                return Err(format!(
                    "the caller's stack has changed, {} bytes above the stack pointer",
                    at - sp
                ));
            }
        }
        Ok(())
    }
}

fn same(what: &str, found: u64, wanted: u64) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {found:#x}, wanted {wanted:#x}"))
    }
}
