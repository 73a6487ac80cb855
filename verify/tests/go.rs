//! Functions of the real Go compiler.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_oracles::emulator::{Isa, library};
use fing_verify::cases;
use fing_verify::go::Program;
use fing_verify::go::emulated::Loaded;
use fing_verify::random::Random;
use fing_verify::targets::TARGETS;

#[test]
fn assignments() {
    let Some(library) = library() else { return };
    for isa in Isa::ALL {
        let started = std::time::Instant::now();
        let mut random = Random::for_purpose(1, isa.name());
        let mut signatures = cases::vectors();
        let all = signatures.len();
        signatures.extend((0..100).map(|_| cases::one_argument(&mut random)));
        let Some(program) = Program::build(isa, &signatures, &mut random) else {
            return;
        };
        let program = program.unwrap();
        eprintln!("{} built {:?}", isa.name(), started.elapsed());
        let mut loaded = Loaded::new(library, &program, 1).unwrap();
        let faults: Vec<String> = (0..signatures.len())
            .filter_map(|n| loaded.call(n).err())
            .collect();
        eprintln!(
            "{} {} faults\n{}",
            isa.name(),
            faults.len(),
            faults
                .iter()
                .take(5)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n")
        );
        if let Some(target) = TARGETS
            .iter()
            .find(|t| t.physical == format!("go/{}", isa.name()))
        {
            let faults: Vec<String> = (all..signatures.len())
                .filter_map(|n| loaded.call_by_stub(n, *target).err())
                .collect();
            eprintln!(
                "{} stubs {} faults\n{}",
                isa.name(),
                faults.len(),
                faults
                    .iter()
                    .take(5)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("\n")
            );
        }
        eprintln!("{} done {:?}", isa.name(), started.elapsed());
    }
}
