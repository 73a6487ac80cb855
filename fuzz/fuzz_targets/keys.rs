//! Every text that is read as a stub key compiles for its machine.
#![no_main]

use std::sync::LazyLock;

use fing_stubs::Compiler;
use fing_stubs::fuzzing::{TARGETS, check_key};

static COMPILERS: LazyLock<Vec<Compiler>> = LazyLock::new(|| {
    let compiler = |target: &&str| Compiler::for_target(target.parse().unwrap()).unwrap();
    TARGETS.iter().map(compiler).collect()
});

libfuzzer_sys::fuzz_target!(|text: &str| check_key(text, &COMPILERS));
