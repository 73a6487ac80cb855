//! s390x, which is big-endian. `x86_64.rs` says what each item is for.
#![expect(unsafe_code, reason = "assembly")]

use super::CallImage;
use std::arch::asm;
use std::mem::{MaybeUninit, offset_of};

pub(super) const MISSING: Option<&str> = None;

/// Not in an image: r0, which is zero for Go and free for others; r1, r10, r11 and r14, which the
/// call itself takes or Go's assembler does; r15, the stack pointer.
macro_rules! ints {
    ($with:ident) => {
        $with!(
            "r2" 0, "r3" 1, "r4" 2, "r5" 3, "r6" 4, "r7" 5, "r8" 6, "r9" 7, "r12" 8, "r13" 9
        )
    };
}

macro_rules! floats {
    ($with:ident) => {
        $with!(
            "f0" 0, "f1" 1, "f2" 2, "f3" 3, "f4" 4, "f5" 5, "f6" 6, "f7" 7, "f8" 8, "f9" 9,
            "f10" 10, "f11" 11, "f12" 12, "f13" 13, "f14" 14, "f15" 15
        )
    };
}

macro_rules! names {
    ($($register:literal $index:literal),*) => { [$($register),*] };
}
macro_rules! load_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("lg %", $register, ", {ints}+8*", $index, "(%r1)\n"),*)
    };
}
macro_rules! store_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("stg %", $register, ", {ints}+8*", $index, "(%r1)\n"),*)
    };
}
macro_rules! load_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("ld %", $register, ", {floats}+8*", $index, "(%r1)\n"),*)
    };
}
macro_rules! store_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("std %", $register, ", {floats}+8*", $index, "(%r1)\n"),*)
    };
}
/// Float registers that C functions keep, with their offsets from r11 in the frame of the call.
macro_rules! kept {
    ($with:ident) => {
        $with!(
            "f8" 0, "f9" 8, "f10" 16, "f11" 24, "f12" 32, "f13" 40, "f14" 48, "f15" 56
        )
    };
}
macro_rules! save {
    ($($register:literal $offset:literal),*) => {
        concat!($(
            "std %", $register, ", ", $offset, "(%r11)\n",
            ".cfi_offset %", $register, ", ", $offset, " - 240\n"
        ),*)
    };
}
macro_rules! restore {
    ($($register:literal $offset:literal),*) => {
        concat!($("ld %", $register, ", ", $offset, "(%r11)\n"),*)
    };
}

pub(super) const INTS: [&str; 10] = ints!(names);
pub(super) const FLOATS: [&str; 16] = floats!(names);
pub(super) const FLOAT_WORDS: usize = 1;

unsafe extern "C-unwind" {
    #[link_name = "fing_stubs_call_image"]
    pub(super) fn call_image(image: *mut CallImage);
}

pub(super) fn write_unwritten(bytes: &mut [MaybeUninit<u8>]) {
    // SAFETY: I5: there are no instructions.
    unsafe { asm!("/* {} */", in(reg) bytes.as_mut_ptr(), options(nostack, preserves_flags)) };
}

/// Instruction fetches see every store, through any alias, once the processor has serialized
/// (*z/Architecture Principles of Operation*, "Conceptual Sequence"), which `bcr 15,0` does.
pub(crate) fn make_visible(_writable: *const u8, _executable: usize, _bytes: usize) {
    // SAFETY: I35: an instruction without operands in memory.
    unsafe { asm!("bcr 15, 0", options(nostack, preserves_flags)) };
}

// r6 to r15 go to the register save area of the caller. The frame of this function, from r11 up: f8
// to f15, the image's address, (alignment). Below it is the callee's frame, its lowest word at r15.
// A C function keeps r11. A Go function keeps r15 alone and leaves the word there to its caller:
// r11 waits in it meanwhile. Go wants zero in r0.
std::arch::global_asm!(
    ".globl fing_stubs_call_image",
    ".hidden fing_stubs_call_image",
    ".p2align 4",
    ".type fing_stubs_call_image, @function",
    "fing_stubs_call_image:",
    ".cfi_startproc",
    "stmg %r6, %r15, 48(%r15)",
    ".cfi_offset %r6, -112",
    ".cfi_offset %r7, -104",
    ".cfi_offset %r8, -96",
    ".cfi_offset %r9, -88",
    ".cfi_offset %r10, -80",
    ".cfi_offset %r11, -72",
    ".cfi_offset %r12, -64",
    ".cfi_offset %r13, -56",
    ".cfi_offset %r14, -48",
    ".cfi_offset %r15, -40",
    "aghi %r15, -80",
    ".cfi_def_cfa_offset 240",
    "lgr %r11, %r15",
    ".cfi_def_cfa_register %r11",
    kept!(save),
    "stg %r2, 64(%r11)",
    "lgr %r1, %r2",
    // Room for the frame, page by page.
    "lg %r2, {frame}(%r1)",
    "lg %r3, {frame_words}(%r1)",
    "sllg %r4, %r3, 3",
    "2: clgfi %r4, 4096",
    "jl 3f",
    "aghi %r15, -4096",
    "mvghi 0(%r15), 0",
    "aghi %r4, -4096",
    "j 2b",
    "3: sgr %r15, %r4",
    "lgr %r5, %r15",
    "ltgr %r3, %r3",
    "je 5f",
    "4: lg %r0, 0(%r2)",
    "stg %r0, 0(%r5)",
    "la %r2, 8(%r2)",
    "la %r5, 8(%r5)",
    "brctg %r3, 4b",
    "5:",
    floats!(load_floats),
    ints!(load_ints),
    "lghi %r0, 0",
    "lg %r14, {code}(%r1)",
    "cghsi {is_go}(%r1), 0",
    "jne 6f",
    "basr %r14, %r14",
    "j 7f",
    "6: stg %r11, 0(%r15)",
    "basr %r14, %r14",
    "lg %r11, 0(%r15)",
    "7: lg %r1, 64(%r11)",
    ints!(store_ints),
    floats!(store_floats),
    "lg %r2, {frame}(%r1)",
    "lg %r3, {frame_words}(%r1)",
    "lgr %r5, %r15",
    "ltgr %r3, %r3",
    "je 9f",
    "8: lg %r0, 0(%r5)",
    "stg %r0, 0(%r2)",
    "la %r2, 8(%r2)",
    "la %r5, 8(%r5)",
    "brctg %r3, 8b",
    "9:",
    kept!(restore),
    "lmg %r6, %r15, 128(%r11)",
    ".cfi_def_cfa %r15, 160",
    "br %r14",
    ".cfi_endproc",
    ".size fing_stubs_call_image, . - fing_stubs_call_image",
    code = const offset_of!(CallImage, code),
    frame = const offset_of!(CallImage, frame),
    frame_words = const offset_of!(CallImage, frame_words),
    is_go = const offset_of!(CallImage, is_go),
    ints = const offset_of!(CallImage, ints),
    floats = const offset_of!(CallImage, floats),
);
