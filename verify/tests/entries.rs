//! That mistakes in the code of entries are found: `tests/matrix.rs` finds none.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_oracles::emulator::library;
use fing_stubs::entry::EntryKey;
use fing_stubs::{DEFAULT_FRAME_LIMIT, Signature};
use fing_verify::entries::Entered;
use fing_verify::run::Oracle;
use fing_verify::targets::TARGETS;

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
    for target in TARGETS
        .iter()
        .filter(|target| Oracle::Entries.judges(**target))
    {
        let mut entered = Entered::new(library, *target, 2).unwrap();
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
