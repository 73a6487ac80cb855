//! Stubs for Cranelift's portable interpreter, run in this process: an executor that shares nothing
//! with the host's registers, in both byte orders.
//!
//! The callee is three bytes of Pulley code that hand control to this test, which looks at Pulley's
//! registers and stack where the assignment says that arguments are, leaves results where it says
//! that they are found, and changes what a callee may.
#![cfg(feature = "all-arch")]

use std::ptr::NonNull;

use fing_stubs::fuzzing::{self, Rng};
use fing_stubs::{
    Abi, Assignment, BlockLayout, Compiler, Convention, KeyOptions, Place, Record, RegClass,
    Signature, StubKey, Type, Value, assign,
};
use pulley_interpreter::interp::{DoneReason, Val, Vm, XRegVal};
use pulley_interpreter::regs::{FReg, XReg};
use pulley_interpreter::{Reg as _, encode};

const UNTOUCHED: u8 = 0xee;

/// One of the two Pulleys.
#[derive(Clone, Copy)]
struct Machine {
    target: &'static str,
    convention: Convention,
    big_endian: bool,
}

const MACHINES: [Machine; 2] = [
    Machine {
        target: "pulley64",
        convention: Convention::Pulley,
        big_endian: false,
    },
    Machine {
        target: "pulley64be",
        convention: Convention::PulleyBe,
        big_endian: true,
    },
];

impl Machine {
    /// Bytes in memory as a number.
    fn number(self, bytes: &[u8]) -> u64 {
        let next = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, next)
        } else {
            bytes.iter().rev().fold(0, next)
        }
    }

    /// The low `size` bytes of a number as they lie in memory.
    fn bytes(self, number: u64, size: usize) -> Vec<u8> {
        if self.big_endian {
            number.to_be_bytes()[8 - size..].to_vec()
        } else {
            number.to_le_bytes()[..size].to_vec()
        }
    }

    fn word(self, number: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(number as u64, 8).try_into().unwrap())
    }
}

fn graffiti(value: usize, bytes: std::ops::Range<usize>) -> Vec<u8> {
    bytes.map(|byte| (value << 4 | byte & 15) as u8).collect()
}

fn int(vm: &mut Vm, index: usize) -> &mut XRegVal {
    &mut vm.state_mut()[XReg::new(index as u8).unwrap()]
}

/// A float register's bits, of which a lone float32 has 32.
fn float(vm: &Vm, index: usize, size: u64) -> u64 {
    let register = &vm.state()[FReg::new(index as u8).unwrap()];
    match size {
        4 => register.get_f32().to_bits().into(),
        _ => register.get_f64().to_bits(),
    }
}

/// What is above Pulley's stack pointer.
fn stack(vm: &mut Vm, from: u64, size: u64) -> Vec<u8> {
    let stack = vm.state_mut()[XReg::sp].get_ptr::<u8>();
    // SAFETY: the stub has a frame there, as large as its key says.
    let bytes = unsafe { std::slice::from_raw_parts(stack.add(from as usize), size as usize) };
    bytes.to_vec()
}

fn check_arguments(machine: Machine, a: &Assignment, vm: &mut Vm) {
    for (i, value) in a.args.iter().enumerate() {
        for piece in value.pieces() {
            let (from, size) = (piece.off as usize, piece.size as usize);
            let wanted = machine.number(&graffiti(i, from..from + size));
            let found = match piece.class {
                RegClass::Int => int(vm, piece.index).get_u64() & u64::MAX >> (64 - 8 * size),
                RegClass::Float => float(vm, piece.index, piece.size),
            };
            assert_eq!(found, wanted, "argument {i} in {:?}", piece);
        }
        let size = value.size;
        match value.place {
            Place::Stack { offset } => {
                assert_eq!(
                    stack(vm, offset, size),
                    graffiti(i, 0..size as usize),
                    "argument {i}"
                );
            }
            Place::Split { offset, .. } => {
                assert_eq!(stack(vm, offset, 8), graffiti(i, 8..16), "argument {i}");
            }
            _ => {}
        }
    }
}

/// Leaves results behind and returns what the block of results must be.
fn leave_results(
    machine: Machine,
    a: &Assignment,
    layout: &BlockLayout,
    vm: &mut Vm,
    rng: &mut Rng,
) -> Vec<u8> {
    let hidden = int(vm, 0).get_ptr::<u8>();
    // What a callee may change.
    for n in 0..15 {
        int(vm, n).set_u64(rng.next_u64());
        let register = FReg::new(n as u8).unwrap();
        vm.state_mut()[register].set_f64(f64::from_bits(rng.next_u64()));
    }
    let mut block = vec![UNTOUCHED; layout.size() as usize];
    for (Value { size, place, .. }, &to) in a.results.iter().zip(layout.offsets()) {
        let (size, to) = (*size as usize, to as usize);
        let bytes = match place {
            Place::Hidden { offset } => {
                let bytes: Vec<u8> = (0..size).map(|_| rng.next_u64() as u8).collect();
                // SAFETY: the stub's result area is as large as all results together.
                unsafe {
                    let area = hidden.add(*offset as usize);
                    area.copy_from_nonoverlapping(bytes.as_ptr(), size);
                }
                bytes
            }
            place => match place.pieces() {
                [piece] if piece.class == RegClass::Int => {
                    machine.bytes(int(vm, piece.index).get_u64(), size)
                }
                [piece] if size == 4 => {
                    let value = f32::from_bits(rng.next_u64() as u32 & 0x7f7f_ffff);
                    vm.state_mut()[FReg::new(piece.index as u8).unwrap()].set_f32(value);
                    machine.bytes(value.to_bits().into(), 4)
                }
                [piece] => machine.bytes(float(vm, piece.index, 8), 8),
                pieces => panic!("{pieces:?}: wanted one scalar"),
            },
        };
        block[to..to + size].copy_from_slice(&bytes);
    }
    block
}

/// Runs two records through a stub for `signature`.
fn run(machine: Machine, signature: &Signature, rng: &mut Rng) {
    let abi = Abi::native(machine.convention);
    let a = assign(signature, abi).unwrap();
    let key = StubKey::block(signature, abi, KeyOptions::default()).unwrap();
    let compiler = Compiler::for_target(machine.target.parse().unwrap()).unwrap();
    let code = compiler.compile(&key, false).unwrap().image().unwrap();
    let layout = BlockLayout::of(signature.arguments());
    let mut arguments = vec![0u8; layout.size() as usize];
    for (i, (value, &at)) in a.args.iter().zip(layout.offsets()).enumerate() {
        let size = value.size as usize;
        arguments[at as usize..at as usize + size].copy_from_slice(&graffiti(i, 0..size));
    }
    let results = BlockLayout::of(signature.results());
    let mut blocks = [0, 1].map(|_| vec![UNTOUCHED; results.size() as usize]);
    let mut callee = Vec::new();
    encode::call_indirect_host(&mut callee, 7);
    encode::ret(&mut callee);

    let records: Vec<Record> = blocks
        .iter_mut()
        .map(|block| Record {
            code: machine.word(callee.as_ptr().expose_provenance()) as usize,
            context: 0,
            words: [
                machine.word(arguments.as_ptr().expose_provenance()),
                machine.word(block.as_mut_ptr().expose_provenance()),
            ],
        })
        .collect();
    let range = records.as_ptr_range();
    let mut progress = 0u64;
    let mut end = machine.word(range.end.addr());
    let mut vm = Vm::new().unwrap();
    let cell = &raw mut progress;
    let pointers = [
        range.start.cast_mut().cast::<u8>(),
        (&raw mut end).cast(),
        cell.cast(),
        std::ptr::null_mut(),
    ];
    let pointers = pointers.map(|pointer| Val::XReg(XRegVal::new_ptr(pointer)));
    let mut wanted = Vec::new();
    // SAFETY: Pulley code that Cranelift made, with the arguments it was made for.
    unsafe {
        let link = vm.call_start(&pointers);
        let mut at = NonNull::new(code.as_ptr().cast_mut()).unwrap();
        loop {
            match vm.call_run(at) {
                DoneReason::ReturnToHost(()) => break,
                DoneReason::Trap { pc, .. } => panic!("{key}: a trap at {pc:?}"),
                DoneReason::CallIndirectHost { id, resume } => {
                    assert_eq!(id, 7);
                    let running = range.start.add(wanted.len()).addr();
                    assert_eq!(cell.read_volatile(), machine.word(running));
                    check_arguments(machine, &a, &mut vm);
                    wanted.push(leave_results(machine, &a, &results, &mut vm, rng));
                    at = resume;
                }
            }
        }
        vm.call_end(link, []).for_each(drop);
        assert_eq!(cell.read_volatile(), machine.word(range.end.addr()));
    }
    assert_eq!(wanted, blocks);
}

#[test]
fn random_signatures() {
    for machine in MACHINES {
        let mut rng = Rng::new(31);
        for case in 0..60 {
            let signature = fuzzing::native_signature(&mut rng);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                run(machine, &signature, &mut Rng::new(case));
            }));
            if let Err(panic) = outcome {
                eprintln!("{} case {case}: {signature}", machine.target);
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// More of everything than there are registers.
#[test]
fn registers_run_out() {
    let mut rng = Rng::new(32);
    for machine in MACHINES {
        let kinds: [fn() -> Type; 5] = [
            Type::int8,
            Type::float32,
            Type::float64,
            Type::uint32,
            Type::empty_interface,
        ];
        let params = (0..50).map(|i| kinds[i % kinds.len()]()).collect();
        let results = vec![Type::float32()];
        let signature = Signature::new(None, params, results, false).unwrap();
        run(machine, &signature, &mut rng);
    }
}
