//! Every key compiles for its machine, and its parts go together.
#![no_main]

use std::sync::LazyLock;

use fing_stubs::Compiler;
use fing_stubs::fuzzing::{Rng, TARGETS, check_stub};

static COMPILERS: LazyLock<Vec<Compiler>> = LazyLock::new(|| {
    let compiler = |target: &&str| Compiler::for_target(target.parse().unwrap()).unwrap();
    TARGETS.iter().map(compiler).collect()
});

libfuzzer_sys::fuzz_target!(|choices: &[u8]| check_stub(&mut Rng::from_bytes(choices), &COMPILERS));
