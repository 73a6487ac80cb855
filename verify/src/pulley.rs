//! Stubs for Cranelift's portable interpreter, run in this process. Contains unsafe code.
//!
//! The callee is a few bytes of Pulley code that hand control back to this file, which looks at
//! Pulley's registers and stack, changes what a callee may, and leaves results. It shares no
//! registers with the host, and there is a big-endian one.

use std::ptr::NonNull;

use fing_stubs::{
    Abi, Arch, Assignment, BlockLayout, Compiler, KeyOptions, Piece, Place, Record, RegClass,
    Signature, StubKey, assign,
};
use pulley_interpreter::interp::{DoneReason, Val, Vm, XRegVal};
use pulley_interpreter::regs::{FReg, XReg};
use pulley_interpreter::{Reg as _, encode};

use crate::cases::image;
use crate::emulated::Form;
use crate::go::Memory;
use crate::random::Random;
use crate::targets::Target;

/// Registers that a callee need not keep: x0..x15 and f0..f15, but for the link register.
const CHANGED: u8 = 15;
const JUNK: u64 = 0x5a5a_5a5a_5a5a_5a5a;
/// Records of a run.
const CALLS: usize = 2;

/// Runs stubs of one of the two Pulleys.
pub struct Pulley {
    compiler: Compiler,
    abi: Abi,
    big_endian: bool,
    random: Random,
}

impl std::fmt::Debug for Pulley {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pulley({})", self.abi)
    }
}

/// What a call is given and must leave.
struct Given {
    /// The arguments' images.
    arguments: Vec<Vec<u8>>,
    results: Vec<Memory>,
}

impl Pulley {
    /// For a target.
    ///
    /// # Errors
    /// This build does not compile for it.
    pub fn new(target: Target, seed: u64) -> Result<Pulley, String> {
        let abi = target.abi();
        Ok(Pulley {
            compiler: target.compiler().map_err(|e| e.to_string())?,
            abi,
            big_endian: abi.arch() == Arch::Pulley64Be,
            random: Random::for_purpose(seed, target.triple),
        })
    }

    /// Compiles `signature`'s stub, runs it over two records, and compares everything.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn verify(&mut self, signature: &Signature, form: Form) -> Result<(), String> {
        self.run(signature, form)
            .map_err(|e| format!("{signature} by {}, {form:?}: {e}", self.abi))
    }

    fn run(&mut self, signature: &Signature, form: Form) -> Result<(), String> {
        let assignment = assign(signature, self.abi).map_err(|e| e.to_string())?;
        let options = KeyOptions::default();
        let key = match form {
            Form::Record => StubKey::new(signature, self.abi, options),
            Form::Block => StubKey::block(signature, self.abi, options),
        };
        let compiled = key.and_then(|key| self.compiler.compile(&key, false));
        let code = compiled
            .and_then(|compiled| compiled.image())
            .map_err(|e| e.to_string())?;
        let (from, to) = (
            BlockLayout::of(signature.arguments()),
            BlockLayout::of(signature.results()),
        );
        let mut callee = Vec::new();
        encode::call_indirect_host(&mut callee, 7);
        encode::ret(&mut callee);

        let mut given = Vec::new();
        let (mut arguments, mut results, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..CALLS {
            let random = &mut self.random;
            let call = Given {
                arguments: signature.arguments().map(|ty| image(ty, random)).collect(),
                results: signature
                    .results()
                    .iter()
                    .map(|ty| Memory::random(self.abi, ty, random))
                    .collect(),
            };
            let mut block = random.bytes(from.size().max(16).next_multiple_of(8) as usize);
            for (&at, bytes) in from.offsets().iter().zip(&call.arguments) {
                block[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
            }
            // Words, so that the blocks are aligned; a few more behind the results, which must not
            // change.
            let words = block.chunks_exact(8).map(|chunk| {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                u64::from_ne_bytes(word)
            });
            arguments.push(words.collect::<Vec<u64>>());
            results.push(vec![JUNK; to.size().div_ceil(8) as usize + 4]);
            given.push(call);
        }
        for (from, to) in arguments.iter().zip(&mut results) {
            let words = match form {
                Form::Record => [from[0], from[1]],
                Form::Block => [
                    self.word(from.as_ptr().expose_provenance()),
                    self.word(to.as_mut_ptr().expose_provenance()),
                ],
            };
            records.push(Record {
                code: self.word(callee.as_ptr().expose_provenance()) as usize,
                context: 0,
                words,
            });
        }
        self.interpret(&code, &records, &assignment, &given)?;
        for (call, block) in given.iter().zip(&results) {
            let bytes: Vec<u8> = block.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let used = if form == Form::Block {
                to.size().next_multiple_of(8) as usize
            } else {
                0
            };
            if bytes[used..].iter().any(|&byte| byte != JUNK as u8) {
                return Err("memory behind the results has changed".into());
            }
            for (n, (&at, wanted)) in to
                .offsets()
                .iter()
                .zip(&call.results)
                .enumerate()
                .filter(|_| used > 0)
            {
                let found = &bytes[at as usize..at as usize + wanted.bytes.len()];
                if !wanted.is(found) {
                    return Err(format!(
                        "result {n} is {found:02x?}, wanted {:02x?}",
                        wanted.bytes
                    ));
                }
            }
        }
        Ok(())
    }

    /// Runs the stub's code over the records.
    fn interpret(
        &mut self,
        code: &[u8],
        records: &[Record],
        assignment: &Assignment,
        given: &[Given],
    ) -> Result<(), String> {
        let range = records.as_ptr_range();
        let mut progress = 0u64;
        let mut end = self.word(range.end.addr());
        let cell = &raw mut progress;
        let mut vm = Vm::new().map_err(|e| format!("Pulley: {e}"))?;
        let pointers = [
            range.start.cast_mut().cast::<u8>(),
            (&raw mut end).cast(),
            cell.cast(),
            std::ptr::null_mut(),
        ];
        let pointers = pointers.map(|pointer| Val::XReg(XRegVal::new_ptr(pointer)));
        let mut at = NonNull::from(code).cast::<u8>();
        let mut calls = 0;
        // SAFETY: the arguments of a stub, as every stub has them.
        let link = unsafe { vm.call_start(&pointers) };
        loop {
            // SAFETY: I5: code that Cranelift made, over records whose blocks are alive and of
            // their signature's sizes.
            match unsafe { vm.call_run(at) } {
                DoneReason::ReturnToHost(()) => break,
                DoneReason::Trap { pc, .. } => return Err(format!("a trap at {pc:?}")),
                DoneReason::CallIndirectHost { resume, .. } => {
                    let call = given.get(calls).ok_or("more calls than records")?;
                    // SAFETY: the cell is alive; Pulley writes it.
                    let running = unsafe { cell.read_volatile() };
                    if running != self.word(range.start.addr() + calls * size_of::<Record>()) {
                        return Err(format!("call {calls}: progress is not the record"));
                    }
                    self.callee(&mut vm, assignment, call)
                        .map_err(|e| format!("call {calls}: {e}"))?;
                    calls += 1;
                    at = resume;
                }
            }
        }
        // SAFETY: the end of the call begun above; a stub has no results.
        unsafe { vm.call_end(link, []) }.for_each(drop);
        // SAFETY: as above.
        let last = unsafe { cell.read_volatile() };
        if calls != CALLS || last != self.word(range.end.addr()) {
            return Err(format!(
                "{calls} calls, wanted {CALLS}; or progress is not the end"
            ));
        }
        Ok(())
    }

    /// Compares arguments, changes what a callee may, and leaves results.
    fn callee(&mut self, vm: &mut Vm, assignment: &Assignment, call: &Given) -> Result<(), String> {
        for (n, (value, image)) in assignment.args.iter().zip(&call.arguments).enumerate() {
            for piece in value.pieces() {
                let wanted =
                    self.number(&image[piece.off as usize..(piece.off + piece.size) as usize]);
                let found = get(vm, piece);
                if found != wanted {
                    return Err(format!(
                        "argument {n}: {found:#x} in {piece:?}, wanted {wanted:#x}"
                    ));
                }
            }
            let (offset, wanted) = match &value.place {
                Place::Stack { offset } => (*offset, image.as_slice()),
                Place::Split { offset, .. } => (*offset, &image[8..]),
                Place::Regs { .. } => continue,
                place => return Err(format!("argument {n} is {place:?}")),
            };
            // SAFETY: the stub has a frame at its stack pointer, as large as its assignment says.
            let found = unsafe {
                let stack = vm.state_mut()[XReg::sp].get_ptr::<u8>();
                std::slice::from_raw_parts(stack.add(offset as usize), wanted.len()).to_vec()
            };
            if found != wanted {
                return Err(format!(
                    "argument {n}: {found:02x?} on the stack, wanted {wanted:02x?}"
                ));
            }
        }
        let hidden = vm.state_mut()[XReg::x0].get_ptr::<u8>();
        let stack = vm.state_mut()[XReg::sp].get_ptr::<u8>();
        // SAFETY: the callee's own: the stack arguments, and the area for results.
        unsafe {
            stack.write_bytes(0xd1, assignment.args_end.next_multiple_of(8) as usize);
            if let Some(bytes) = assignment.hidden_result {
                hidden.write_bytes(0xd2, bytes as usize);
            }
        }
        for n in 0..CHANGED {
            if let (Some(x), Some(f)) = (XReg::new(n), FReg::new(n)) {
                vm.state_mut()[x].set_u64(self.random.word());
                vm.state_mut()[f].set_f64(f64::from_bits(self.random.word()));
            }
        }
        for (value, wanted) in assignment.results.iter().zip(&call.results) {
            if let Place::Hidden { offset } = value.place {
                // SAFETY: the area is as large as all results together.
                unsafe {
                    let to = hidden.add(offset as usize);
                    to.copy_from_nonoverlapping(wanted.bytes.as_ptr(), wanted.bytes.len());
                }
            }
            for piece in value.pieces() {
                let bytes = &wanted.bytes[piece.off as usize..(piece.off + piece.size) as usize];
                set(vm, piece, self.number(bytes), self.random.word());
            }
        }
        Ok(())
    }

    /// The value of some bytes of Pulley's memory.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        }
    }

    /// A number that Pulley reads from memory as `value`.
    fn word(&self, value: usize) -> u64 {
        let value = value as u64;
        if self.big_endian {
            value.swap_bytes()
        } else {
            value
        }
    }
}

/// The bytes of a piece, from its register.
fn get(vm: &mut Vm, piece: &Piece) -> u64 {
    match (
        piece.class,
        XReg::new(piece.index as u8),
        FReg::new(piece.index as u8),
    ) {
        (RegClass::Int, Some(x), _) => {
            vm.state_mut()[x].get_u64() & u64::MAX >> (64 - 8 * piece.size)
        }
        (RegClass::Float, _, Some(f)) if piece.size == 4 => {
            vm.state()[f].get_f32().to_bits().into()
        }
        (RegClass::Float, _, Some(f)) => vm.state()[f].get_f64().to_bits(),
        _ => 0,
    }
}

/// Puts a piece into its register, with junk above an integer.
fn set(vm: &mut Vm, piece: &Piece, value: u64, junk: u64) {
    let mask = u64::MAX >> (64 - 8 * piece.size);
    match (
        piece.class,
        XReg::new(piece.index as u8),
        FReg::new(piece.index as u8),
    ) {
        (RegClass::Int, Some(x), _) => vm.state_mut()[x].set_u64(value & mask | junk & !mask),
        (RegClass::Float, _, Some(f)) if piece.size == 4 => {
            vm.state_mut()[f].set_f32(f32::from_bits(value as u32));
        }
        (RegClass::Float, _, Some(f)) => vm.state_mut()[f].set_f64(f64::from_bits(value)),
        _ => {}
    }
}
