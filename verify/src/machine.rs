//! The emulated machine of a run: where code, records, stack and the rest lie. What may not be
//! written is read-only or not there.
#![forbid(unsafe_code)]

use fing_oracles::emulator::{Emulator, EmulatorError, Isa, Library, Protection};

use crate::random::Random;

/// Above everything that an executable of Go is linked to.
const BASE: u64 = 0x4000_0000;
/// Stubs, one after the other.
pub const CODE: u64 = BASE + 0x1000_0000;
/// Bytes for stubs.
pub const CODE_BYTES: u64 = 0x40_0000;
/// Callees: nothing but faults, one address for each record. A run stops before the first is
/// executed.
pub const CALLEES: u64 = BASE + 0x20_0000;
/// From callee to callee.
pub const CALLEE_BYTES: u64 = 64;
/// Records; read-only to the program.
pub const RECORDS: u64 = BASE + 0x30_0000;
/// Blocks of arguments; read-only to the program.
pub const ARGUMENTS: u64 = BASE + 0x100_0000;
/// Blocks of results.
pub const RESULTS: u64 = BASE + 0x200_0000;
/// Bytes for each of the two kinds of block.
pub const BLOCK_BYTES: u64 = 0x10_0000;
/// A page with the progress cell in it.
pub const PROGRESS: u64 = BASE + 0x40_0000;
/// A page of zeroes for Go's g; read-only to the program.
pub const G: u64 = BASE + 0x50_0000;
/// The stack's lowest byte.
pub const STACK: u64 = BASE + 0x60_0000;
/// The stack's size.
pub const STACK_BYTES: u64 = 0x8_0000;
/// Above the stack's last byte.
pub const STACK_TOP: u64 = STACK + STACK_BYTES;
/// The caller's part of the stack, at its top.
pub const CALLER_BYTES: u64 = 0x1000;
/// Where the entered code returns to: faults.
pub const RETURN: u64 = BASE + 0x80_0000;
/// The unit of protection.
pub const PAGE: u64 = 0x1000;

/// An emulated machine with this memory.
#[derive(Debug)]
pub struct Machine {
    /// The machine itself.
    pub emulator: Emulator,
    /// Where junk comes from.
    pub random: Random,
}

impl Machine {
    /// A machine with its memory, which is zero.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn new(
        library: &'static Library,
        isa: Isa,
        random: Random,
    ) -> Result<Machine, EmulatorError> {
        let mut emulator = Emulator::new(library, isa)?;
        for (address, bytes, protection) in [
            (CODE, CODE_BYTES, Protection::ReadExecute),
            (CALLEES, PAGE, Protection::ReadExecute),
            (RECORDS, PAGE, Protection::Read),
            (ARGUMENTS, BLOCK_BYTES, Protection::Read),
            (RESULTS, BLOCK_BYTES, Protection::ReadWrite),
            (PROGRESS, PAGE, Protection::ReadWrite),
            (G, PAGE, Protection::Read),
            (STACK, STACK_BYTES, Protection::ReadWrite),
            (RETURN, PAGE, Protection::ReadExecute),
        ] {
            emulator.map(address, bytes, protection)?;
        }
        let fault = isa.fault();
        let page = fault.repeat(PAGE as usize / fault.len());
        for address in [CALLEES, RETURN] {
            emulator.write(address, &page)?;
        }
        Ok(Machine { emulator, random })
    }

    /// The machine's kind.
    pub fn isa(&self) -> Isa {
        self.emulator.isa()
    }

    /// Junk for every register.
    pub fn junk_registers(&mut self) {
        for register in self.isa().registers() {
            let value = self.random.wide();
            self.set(&register, value);
        }
    }

    /// Sets a register; of the narrower ones only the low half counts.
    pub fn set(&mut self, register: &str, value: u128) {
        let value = match self.isa().width(register) {
            16 => value,
            _ => u128::from(value as u64),
        };
        self.emulator.set_register(register, value);
    }

    /// Puts the return address where a call instruction would, with the stack pointer at `sp`
    /// before it. Gives the stack pointer after it.
    pub fn push_return(&mut self, sp: u64) -> u64 {
        let isa = self.isa();
        let sp = match isa.link() {
            Some(link) => {
                self.emulator.set_register(link, RETURN.into());
                sp
            }
            None => {
                self.put_word(sp - 8, RETURN);
                sp - 8
            }
        };
        self.emulator.set_register(isa.sp(), sp.into());
        sp
    }

    /// Fills memory with junk.
    pub fn trash(&mut self, from: u64, to: u64) {
        if from < to {
            let junk = self.random.bytes((to - from) as usize);
            self.put(from, &junk);
        }
    }

    /// Writes memory.
    ///
    /// # Panics
    ///
    /// If it is not mapped.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.emulator
            .write(at, bytes)
            .unwrap_or_else(|e| panic!("emulated memory at {at:#x}: {e}"));
    }

    /// Reads memory.
    ///
    /// # Panics
    ///
    /// If it is not mapped.
    pub fn get(&self, at: u64, length: u64) -> Vec<u8> {
        self.emulator
            .read(at, length as usize)
            .unwrap_or_else(|e| panic!("emulated memory at {at:#x}: {e}"))
    }

    /// Writes a word in the machine's byte order.
    ///
    /// # Panics
    ///
    /// If it is not mapped.
    pub fn put_word(&mut self, at: u64, value: u64) {
        let bytes = if self.isa().big_endian() {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        self.put(at, &bytes);
    }

    /// Reads a word in the machine's byte order.
    ///
    /// # Panics
    ///
    /// If it is not mapped.
    pub fn get_word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.get(at, 8));
        if self.isa().big_endian() {
            u64::from_be_bytes(bytes)
        } else {
            u64::from_le_bytes(bytes)
        }
    }
}
