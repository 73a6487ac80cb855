//! An instruction set without a file of its own. `x86_64.rs` says what each item is for.
#![expect(unsafe_code, reason = "has the signatures of the other files")]

use super::CallImage;
use std::mem::MaybeUninit;

pub(super) const MISSING: Option<&str> =
    Some("instruction-cache maintenance and the interpreter's call: a file in stubs/src/host/");

pub(super) const INTS: [&str; 0] = [];
pub(super) const FLOATS: [&str; 0] = [];
pub(super) const FLOAT_WORDS: usize = 1;

pub(super) unsafe fn call_image(_image: *mut CallImage) {
    unreachable!("no interpreter is made where HAS_INTERPRETER is false")
}

pub(super) fn write_unwritten(_bytes: &mut [MaybeUninit<u8>]) {
    unreachable!("no interpreter is made where HAS_INTERPRETER is false")
}

pub(crate) fn make_visible(_writable: *const u8, _executable: usize, _bytes: usize) {
    unreachable!("no code memory is made where `missing` says that something is")
}
