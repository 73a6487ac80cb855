//! Any text is a signature that prints and reads back, or an error with a place.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| fing_stubs::fuzzing::check_text(text));
