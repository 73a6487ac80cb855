//! Entries in the emulator: a foreign caller's registers and stack, as the oracle's tables have
//! them, must become the block of arguments that the handler gets, and the block of results that it
//! leaves must become what the caller finds.
//!
//! The entry is called with junk in every register but those that carry arguments, and in all
//! memory but the arguments. The handler's first instruction is where the run stops: there
//! everything is compared; then what the C convention lets a callee change is changed, and random
//! results are left. At the return the results must be where the caller's convention wants them,
//! extended as it wants; registers that a callee preserves, and the caller's memory, must be as
//! they were.
#![forbid(unsafe_code)]

use fing_oracles::emulator::{Isa, Library};
use fing_stubs::entry::{EntryKey, compile_entry};
use fing_stubs::faults::Fault;
use fing_stubs::{
    Abi, Assignment, BlockLayout, Compiler, DEFAULT_FRAME_LIMIT, RegClass, Signature, Value, assign,
};

use crate::cases;
use crate::emulated::Form;
use crate::expect::{Bytes, Expected, Pointer, Register, Returned, expected, extended, returned};
use crate::go::Memory;
use crate::machine::{
    ARGUMENTS, CALLEES, CALLER_BYTES, CODE, G, Machine, RECORDS, RESULTS, RETURN, STACK_TOP,
};
use crate::random::Random;
use crate::targets::Target;

/// The slot, in memory that the program can only read.
const SLOT: u64 = RECORDS + 0x40;
/// What the handler is told beside addresses.
const STATE: u64 = 0x1122_3344_5566_7788;
const NUMBER: u64 = 0x0807_0605_0403_0201;
/// Bytes around the hidden results that are compared.
const AREA: u64 = 0x2000;
/// How much below the stack pointer the handler changes.
const BELOW: u64 = 512;

/// Where the values of one call are.
struct Given {
    assignment: Assignment,
    arguments: Vec<Memory>,
    results: Vec<Memory>,
    expected: Expected,
    returned: Returned,
    hidden: u64,
}

/// Runs entries of one target.
pub struct Entered {
    target: Target,
    library: &'static Library,
    compiler: Compiler,
    random: Random,
}

impl std::fmt::Debug for Entered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entered({:?})", self.target)
    }
}

impl Entered {
    /// For a target that [`Oracle::Entries`](crate::run::Oracle) judges.
    ///
    /// # Errors
    /// This build does not compile for it.
    pub fn new(library: &'static Library, target: Target, seed: u64) -> Result<Entered, String> {
        Ok(Entered {
            target,
            library,
            compiler: target.compiler().map_err(|e| e.to_string())?,
            random: Random::for_purpose(seed, &format!("entries {}", target.convention)),
        })
    }

    /// As [`Entered::new`], with a mistake planted in the code.
    ///
    /// # Errors
    /// As [`Entered::new`].
    pub fn with_fault(
        library: &'static Library,
        target: Target,
        fault: Fault,
    ) -> Result<Entered, String> {
        let mut entered = Entered::new(library, target, 1)?;
        entered.compiler.plant(fault);
        Ok(entered)
    }

    /// Another random signature, and for callers of Go another register count.
    pub fn case(&mut self) -> (Signature, Abi) {
        let abi = self.target.abi();
        if self.target.is_go() {
            let count = self.random.below(abi.int_regs() as u64 + 1) as usize;
            let abi = abi.with_int_arg_regs(count).unwrap_or(abi);
            return (cases::many_arguments(&mut self.random), abi);
        }
        // C's values, and many scalars. None is so large that it does not fit into the emulated
        // caller's memory.
        loop {
            let signature = match self.random.below(3) {
                0 => cases::native(&mut self.random, 14),
                _ => cases::c(&mut self.random, abi, Form::Block),
            };
            let fits = assign(&signature, abi).is_ok_and(|assignment| {
                assignment.frame_size + 1024 <= CALLER_BYTES
                    && assignment.hidden_result.unwrap_or(0) + 1024 <= AREA
            });
            if fits {
                return (signature, abi);
            }
        }
    }

    /// Calls the entry of a signature once, and compares everything.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn verify(&mut self, signature: &Signature, abi: Abi) -> Result<(), String> {
        let key = EntryKey::new(signature, abi, DEFAULT_FRAME_LIMIT).map_err(|e| e.to_string())?;
        self.judge(signature, abi, &key)
            .map_err(|what| format!("{signature} called by {abi}, key {key}: {what}"))
    }

    /// As [`Entered::verify`], with the entry of a key that may be another signature's: a wrong one
    /// has to be found out.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn judge(&mut self, signature: &Signature, abi: Abi, key: &EntryKey) -> Result<(), String> {
        let compiled =
            compile_entry(&self.compiler, key, NUMBER, false).map_err(|e| e.to_string())?;
        let isa = self.target.physical().isa;
        let mut machine =
            Machine::new(self.library, isa, self.random.clone()).map_err(|e| e.to_string())?;
        machine.put(CODE, &compiled.image(CODE, SLOT));
        machine.put_word(SLOT, CODE + compiled.veneer_offset() as u64);
        machine.put_word(SLOT + 8, STATE);
        machine.put_word(SLOT + 16, CALLEES);
        let given = self.given(&mut machine, signature, abi)?;
        let outcome = self.call(&mut machine, &given, signature);
        self.random = machine.random;
        outcome
    }

    fn given(
        &self,
        machine: &mut Machine,
        signature: &Signature,
        abi: Abi,
    ) -> Result<Given, String> {
        let convention = self.target.physical();
        let assignment = assign(signature, abi).map_err(|e| e.to_string())?;
        let random = &mut machine.random;
        let mut values = |types: Vec<_>| -> Vec<Memory> {
            let types = types.into_iter();
            types.map(|ty| Memory::random(abi, ty, random)).collect()
        };
        let arguments = values(signature.arguments().collect());
        let results = values(signature.results().iter().collect());
        let bytes = |all: &[Memory]| {
            all.iter()
                .map(|value| value.bytes.clone())
                .collect::<Vec<_>>()
        };
        let expected = expected(&assignment, convention, &bytes(&arguments))?;
        let mut returned = returned(&assignment, convention, &bytes(&results))?;
        if let ([value], false) = (&assignment.results[..], self.target.is_go()) {
            widen(&mut returned, value, convention);
        }
        // Somewhere between what is compared.
        let hidden = match assignment.hidden_result {
            Some(_) => RESULTS + 64 + 16 * machine.random.below(8),
            None => 0,
        };
        Ok(Given {
            assignment,
            arguments,
            results,
            expected,
            returned,
            hidden,
        })
    }

    fn call(
        &self,
        machine: &mut Machine,
        given: &Given,
        signature: &Signature,
    ) -> Result<(), String> {
        let convention = self.target.physical();
        let isa = convention.isa;
        let top = STACK_TOP - CALLER_BYTES;
        // Callers of Go may leave any multiple of their alignment.
        let step = convention.alignment;
        let frame = given.assignment.frame_size;
        if frame + 1024 > CALLER_BYTES {
            return Err(format!(
                "a frame of {frame} bytes is more than the emulated caller's"
            ));
        }
        let caller_sp = top + step * machine.random.below(512 / step);
        machine.trash(caller_sp - 0x1000, STACK_TOP);
        machine.trash(RESULTS, RESULTS + AREA);
        machine.junk_registers();
        let sp = machine.push_return(caller_sp);
        let base = sp + convention.argument_base;
        for register in &given.expected.registers {
            let junk = machine.random.wide() & !register.mask;
            let value = register.value & register.mask;
            machine.set(register.name, junk | value);
        }
        for bytes in &given.expected.frame {
            put(machine, base, bytes);
        }
        for (n, value) in (0..).zip(&given.expected.copied) {
            // Anywhere: the caller's copy need not be in its frame.
            let at = ARGUMENTS + 0x1000 * n;
            machine.put(at, &value.bytes);
            match value.pointer {
                Pointer::Register(name) => machine.set(name, at.into()),
                Pointer::Frame(offset) => machine.put_word(base + offset, at),
            }
        }
        if given.hidden != 0 {
            machine.set(convention.result_address, given.hidden.into());
        }
        if convention.is_go() {
            machine.set(convention.g, G.into());
        }
        if isa == Isa::Amd64 {
            machine.set("rflags", 2);
        }
        let preserved: Vec<(&str, u128)> = convention
            .preserved
            .iter()
            .chain(convention.is_go().then_some(&convention.g))
            .map(|&name| (name, machine.emulator.register(name)))
            .collect();
        let caller = machine.get(sp, STACK_TOP - sp);
        let area = machine.get(RESULTS, AREA);

        let stopped = |e: &dyn std::fmt::Display| format!("on the way to the handler: {e}");
        machine
            .emulator
            .run(CODE, CALLEES)
            .map_err(|e| stopped(&e))?;
        let back = self.handler(machine, given, signature, sp)?;
        let stopped = |e: &dyn std::fmt::Display| format!("on the way back: {e}");
        machine
            .emulator
            .run(back, RETURN)
            .map_err(|e| stopped(&e))?;

        same("stack pointer", machine.emulator.word(isa.sp()), caller_sp)?;
        for (name, value) in preserved {
            let found = machine.emulator.register(name);
            if found != value {
                return Err(format!("{name} is {found:#x}, wanted {value:#x} as it was"));
            }
        }
        if !convention.zero.is_empty() && machine.emulator.register(convention.zero) != 0 {
            return Err(format!("{} is not 0 at the return", convention.zero));
        }
        for register in &given.returned.registers {
            let found = machine.emulator.register(register.name) & register.mask;
            let wanted = register.value & register.mask;
            if found != wanted {
                return Err(format!(
                    "{} is {found:#x}, wanted {wanted:#x}",
                    register.name
                ));
            }
        }
        if given.hidden != 0 && !convention.hidden_back.is_empty() {
            let found = machine.emulator.word(convention.hidden_back);
            same(convention.hidden_back, found, given.hidden)?;
        }
        let written = |at: u64, from: u64, before: &[u8], all: &[Bytes]| {
            let mut wanted = before.to_vec();
            for bytes in all {
                let first = (at + bytes.offset - from) as usize;
                wanted[first..first + bytes.bytes.len()].copy_from_slice(&bytes.bytes);
            }
            wanted
        };
        // What counts of the results is compared as values: padding is anything.
        let frame = machine.get(sp, STACK_TOP - sp);
        let wanted = written(base, sp, &caller, &given.returned.frame);
        self.memory("the caller's stack", &frame, &wanted, given, base - sp)?;
        let found = machine.get(RESULTS, AREA);
        let wanted = written(given.hidden, RESULTS, &area, &given.returned.hidden);
        let offset = given.hidden.saturating_sub(RESULTS);
        self.memory("the area of results", &found, &wanted, given, offset)
    }

    /// Compares memory but for the padding of results that lie in it.
    fn memory(
        &self,
        what: &str,
        found: &[u8],
        wanted: &[u8],
        given: &Given,
        base: u64,
    ) -> Result<(), String> {
        let mut counts = vec![true; found.len()];
        for (value, memory) in given.assignment.results.iter().zip(&given.results) {
            let offset = match &value.place {
                fing_stubs::Place::Stack { offset } if what == "the caller's stack" => *offset,
                fing_stubs::Place::Hidden { offset } if what != "the caller's stack" => *offset,
                _ => continue,
            };
            let first = (base + offset) as usize;
            for (n, mask) in memory.mask.iter().enumerate() {
                counts[first + n] = *mask != 0;
            }
        }
        for (n, counts) in counts.iter().enumerate() {
            if *counts && found[n] != wanted[n] {
                let (found, wanted) = (found[n], wanted[n]);
                return Err(format!(
                    "{what}, byte {n}: {found:#04x}, wanted {wanted:#04x}"
                ));
            }
        }
        Ok(())
    }

    /// Compares what there is at the handler's first instruction, then does what it may. Gives the
    /// address it returns to.
    fn handler(
        &self,
        machine: &mut Machine,
        given: &Given,
        signature: &Signature,
        entered: u64,
    ) -> Result<u64, String> {
        let c = self.target.entry();
        let isa = c.isa;
        let sp = machine.emulator.word(isa.sp());
        let (back, sp_at_call) = match isa.link() {
            Some(link) => (machine.emulator.word(link), sp),
            None => (machine.get_word(sp), sp + 8),
        };
        if !sp_at_call.is_multiple_of(c.alignment) || sp >= entered {
            let wanted = c.alignment;
            return Err(format!(
                "stack pointer {sp_at_call:#x} at the handler, wanted a multiple of {wanted} below \
                 {entered:#x}"
            ));
        }
        let word = |n: usize| machine.emulator.word(c.ints[n]);
        let (arguments, results) = (word(2), word(3));
        for (n, value) in [(0, SLOT), (1, STATE), (4, NUMBER)] {
            same(&format!("argument {n} of the handler"), word(n), value)?;
        }
        let taken = BlockLayout::under(given.assignment.abi, signature.arguments());
        for (n, (offset, value)) in taken.offsets().iter().zip(&given.arguments).enumerate() {
            let found = machine.get(arguments + offset, value.bytes.len() as u64);
            if !value.is(&found) {
                let wanted = &value.bytes;
                return Err(format!(
                    "argument {n} is {found:02x?}, wanted {wanted:02x?}"
                ));
            }
        }
        let layout = BlockLayout::under(given.assignment.abi, signature.results());
        if machine
            .get(results, layout.size())
            .iter()
            .any(|&byte| byte != 0)
        {
            return Err("the block of results is not zero".into());
        }
        for (at, size) in [(arguments, taken.size()), (results, layout.size())] {
            if at < sp || at + size > entered {
                return Err(format!("a block is at {at:#x}, outside the entry's frame"));
            }
        }
        machine.trash(sp - BELOW, sp);
        for register in isa.registers() {
            if !c.preserved.contains(&register.as_str()) {
                let value = machine.random.wide();
                machine.set(&register, value);
            }
        }
        for (offset, value) in layout.offsets().iter().zip(&given.results) {
            machine.put(results + offset, &value.bytes);
        }
        if isa == Isa::Amd64 {
            machine.set("rflags", 2);
        }
        machine.emulator.set_register(isa.sp(), sp_at_call.into());
        Ok(back)
    }
}

/// What the callee owes above a lone integer counts too.
fn widen(
    returned: &mut Returned,
    value: &Value,
    convention: &fing_oracles::convention::Convention,
) {
    let ([piece], [register]) = (value.pieces(), &mut returned.registers[..]) else {
        return;
    };
    // Above part of a struct there may be anything.
    if piece.class == RegClass::Int && piece.kind == value.ty {
        let raw = register.value & register.mask;
        let (value, mask) = extended(convention, &piece.kind, piece.size, raw);
        *register = Register {
            name: register.name,
            value,
            mask,
        };
    }
}

fn put(machine: &mut Machine, base: u64, bytes: &Bytes) {
    let at = base + bytes.offset;
    let old = machine.get(at, bytes.bytes.len() as u64);
    let new = old.iter().zip(&bytes.bytes).zip(&bytes.mask);
    let new: Vec<u8> = new
        .map(|((old, new), mask)| old & !mask | new & mask)
        .collect();
    machine.put(at, &new);
}

fn same(what: &str, found: u64, wanted: u64) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what} is {found:#x}, wanted {wanted:#x}"))
}
