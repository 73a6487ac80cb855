//! The call on riscv64.

use std::arch::naked_asm;
use std::mem::offset_of;

use super::Registers;

/// x10..x17 x8 x9 x18..x23.
pub const INTS: usize = 16;
/// f10..f17 f8 f9 f18..f23.
pub const FLOATS: usize = 16;
/// None.
pub const ZERO_WORDS: usize = 0;

/// LP64D arguments: x10 code, x11 registers, x12 frame, x13 frame words.
///
/// ```text
/// x8+200..+224  registers, frame, words   to find everything again after the call
/// x8+104..+200  f8 f9 f18..f27            C's callee-saved registers
/// x8+8..+104    x8 x9 x18..x27
/// x8+0          x1
/// sp+8..        copy of the frame: the callee's argument base
/// sp            x8, for a Go function gives back nothing but sp
/// ```
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter(
    code: usize,
    registers: *mut Registers,
    frame: *mut u64,
    words: usize,
) {
    naked_asm!(
        ".option push",
        ".option arch, +d",
        "addi sp, sp, -224",
        "sd x1, 0(sp)",
        "sd x8, 8(sp)",
        "sd x9, 16(sp)",
        "fsd f8, 104(sp)",
        "fsd f9, 112(sp)",
        ".irp i, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "sd x\\i, 24 + 8 * (\\i - 18)(sp)",
        "fsd f\\i, 120 + 8 * (\\i - 18)(sp)",
        ".endr",
        "mv x8, sp",
        "sd x11, 200(x8)",
        "sd x12, 208(x8)",
        "sd x13, 216(x8)",
        // The frame, with one word below it, in a multiple of 16 bytes. x30 = registers and x31 =
        // code stay put meanwhile, Go passes nothing in either.
        "mv x30, x11",
        "mv x31, x10",
        "slli x5, x13, 3",
        "addi x5, x5, 23",
        "andi x5, x5, -16",
        "sub sp, sp, x5",
        "sd x8, 0(sp)",
        "addi x5, sp, 8",
        "2: beqz x13, 3f",
        "ld x6, 0(x12)",
        "sd x6, 0(x5)",
        "addi x12, x12, 8",
        "addi x5, x5, 8",
        "addi x13, x13, -1",
        "j 2b",
        "3:",
        // All argument registers, then the call.
        ".irp i, 10, 11, 12, 13, 14, 15, 16, 17",
        "ld x\\i, {ints} + 8 * (\\i - 10)(x30)",
        "fld f\\i, {floats} + 8 * (\\i - 10)(x30)",
        ".endr",
        ".irp i, 8, 9",
        "ld x\\i, {ints} + 8 * \\i(x30)",
        "fld f\\i, {floats} + 8 * \\i(x30)",
        ".endr",
        ".irp i, 18, 19, 20, 21, 22, 23",
        "ld x\\i, {ints} + 8 * (\\i - 8)(x30)",
        "fld f\\i, {floats} + 8 * (\\i - 8)(x30)",
        ".endr",
        "ld x26, {context}(x30)",
        "ld x27, {g}(x30)",
        "jalr x31",
        // Everything back. x30 and x31 carry no result.
        "ld x31, 0(sp)",
        "ld x30, 200(x31)",
        ".irp i, 10, 11, 12, 13, 14, 15, 16, 17",
        "sd x\\i, {ints} + 8 * (\\i - 10)(x30)",
        "fsd f\\i, {floats} + 8 * (\\i - 10)(x30)",
        ".endr",
        ".irp i, 8, 9",
        "sd x\\i, {ints} + 8 * \\i(x30)",
        "fsd f\\i, {floats} + 8 * \\i(x30)",
        ".endr",
        ".irp i, 18, 19, 20, 21, 22, 23",
        "sd x\\i, {ints} + 8 * (\\i - 8)(x30)",
        "fsd f\\i, {floats} + 8 * (\\i - 8)(x30)",
        ".endr",
        "sd x26, {context}(x30)",
        "sd x27, {g}(x30)",
        "mv x8, x31",
        "ld x12, 208(x8)",
        "ld x13, 216(x8)",
        "addi x5, sp, 8",
        "4: beqz x13, 5f",
        "ld x6, 0(x5)",
        "sd x6, 0(x12)",
        "addi x12, x12, 8",
        "addi x5, x5, 8",
        "addi x13, x13, -1",
        "j 4b",
        "5:",
        "mv sp, x8",
        "ld x1, 0(sp)",
        "ld x8, 8(sp)",
        "ld x9, 16(sp)",
        "fld f8, 104(sp)",
        "fld f9, 112(sp)",
        ".irp i, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "ld x\\i, 24 + 8 * (\\i - 18)(sp)",
        "fld f\\i, 120 + 8 * (\\i - 18)(sp)",
        ".endr",
        "addi sp, sp, 224",
        "ret",
        ".option pop",
        ints = const offset_of!(Registers, ints),
        floats = const offset_of!(Registers, floats),
        context = const offset_of!(Registers, context),
        g = const offset_of!(Registers, g),
    )
}
