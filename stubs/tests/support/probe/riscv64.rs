//! The callees on riscv64; see `x86_64.rs`.

use std::arch::naked_asm;
use std::mem::offset_of;

use fing_stubs::Family;

use super::{PROBE, Probe};

pub(crate) const INTS: [&str; 32] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30", "x31",
];

pub(crate) const FLOATS: [&str; 32] = [
    "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14",
    "f15", "f16", "f17", "f18", "f19", "f20", "f21", "f22", "f23", "f24", "f25", "f26", "f27",
    "f28", "f29", "f30", "f31",
];

pub(crate) const PUSHED: u64 = 0;

pub(crate) fn callee(family: Family) -> usize {
    let callee = match family {
        Family::Go => go,
        Family::Native(_) => native,
    };
    callee as *const () as usize
}

/// `from`: bytes from the stack pointer to the frame. x31 holds the probe: it carries nothing in
/// either convention, and is written down in neither. At `end` all registers that C lets a callee
/// change have what they are to be left with.
macro_rules! callee {
    ($name:ident, from: $from:literal, end: [$($end:literal),*]) => {
        /// A callee; its caller must have set [`PROBE`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                ".option push",
                ".option arch, +d",
                "lla x31, {probe}", "ld x31, 0(x31)",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "sd x\\i, {ints} + 8 * \\i(x31)", "fsd f\\i, {floats} + 8 * \\i(x31)",
                ".endr",
                ".irp i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
                "sd x\\i, {ints} + 8 * \\i(x31)", "fsd f\\i, {floats} + 8 * \\i(x31)",
                ".endr",
                "fsd f31, {floats} + 8 * 31(x31)",
                "ld x5, {calls}(x31)", "addi x5, x5, 1", "sd x5, {calls}(x31)",
                // The frame: x5 words are left, x6 = where they go, x7 = what is left instead.
                "ld x5, {frame_words}(x31)", "ld x6, {frame}(x31)",
                "ld x7, {frame_fill}(x31)", concat!("addi x28, sp, ", $from),
                "2: beqz x5, 3f",
                "ld x29, 0(x28)", "sd x29, 0(x6)", "ld x29, 0(x7)", "sd x29, 0(x28)",
                "addi x6, x6, 8", "addi x7, x7, 8", "addi x28, x28, 8",
                "addi x5, x5, -1", "j 2b", "3:",
                // The hidden area, byte by byte.
                "ld x5, {hidden_bytes}(x31)", "ld x6, {hidden_register}(x31)",
                "slli x6, x6, 3", "add x6, x6, x31", "ld x6, {ints}(x6)",
                "ld x7, {hidden_fill}(x31)",
                "4: beqz x5, 5f",
                "lbu x29, 0(x7)", "sb x29, 0(x6)", "addi x6, x6, 1", "addi x7, x7, 1",
                "addi x5, x5, -1", "j 4b", "5:",
                ".irp i, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 30",
                "ld x\\i, {ints_out} + 8 * \\i(x31)",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 30, 31",
                "fld f\\i, {floats_out} + 8 * \\i(x31)",
                ".endr",
                $($end,)*
                "ld x31, {ints_out} + 8 * 31(x31)",
                "ret",
                ".option pop",
                probe = sym PROBE,
                calls = const offset_of!(Probe, calls),
                ints = const offset_of!(Probe, ints),
                floats = const offset_of!(Probe, floats),
                frame_words = const offset_of!(Probe, frame_words),
                frame = const offset_of!(Probe, frame),
                frame_fill = const offset_of!(Probe, frame_fill),
                hidden_bytes = const offset_of!(Probe, hidden_bytes),
                hidden_register = const offset_of!(Probe, hidden_register),
                hidden_fill = const offset_of!(Probe, hidden_fill),
                ints_out = const offset_of!(Probe, ints_out),
                floats_out = const offset_of!(Probe, floats_out),
            )
        }
    };
}

callee!(native, from: 0, end: []);
// A Go function keeps nothing but sp; x3 and x4 are the platform's. The word at sp is the caller's.
callee!(go, from: 8, end: [
    ".irp i, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
    "ld x\\i, {ints_out} + 8 * \\i(x31)", "fld f\\i, {floats_out} + 8 * \\i(x31)",
    ".endr"
]);

/// See [`super::keeps_registers`]. x10 to x14 are the arguments of the call, x15 is what is called.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn keeps_registers(
    first: usize,
    end: usize,
    progress: usize,
    g: usize,
    stub: usize,
    called: usize,
) -> u64 {
    naked_asm!(
        ".option push",
        ".option arch, +d",
        // Register n of either kind is at 8 * n, the float ones from 224 on; then sp, the rounding
        // mode, x3, x4, x1.
        "addi sp, sp, -496",
        ".irp i, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "sd x\\i, 8 * \\i(sp)",
        "fsd f\\i, 224 + 8 * \\i(sp)",
        "li x\\i, 0x11 * \\i",
        "li x5, 0x22 * \\i",
        "fmv.d.x f\\i, x5",
        ".endr",
        "sd sp, 448(sp)",
        "frrm x5",
        "sd x5, 456(sp)",
        "sd x3, 464(sp)",
        "sd x4, 472(sp)",
        "sd x1, 480(sp)",
        "jalr x15",
        "li x10, 0",
        "ld x5, 448(sp)",
        "bne x5, sp, 2f",
        "frrm x5",
        "ld x6, 456(sp)",
        "bne x5, x6, 2f",
        "ld x5, 464(sp)",
        "bne x5, x3, 2f",
        "ld x5, 472(sp)",
        "bne x5, x4, 2f",
        ".irp i, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "li x5, 0x11 * \\i",
        "bne x\\i, x5, 2f",
        "li x5, 0x22 * \\i",
        "fmv.x.d x6, f\\i",
        "bne x6, x5, 2f",
        ".endr",
        "li x10, 1",
        "2:",
        ".irp i, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "ld x\\i, 8 * \\i(sp)",
        "fld f\\i, 224 + 8 * \\i(sp)",
        ".endr",
        "ld x1, 480(sp)",
        "addi sp, sp, 496",
        "ret",
        ".option pop",
    )
}
