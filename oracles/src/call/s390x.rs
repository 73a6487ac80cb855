//! The call on s390x.

use std::arch::naked_asm;
use std::mem::offset_of;

use super::Registers;

/// r2..r9.
pub const INTS: usize = 8;
/// f0..f15.
pub const FLOATS: usize = 16;
/// r0.
pub const ZERO_WORDS: usize = 1;

/// Arguments of the ELF ABI: r2 code, r3 registers, r4 frame, r5 frame words.
///
/// ```text
/// r11+136..+216  r6..r15                  C's callee-saved registers, where the caller has room
/// r11+64..+88    registers, frame, words  to find everything again after the call
/// r11+0..+64     f8..f15
/// r15+8..        copy of the frame: the callee's argument base
/// r15            r11, for a Go function gives back nothing but r15
/// ```
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter(
    code: usize,
    registers: *mut Registers,
    frame: *mut u64,
    words: usize,
) {
    naked_asm!(
        "stmg %r6, %r15, 48(%r15)",
        "aghi %r15, -88",
        "lgr %r11, %r15",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "std %f\\i, 0 + 8 * (\\i - 8)(%r11)",
        ".endr",
        "stmg %r3, %r5, 64(%r11)",
        // The frame, with one word below it. r1 = registers and r14 = code stay put meanwhile.
        "lgr %r1, %r3",
        "lgr %r14, %r2",
        "sllg %r2, %r5, 3",
        "aghi %r2, 8",
        "sgr %r15, %r2",
        "stg %r11, 0(%r15)",
        "la %r3, 8(%r15)",
        "ltgr %r5, %r5",
        "je 3f",
        "2: lg %r2, 0(%r4)",
        "stg %r2, 0(%r3)",
        "la %r4, 8(%r4)",
        "la %r3, 8(%r3)",
        "brctg %r5, 2b",
        "3:",
        // All argument registers, then the call.
        ".irp i, 2, 3, 4, 5, 6, 7, 8, 9",
        "lg %r\\i, {ints} + 8 * (\\i - 2)(%r1)",
        ".endr",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "ld %f\\i, {floats} + 8 * \\i(%r1)",
        ".endr",
        "lg %r12, {context}(%r1)",
        "lg %r13, {g}(%r1)",
        "lg %r0, {zero}(%r1)",
        "basr %r14, %r14",
        // Everything back. r1, r10 and r11 carry no result.
        "lg %r11, 0(%r15)",
        "lg %r1, 64(%r11)",
        ".irp i, 2, 3, 4, 5, 6, 7, 8, 9",
        "stg %r\\i, {ints} + 8 * (\\i - 2)(%r1)",
        ".endr",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "std %f\\i, {floats} + 8 * \\i(%r1)",
        ".endr",
        "stg %r12, {context}(%r1)",
        "stg %r13, {g}(%r1)",
        "stg %r0, {zero}(%r1)",
        "lghi %r2, 0",
        "ipm %r2",
        "stg %r2, {flags}(%r1)",
        "lmg %r4, %r5, 72(%r11)",
        "la %r3, 8(%r15)",
        "ltgr %r5, %r5",
        "je 5f",
        "4: lg %r2, 0(%r3)",
        "stg %r2, 0(%r4)",
        "la %r4, 8(%r4)",
        "la %r3, 8(%r3)",
        "brctg %r5, 4b",
        "5:",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "ld %f\\i, 0 + 8 * (\\i - 8)(%r11)",
        ".endr",
        "lmg %r6, %r15, 136(%r11)",
        "br %r14",
        ints = const offset_of!(Registers, ints),
        floats = const offset_of!(Registers, floats),
        context = const offset_of!(Registers, context),
        g = const offset_of!(Registers, g),
        zero = const offset_of!(Registers, zero),
        flags = const offset_of!(Registers, flags),
    )
}
