//! Every assignment of every ABI passes the checker.
#![no_main]

use fing_stubs::fuzzing::{Rng, check_assignments};

libfuzzer_sys::fuzz_target!(|choices: &[u8]| check_assignments(&mut Rng::from_bytes(choices)));
