//! Stubs of every machine in an emulator, up to their callee's first instruction.
//!
//! By what unwinders are told alone, the entry's registers and stack pointer must come back from
//! there; and on the way no page of a large frame may be left out.

use std::collections::HashMap;

use fing_oracles::emulator::{Emulator, Isa, Library, Protection, library};

use crate::unwind::{Cfa, Frames};
use crate::{Compiled, Compiler, KeyOptions, StubKey};

const CODE: u64 = 0x10_0000;
const CALLEE: u64 = 0x20_0000;
const DATA: u64 = 0x30_0000;
/// The cell with the end of the records.
const END: u64 = DATA + 0x3800;
const STACK: u64 = 0x40_0000;
const SIZE: u64 = 0x10_0000;
/// The stack pointer when the stub is entered; on s390x with the caller's register save area above.
const ENTRY: u64 = STACK + SIZE - 0x1000;

struct Machine {
    isa: Isa,
    target: &'static str,
    abis: [&'static str; 2],
    stack_pointer: &'static str,
    arguments: [&'static str; 4],
    /// Where the call puts the return address; `None`: on the stack.
    link: Option<&'static str>,
    /// From the stack pointer at the entry's call to the canonical frame address.
    cfa: u64,
    /// DWARF number of the return address, if that is no register.
    return_column: u16,
    name: fn(u16) -> String,
    /// What a C caller wants back, by DWARF number.
    kept: &'static [std::ops::RangeInclusive<u16>],
}

const MACHINES: [Machine; 4] = [
    Machine {
        isa: Isa::Amd64,
        target: "x86_64-unknown-linux-gnu",
        abis: ["go/amd64", "sysv/amd64"],
        stack_pointer: "rsp",
        arguments: ["rdi", "rsi", "rdx", "rcx"],
        link: None,
        cfa: 8,
        return_column: 16,
        name: |n| match n {
            0..8 => ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"][usize::from(n)].into(),
            _ => format!("r{n}"),
        },
        // Not rbp, which a Go function keeps.
        kept: &[3..=3, 12..=15],
    },
    Machine {
        isa: Isa::Arm64,
        target: "aarch64-unknown-linux-gnu",
        abis: ["go/arm64", "aapcs/arm64"],
        stack_pointer: "sp",
        arguments: ["x0", "x1", "x2", "x3"],
        link: Some("x30"),
        cfa: 0,
        return_column: 30,
        name: |n| match n {
            31 => "sp".into(),
            64.. => format!("d{}", n - 64),
            _ => format!("x{n}"),
        },
        kept: &[19..=30, 72..=79],
    },
    Machine {
        isa: Isa::Riscv64,
        target: "riscv64gc-unknown-linux-gnu",
        abis: ["go/riscv64", "lp64d/riscv64"],
        stack_pointer: "x2",
        arguments: ["x10", "x11", "x12", "x13"],
        link: Some("x1"),
        cfa: 0,
        return_column: 1,
        name: |n| match n {
            32.. => format!("f{}", n - 32),
            _ => format!("x{n}"),
        },
        kept: &[1..=1, 8..=9, 18..=27, 40..=41, 50..=59],
    },
    Machine {
        isa: Isa::S390x,
        target: "s390x-unknown-linux-gnu",
        abis: ["go/s390x", "elf/s390x"],
        stack_pointer: "r15",
        arguments: ["r2", "r3", "r4", "r5"],
        link: Some("r14"),
        cfa: 160,
        return_column: 14,
        name: |n| match n {
            16.. => {
                let order = [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15];
                format!("f{}", order[usize::from(n) - 16])
            }
            _ => format!("r{n}"),
        },
        kept: &[6..=14, 24..=31],
    },
];

fn word(machine: &Machine, bytes: &[u8]) -> u64 {
    let bytes = bytes.try_into().unwrap();
    match machine.isa {
        Isa::S390x => u64::from_be_bytes(bytes),
        _ => u64::from_le_bytes(bytes),
    }
}

/// What a register holds when the stub is entered.
fn graffiti(name: &str) -> u64 {
    name.bytes()
        .fold(0x9e37_79b9_u64, |n, b| n * 31 + u64::from(b))
}

/// The emulator right before the stub's first instruction, with one record to call. Stack is what
/// lies in `stack`.
fn entered(
    library: &'static Library,
    machine: &Machine,
    compiled: &Compiled,
    stack: &[(u64, u64)],
) -> Emulator {
    let mut emulator = Emulator::new(library, machine.isa).unwrap();
    for (at, protection) in [
        (CODE, Protection::ReadExecute),
        (CALLEE, Protection::ReadExecute),
        (DATA, Protection::ReadWrite),
    ] {
        emulator.map(at, SIZE, protection).unwrap();
    }
    for &(at, size) in stack {
        emulator.map(at, size, Protection::ReadWrite).unwrap();
    }
    emulator.write(CODE, &compiled.image().unwrap()).unwrap();
    // One record; blocks of zeroes behind it.
    let record = [CALLEE, 7, DATA + 0x1000, DATA + 0x2000];
    let record = (DATA..).step_by(8).zip(record);
    for (at, value) in record.chain([(END, DATA + 32)]) {
        let bytes = match machine.isa {
            Isa::S390x => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        };
        emulator.write(at, &bytes).unwrap();
    }
    for name in &machine.isa.registers() {
        emulator.set_register(name, graffiti(name).into());
    }
    emulator.set_register(machine.stack_pointer, ENTRY.into());
    let arguments = [DATA, END, DATA + 0x3000, DATA + 0x4000];
    for (name, value) in machine.arguments.into_iter().zip(arguments) {
        emulator.set_register(name, value.into());
    }
    emulator
}

fn compile(machine: &Machine, key: &StubKey) -> Compiled {
    let compiler = Compiler::for_target(machine.target.parse().unwrap()).unwrap();
    compiler.compile(key, false).unwrap()
}

/// Runs a stub up to its callee and unwinds by hand from there.
fn unwind(library: &'static Library, machine: &Machine, key: &StubKey) {
    let compiled = compile(machine, key);
    let mut emulator = entered(library, machine, &compiled, &[(STACK, SIZE)]);
    emulator.run(CODE, CALLEE).unwrap();

    let mut stack_pointer = emulator.word(machine.stack_pointer);
    let return_address = match machine.link {
        Some(link) => emulator.word(link),
        None => {
            stack_pointer += 8;
            word(machine, &emulator.read(stack_pointer - 8, 8).unwrap())
        }
    };
    let start = CODE + compiled.stub_offset() as u64;
    let stub = start..start + compiled.code.len() as u64;
    let state = if stub.contains(&return_address) {
        &compiled.call_state
    } else {
        &compiled.veneer_state
    };
    // A stub that keeps no register was called by its entrance.
    let entrance = compiled.entrance.as_ref().map(|entrance| &entrance.state);
    let names = machine.isa.registers().into_iter();
    let mut registers: HashMap<String, u64> = names
        .map(|name| {
            let value = emulator.word(&name);
            (name, value)
        })
        .collect();
    registers.insert(machine.stack_pointer.into(), stack_pointer);
    let mut ruled = Vec::new();
    for state in [Some(state), entrance].into_iter().flatten() {
        let (cfa, saved) = state.as_ref().unwrap().rules();
        let cfa = match cfa {
            Cfa::Register((base, offset)) => {
                registers[&(machine.name)(base)].wrapping_add_signed(offset)
            }
            Cfa::BackChain((base, offset)) => {
                let chain = emulator.read(registers[&(machine.name)(base)], 8).unwrap();
                word(machine, &chain).wrapping_add_signed(offset)
            }
        };
        registers.insert(machine.stack_pointer.into(), cfa - machine.cfa);
        for &(register, offset) in saved {
            // The emulator jumps to the stub, so there is no return address above.
            if register == machine.return_column && machine.link.is_none() {
                continue;
            }
            let found = emulator.read(cfa.wrapping_add_signed(offset), 8).unwrap();
            registers.insert((machine.name)(register), word(machine, &found));
            ruled.push(register);
        }
    }
    let found = registers[machine.stack_pointer];
    assert_eq!(found, ENTRY, "{key}: canonical frame address");
    for name in ruled.iter().map(|&register| (machine.name)(register)) {
        if name != machine.stack_pointer {
            assert_eq!(registers[&name], graffiti(&name), "{key}: {name}");
        }
    }
    if key.abi().convention().is_none() {
        for register in machine.kept.iter().cloned().flatten() {
            assert!(
                ruled.contains(&register),
                "{key}: no rule for {}",
                (machine.name)(register)
            );
        }
    }
}

#[test]
fn callers_come_back_by_the_rules_alone() {
    let Some(library) = library() else { return };
    for machine in &MACHINES {
        for abi in machine.abis {
            for text in [
                "func(*int)",
                "func(interface{}) (int, float32, [10]uint8)",
                "func(float32) [100]int",
                "func(int) [2000]int",
            ] {
                let (signature, abi) = (text.parse().unwrap(), abi.parse().unwrap());
                let options = KeyOptions::default();
                unwind(
                    library,
                    machine,
                    &StubKey::new(&signature, abi, options).unwrap(),
                );
                unwind(
                    library,
                    machine,
                    &StubKey::block(&signature, abi, options).unwrap(),
                );
            }
        }
    }
}

/// Wherever in a frame a page is missing, the stub faults before it makes the call: a guard page is
/// not jumped over.
///
/// Not so on riscv64: Cranelift 0.135 begins with the page furthest away there, and leaves out the
/// nearest.
#[test]
fn large_frames_are_touched_page_by_page() {
    let Some(library) = library() else { return };
    const PAGE: u64 = 0x1000;
    const FRAME: u64 = 16 * PAGE;
    let machines = MACHINES.iter();
    for machine in machines.filter(|machine| machine.isa != Isa::Riscv64) {
        for abi in machine.abis {
            let signature = format!("func(int) [{}]byte", FRAME + PAGE).parse().unwrap();
            let options = KeyOptions::default();
            let key = StubKey::new(&signature, abi.parse().unwrap(), options).unwrap();
            let compiled = compile(machine, &key);
            let run = |stack: &[(u64, u64)]| {
                entered(library, machine, &compiled, stack).run(CODE, CALLEE)
            };
            run(&[(STACK, SIZE)]).unwrap();
            let top = ENTRY / PAGE * PAGE;
            for hole in (top - FRAME..top).step_by(PAGE as usize) {
                let error = run(&[
                    (STACK, hole - STACK),
                    (hole + PAGE, STACK + SIZE - hole - PAGE),
                ]);
                assert!(error.is_err(), "{key}: no page at {hole:#x}");
            }
        }
    }
}

/// To a debugger the frame is the caller's at the first instruction, and what it is to unwinders at
/// the calls.
#[test]
fn debuggers_see_the_frame_grow() {
    for machine in &MACHINES {
        let compiler = Compiler::for_target(machine.target.parse().unwrap()).unwrap();
        for abi in machine.abis {
            let signature = "func(any) [9]int".parse().unwrap();
            let key = StubKey::new(&signature, abi.parse().unwrap(), KeyOptions::default());
            let compiled = compiler.compile(&key.unwrap(), false).unwrap();
            let entrance = compiled.entrance.as_ref();
            let entrance = entrance.map(|code| (&code.unwind, &code.state));
            let stub = (&compiled.unwind, &compiled.call_state);
            for (info, state) in [stub].into_iter().chain(entrance) {
                let frames = Frames::of(compiler.isa().as_ref(), info.as_ref().unwrap()).unwrap();
                let (first, last) = frames.ends();
                let ((at_call, saved_at_call), (cfa, saved)) =
                    (state.as_ref().unwrap().rules(), last.rules());
                assert_eq!(saved, saved_at_call, "{abi}");
                // By the back chain there is one only behind the prologue, so debuggers go by the
                // stack pointer.
                if let Cfa::Register(_) = at_call {
                    assert_eq!(cfa, at_call, "{abi}");
                }
                let (cfa, saved) = first.rules();
                let Cfa::Register((register, offset)) = cfa else {
                    panic!("{abi}: {cfa:?} at the first instruction");
                };
                let found = ((machine.name)(register), offset as u64);
                assert_eq!(
                    found,
                    (machine.stack_pointer.to_owned(), machine.cfa),
                    "{abi}"
                );
                let on_stack = machine
                    .link
                    .is_none()
                    .then_some((machine.return_column, -8));
                assert_eq!(saved, on_stack.as_slice(), "{abi}");
                let section = frames.debug_frame(0x1000, 64).unwrap();
                assert!(section.len() > 24, "{abi}");
            }
        }
    }
}
