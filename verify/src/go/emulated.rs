//! The program's functions in the emulator: called with registers and frame filled by hand from an
//! assignment, so that an assignment is judged by the compiler's own code on every machine; and
//! called by stubs.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use fing_oracles::convention::{Convention, Single};
use fing_oracles::elf::Executable;
use fing_oracles::emulator::Library;
use fing_stubs::{
    Abi, Arch, Assignment, BlockLayout, Compiler, KeyOptions, Piece, Place, RegClass, StubKey,
    assign,
};

use super::{Callee, Memory, Program, State};
use crate::emulated::Form;
use crate::expect::expected;
use crate::machine::{
    ARGUMENTS, BLOCK_BYTES, CALLER_BYTES, CODE, CODE_BYTES, G, Machine, PAGE, PROGRESS, RECORDS,
    RESULTS, RETURN, STACK_TOP,
};
use crate::random::Random;
use crate::targets::Target;

/// The cell with the end of the records, beside the progress cell.
const END: u64 = PROGRESS + 8;

/// A program in the emulator's memory.
pub struct Loaded<'a> {
    program: &'a Program,
    executable: Executable,
    machine: Machine,
    convention: &'static Convention,
    compiler: Compiler,
    /// Where each key's stub is.
    stubs: HashMap<StubKey, u64>,
    /// Where the next stub goes.
    free: u64,
}

impl std::fmt::Debug for Loaded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Loaded({}, {} keys)",
            self.program.path.display(),
            self.stubs.len()
        )
    }
}

impl<'a> Loaded<'a> {
    /// Loads a program.
    ///
    /// # Errors
    /// The file is not to be read, or the emulator refuses.
    pub fn new(
        library: &'static Library,
        program: &'a Program,
        target: Target,
        seed: u64,
    ) -> Result<Loaded<'a>, String> {
        let executable = Executable::read(&program.path).map_err(|e| e.to_string())?;
        let random = Random::for_purpose(seed, program.isa.name());
        let mut machine = Machine::new(library, program.isa, random).map_err(|e| e.to_string())?;
        executable
            .load(&mut machine.emulator)
            .map_err(|e| e.to_string())?;
        Ok(Loaded {
            program,
            executable,
            machine,
            convention: Convention::go(program.isa),
            compiler: target.compiler().map_err(|e| e.to_string())?,
            stubs: HashMap::new(),
            free: CODE,
        })
    }

    /// Go's ABI on this machine.
    fn abi(&self) -> Result<Abi, String> {
        let arch: Arch = self
            .program
            .isa
            .name()
            .parse()
            .map_err(|e| format!("{e}"))?;
        Ok(Abi::go(arch))
    }

    /// Calls function `number` as its assignment says, and compares what it says of its arguments,
    /// and its results.
    ///
    /// # Errors
    /// What differs.
    pub fn call(&mut self, number: usize) -> Result<(), String> {
        let program = self.program;
        let callee = &program.callees[number];
        self.call_inner(number, callee)
            .map_err(|e| format!("{} by go/{}: {e}", callee.signature, program.isa.name()))
    }

    fn call_inner(&mut self, number: usize, callee: &Callee) -> Result<(), String> {
        let assignment = assign(&callee.signature, self.abi()?).map_err(|e| e.to_string())?;
        let images: Vec<Vec<u8>> = callee
            .args
            .iter()
            .map(|value| value.bytes.clone())
            .collect();
        let expected = expected(&assignment, self.convention, &images)?;
        self.machine.junk_registers();
        let above = (assignment.frame_size + self.convention.argument_base).next_multiple_of(16);
        let sp = STACK_TOP - CALLER_BYTES - above;
        if sp < STACK_TOP - 0x4_0000 {
            return Err(format!("frame of {} bytes", assignment.frame_size));
        }
        self.machine.trash(sp - 0x400, STACK_TOP);
        let sp_inside = self.machine.push_return(sp);
        let base = sp_inside + self.convention.argument_base;
        for register in &expected.registers {
            let junk = self.machine.random.wide() & !register.mask;
            self.machine
                .set(register.name, register.value & register.mask | junk);
        }
        for bytes in &expected.frame {
            self.machine.put(base + bytes.offset, &bytes.bytes);
        }
        self.machine.set(self.convention.g, G.into());
        if !self.convention.zero.is_empty() {
            self.machine.set(self.convention.zero, 0);
        }
        let frame_end = base + assignment.frame_size;
        let above = self.machine.get(frame_end, STACK_TOP - frame_end);
        self.reset();
        let code = self.address(&format!("C{number}"))?;
        self.machine
            .emulator
            .run(code, RETURN)
            .map_err(|e| e.to_string())?;
        self.judge(number, 1)?;
        let found = self.machine.emulator.word(self.machine.isa().sp());
        if found != sp {
            return Err(format!("stack pointer {found:#x}, wanted {sp:#x}"));
        }
        if self.machine.get(frame_end, STACK_TOP - frame_end) != above {
            return Err("the callee wrote above its frame".into());
        }
        for (n, (value, wanted)) in assignment.results.iter().zip(&callee.results).enumerate() {
            let found = match &value.place {
                Place::Stack { offset } => self.machine.get(base + offset, value.size),
                Place::Regs { pieces, .. } => {
                    self.registers_to_memory(&assignment, pieces, wanted)?
                }
                place => return Err(format!("a result of Go's is {place:?}")),
            };
            if !wanted.is(&found) {
                return Err(format!(
                    "result {n} is {found:02x?}, wanted {:02x?} under {:02x?}",
                    wanted.bytes, wanted.mask
                ));
            }
        }
        Ok(())
    }

    /// A result's memory, from the registers its pieces are in.
    fn registers_to_memory(
        &self,
        assignment: &Assignment,
        pieces: &[Piece],
        wanted: &Memory,
    ) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; wanted.bytes.len()];
        for piece in pieces {
            let names = match piece.class {
                RegClass::Int => self.convention.ints,
                RegClass::Float => self.convention.floats,
            };
            let name = *names
                .get(piece.index)
                .ok_or_else(|| format!("no result register {}", piece.index))?;
            if assignment.result_register(piece.class, piece.index) != name {
                return Err(format!("result register {} is not {name}", piece.index));
            }
            let mut word = self.machine.emulator.word(name);
            if piece.class == RegClass::Float
                && piece.size == 4
                && self.convention.single == Single::High
            {
                word >>= 32;
            }
            let size = piece.size as usize;
            let image = if self.program.isa.big_endian() {
                word.to_be_bytes()[8 - size..].to_vec()
            } else {
                word.to_le_bytes()[..size].to_vec()
            };
            bytes[piece.off as usize..piece.off as usize + size].copy_from_slice(&image);
        }
        Ok(bytes)
    }

    /// Calls function `number` by its stub: three records. With [`Form::Record`] it has one
    /// argument of at most 16 bytes, and its results are dropped.
    ///
    /// # Errors
    /// What differs.
    pub fn call_by_stub(
        &mut self,
        number: usize,
        target: Target,
        form: Form,
    ) -> Result<(), String> {
        let callee = &self.program.callees[number];
        self.stub_inner(number, callee, target, form).map_err(|e| {
            format!(
                "{} by {} on {}, {form:?}: {e}",
                callee.signature, target.convention, target.triple
            )
        })
    }

    /// Address of the stub of a key.
    fn stub(&mut self, key: StubKey) -> Result<u64, String> {
        if let Some(&known) = self.stubs.get(&key) {
            return Ok(known);
        }
        let compiled = self
            .compiler
            .compile(&key, false)
            .map_err(|e| e.to_string())?;
        let image = compiled.image().map_err(|e| e.to_string())?;
        let at = self.free;
        self.free = (at + image.len() as u64).next_multiple_of(64);
        if self.free > CODE + CODE_BYTES {
            return Err("no room for more stubs in the emulator".into());
        }
        self.machine.put(at, &image);
        self.stubs.insert(key, at);
        Ok(at)
    }

    fn stub_inner(
        &mut self,
        number: usize,
        callee: &Callee,
        target: Target,
        form: Form,
    ) -> Result<(), String> {
        const CALLS: u64 = 3;
        let signature = &callee.signature;
        let key = match form {
            Form::Record => StubKey::new(signature, self.abi()?, KeyOptions::default()),
            Form::Block => StubKey::block(signature, self.abi()?, KeyOptions::default()),
        };
        let stub = self.stub(key.map_err(|e| e.to_string())?)?;
        let code = self.address(&format!("C{number}"))?;
        let arguments = BlockLayout::of(signature.arguments());
        let results = BlockLayout::of(signature.results());
        let step = (results.size() + 64).next_multiple_of(16);
        if CALLS * step + 64 > BLOCK_BYTES || arguments.size() > BLOCK_BYTES {
            return Err("blocks do not fit into the emulator's memory".into());
        }
        self.machine.trash(RESULTS, RESULTS + CALLS * step);
        self.machine.trash(ARGUMENTS, ARGUMENTS + arguments.size());
        let mut words = self.machine.random.bytes(16);
        for (offset, value) in arguments.offsets().iter().zip(&callee.args) {
            match form {
                Form::Record => words[..value.bytes.len()].copy_from_slice(&value.bytes),
                Form::Block => self.machine.put(ARGUMENTS + offset, &value.bytes),
            }
        }
        for n in 0..CALLS {
            let record = RECORDS + 32 * n;
            self.machine.put_word(record, code);
            self.machine.put_word(record + 8, record);
            match form {
                Form::Record => self.machine.put(record + 16, &words),
                Form::Block => {
                    self.machine.put_word(record + 16, ARGUMENTS);
                    self.machine.put_word(record + 24, RESULTS + step * n);
                }
            }
        }
        self.enter(stub, target, CALLS)?;
        self.judge(number, CALLS)?;
        for n in (0..CALLS).filter(|_| form == Form::Block) {
            for (r, (offset, wanted)) in results.offsets().iter().zip(&callee.results).enumerate() {
                let found = self
                    .machine
                    .get(RESULTS + step * n + offset, wanted.bytes.len() as u64);
                if !wanted.is(&found) {
                    return Err(format!(
                        "call {n}, result {r}: found {found:02x?}, wanted {:02x?} under {:02x?}",
                        wanted.bytes, wanted.mask
                    ));
                }
            }
        }
        Ok(())
    }

    /// Enters a stub over `calls` records as C would, and looks at what C wants back.
    fn enter(&mut self, stub: u64, target: Target, calls: u64) -> Result<(), String> {
        let entry = target.entry();
        let end = RECORDS + 32 * calls;
        self.machine.junk_registers();
        self.machine.trash(PROGRESS, PROGRESS + PAGE);
        self.machine.put_word(END, end);
        let sp = STACK_TOP - CALLER_BYTES;
        self.machine.trash(sp - 0x400, STACK_TOP);
        for (register, value) in entry.ints.iter().zip([RECORDS, END, PROGRESS, G]) {
            self.machine.set(register, value.into());
        }
        self.machine.push_return(sp);
        let preserved: Vec<u128> = entry
            .preserved
            .iter()
            .map(|r| self.machine.emulator.register(r))
            .collect();
        let home = match self.program.isa.link() {
            Some(_) => entry.home.1,
            None => 0,
        };
        let above = self.machine.get(sp + home, STACK_TOP - sp - home);
        self.reset();
        self.machine
            .emulator
            .run(stub, RETURN)
            .map_err(|e| e.to_string())?;
        if self.machine.get_word(PROGRESS) != end {
            return Err("progress is not the end".into());
        }
        if self.machine.get(sp + home, STACK_TOP - sp - home) != above {
            return Err("the caller's stack has changed".into());
        }
        for (register, wanted) in entry.preserved.iter().zip(preserved) {
            let found = self.machine.emulator.register(register);
            if found != wanted {
                return Err(format!(
                    "{register} is {found:#x}, the caller had {wanted:#x}"
                ));
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        for name in ["Calls", "Last", "Faults", "First"] {
            if let Ok(at) = self.address(name) {
                self.machine.put_word(at, 0);
            }
        }
    }

    fn judge(&self, number: usize, calls: u64) -> Result<(), String> {
        let word = |name| Ok::<u64, String>(self.machine.get_word(self.address(name)?));
        let state = State {
            calls: word("Calls")?,
            last: word("Last")?,
            faults: word("Faults")?,
            first: word("First")?,
        };
        self.program.judge(number, calls, state)
    }

    fn address(&self, name: &str) -> Result<u64, String> {
        self.executable
            .address(&format!("main.{name}"))
            .ok_or_else(|| format!("no symbol main.{name}"))
    }
}
