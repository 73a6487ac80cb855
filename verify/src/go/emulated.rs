//! The program's functions in the emulator: called with registers and frame filled by hand from an assignment, so that an
//! assignment is judged by the compiler's own code on every machine; and called by stubs.
#![forbid(unsafe_code)]

use fing_oracles::convention::{Convention, Single};
use fing_oracles::elf::Executable;
use fing_oracles::emulator::Library;
use fing_stubs::{Abi, Arch, Assignment, KeyOptions, Piece, Place, RegClass, StubKey, assign};

use super::{Callee, Memory, Program, State};
use crate::expect::expected;
use crate::machine::{CALLER_BYTES, CODE, G, Machine, PAGE, PROGRESS, RECORDS, RETURN, STACK_TOP};
use crate::random::Random;
use crate::targets::Target;

/// A program in the emulator's memory.
#[derive(Debug)]
pub struct Loaded<'a> {
    program: &'a Program,
    executable: Executable,
    machine: Machine,
    convention: &'static Convention,
    /// Where the next stub goes.
    free: u64,
}

impl<'a> Loaded<'a> {
    /// Loads a program.
    ///
    /// # Errors
    /// The file is not to be read, or the emulator refuses.
    pub fn new(
        library: &'static Library,
        program: &'a Program,
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

    /// Calls function `number` as its assignment says, and compares what it says of its arguments, and its results.
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
            let junk = self.machine.random.word() & !register.mask;
            self.machine.set(
                register.name,
                (register.value & register.mask | junk).into(),
            );
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
                Place::Regs { pieces, .. } => self.from_registers(&assignment, pieces, wanted)?,
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
    fn from_registers(
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

    /// Calls function `number`, which has one argument of at most 16 bytes, by its stub: three records.
    ///
    /// # Errors
    /// What differs.
    pub fn call_by_stub(&mut self, number: usize, target: Target) -> Result<(), String> {
        let callee = &self.program.callees[number];
        self.stub_inner(number, callee, target).map_err(|e| {
            format!(
                "{} by {} on {}: {e}",
                callee.signature, target.convention, target.triple
            )
        })
    }

    fn stub_inner(&mut self, number: usize, callee: &Callee, target: Target) -> Result<(), String> {
        let assignment = assign(&callee.signature, self.abi()?).map_err(|e| e.to_string())?;
        let key = StubKey::of(&callee.signature, &assignment, KeyOptions::default())
            .map_err(|e| e.to_string())?;
        let compiler = target.compiler().map_err(|e| e.to_string())?;
        let compiled = compiler.compile(&key, false).map_err(|e| e.to_string())?;
        let image = compiled.image().map_err(|e| e.to_string())?;
        let stub = self.free;
        self.free = (stub + image.len() as u64).next_multiple_of(64);
        self.machine.put(stub, &image);
        let code = self.address(&format!("C{number}"))?;
        let mut words = self.machine.random.bytes(16);
        words[..callee.args[0].bytes.len()].copy_from_slice(&callee.args[0].bytes);
        const CALLS: u64 = 3;
        for n in 0..CALLS {
            self.machine.put_word(RECORDS + 32 * n, code);
            self.machine
                .put_word(RECORDS + 32 * n + 8, RECORDS + 32 * n);
            self.machine.put(RECORDS + 32 * n + 16, &words);
        }
        self.machine.junk_registers();
        self.machine.trash(PROGRESS, PROGRESS + PAGE);
        let sp = STACK_TOP - CALLER_BYTES;
        self.machine.trash(sp - 0x400, STACK_TOP);
        let entry = target.entry();
        for (register, value) in entry
            .ints
            .iter()
            .zip([RECORDS, RECORDS + 32 * CALLS, PROGRESS, G])
        {
            self.machine.set(register, value.into());
        }
        self.machine.push_return(sp);
        let preserved: Vec<u128> = entry
            .preserved
            .iter()
            .map(|r| self.machine.emulator.register(r))
            .collect();
        let home = if self.program.isa.link().is_some() {
            entry.home.1
        } else {
            0
        };
        let above = self.machine.get(sp + home, STACK_TOP - sp - home);
        self.reset();
        self.machine
            .emulator
            .run(stub, RETURN)
            .map_err(|e| e.to_string())?;
        self.judge(number, CALLS)?;
        if self.machine.get_word(PROGRESS) != RECORDS + 32 * CALLS {
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
