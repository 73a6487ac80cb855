//! x86-64, the reference: every file of an instruction set has these items, and is read best beside
//! this one.
#![expect(unsafe_code, reason = "assembly")]

use super::CallImage;
use std::arch::asm;
use std::mem::{MaybeUninit, offset_of};

/// What this instruction set lacks to run stubs: nothing.
pub(super) const MISSING: Option<&str> = None;

/// Gives a macro the integer registers that an image holds, each with its index there. Those that
/// the assembly below needs for itself during the call (the stack pointer, the frame pointer) are
/// not in an image, and the register that holds the image's address comes last.
macro_rules! ints {
    ($with:ident) => {
        $with!(
            "rax" 0, "rcx" 1, "rdx" 2, "rbx" 3, "rsi" 4, "rdi" 5, "r8" 6, "r9" 7, "r10" 8,
            "r11" 9, "r12" 10, "r13" 11, "r14" 12, "r15" 13
        )
    };
}

/// As `ints`, the float registers.
macro_rules! floats {
    ($with:ident) => {
        $with!(
            "xmm0" 0, "xmm1" 1, "xmm2" 2, "xmm3" 3, "xmm4" 4, "xmm5" 5, "xmm6" 6, "xmm7" 7,
            "xmm8" 8, "xmm9" 9, "xmm10" 10, "xmm11" 11, "xmm12" 12, "xmm13" 13, "xmm14" 14,
            "xmm15" 15
        )
    };
}

macro_rules! names {
    ($($register:literal $index:literal),*) => { [$($register),*] };
}

/// Instructions that load or store registers of a list, one line each.
macro_rules! load_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("mov ", $register, ", [r15 + {ints} + 8*", $index, "]\n"),*)
    };
}
macro_rules! store_ints {
    ($($register:literal $index:literal),*) => {
        concat!($("mov [r15 + {ints} + 8*", $index, "], ", $register, "\n"),*)
    };
}
macro_rules! load_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("movups ", $register, ", [r15 + {floats} + 16*", $index, "]\n"),*)
    };
}
macro_rules! store_floats {
    ($($register:literal $index:literal),*) => {
        concat!($("movups [r15 + {floats} + 16*", $index, "], ", $register, "\n"),*)
    };
}

/// Names of the integer registers in an image, by index.
pub(super) const INTS: [&str; 14] = ints!(names);
/// Names of the float registers in an image, by index.
pub(super) const FLOATS: [&str; 16] = floats!(names);
/// Words of a float register in an image.
pub(super) const FLOAT_WORDS: usize = 2;

unsafe extern "C-unwind" {
    /// Copies the image's frame to the stack, loads the image's registers, calls its code, and
    /// stores registers and frame back.
    #[link_name = "fing_stubs_call_image"]
    pub(super) fn call_image(image: *mut CallImage);
}

/// Nothing, of which the compiler only knows that it may have written these bytes: from then on
/// each has a value.
pub(super) fn write_unwritten(bytes: &mut [MaybeUninit<u8>]) {
    // SAFETY: I5: there are no instructions.
    unsafe { asm!("/* {} */", in(reg) bytes.as_mut_ptr(), options(nostack, preserves_flags)) };
}

/// Makes instructions visible to instruction fetches of this thread, written through the alias at
/// `writable` and run at `executable`. Other threads see them once they have serialized, of which
/// the code memory takes care.
///
/// x86-64 keeps instruction caches coherent with stores, through any alias.
pub(crate) fn make_visible(_writable: *const u8, _executable: usize, _bytes: usize) {}

// The frame of this function:
//
//   rbp+8           return address
//   rbp             the caller's rbp
//   rbp-8 .. -40    rbx r12 r13 r14 r15
//   rbp-48          the code's address
//   rbp-56          the image's address
//   rbp-64          (alignment)
//   below           the callee's frame; its lowest word, at rsp, is the argument base
//
// Pages of a large frame are touched one by one on the way down, so that a guard page is hit and
// not jumped over. After the call only rsp and rbp are trusted: a Go function keeps no others.
std::arch::global_asm!(
    ".globl fing_stubs_call_image",
    ".hidden fing_stubs_call_image",
    ".p2align 4",
    ".type fing_stubs_call_image, @function",
    "fing_stubs_call_image:",
    ".cfi_startproc",
    "endbr64",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    ".cfi_offset rbx, -24",
    ".cfi_offset r12, -32",
    ".cfi_offset r13, -40",
    ".cfi_offset r14, -48",
    ".cfi_offset r15, -56",
    "push qword ptr [rdi + {code}]",
    "push rdi",
    "push rdi",
    "mov r15, rdi",
    // Room for the frame, page by page.
    "mov rcx, [r15 + {frame_words}]",
    "lea rax, [rcx * 8]",
    "2: cmp rax, 4096",
    "jb 3f",
    "sub rsp, 4096",
    "test qword ptr [rsp], rsp",
    "sub rax, 4096",
    "jmp 2b",
    "3: sub rsp, rax",
    "mov rsi, [r15 + {frame}]",
    "mov rdi, rsp",
    "rep movsq",
    floats!(load_floats),
    ints!(load_ints),
    "cld",
    "call [rbp - 48]",
    "xchg r15, [rbp - 56]",
    ints!(store_ints),
    // The line before this one stored the image's address; the callee's r15 was exchanged for it.
    "mov rax, [rbp - 56]",
    "mov [r15 + {ints} + 8*13], rax",
    floats!(store_floats),
    "mov rcx, [r15 + {frame_words}]",
    "mov rdi, [r15 + {frame}]",
    "mov rsi, rsp",
    "cld",
    "rep movsq",
    "lea rsp, [rbp - 40]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".size fing_stubs_call_image, . - fing_stubs_call_image",
    code = const offset_of!(CallImage, code),
    frame = const offset_of!(CallImage, frame),
    frame_words = const offset_of!(CallImage, frame_words),
    ints = const offset_of!(CallImage, ints),
    floats = const offset_of!(CallImage, floats),
);
