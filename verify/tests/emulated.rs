//! Stubs in the emulator.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_oracles::emulator::library;
use fing_verify::cases;
use fing_verify::emulated::Emulated;
use fing_verify::random::Random;
use fing_verify::targets::TARGETS;

#[test]
fn every_register_count() {
    let Some(library) = library() else { return };
    for target in TARGETS {
        let mut emulated = Emulated::new(library, *target, 1).unwrap();
        let abis: Vec<_> = if target.is_go() {
            (0..=target.abi().int_regs())
                .map(|n| target.abi().with_int_arg_regs(n).unwrap())
                .collect()
        } else {
            vec![target.abi()]
        };
        for abi in abis {
            for signature in cases::finalizers() {
                emulated
                    .verify(&signature, abi, Default::default())
                    .unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}

#[test]
fn random_signatures() {
    let Some(library) = library() else { return };
    for target in TARGETS {
        let started = std::time::Instant::now();
        let mut emulated = Emulated::new(library, *target, 1).unwrap();
        let mut random = Random::for_purpose(1, target.triple);
        for _ in 0..1000 {
            let (signature, abi) = if target.is_go() {
                let full = target.abi();
                let (ints, floats) = (
                    random.below(full.int_regs() as u64 + 1),
                    random.below(full.float_regs() as u64 + 1),
                );
                (
                    cases::one_argument(&mut random),
                    full.with_registers(ints as usize, floats as usize).unwrap(),
                )
            } else {
                (cases::native(&mut random, 1), target.abi())
            };
            emulated
                .verify(&signature, abi, Default::default())
                .unwrap_or_else(|e| panic!("{e}"));
        }
        eprintln!(
            "{target:?}: {} keys, {:?}",
            emulated.keys(),
            started.elapsed()
        );
    }
}
