//! Stubs in C programs.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_oracles::c::toolchain;
use fing_verify::random::Random;
use fing_verify::targets::TARGETS;
use fing_verify::{c, cases};

#[test]
fn random_signatures() {
    for target in TARGETS.iter().filter(|target| !target.is_go()) {
        let Some(toolchain) = toolchain(target.physical().isa) else {
            continue;
        };
        let started = std::time::Instant::now();
        let mut random = Random::for_purpose(1, target.abi);
        let signatures: Vec<_> = (0..300).map(|_| cases::native(&mut random, 1)).collect();
        let faults = c::verify(&toolchain, *target, &signatures, &mut random).unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        eprintln!("{} {:?}", target.abi, started.elapsed());
    }
}
