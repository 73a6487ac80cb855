//! The call on arm64.

use std::arch::naked_asm;
use std::mem::offset_of;

use super::Registers;

/// x0..x15.
pub const INTS: usize = 16;
/// d0..d15.
pub const FLOATS: usize = 16;
/// None.
pub const ZERO_WORDS: usize = 0;

/// AAPCS64 arguments: x0 code, x1 registers, x2 frame, x3 frame words.
///
/// ```text
/// x29+160..+184  registers, frame, words  to find everything again after the call
/// x29+96..+160   d8..d15                  C's callee-saved registers
/// x29+16..+96    x19..x28
/// x29+0          x29 x30
/// sp+8..         copy of the frame: the callee's argument base
/// sp             x29, for a Go function gives back nothing but sp
/// ```
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter(
    code: usize,
    registers: *mut Registers,
    frame: *mut u64,
    words: usize,
) {
    naked_asm!(
        "stp x29, x30, [sp, #-192]!",
        "mov x29, sp",
        ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "str x\\i, [x29, #16 + 8 * (\\i - 19)]",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "str d\\i, [x29, #96 + 8 * (\\i - 8)]",
        ".endr",
        "stp x1, x2, [x29, #160]",
        "str x3, [x29, #176]",
        // The frame, with one word below it, in a multiple of 16 bytes. x16 = registers and x17 =
        // code stay put meanwhile, Go passes nothing in either.
        "mov x16, x1",
        "mov x17, x0",
        "lsl x4, x3, #3",
        "add x4, x4, #23",
        "and x4, x4, #-16",
        "sub sp, sp, x4",
        "str x29, [sp]",
        "add x5, sp, #8",
        "2: cbz x3, 3f",
        "ldr x6, [x2], #8",
        "str x6, [x5], #8",
        "sub x3, x3, #1",
        "b 2b",
        "3:",
        // All argument registers, then the call.
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "ldr x\\i, [x16, #{ints} + 8 * \\i]",
        "ldr d\\i, [x16, #{floats} + 8 * \\i]",
        ".endr",
        "ldr x26, [x16, #{context}]",
        "ldr x28, [x16, #{g}]",
        "blr x17",
        // Everything back. x16, x17 and x29 carry no result.
        "ldr x29, [sp]",
        "ldr x16, [x29, #160]",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "str x\\i, [x16, #{ints} + 8 * \\i]",
        "str d\\i, [x16, #{floats} + 8 * \\i]",
        ".endr",
        "str x26, [x16, #{context}]",
        "str x28, [x16, #{g}]",
        "mrs x0, nzcv",
        "str x0, [x16, #{flags}]",
        "ldp x2, x3, [x29, #168]",
        "add x5, sp, #8",
        "4: cbz x3, 5f",
        "ldr x6, [x5], #8",
        "str x6, [x2], #8",
        "sub x3, x3, #1",
        "b 4b",
        "5:",
        "mov sp, x29",
        ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "ldr x\\i, [x29, #16 + 8 * (\\i - 19)]",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "ldr d\\i, [x29, #96 + 8 * (\\i - 8)]",
        ".endr",
        "ldp x29, x30, [sp], #192",
        "ret",
        ints = const offset_of!(Registers, ints),
        floats = const offset_of!(Registers, floats),
        context = const offset_of!(Registers, context),
        g = const offset_of!(Registers, g),
        flags = const offset_of!(Registers, flags),
    )
}
