//! That mistakes in the code of entries are found: `tests/matrix.rs` finds none.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use fing_oracles::emulator::library;
use fing_stubs::entry::EntryKey;
use fing_stubs::faults::Fault;
use fing_stubs::{DEFAULT_FRAME_LIMIT, Signature};
use fing_verify::c;
use fing_verify::entries::Entered;
use fing_verify::random::Random;
use fing_verify::run::Oracle;
use fing_verify::targets::{TARGETS, Target};

/// Signatures, and such as differ in one place.
const PAIRS: [(&str, &str); 4] = [
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

fn parsed(pair: (&str, &str)) -> [Signature; 2] {
    [pair.0, pair.1].map(|text| text.parse().unwrap())
}

fn key(signature: &Signature, target: Target) -> EntryKey {
    EntryKey::new(signature, target.abi(), DEFAULT_FRAME_LIMIT).unwrap()
}

/// A mistake in where a value is looked for is seen: the entry of a signature is called as another
/// one that differs in one place.
#[test]
fn wrong_keys_are_seen() {
    let Some(library) = library() else { return };
    for target in TARGETS
        .iter()
        .filter(|target| Oracle::Entries.judges(**target))
    {
        let mut entered = Entered::new(library, *target, 2).unwrap();
        let mut seen = 0;
        for [right, wrong] in PAIRS.map(parsed) {
            entered.verify(&right, target.abi()).unwrap();
            let found = entered.judge(&right, target.abi(), &key(&wrong, *target));
            seen += usize::from(found.is_err());
        }
        // Whether the sign of a result counts is the convention's affair.
        assert!(
            seen >= 3,
            "{}: {seen} of {}",
            target.convention,
            PAIRS.len()
        );
    }
}

/// A hidden result area whose address does not come back is seen where the convention wants it
/// back, and nothing else is wrong then.
#[test]
fn an_area_that_is_not_returned_is_seen() {
    let Some(library) = library() else { return };
    let (hidden, small) = ("func(int64) [5]int64", "func(int64) int64");
    let [hidden, small] = [hidden, small].map(|text| text.parse::<Signature>().unwrap());
    let mut seen = Vec::new();
    for target in TARGETS
        .iter()
        .filter(|target| Oracle::Entries.judges(**target) && !target.is_go())
    {
        let mut right = Entered::new(library, *target, 1).unwrap();
        right.verify(&hidden, target.abi()).unwrap();
        let mut wrong = Entered::with_fault(library, *target, Fault::AreaNotReturned).unwrap();
        wrong.verify(&small, target.abi()).unwrap();
        if wrong.verify(&hidden, target.abi()).is_err() {
            seen.push(target.convention);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["fastcall/amd64", "sysv/amd64"]);
}

/// The same, where code of gcc's calls.
#[test]
fn callers_see_wrong_keys() {
    for &target in TARGETS.iter().filter(|t| Oracle::Callers.judges(**t)) {
        let Some(toolchain) = c::toolchain(target) else {
            continue;
        };
        let compiler = target.compiler().unwrap();
        let mut random = Random::new(3);
        let mut verify =
            |cases: &[_]| c::callers::verify(&toolchain, &compiler, target, cases, &mut random);
        let pairs = PAIRS.map(parsed);
        let right = pairs
            .each_ref()
            .map(|[right, _]| (right.clone(), key(right, target)));
        assert_eq!(verify(&right), Ok(Vec::new()), "{}", target.convention);
        // A wrong place for a result may well end the program.
        let seen = pairs.each_ref().map(|[right, wrong]| {
            let outcome = verify(&[(right.clone(), key(wrong, target))]);
            usize::from(outcome != Ok(Vec::new()))
        });
        let seen: usize = seen.iter().sum();
        // Whether the sign of a result counts is the convention's affair.
        assert!(
            seen >= 3,
            "{}: {seen} of {}",
            target.convention,
            PAIRS.len()
        );
    }
}

/// What is left out of the comparison is wrong, and is nothing else.
#[test]
fn clang_has_variadic_structs_of_vectors_at_two_places() {
    let target = TARGETS
        .iter()
        .find(|t| t.convention == "apple/arm64")
        .unwrap();
    let Some(toolchain) = c::toolchain(*target) else {
        return;
    };
    let compiler = target.compiler().unwrap();
    for (wrong, text) in [
        (
            true,
            "func(int32, ..., int64, struct { A C.vector[4]int32 })",
        ),
        (false, "func(int32, ..., int64, C.vector[4]int32)"),
        (false, "func(int32, int64, struct { A C.vector[4]int32 })"),
    ] {
        let signature: Signature = text.parse().unwrap();
        assert_eq!(
            c::callers::is_miscompiled(*target, &signature),
            wrong,
            "{text}"
        );
        let case = (signature.clone(), key(&signature, *target));
        let mut random = Random::new(4);
        let faults = c::callers::verify(&toolchain, &compiler, *target, &[case], &mut random);
        assert_eq!(!faults.unwrap().is_empty(), wrong, "{text}");
    }
}
