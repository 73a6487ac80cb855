//! What unwinders are told, on every machine: stubs are run in an emulator up to their callee's first instruction, and the
//! entry's registers and stack pointer must come back by the rules alone.

use std::collections::HashMap;

use fing_oracles::emulator::{Emulator, Isa, Protection, library};

use crate::{Compiler, KeyOptions, StubKey};

const CODE: u64 = 0x10_0000;
const CALLEE: u64 = 0x20_0000;
const DATA: u64 = 0x30_0000;
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

/// Runs a stub for `signature` up to its callee and unwinds by hand from there.
fn unwind(machine: &Machine, key: &StubKey) {
    let Some(library) = library() else { return };
    let compiler = Compiler::for_target(machine.target.parse().unwrap()).unwrap();
    let compiled = compiler.compile(key, false).unwrap();
    let image = compiled.image().unwrap();
    let mut emulator = Emulator::new(library, machine.isa).unwrap();
    for (at, protection) in [
        (CODE, Protection::ReadExecute),
        (CALLEE, Protection::ReadExecute),
        (DATA, Protection::ReadWrite),
        (STACK, Protection::ReadWrite),
    ] {
        emulator.map(at, SIZE, protection).unwrap();
    }
    emulator.write(CODE, &image).unwrap();
    // One record; blocks of zeroes behind it.
    for (i, value) in [CALLEE, 7, DATA + 0x1000, DATA + 0x2000]
        .into_iter()
        .enumerate()
    {
        let bytes = match machine.isa {
            Isa::S390x => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        };
        emulator.write(DATA + 8 * i as u64, &bytes).unwrap();
    }
    let graffiti = |name: &str| {
        name.bytes()
            .fold(0x9e37_79b9_u64, |n, b| n * 31 + u64::from(b))
    };
    let names: Vec<String> = machine.isa.registers();
    for name in &names {
        emulator.set_register(name, graffiti(name).into());
    }
    emulator.set_register(machine.stack_pointer, ENTRY.into());
    let arguments = [DATA, DATA + 32, DATA + 0x3000, DATA + 0x4000];
    for (name, value) in machine.arguments.into_iter().zip(arguments) {
        emulator.set_register(name, value.into());
    }
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
    let mut registers: HashMap<String, u64> = names
        .iter()
        .map(|name| (name.clone(), emulator.word(name)))
        .collect();
    registers.insert(machine.stack_pointer.into(), stack_pointer);
    let mut ruled = Vec::new();
    for state in [Some(state), entrance].into_iter().flatten() {
        let ((base, offset), saved) = state.as_ref().unwrap().rules();
        let cfa = registers[&(machine.name)(base)].wrapping_add_signed(offset);
        registers.insert(machine.stack_pointer.into(), cfa - machine.cfa);
        for &(register, offset) in saved {
            // What is on the stack above an entry by a jump is nobody's.
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
                unwind(machine, &StubKey::new(&signature, abi, options).unwrap());
                unwind(machine, &StubKey::block(&signature, abi, options).unwrap());
            }
        }
    }
}
