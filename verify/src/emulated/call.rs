//! One run: what is given, what each callee must find and leaves, what the caller must find.
#![forbid(unsafe_code)]

use fing_oracles::convention::Convention;
use fing_oracles::emulator::Isa;
use fing_stubs::BlockLayout;

use super::{Emulated, Form, Image, Wanted};
use crate::expect::{Bytes, Expected, Pointer, Returned, expected, returned};
use crate::machine::{
    ARGUMENTS, BLOCK_BYTES, CALLEE_BYTES, CALLEES, CALLER_BYTES, G, PAGE, PROGRESS, RECORDS,
    RESULTS, RETURN, STACK, STACK_TOP,
};
use crate::memory::Memory;

/// The progress cell, in the midst of its page.
const CELL: u64 = PROGRESS + 8 * 77;
/// The cell with the end of the records.
const END: u64 = CELL + 8;
const RECORD_BYTES: u64 = 32;
/// How much below the stack pointer a callee changes.
const BELOW: u64 = 512;
/// Bytes between blocks, compared at the end.
const GAP: u64 = 64;

/// Records of one run.
const CALLS: u64 = 3;

/// What one record was given.
struct Given {
    context: u64,
    expected: Expected,
    returned: Returned,
    /// The block of results, and what must be in it.
    results: u64,
    wanted: Vec<(u64, Memory)>,
}

/// The stack pointer's value in the caller and at the stub's first instruction.
#[derive(Clone, Copy)]
struct Entered {
    caller_sp: u64,
    sp: u64,
    image: Image,
}

/// Memory as it was before.
struct Before {
    progress: Vec<u8>,
    caller: Vec<u8>,
    results: Vec<u8>,
    preserved: Vec<(&'static str, u128)>,
}

impl Emulated {
    pub(super) fn call(&mut self, wanted: &Wanted, image: Image) -> Result<(), String> {
        let (records, results_end) = self.records(wanted)?;
        let entry = self.target.entry();
        self.machine.trash(PROGRESS, PROGRESS + PAGE);
        self.machine.put_word(END, RECORDS + CALLS * RECORD_BYTES);
        let top = STACK_TOP - CALLER_BYTES;
        // Anywhere the C convention allows, with room above for what the caller provides.
        let caller_sp = top + 16 * self.machine.random.below(32);
        let own = wanted.assignment.frame_size + wanted.assignment.hidden_result.unwrap_or(0);
        self.machine
            .trash(caller_sp - 2 * own - BELOW - 0x400, STACK_TOP);
        self.machine.junk_registers();
        let arguments = [RECORDS, END, CELL, G];
        for (register, value) in entry.ints.iter().zip(arguments) {
            self.machine.set(register, value.into());
        }
        let entered = Entered {
            caller_sp,
            sp: self.machine.push_return(caller_sp),
            image,
        };
        let registers = entry.preserved.iter();
        let before = Before {
            progress: self.machine.get(PROGRESS, PAGE),
            caller: self.machine.get(top, CALLER_BYTES),
            results: self.machine.get(RESULTS, results_end - RESULTS),
            preserved: registers
                .map(|&r| (r, self.machine.emulator.register(r)))
                .collect(),
        };
        let mut pc = image.start;
        for (n, record) in (0..).zip(&records) {
            let callee = CALLEES + CALLEE_BYTES * n;
            let at = |e: &dyn std::fmt::Display| format!("call {n}: {e}");
            self.machine.emulator.run(pc, callee).map_err(|e| at(&e))?;
            pc = self
                .callee(wanted, entered, record, n)
                .map_err(|e| at(&e))?;
        }
        self.machine
            .emulator
            .run(pc, RETURN)
            .map_err(|e| format!("after the last call: {e}"))?;
        self.after(entered, &before, &records)
            .map_err(|e| format!("after the return: {e}"))
    }

    /// Writes the records and says what each callee must find and leaves. Also gives the end of the
    /// results' blocks.
    fn records(&mut self, wanted: &Wanted) -> Result<(Vec<Given>, u64), String> {
        let convention = self.target.physical();
        let signature = &wanted.signature;
        let abi = wanted.assignment.abi;
        let arguments = BlockLayout::under(abi, signature.arguments());
        let results = BlockLayout::under(abi, signature.results());
        let block = |size: u64| (size + GAP).next_multiple_of(16);
        let (arguments_step, results_step) = (block(arguments.size()), block(results.size()));
        if CALLS * arguments_step.max(results_step) + GAP > BLOCK_BYTES {
            return Err("blocks do not fit into the emulator's memory".into());
        }
        let results_end = RESULTS + GAP + CALLS * results_step;
        self.machine.trash(RESULTS, results_end);
        let mut records = Vec::new();
        for n in 0..CALLS {
            let context = self.machine.random.word();
            let random = &mut self.machine.random;
            let mut images: Vec<Vec<u8>> = signature
                .arguments()
                .map(|ty| Memory::random(abi, ty, random).bytes)
                .collect();
            let wanted_results: Vec<Memory> = signature
                .results()
                .iter()
                .map(|ty| Memory::random(abi, ty, random))
                .collect();
            let mut words = random.bytes(16);
            let (arguments_at, results_at) = (
                ARGUMENTS + GAP + n * arguments_step,
                RESULTS + GAP + n * results_step,
            );
            match wanted.form {
                Form::Record => {
                    for bytes in &images {
                        words[..bytes.len()].copy_from_slice(bytes);
                    }
                }
                Form::Block => {
                    self.machine
                        .trash(arguments_at, arguments_at + arguments.size());
                    for (offset, bytes) in arguments.offsets().iter().zip(&images) {
                        self.machine.put(arguments_at + offset, bytes);
                    }
                }
            }
            let at = RECORDS + RECORD_BYTES * n;
            self.machine.put_word(at, CALLEES + CALLEE_BYTES * n);
            self.machine.put_word(at + 8, context);
            match wanted.form {
                Form::Record => self.machine.put(at + 16, &words),
                Form::Block => {
                    self.machine.put_word(at + 16, arguments_at);
                    self.machine.put_word(at + 24, results_at);
                }
            }
            if wanted.context {
                images.push(self.machine.get(at + 8, 8));
            }
            let result_images: Vec<Vec<u8>> = wanted_results
                .iter()
                .map(|value| value.bytes.clone())
                .collect();
            records.push(Given {
                context,
                expected: expected(&wanted.assignment, convention, &images)?,
                returned: returned(&wanted.assignment, convention, &result_images)?,
                results: results_at,
                wanted: match wanted.form {
                    Form::Record => Vec::new(),
                    Form::Block => results
                        .offsets()
                        .iter()
                        .copied()
                        .zip(wanted_results)
                        .collect(),
                },
            });
        }
        Ok((records, results_end))
    }

    /// Compares what there is at a callee's first instruction, then does what a callee may. Gives
    /// the address it returns to.
    fn callee(
        &mut self,
        wanted: &Wanted,
        entered: Entered,
        given: &Given,
        n: u64,
    ) -> Result<u64, String> {
        let convention = self.target.physical();
        let assignment = &wanted.assignment;
        let isa = convention.isa;
        let sp = self.machine.emulator.word(isa.sp());
        let (back, sp_at_call) = match isa.link() {
            Some(link) => (self.machine.emulator.word(link), sp),
            None => (self.machine.get_word(sp), sp + 8),
        };
        if !(entered.image.start..entered.image.end).contains(&back) {
            return Err(format!("return address {back:#x} is not in the stub"));
        }
        same(
            "progress",
            self.machine.get_word(CELL),
            RECORDS + RECORD_BYTES * n,
        )?;
        if !sp_at_call.is_multiple_of(convention.alignment) {
            let wanted = convention.alignment;
            return Err(format!(
                "stack pointer {sp_at_call:#x}, wanted a multiple of {wanted}"
            ));
        }
        if isa == Isa::Amd64 && self.machine.emulator.word("rflags") & 1 << 10 != 0 {
            return Err("the direction flag is set".into());
        }
        let base = sp + convention.argument_base;
        let home_end = convention.home.1.saturating_sub(convention.argument_base);
        let frame_end = base + assignment.frame_size.max(home_end);
        if frame_end > entered.sp || sp < STACK {
            return Err(format!(
                "the frame ends at {frame_end:#x}, above the stub's own at {:#x}",
                entered.sp
            ));
        }
        for register in &given.expected.registers {
            let found = self.machine.emulator.register(register.name) & register.mask;
            same_register(register.name, found, register.value & register.mask)?;
        }
        for bytes in &given.expected.frame {
            self.compare("frame", base, bytes)?;
        }
        self.reserved(convention, given)?;
        self.vector_count(wanted)?;
        self.copied(given, base, entered)?;
        let hidden = self.hidden(assignment.hidden_result, frame_end, entered)?;

        // From here on the callee's doings.
        let popped = match convention.callee_pops {
            Some((multiple, besides)) if assignment.args_end > 0 => {
                assignment.args_end.next_multiple_of(multiple) + besides
            }
            _ => 0,
        };
        let written = if convention.is_go() {
            assignment.frame_size
        } else {
            assignment.args_end.next_multiple_of(8)
        };
        self.machine.trash(base, base + written);
        self.machine
            .trash(sp + convention.home.0, sp + convention.home.1);
        let above = sp + popped;
        self.machine
            .trash(above + convention.home.0, above + convention.home.1);
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
        for (at, all) in [
            (base, &given.returned.frame),
            (hidden, &given.returned.hidden),
        ] {
            for bytes in all {
                self.machine.put(at + bytes.offset, &bytes.bytes);
            }
        }
        for register in &given.returned.registers {
            let junk = self.machine.random.wide() & !register.mask;
            self.machine
                .set(register.name, junk | register.value & register.mask);
        }
        if hidden != 0 && !convention.hidden_back.is_empty() {
            self.machine.set(convention.hidden_back, hidden.into());
        }
        self.machine
            .emulator
            .set_register(isa.sp(), (sp_at_call + popped).into());
        Ok(back)
    }

    /// Registers with a fixed meaning.
    fn reserved(&self, convention: &Convention, given: &Given) -> Result<(), String> {
        if convention.is_go() {
            let word = |name| self.machine.emulator.word(name);
            same(convention.context, word(convention.context), given.context)?;
            same(convention.g, word(convention.g), G)?;
        }
        if !convention.zero.is_empty() && self.machine.emulator.register(convention.zero) != 0 {
            let found = self.machine.emulator.register(convention.zero);
            return Err(format!("{} is {found:#x}, wanted 0", convention.zero));
        }
        Ok(())
    }

    /// System V's variadic functions find an upper bound of the vector registers used in al.
    fn vector_count(&self, wanted: &Wanted) -> Result<(), String> {
        let is_variadic = wanted.signature.fixed().is_some();
        if !is_variadic || self.target.physical().name != "sysv/amd64" {
            return Ok(());
        }
        let (least, found) = (
            wanted.assignment.float_in,
            self.machine.emulator.word("rax") as u8,
        );
        if (least..=8).contains(&found.into()) {
            Ok(())
        } else {
            Err(format!("al is {found}, wanted {least} to 8"))
        }
    }

    /// Arguments of which only the address was passed: they are the callee's to change.
    fn copied(&mut self, given: &Given, base: u64, entered: Entered) -> Result<(), String> {
        for value in &given.expected.copied {
            let at = match value.pointer {
                Pointer::Register(name) => self.machine.emulator.word(name),
                Pointer::Frame(offset) => self.machine.get_word(base + offset),
            };
            let length = value.bytes.len() as u64;
            let align = value.align.min(self.target.physical().alignment);
            if !at.is_multiple_of(align) {
                return Err(format!(
                    "the copy of an argument is at {at:#x}, wanted a multiple of {align}"
                ));
            }
            if at < base || at + length > entered.sp {
                return Err(format!(
                    "the copy of an argument is at {at:#x}, wanted between {base:#x} and {:#x}",
                    entered.sp
                ));
            }
            let found = self.machine.get(at, length);
            if found != value.bytes {
                return Err(format!(
                    "the copy is {found:02x?}, wanted {:02x?}",
                    value.bytes
                ));
            }
            self.machine.trash(at, at + length);
        }
        Ok(())
    }

    /// The memory for results, which is the callee's too. Its address; 0 if there is none.
    fn hidden(
        &mut self,
        bytes: Option<u64>,
        frame_end: u64,
        entered: Entered,
    ) -> Result<u64, String> {
        let Some(bytes) = bytes else { return Ok(0) };
        let at = self
            .machine
            .emulator
            .word(self.target.physical().result_address);
        if at < frame_end || at + bytes > entered.sp || !at.is_multiple_of(8) {
            return Err(format!(
                "the hidden result's {bytes} bytes are at {at:#x}, wanted a multiple of 8 between \
                 the frame's end {frame_end:#x} and {:#x}",
                entered.sp
            ));
        }
        self.machine.trash(at, at + bytes);
        Ok(at)
    }

    fn compare(&self, what: &str, base: u64, bytes: &Bytes) -> Result<(), String> {
        let found = self
            .machine
            .get(base + bytes.offset, bytes.bytes.len() as u64);
        let differs = found
            .iter()
            .zip(&bytes.bytes)
            .zip(&bytes.mask)
            .any(|((a, b), mask)| (a ^ b) & mask != 0);
        if differs {
            let Bytes {
                offset,
                bytes,
                mask,
            } = bytes;
            return Err(format!(
                "{what} at {offset}: found {found:02x?}, wanted {bytes:02x?} under {mask:02x?}"
            ));
        }
        Ok(())
    }

    /// What the caller finds.
    fn after(
        &mut self,
        entered: Entered,
        before: &Before,
        records: &[Given],
    ) -> Result<(), String> {
        let isa = self.target.entry().isa;
        same(
            isa.sp(),
            self.machine.emulator.word(isa.sp()),
            entered.caller_sp,
        )?;
        for &(register, value) in &before.preserved {
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
        let cell = CELL..CELL + 8;
        self.unchanged(PROGRESS, &before.progress, |at| cell.contains(&at))
            .map_err(|at| format!("memory {at:#x} near the progress cell {CELL:#x} has changed"))?;
        let home = self.target.entry().home;
        let own = entered.sp + home.0..entered.sp + home.1;
        self.unchanged(STACK_TOP - CALLER_BYTES, &before.caller, |at| {
            at < entered.caller_sp || own.contains(&at)
        })
        .map_err(|at| {
            let above = at - entered.caller_sp;
            format!("the caller's stack has changed, {above} bytes above the stack pointer")
        })?;
        let mut blocks = Vec::new();
        for (n, record) in records.iter().enumerate() {
            for (r, (offset, value)) in record.wanted.iter().enumerate() {
                let at = record.results + offset;
                let found = self.machine.get(at, value.bytes.len() as u64);
                if !value.is(&found) {
                    return Err(format!(
                        "call {n}, result {r}: found {found:02x?}, wanted {:02x?} under {:02x?}",
                        value.bytes, value.mask
                    ));
                }
            }
            if let Some((offset, value)) = record.wanted.last() {
                // To the end of the last value, and the padding behind it.
                blocks.push(
                    record.results
                        ..(record.results + offset + value.bytes.len() as u64).next_multiple_of(8),
                );
            }
        }
        self.unchanged(RESULTS, &before.results, |at| {
            blocks.iter().any(|block| block.contains(&at))
        })
        .map_err(|at| format!("memory {at:#x} between the blocks of results has changed"))
    }

    /// Whether memory is as before, but where it may change; else the first address that is not.
    fn unchanged(&self, from: u64, before: &[u8], may: impl Fn(u64) -> bool) -> Result<(), u64> {
        let found = self.machine.get(from, before.len() as u64);
        let mut differing = (from..)
            .zip(found.iter().zip(before))
            .filter(|(_, (a, b))| a != b);
        match differing.find(|&(at, _)| !may(at)) {
            Some((at, _)) => Err(at),
            None => Ok(()),
        }
    }
}

fn same_register(what: &str, found: u128, wanted: u128) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {found:#x}, wanted {wanted:#x}"))
    }
}

fn same(what: &str, found: u64, wanted: u64) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {found:#x}, wanted {wanted:#x}"))
    }
}
