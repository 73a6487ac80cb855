//! Stubs in the emulator: the machine's registers and memory at each callee's first instruction, and after the stub's return.
//!
//! A run calls a few records. The stub is entered by the machine's C convention with junk in every register but the four
//! that carry its arguments. At each callee's first instruction everything is compared; then what the convention lets a callee change is
//! changed: registers, the frame with its spill slots and results, the hidden result, the stack below. At the end
//! the caller's registers, stack and memory must be as they were. Memory that is not the stub's to write is read-only or not there.

use std::collections::HashMap;

use fing_oracles::convention::Convention;
use fing_oracles::emulator::{Emulator, EmulatorError, Library, Protection};
use fing_stubs::{Abi, Assignment, Compiler, KeyOptions, Signature, StubKey, assign};

use crate::cases::image;
use crate::expect::{Expected, check_single, expected};
use crate::random::Random;
use crate::targets::Target;

const CODE: u64 = 0x10_0000;
const CODE_BYTES: u64 = 0x10_0000;
/// Callees: nothing but faults, one address for each record. A run stops before the first is executed.
const CALLEES: u64 = 0x30_0000;
const CALLEE_BYTES: u64 = 64;
const RECORDS: u64 = 0x40_0000;
const RECORD_BYTES: u64 = 32;
const PROGRESS: u64 = 0x50_0000;
const G: u64 = 0x60_0000;
const STACK: u64 = 0x70_0000;
const STACK_BYTES: u64 = 0x8_0000;
/// The caller's part of the stack.
const CALLER_BYTES: u64 = 0x1000;
/// Where the stub returns to: faults.
const RETURN: u64 = 0x90_0000;
const PAGE: u64 = 0x1000;
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
    emulator: Emulator,
    /// Where each key's image is, and its length.
    images: HashMap<StubKey, (u64, u64)>,
    free: u64,
    random: Random,
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
        let emulator = machine(library, target.physical()).map_err(|e| e.to_string())?;
        Ok(Emulated {
            target,
            library,
            compiler,
            emulator,
            images: HashMap::new(),
            free: CODE,
            random: Random::for_purpose(seed, target.abi),
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
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let assignment = assign(signature, abi).map_err(|e| text(&e))?;
        let key = StubKey::of(signature, &assignment, options).map_err(|e| text(&e))?;
        *key_text = key.to_string();
        check_single(&assignment, self.target.physical())?;
        let image = self.image(&key)?;
        self.call(&key, &assignment, image)
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
            self.emulator =
                machine(self.library, self.target.physical()).map_err(|e| e.to_string())?;
            self.images.clear();
            self.free = CODE;
        }
        let at = self.free;
        self.free = (at + length).next_multiple_of(64);
        self.emulator.write(at, &bytes).map_err(|e| e.to_string())?;
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
        let junk = self.random.bytes(PAGE as usize);
        self.put(PROGRESS, &junk);
        self.memory.progress = junk;
        let entry = self.target.entry();
        let isa = entry.isa;
        let caller = self.random.bytes(CALLER_BYTES as usize);
        let top = STACK + STACK_BYTES;
        self.put(top - CALLER_BYTES, &caller);
        // Anywhere the C convention allows, with room above for what the caller provides.
        let mut sp = top - CALLER_BYTES + 16 * self.random.below(32);
        let below = BELOW + u64::from(key.frame() + key.hidden()) * 2 + 0x400;
        let under = self.random.bytes(below as usize);
        self.put(sp - below, &under);
        let mut preserved = HashMap::new();
        for register in isa.registers() {
            let value = match isa.width(&register) {
                16 => self.random.wide(),
                _ => self.random.word().into(),
            };
            self.emulator.set_register(&register, value);
            if entry.preserved.contains(&register.as_str()) {
                preserved.insert(register, value);
            }
        }
        for (register, value) in entry.ints.iter().zip([
            RECORDS,
            RECORDS + CALLS * RECORD_BYTES,
            PROGRESS + 8 * 77,
            G,
        ]) {
            self.emulator.set_register(register, value.into());
        }
        let sp_after = sp;
        match isa.link() {
            Some(link) => self.emulator.set_register(link, RETURN.into()),
            None => {
                sp -= 8;
                self.put_word(sp, RETURN);
            }
        }
        self.emulator.set_register(isa.sp(), sp.into());
        self.memory.caller = self.get(top - CALLER_BYTES, CALLER_BYTES);

        let call = Call {
            key,
            assignment,
            records,
            image,
            sp,
        };
        let mut pc = image.0;
        for n in 0..CALLS {
            self.run(pc, CALLEES + CALLEE_BYTES * n)
                .map_err(|e| format!("call {n}: {e}"))?;
            pc = self
                .callee(&call, n)
                .map_err(|e| format!("call {n}: {e}"))?;
        }
        self.run(pc, RETURN)
            .map_err(|e| format!("after the last call: {e}"))?;
        self.after(&preserved, sp_after)
            .map_err(|e| format!("after the return: {e}"))
    }

    /// Writes the records and says what each callee must find.
    fn records(&mut self, assignment: &Assignment) -> Result<Vec<Given>, String> {
        let mut given = Vec::new();
        for n in 0..CALLS {
            let mut words = self.random.bytes(16);
            let context = self.random.word();
            let mut images = Vec::new();
            for value in &assignment.args {
                let bytes = image(&value.ty, &mut self.random);
                words[..bytes.len()].copy_from_slice(&bytes);
                images.push(bytes);
            }
            given.push(Given {
                context,
                expected: expected(assignment, self.target.physical(), &images)?,
            });
            let at = RECORDS + RECORD_BYTES * n;
            self.put_word(at, CALLEES + CALLEE_BYTES * n);
            self.put_word(at + 8, context);
            self.put(at + 16, &words);
        }
        Ok(given)
    }

    /// Compares what there is at a callee's first instruction, then does what a callee may. Gives the address it returns to.
    fn callee(&mut self, call: &Call<'_>, n: u64) -> Result<u64, String> {
        let convention = self.target.physical();
        let isa = convention.isa;
        let given = &call.records[n as usize];
        let sp = self.emulator.word(isa.sp());
        let (back, sp_at_call) = match isa.link() {
            Some(link) => (self.emulator.word(link), sp),
            None => (self.get_word(sp), sp + 8),
        };
        if !(call.image.0..call.image.0 + call.image.1).contains(&back) {
            return Err(format!("return address {back:#x} is not in the stub"));
        }
        same(
            "progress",
            self.get_word(PROGRESS + 8 * 77),
            RECORDS + RECORD_BYTES * n,
        )?;
        if !sp_at_call.is_multiple_of(convention.alignment) {
            return Err(format!(
                "stack pointer {sp_at_call:#x}, wanted a multiple of {}",
                convention.alignment
            ));
        }
        if isa == fing_oracles::emulator::Isa::Amd64 && self.emulator.word("rflags") & 1 << 10 != 0
        {
            return Err("the direction flag is set".into());
        }
        for register in &given.expected.registers {
            let found = self.emulator.word(register.name) & register.mask;
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
            let found = self.get(base + bytes.offset, bytes.bytes.len() as u64);
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
                self.emulator.word(convention.context),
                given.context,
            )?;
            same(convention.g, self.emulator.word(convention.g), G)?;
        }
        if let Some(register) = call.key.context_argument() {
            let name = convention.ints[usize::from(register)];
            same(name, self.emulator.word(name), given.context)?;
        }
        if !convention.zero.is_empty() && self.emulator.register(convention.zero) != 0 {
            return Err(format!(
                "{} is {:#x}, wanted 0",
                convention.zero,
                self.emulator.register(convention.zero)
            ));
        }
        if let Some(bytes) = assignment.hidden_result {
            let at = self.emulator.word(convention.result_address);
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
            self.trash(at, at + bytes);
        }
        let written = if convention.is_go() {
            assignment.frame_size
        } else {
            assignment.args_end.next_multiple_of(8)
        };
        self.trash(base, base + written);
        self.trash(sp + convention.home.0, sp + convention.home.1);
        self.trash(sp - BELOW, sp);
        for register in isa.registers() {
            if !convention.preserved.contains(&register.as_str()) {
                let value = self.random.wide();
                self.emulator.set_register(&register, value);
            }
        }
        if isa.link().is_none() {
            self.trash(sp, sp + 8);
        }
        self.emulator.set_register(isa.sp(), sp_at_call.into());
        Ok(back)
    }

    /// What the caller finds.
    fn after(&mut self, preserved: &HashMap<String, u128>, sp: u64) -> Result<(), String> {
        let isa = self.target.entry().isa;
        same(isa.sp(), self.emulator.word(isa.sp()), sp)?;
        for (register, &value) in preserved {
            let found = self.emulator.register(register);
            if found != value {
                return Err(format!(
                    "{register} is {found:#x}, the caller had {value:#x}"
                ));
            }
        }
        same(
            "progress",
            self.get_word(PROGRESS + 8 * 77),
            RECORDS + CALLS * RECORD_BYTES,
        )?;
        let mut wanted = std::mem::take(&mut self.memory.progress);
        let mut found = self.get(PROGRESS, PAGE);
        for bytes in [&mut wanted, &mut found] {
            bytes[8 * 77..8 * 78].fill(0);
        }
        if wanted != found {
            return Err("memory around the progress cell has changed".into());
        }
        let start = STACK + STACK_BYTES - CALLER_BYTES;
        let found = self.get(start, CALLER_BYTES);
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

    fn run(&mut self, from: u64, until: u64) -> Result<(), EmulatorError> {
        self.emulator.run(from, until)
    }

    fn trash(&mut self, from: u64, to: u64) {
        if from < to {
            let junk = self.random.bytes((to - from) as usize);
            self.put(from, &junk);
        }
    }

    /// Memory that this file has mapped.
    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.emulator
            .write(at, bytes)
            .unwrap_or_else(|e| panic!("emulated memory at {at:#x}: {e}"));
    }

    fn get(&self, at: u64, length: u64) -> Vec<u8> {
        self.emulator
            .read(at, length as usize)
            .unwrap_or_else(|e| panic!("emulated memory at {at:#x}: {e}"))
    }

    fn put_word(&mut self, at: u64, value: u64) {
        let bytes = if self.emulator.isa().big_endian() {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        self.put(at, &bytes);
    }

    fn get_word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.get(at, 8));
        if self.emulator.isa().big_endian() {
            u64::from_be_bytes(bytes)
        } else {
            u64::from_le_bytes(bytes)
        }
    }
}

fn same(what: &str, found: u64, wanted: u64) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {found:#x}, wanted {wanted:#x}"))
    }
}

/// A machine with the memory of a run.
fn machine(library: &'static Library, convention: &Convention) -> Result<Emulator, EmulatorError> {
    let mut emulator = Emulator::new(library, convention.isa)?;
    for (address, bytes, protection) in [
        (CODE, CODE_BYTES, Protection::ReadExecute),
        (CALLEES, PAGE, Protection::ReadExecute),
        (RECORDS, PAGE, Protection::Read),
        (PROGRESS, PAGE, Protection::ReadWrite),
        (G, PAGE, Protection::Read),
        (STACK, STACK_BYTES, Protection::ReadWrite),
        (RETURN, PAGE, Protection::ReadExecute),
    ] {
        emulator.map(address, bytes, protection)?;
    }
    let fault = convention.isa.fault();
    let page = fault.repeat(PAGE as usize / fault.len());
    for address in [CALLEES, RETURN] {
        emulator.write(address, &page)?;
    }
    Ok(emulator)
}
