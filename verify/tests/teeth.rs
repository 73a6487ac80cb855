//! The oracles find out what is wrong: stubs made for another key, judged by the right assignment.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::path::Path;

use fing_oracles::emulator::library;
use fing_stubs::faults::Fault;
use fing_stubs::{Compiler, Signature, StubKey};
use fing_verify::c;
use fing_verify::emulated::{Emulated, Form, Wanted};
use fing_verify::random::Random;
use fing_verify::run::{Oracle, random_case};
use fing_verify::targets::{TARGETS, Target};

/// Convention, signature, its key, keys that are wrong for it.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    (
        "go/amd64",
        "func(interface{}) (int, float32, [10]uint8)",
        "go/amd64;8@0>i0;8@8>i1;frame=32",
        &[
            "go/amd64;8@0>i1;8@8>i0;frame=32",
            "go/amd64;8@0>i0;8@0>i1;frame=32",
            "go/amd64;8@0>i0;frame=32",
            "go/amd64;4@0>i0;8@8>i1;frame=32",
            "go/amd64;8@0>i0;8@8>i1;frame=16",
            "go/amd64;8@0>i0;8@8>i1",
            "go/amd64;8@0>m0;8@8>m8;frame=32",
        ],
    ),
    (
        "go/amd64:0,0",
        "func(interface{}) (int, float32, [10]uint8)",
        "go/amd64;8@0>m0;8@8>m8;frame=48",
        &[
            "go/amd64;8@0>m8;8@8>m0;frame=48",
            "go/amd64;8@0>m0;frame=48",
            "go/amd64;8@0>i0;8@8>i1;frame=48",
            "go/amd64;8@0>m0;8@8>m8;frame=32",
        ],
    ),
    (
        "go/amd64",
        "func(struct { A float32; B int8; C float64 })",
        "go/amd64;4@0>f0;1@4>i0;8@8>f1;frame=16",
        &[
            "go/amd64;4@0>f1;1@4>i0;8@8>f0;frame=16",
            "go/amd64;4@0>f0;1@5>i0;8@8>f1;frame=16",
            "go/amd64;4@0>f0;8@8>f1;frame=16",
        ],
    ),
    (
        "sysv/amd64",
        "func(int8) [3]int",
        "sysv/amd64;s1@0>i1;hidden=32",
        &[
            "sysv/amd64;1@0>i1;hidden=32",
            "sysv/amd64;s1@0>i0",
            "sysv/amd64;s1@0>i1;hidden=16",
        ],
    ),
];

#[test]
fn wrong_stubs_are_found_out() {
    let Some(library) = library() else { return };
    for (abi, text, right, wrong) in CASES {
        let family = abi.split(':').next().unwrap();
        let target = TARGETS
            .iter()
            .find(|target| target.convention == family)
            .unwrap();
        let signature: Signature = text.parse().unwrap();
        let abi = abi.parse().unwrap();
        let right_call = Wanted::new(&signature, abi, Default::default(), Form::Record).unwrap();
        let mut emulated = Emulated::new(library, *target, 1).unwrap();
        let key = StubKey::new(&signature, abi, Default::default()).unwrap();
        assert_eq!(key.to_string(), *right);
        emulated.judge(&right_call, &key).unwrap();
        for wrong in *wrong {
            let key: StubKey = wrong.parse().unwrap();
            let outcome = emulated.judge(&right_call, &key);
            println!("{wrong}: {outcome:?}");
            assert!(
                outcome.is_err(),
                "{text} by {abi}: nothing is found wrong with {wrong}"
            );
        }
    }
}

/// Whether a mistake can be made at all. Spill slots and registers saved for Go are Go's; on s390x
/// Cranelift saves all of its caller's registers whatever the stub calls.
fn possible(fault: Fault, target: Target) -> bool {
    match fault {
        Fault::CalleeSaved => target.is_go() && target.convention != "go/s390x",
        Fault::NoSpillRoom => target.is_go(),
        _ => true,
    }
}

#[test]
fn the_emulator_finds_planted_mistakes() {
    let Some(library) = library() else { return };
    for target in TARGETS
        .iter()
        .filter(|target| Oracle::Emulator.judges(**target))
    {
        for fault in Fault::ALL
            .into_iter()
            .filter(|fault| possible(*fault, *target))
        {
            let mut emulated = Emulated::with_fault(library, *target, fault).unwrap();
            let mut random = Random::new(1);
            let found = (0..60)
                .filter(|&n| {
                    let (signature, abi, form) = random_case(*target, &mut random, n);
                    emulated
                        .verify(&signature, abi, Default::default(), form)
                        .is_err()
                })
                .count();
            println!("{} {fault:?}: {found} of 60", target.convention);
            assert!(found > 0, "{}: nobody found {fault:?}", target.convention);
        }
    }
}

/// docs/callbacks.md has a row for each mistake that can be planted, and each test that it names is
/// there.
#[test]
fn the_table_of_mistakes_is_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap();
    let text = read("../docs/callbacks.md");
    let (_, section) = text.split_once("## 8. Mistakes that were planted").unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mut faults: Vec<String> = [&Fault::ALL[..], &Fault::OF_C, &Fault::OF_ENTRIES]
        .concat()
        .iter()
        .map(|fault| format!("`{fault:?}`"))
        .collect();
    faults.push("`assign_without_roll_back`".to_owned());
    let named = |fault: &String| {
        let first = rows.iter().map(|row| row[0]);
        first.filter(|cell| cell.starts_with(fault)).count() == 1
    };
    assert!(faults.iter().all(named), "{faults:?} in {rows:?}");
    let tests = [
        "tests/teeth.rs",
        "tests/entries.rs",
        "../stubs/tests/calls.rs",
        "../stubs/tests/callbacks_go.rs",
        "../stubs/tests/callbacks_typed.rs",
    ]
    .map(read)
    .concat();
    for row in &rows {
        for test in [row[2], row[4]] {
            let name = format!("fn {test}()");
            assert!(tests.contains(&name), "{name} of {row:?}");
        }
    }
}

/// Mistakes in reading C's rules: the convention, a signature that shows it.
const C_MISTAKES: &[(Fault, &str, &str)] = &[
    (
        Fault::MissingVectorCount,
        "sysv/amd64",
        "func(*int8, ..., float64, int32, float64) int32",
    ),
    (
        Fault::WrongExtension,
        "lp64d/riscv64",
        "func(int8, int8, uint16, int16, uint32, uint32)",
    ),
    (
        Fault::WrongExtension,
        "elf/s390x",
        "func(int32, int32, uint8, uint8, int16)",
    ),
    (
        Fault::WrongExtension,
        "apple/arm64",
        "func(int8, int8, uint16, uint16)",
    ),
    (
        Fault::ClassesSwapped,
        "sysv/amd64",
        "func(struct { A int64; B float64 })",
    ),
    (
        Fault::ClassesSwapped,
        "lp64d/riscv64",
        "func(struct { A float64; B int64 })",
    ),
    (
        Fault::HomogeneousSplit,
        "aapcs/arm64",
        "func(struct { A, B, C float32 })",
    ),
    (
        Fault::HomogeneousSplit,
        "apple/arm64",
        "func(struct { A [4]float64 })",
    ),
    (
        Fault::UnionByFirstMember,
        "sysv/amd64",
        "func(C.union { A float64; B int64 })",
    ),
    (
        Fault::UnionByFirstMember,
        "lp64d/riscv64",
        "func(C.union { A float64; B int64 })",
    ),
    (
        Fault::UnionByFirstMember,
        "elf/s390x",
        "func(C.union { A float64; B int64 })",
    ),
    (
        Fault::UnionByFirstMember,
        "fastcall/amd64",
        "func(C.union { A float64; B int64 })",
    ),
];

/// The first such target.
fn target(convention: &str) -> Target {
    let mut targets = TARGETS.iter();
    *targets
        .find(|target| target.convention == convention)
        .unwrap()
}

#[test]
fn the_emulator_finds_mistakes_in_reading_c() {
    let is_shown = |fault: &Fault| C_MISTAKES.iter().any(|(shown, ..)| shown == fault);
    assert!(Fault::OF_C.iter().all(is_shown));
    let Some(library) = library() else { return };
    for &(fault, convention, text) in C_MISTAKES {
        let target = target(convention);
        let signature = text.parse().unwrap();
        let verify = |mut emulated: Emulated| {
            emulated.verify(&signature, target.abi(), Default::default(), Form::Block)
        };
        verify(Emulated::new(library, target, 1).unwrap()).unwrap();
        let outcome = verify(Emulated::with_fault(library, target, fault).unwrap());
        assert!(
            outcome.is_err(),
            "{text} by {convention}: nobody found {fault:?}"
        );
    }
}

#[test]
fn compilers_find_mistakes_in_reading_c() {
    for &(fault, convention, text) in C_MISTAKES {
        let target = target(convention);
        let Some(toolchain) = c::toolchain(target) else {
            continue;
        };
        let cases = [(text.parse().unwrap(), Form::Block)];
        let verify = |compiler: &Compiler| {
            let mut random = Random::new(3);
            c::verify(&toolchain, compiler, target, &cases, &mut random)
        };
        let mut compiler = target.compiler().unwrap();
        assert_eq!(verify(&compiler), Ok(Vec::new()), "{text} by {convention}");
        compiler.plant(fault);
        let outcome = verify(&compiler);
        assert_ne!(
            outcome,
            Ok(Vec::new()),
            "{text} by {convention}: nobody found {fault:?}"
        );
    }
}

#[test]
fn c_finds_planted_mistakes() {
    for target in TARGETS.iter().filter(|target| Oracle::C.judges(**target)) {
        let Some(toolchain) = c::toolchain(*target) else {
            continue;
        };
        let mut compiler = target.compiler().unwrap();
        compiler.plant(Fault::WrongRegister);
        let mut random = Random::new(1);
        let cases: Vec<_> = (0..20)
            .map(|n| {
                let (signature, _, form) = random_case(*target, &mut random, n);
                (signature, form)
            })
            .collect();
        let outcome = c::verify(&toolchain, &compiler, *target, &cases, &mut random);
        assert_ne!(
            outcome,
            Ok(Vec::new()),
            "{}: nobody found it",
            target.convention
        );
    }
}
