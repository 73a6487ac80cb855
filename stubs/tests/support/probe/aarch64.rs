//! The callees on arm64; see `x86_64.rs`.

use std::arch::naked_asm;
use std::mem::offset_of;

use fing_stubs::Family;

use super::{PROBE, Probe};

pub(crate) const INTS: [&str; 32] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30", "sp",
];

pub(crate) const FLOATS: [&str; 32] = [
    "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10", "d11", "d12", "d13", "d14",
    "d15", "d16", "d17", "d18", "d19", "d20", "d21", "d22", "d23", "d24", "d25", "d26", "d27",
    "d28", "d29", "d30", "d31",
];

pub(crate) const PUSHED: u64 = 0;

pub(crate) fn callee(family: Family) -> usize {
    let callee = match family {
        Family::Go => go,
        Family::Native(_) => native,
    };
    callee as *const () as usize
}

/// `from`: bytes from the stack pointer to the frame. x16 holds the probe and x17 is scratch: they
/// carry nothing in either convention, and are written down as the callee found them in neither. At
/// `end` x0 to x15, d0 to d7 and d16 to d31 have what they are to be left with.
macro_rules! callee {
    ($name:ident, from: $from:literal, end: [$($end:literal),*]) => {
        /// A callee; its caller must have set [`PROBE`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "hint #34",
                "adrp x16, {probe}", "ldr x16, [x16, :lo12:{probe}]",
                "ldr x17, [x16, #{calls}]", "add x17, x17, #1", "str x17, [x16, #{calls}]",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "str x\\i, [x16, #{ints} + 8 * \\i]",
                ".endr",
                ".irp i, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
                "str x\\i, [x16, #{ints} + 8 * \\i]",
                ".endr",
                "mov x17, sp", "str x17, [x16, #{ints} + 8 * 31]",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "str d\\i, [x16, #{floats} + 8 * \\i]",
                ".endr",
                ".irp i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                "str d\\i, [x16, #{floats} + 8 * \\i]",
                ".endr",
                // The frame: x9 words are left, x10 = where they go, x11 = what is left instead.
                "ldr x9, [x16, #{frame_words}]", "ldr x10, [x16, #{frame}]",
                "ldr x11, [x16, #{frame_fill}]", concat!("add x12, sp, #", $from),
                "2: cbz x9, 3f",
                "ldr x13, [x12]", "str x13, [x10], #8",
                "ldr x13, [x11], #8", "str x13, [x12], #8",
                "sub x9, x9, #1", "b 2b", "3:",
                // The hidden area, byte by byte.
                "ldr x9, [x16, #{hidden_bytes}]", "ldr x10, [x16, #{hidden_register}]",
                "add x10, x16, x10, lsl #3", "ldr x10, [x10, #{ints}]",
                "ldr x11, [x16, #{hidden_fill}]",
                "4: cbz x9, 5f",
                "ldrb w13, [x11], #1", "strb w13, [x10], #1",
                "sub x9, x9, #1", "b 4b", "5:",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "ldr x\\i, [x16, #{ints_out} + 8 * \\i]",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23",
                "ldr d\\i, [x16, #{floats_out} + 8 * \\i]",
                ".endr",
                ".irp i, 24, 25, 26, 27, 28, 29, 30, 31",
                "ldr d\\i, [x16, #{floats_out} + 8 * \\i]",
                ".endr",
                $($end,)*
                "ldr x17, [x16, #{ints_out} + 8 * 17]",
                "ldr x16, [x16, #{ints_out} + 8 * 16]",
                "ret",
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
// A Go function keeps nothing but sp; x29 is its frame pointer, x18 the platform's. The word at sp
// is the caller's.
callee!(go, from: 8, end: [
    ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
    "ldr x\\i, [x16, #{ints_out} + 8 * \\i]",
    ".endr",
    ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
    "ldr d\\i, [x16, #{floats_out} + 8 * \\i]",
    ".endr"
]);

/// See [`super::keeps_registers`]. x0 to x4 are the arguments of the call, x5 is what is called.
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
        // x29 x30, x19..x28, d8..d15, fpcr, sp.
        "stp x29, x30, [sp, #-176]!",
        ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "str x\\i, [sp, #16 + 8 * (\\i - 19)]",
        "mov x\\i, #0x11 * \\i",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "str d\\i, [sp, #96 + 8 * (\\i - 8)]",
        "mov x9, #0x22 * \\i",
        "fmov d\\i, x9",
        ".endr",
        "mov x29, #0x33",
        "mrs x9, fpcr",
        "mov x10, sp",
        "stp x9, x10, [sp, #160]",
        "blr x5",
        "mov x0, #0",
        "mov x9, sp",
        "ldr x10, [sp, #168]",
        "cmp x9, x10",
        "b.ne 2f",
        "cmp x29, #0x33",
        "b.ne 2f",
        ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "cmp x\\i, #0x11 * \\i",
        "b.ne 2f",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "fmov x9, d\\i",
        "cmp x9, #0x22 * \\i",
        "b.ne 2f",
        ".endr",
        "mrs x9, fpcr",
        "ldr x10, [sp, #160]",
        "cmp x9, x10",
        "b.ne 2f",
        "mov x0, #1",
        "2:",
        ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "ldr x\\i, [sp, #16 + 8 * (\\i - 19)]",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "ldr d\\i, [sp, #96 + 8 * (\\i - 8)]",
        ".endr",
        "ldp x29, x30, [sp], #176",
        "ret",
    )
}
