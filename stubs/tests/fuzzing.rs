//! What the fuzz targets check, on seeded cases: `FING_CASES=n` for more, and `cargo fuzz run` for
//! the fuzzer itself.

use fing_stubs::fuzzing::{
    Rng, TARGETS, c_signature, check_assignments, check_key, check_stub, check_text, damaged_key,
    random_signature,
};
use fing_stubs::{Abi, Compiler};

fn cases(default: u64) -> std::ops::Range<u64> {
    0..fing_oracles::cases(default)
}

/// Signatures with some characters changed, dropped or doubled.
#[test]
fn damaged_signatures() {
    for seed in cases(3000) {
        let mut rng = Rng::new(seed);
        let signature = if seed % 3 == 0 {
            c_signature(&mut rng, Abi::system_v())
        } else {
            random_signature(&mut rng)
        };
        let mut text: Vec<char> = signature.to_string().chars().collect();
        for _ in 0..rng.below(4) {
            let at = rng.below(text.len());
            match rng.below(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, text[at]),
                _ => {
                    text[at] = *rng.pick(&[
                        '*', '[', ']', '(', ')', '{', '}', ';', ',', ' ', '.', '9', 'é', '\u{0}',
                    ])
                }
            }
        }
        check_text(&text.into_iter().collect::<String>());
    }
}

#[test]
fn assignments() {
    for seed in cases(2000) {
        check_assignments(&mut Rng::new(seed));
    }
}

/// A compiler for every machine that this build has.
fn compilers() -> Vec<Compiler> {
    let all = TARGETS.map(|target| Compiler::for_target(target.parse().unwrap()).ok());
    let all: Vec<Compiler> = all.into_iter().flatten().collect();
    let least = if cfg!(feature = "all-arch") {
        TARGETS.len()
    } else {
        1
    };
    assert!(all.len() >= least, "{} machines", all.len());
    all
}

#[test]
fn stubs() {
    let compilers = compilers();
    for seed in cases(400) {
        check_stub(&mut Rng::new(seed), &compilers);
    }
}

/// Keys of every ABI with parts changed, dropped, doubled or added: what is read as a key can be
/// compiled.
#[test]
fn damaged_keys() {
    let compilers = compilers();
    for seed in cases(3000) {
        check_key(&damaged_key(&mut Rng::new(seed)), &compilers);
    }
}

/// Bytes steer the generator one choice each, and what follows is the same every time.
#[test]
fn choices_are_bytes() {
    let draw = |bytes: &[u8]| {
        let mut rng = Rng::from_bytes(bytes);
        (0..5).map(|_| rng.next_u64()).collect::<Vec<_>>()
    };
    assert_eq!(draw(&[7, 8])[..2], [7, 8]);
    assert_eq!(draw(&[7, 8]), draw(&[7, 8]));
    assert_ne!(draw(&[7, 8])[2..], draw(&[7, 8, 9])[2..]);
}
