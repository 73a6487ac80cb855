//! riscv64 with double floats. `x86_64.rs` says what each item is for.
#![expect(unsafe_code, reason = "assembly")]

use super::CallImage;
use std::arch::asm;
use std::mem::{MaybeUninit, offset_of};

pub(super) const MISSING: Option<&str> = None;

/// Not in an image: x0; x1 to x4, return address, stack pointer and the system's; x5 to x7 and x28
/// to x31, which the call itself takes. x8 is in an image and not in this list: it is a Go
/// function's argument register, and for others the frame pointer of the call.
macro_rules! ints {
    ($with:ident) => {
        $with!(
            "x9" 0, "x10" 1, "x11" 2, "x12" 3, "x13" 4, "x14" 5, "x15" 6, "x16" 7, "x17" 8,
            "x18" 9, "x19" 10, "x20" 11, "x21" 12, "x22" 13, "x23" 14, "x24" 15, "x25" 16,
            "x26" 17, "x27" 18
        )
    };
}

macro_rules! floats {
    ($with:ident) => {
        $with!(
            "f8" 0, "f9" 1, "f10" 2, "f11" 3, "f12" 4, "f13" 5, "f14" 6, "f15" 7, "f16" 8,
            "f17" 9, "f18" 10, "f19" 11, "f20" 12, "f21" 13, "f22" 14, "f23" 15
        )
    };
}

macro_rules! names_and_x8 {
    ($($register:literal $index:literal),*) => { [$($register,)* "x8"] };
}
macro_rules! names {
    ($($register:literal $index:literal),*) => { [$($register),*] };
}
macro_rules! load_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("ld ", $register, ", {ints}+8*", $index, "(t6)\n"),*)
    };
}
macro_rules! store_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("sd ", $register, ", {ints}+8*", $index, "(t6)\n"),*)
    };
}
macro_rules! load_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("fld ", $register, ", {floats}+8*", $index, "(t6)\n"),*)
    };
}
macro_rules! store_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("fsd ", $register, ", {floats}+8*", $index, "(t6)\n"),*)
    };
}
/// Registers that C functions keep, with their offsets in the frame of the call.
macro_rules! kept {
    ($with:ident) => {
        $with!(
            "sd" "ld" "ra" 200, "sd" "ld" "s0" 192, "sd" "ld" "s1" 184, "sd" "ld" "s2" 176,
            "sd" "ld" "s3" 168, "sd" "ld" "s4" 160, "sd" "ld" "s5" 152, "sd" "ld" "s6" 144,
            "sd" "ld" "s7" 136, "sd" "ld" "s8" 128, "sd" "ld" "s9" 120, "sd" "ld" "s10" 112,
            "sd" "ld" "s11" 104, "fsd" "fld" "fs0" 96, "fsd" "fld" "fs1" 88, "fsd" "fld" "fs2" 80,
            "fsd" "fld" "fs3" 72, "fsd" "fld" "fs4" 64, "fsd" "fld" "fs5" 56, "fsd" "fld" "fs6" 48,
            "fsd" "fld" "fs7" 40, "fsd" "fld" "fs8" 32, "fsd" "fld" "fs9" 24, "fsd" "fld" "fs10" 16,
            "fsd" "fld" "fs11" 8
        )
    };
}
macro_rules! save {
    ($($store:literal $load:literal $register:literal $offset:literal),*) => {
        concat!($(
            $store, " ", $register, ", ", $offset, "(sp)\n",
            ".cfi_offset ", $register, ", ", $offset, " - 208\n"
        ),*)
    };
}
macro_rules! restore {
    ($($store:literal $load:literal $register:literal $offset:literal),*) => {
        concat!($($load, " ", $register, ", ", $offset, "(sp)\n"),*)
    };
}

pub(super) const INTS: [&str; 20] = ints!(names_and_x8);
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

/// `fence.i` concerns one hart only, and a thread may be moved to another one right after it. The
/// kernel's flush runs it on every hart before that hart next runs a thread of this process, this
/// thread included.
pub(crate) fn make_visible(_writable: *const u8, executable: usize, bytes: usize) {
    super::os::flush_instruction_cache(executable, bytes);
}

// The frame of this function, from s0 (= x8) down: ra, s0 to s11, fs0 to fs11, the image's address.
// Below it is the callee's frame, its lowest word at sp. A C function keeps s0. A Go function keeps
// sp alone and leaves the word there to its caller: s0 waits in it meanwhile.
std::arch::global_asm!(
    // Assembly outside of functions is read for the target's base alone, without its floats.
    ".option push",
    ".option arch, +d",
    ".globl fing_stubs_call_image",
    ".hidden fing_stubs_call_image",
    ".p2align 2",
    ".type fing_stubs_call_image, @function",
    "fing_stubs_call_image:",
    ".cfi_startproc",
    "addi sp, sp, -208",
    ".cfi_def_cfa_offset 208",
    kept!(save),
    "addi s0, sp, 208",
    ".cfi_def_cfa s0, 0",
    "sd a0, -208(s0)",
    "mv t6, a0",
    // Room for the frame, page by page.
    "ld t0, {frame}(t6)",
    "ld t1, {frame_words}(t6)",
    "slli t2, t1, 3",
    "lui t3, 1",
    "2: bltu t2, t3, 3f",
    "sub sp, sp, t3",
    "sd zero, 0(sp)",
    "sub t2, t2, t3",
    "j 2b",
    "3: sub sp, sp, t2",
    "mv t4, sp",
    "4: beqz t1, 5f",
    "ld t5, 0(t0)",
    "sd t5, 0(t4)",
    "addi t0, t0, 8",
    "addi t4, t4, 8",
    "addi t1, t1, -1",
    "j 4b",
    "5:",
    floats!(load_floats),
    ints!(load_ints),
    "ld t1, {is_go}(t6)",
    "bnez t1, 6f",
    "ld t6, {code}(t6)",
    "jalr t6",
    "ld t6, -208(s0)",
    "j 7f",
    "6: sd s0, 0(sp)",
    // For an unwinder: s0 is the word at sp until it is back (DW_CFA_def_cfa_expression of 3 bytes:
    // DW_OP_breg2 0, DW_OP_deref).
    ".cfi_escape 0x0f, 3, 0x72, 0, 0x06",
    "ld x8, {ints}+8*19(t6)",
    "ld t6, {code}(t6)",
    "jalr t6",
    "ld t6, 0(sp)",
    "ld t6, -208(t6)",
    "sd x8, {ints}+8*19(t6)",
    "ld s0, 0(sp)",
    ".cfi_def_cfa s0, 0",
    "7:",
    ints!(store_ints),
    floats!(store_floats),
    "ld t0, {frame}(t6)",
    "ld t1, {frame_words}(t6)",
    "mv t4, sp",
    "8: beqz t1, 9f",
    "ld t5, 0(t4)",
    "sd t5, 0(t0)",
    "addi t0, t0, 8",
    "addi t4, t4, 8",
    "addi t1, t1, -1",
    "j 8b",
    "9: addi sp, s0, -208",
    kept!(restore),
    "addi sp, sp, 208",
    ".cfi_def_cfa sp, 0",
    "ret",
    ".cfi_endproc",
    ".size fing_stubs_call_image, . - fing_stubs_call_image",
    ".option pop",
    code = const offset_of!(CallImage, code),
    frame = const offset_of!(CallImage, frame),
    frame_words = const offset_of!(CallImage, frame_words),
    is_go = const offset_of!(CallImage, is_go),
    ints = const offset_of!(CallImage, ints),
    floats = const offset_of!(CallImage, floats),
);
