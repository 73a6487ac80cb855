//! Entries of every convention in the emulator, called as foreign code calls them, with random
//! signatures. `FING_VERIFY_CASES` says how many.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_oracles::emulator::library;
use fing_stubs::entry::EntryKey;
use fing_stubs::{DEFAULT_FRAME_LIMIT, Signature};
use fing_verify::entries::Entered;
use fing_verify::targets::TARGETS;

#[test]
fn callers_of_every_convention() {
    let Some(library) = library() else { return };
    let cases = std::env::var("FING_VERIFY_CASES").map_or(50, |text| text.parse().unwrap());
    let (mut faults, mut targets) = (Vec::new(), 0);
    for target in TARGETS {
        let Some(mut entered) = Entered::new(library, *target, 1).unwrap() else {
            continue;
        };
        targets += 1;
        for _ in 0..cases {
            let (signature, abi) = entered.case();
            faults.extend(entered.verify(&signature, abi).err());
        }
    }
    assert_eq!(targets, 10);
    let shown: Vec<_> = faults.iter().take(10).cloned().collect();
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        shown.join("\n")
    );
}

/// A mistake in where a value is looked for is seen: the entry of a signature is called as another
/// one that differs in one place.
#[test]
fn wrong_keys_are_seen() {
    let Some(library) = library() else { return };
    let pairs = [
        (
            "func(int64, float64, int32) int32",
            "func(int32, float64, int64) int32",
        ),
        (
            "func(float32, float64) float32",
            "func(float64, float32) float32",
        ),
        ("func(int8) int8", "func(int8) uint8"),
        (
            "func(int64, *int) (*int, int64, int64)",
            "func(int64, *int) (*int, int64)",
        ),
    ];
    for target in TARGETS {
        let Some(mut entered) = Entered::new(library, *target, 2).unwrap() else {
            continue;
        };
        let mut seen = 0;
        for (right, wrong) in pairs {
            let [right, wrong] = [right, wrong].map(|text| text.parse::<Signature>().unwrap());
            let key = |signature| EntryKey::new(signature, target.abi(), DEFAULT_FRAME_LIMIT);
            entered.verify(&right, target.abi()).unwrap();
            let found = entered.judge(&right, target.abi(), &key(&wrong).unwrap());
            seen += usize::from(found.is_err());
        }
        // Whether the sign of a result counts is the convention's affair.
        assert!(
            seen >= 3,
            "{}: {seen} of {}",
            target.convention,
            pairs.len()
        );
    }
}
