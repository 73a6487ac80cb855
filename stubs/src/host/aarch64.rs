//! arm64. `x86_64.rs` says what each item is for.
#![expect(unsafe_code, reason = "assembly")]

use super::CallImage;
use std::arch::asm;
use std::mem::{MaybeUninit, offset_of};

pub(super) const MISSING: Option<&str> = None;

/// Not in an image: x16 and x17, which the call itself takes; x18, which belongs to the platform;
/// x29 to x31, frame pointer, return address and stack pointer.
macro_rules! ints {
    ($with:ident) => {
        $with!(
            "x0" 0, "x1" 1, "x2" 2, "x3" 3, "x4" 4, "x5" 5, "x6" 6, "x7" 7, "x8" 8, "x9" 9,
            "x10" 10, "x11" 11, "x12" 12, "x13" 13, "x14" 14, "x15" 15, "x19" 16, "x20" 17,
            "x21" 18, "x22" 19, "x23" 20, "x24" 21, "x25" 22, "x26" 23, "x27" 24, "x28" 25
        )
    };
}

/// No convention passes anything in the upper sixteen. By the names of their lower halves; an image
/// has the whole registers, `q0` and so on.
macro_rules! floats {
    ($with:ident) => {
        $with!(
            "d0" 0, "d1" 1, "d2" 2, "d3" 3, "d4" 4, "d5" 5, "d6" 6, "d7" 7, "d8" 8, "d9" 9,
            "d10" 10, "d11" 11, "d12" 12, "d13" 13, "d14" 14, "d15" 15
        )
    };
}

macro_rules! names {
    ($($register:literal $index:literal),*) => { [$($register),*] };
}
macro_rules! load_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("ldr ", $register, ", [x17, #{ints} + 8*", $index, "]\n"),*)
    };
}
macro_rules! store_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("str ", $register, ", [x17, #{ints} + 8*", $index, "]\n"),*)
    };
}
macro_rules! load_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("ldr q", $index, ", [x17, #{floats} + 16*", $index, "]\n"),*)
    };
}
macro_rules! store_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("str q", $index, ", [x17, #{floats} + 16*", $index, "]\n"),*)
    };
}

pub(super) const INTS: [&str; 26] = ints!(names);
pub(super) const FLOATS: [&str; 16] = floats!(names);
pub(super) const FLOAT_WORDS: usize = 2;

unsafe extern "C-unwind" {
    #[link_name = "fing_stubs_call_image"]
    pub(super) fn call_image(image: *mut CallImage);
}

pub(super) fn write_unwritten(bytes: &mut [MaybeUninit<u8>]) {
    // SAFETY: I5: there are no instructions.
    unsafe { asm!("/* {} */", in(reg) bytes.as_mut_ptr(), options(nostack, preserves_flags)) };
}

/// Data and instruction caches are separate. Lines that hold the new bytes are cleaned to the point
/// of unification by the address they were written at, and invalidated in the instruction cache by
/// the address they are run at. `CTR_EL0` has the sizes of lines, and says which of the two steps
/// the processor does by itself (*Arm Architecture Reference Manual*, "Caches and memory
/// hierarchy").
pub(crate) fn make_visible(writable: *const u8, executable: usize, bytes: usize) {
    let lines = |start: usize, line: usize| (start & !(line - 1)..start + bytes).step_by(line);
    let types: usize;
    // SAFETY: I35: reads a register that every program may read.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) types, options(nomem, nostack, preserves_flags)) };
    let field = |shift: usize| types >> shift & 0xf;
    let (data_line, code_line) = (4_usize << field(16), 4_usize << field(0));
    let (data_is_coherent, code_is_coherent) = (types >> 28 & 1 == 1, types >> 29 & 1 == 1);
    if !data_is_coherent {
        for line in lines(writable.addr(), data_line) {
            // SAFETY: I4: maintains the cache for bytes of the arena, which are mapped.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
    }
    // SAFETY: I4: barriers.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    if !code_is_coherent {
        for line in lines(executable, code_line) {
            // SAFETY: I4: maintains the cache for bytes of the arena, which are mapped.
            unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
    }
    // SAFETY: I4: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

// The frame of this function, from x29 up: x29 x30, x19 to x28, d8 to d15, the image's address,
// (alignment). Below it is the callee's frame, its lowest word at sp. A C function keeps x29. A Go
// function keeps sp alone and leaves the word there to its caller: x29 waits in it meanwhile. `hint
// #34` is `bti c`.
std::arch::global_asm!(
    ".globl fing_stubs_call_image",
    ".hidden fing_stubs_call_image",
    ".p2align 4",
    ".type fing_stubs_call_image, @function",
    "fing_stubs_call_image:",
    ".cfi_startproc",
    "hint #34",
    "stp x29, x30, [sp, #-176]!",
    ".cfi_def_cfa_offset 176",
    ".cfi_offset x29, -176",
    ".cfi_offset x30, -168",
    "mov x29, sp",
    ".cfi_def_cfa x29, 176",
    "stp x19, x20, [x29, #16]",
    "stp x21, x22, [x29, #32]",
    "stp x23, x24, [x29, #48]",
    "stp x25, x26, [x29, #64]",
    "stp x27, x28, [x29, #80]",
    "stp d8, d9, [x29, #96]",
    "stp d10, d11, [x29, #112]",
    "stp d12, d13, [x29, #128]",
    "stp d14, d15, [x29, #144]",
    ".cfi_offset x19, -160",
    ".cfi_offset x20, -152",
    ".cfi_offset x21, -144",
    ".cfi_offset x22, -136",
    ".cfi_offset x23, -128",
    ".cfi_offset x24, -120",
    ".cfi_offset x25, -112",
    ".cfi_offset x26, -104",
    ".cfi_offset x27, -96",
    ".cfi_offset x28, -88",
    ".cfi_offset d8, -80",
    ".cfi_offset d9, -72",
    ".cfi_offset d10, -64",
    ".cfi_offset d11, -56",
    ".cfi_offset d12, -48",
    ".cfi_offset d13, -40",
    ".cfi_offset d14, -32",
    ".cfi_offset d15, -24",
    "str x0, [x29, #160]",
    "mov x17, x0",
    // Room for the frame, page by page.
    "ldr x1, [x17, #{frame}]",
    "ldr x2, [x17, #{frame_words}]",
    "lsl x3, x2, #3",
    "2: cmp x3, #4096",
    "b.lo 3f",
    "sub sp, sp, #4096",
    "str xzr, [sp]",
    "sub x3, x3, #4096",
    "b 2b",
    "3: sub sp, sp, x3",
    "mov x4, sp",
    "4: cbz x2, 5f",
    "ldr x5, [x1], #8",
    "str x5, [x4], #8",
    "sub x2, x2, #1",
    "b 4b",
    "5: ldr x16, [x17, #{code}]",
    floats!(load_floats),
    ints!(load_ints),
    "ldr x17, [x17, #{is_go}]",
    "cbnz x17, 8f",
    "blr x16",
    "b 9f",
    "8: str x29, [sp]",
    "blr x16",
    "ldr x29, [sp]",
    "9:",
    "ldr x17, [x29, #160]",
    ints!(store_ints),
    floats!(store_floats),
    "ldr x1, [x17, #{frame}]",
    "ldr x2, [x17, #{frame_words}]",
    "mov x4, sp",
    "6: cbz x2, 7f",
    "ldr x5, [x4], #8",
    "str x5, [x1], #8",
    "sub x2, x2, #1",
    "b 6b",
    "7: mov sp, x29",
    "ldp x19, x20, [x29, #16]",
    "ldp x21, x22, [x29, #32]",
    "ldp x23, x24, [x29, #48]",
    "ldp x25, x26, [x29, #64]",
    "ldp x27, x28, [x29, #80]",
    "ldp d8, d9, [x29, #96]",
    "ldp d10, d11, [x29, #112]",
    "ldp d12, d13, [x29, #128]",
    "ldp d14, d15, [x29, #144]",
    "ldp x29, x30, [sp], #176",
    ".cfi_def_cfa sp, 0",
    "ret",
    ".cfi_endproc",
    ".size fing_stubs_call_image, . - fing_stubs_call_image",
    code = const offset_of!(CallImage, code),
    frame = const offset_of!(CallImage, frame),
    frame_words = const offset_of!(CallImage, frame_words),
    is_go = const offset_of!(CallImage, is_go),
    ints = const offset_of!(CallImage, ints),
    floats = const offset_of!(CallImage, floats),
);
