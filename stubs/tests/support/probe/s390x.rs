//! The callees on s390x; see `x86_64.rs`.

use std::arch::naked_asm;
use std::mem::offset_of;

use fing_stubs::Family;

use super::{PROBE, Probe};

pub(crate) const INTS: [&str; 16] = [
    "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

pub(crate) const FLOATS: [&str; 16] = [
    "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14",
    "f15",
];

pub(crate) const PUSHED: u64 = 0;

pub(crate) fn callee(family: Family) -> usize {
    let callee = match family {
        Family::Go => go,
        Family::Native(_) => native,
    };
    callee as *const () as usize
}

/// `from`: bytes from the stack pointer to the frame. r1 holds the probe: it carries nothing in
/// either convention, and is written down in neither. At `end` all registers that C lets a callee
/// change have what they are to be left with.
macro_rules! callee {
    ($name:ident, from: $from:literal, end: [$($end:literal),*]) => {
        /// A callee; its caller must have set [`PROBE`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "larl %r1, {probe}", "lg %r1, 0(%r1)",
                ".irp i, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "stg %r\\i, {ints} + 8 * \\i(%r1)",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "std %f\\i, {floats} + 8 * \\i(%r1)",
                ".endr",
                "lg %r0, {calls}(%r1)", "aghi %r0, 1", "stg %r0, {calls}(%r1)",
                // The frame: r5 words are left, r2 = where they go, r3 = what is left instead.
                "lg %r2, {frame}(%r1)", "lg %r3, {frame_fill}(%r1)",
                concat!("la %r4, ", $from, "(%r15)"),
                "ltg %r5, {frame_words}(%r1)", "je 3f",
                "2: mvc 0(8, %r2), 0(%r4)", "mvc 0(8, %r4), 0(%r3)",
                "la %r2, 8(%r2)", "la %r3, 8(%r3)", "la %r4, 8(%r4)", "brctg %r5, 2b", "3:",
                // The hidden area, byte by byte.
                "lg %r2, {hidden_register}(%r1)", "sllg %r2, %r2, 3",
                "lg %r2, {ints}(%r2, %r1)", "lg %r3, {hidden_fill}(%r1)",
                "ltg %r5, {hidden_bytes}(%r1)", "je 5f",
                "4: mvc 0(1, %r2), 0(%r3)", "la %r2, 1(%r2)", "la %r3, 1(%r3)",
                "brctg %r5, 4b", "5:",
                ".irp i, 0, 2, 3, 4, 5",
                "lg %r\\i, {ints_out} + 8 * \\i(%r1)",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
                "ld %f\\i, {floats_out} + 8 * \\i(%r1)",
                ".endr",
                $($end,)*
                "lg %r1, {ints_out} + 8(%r1)",
                "br %r14",
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
// A Go function keeps nothing but r15. The word there is the caller's.
callee!(go, from: 8, end: [
    ".irp i, 6, 7, 8, 9, 10, 11, 12, 13",
    "lg %r\\i, {ints_out} + 8 * \\i(%r1)",
    ".endr",
    ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
    "ld %f\\i, {floats_out} + 8 * \\i(%r1)",
    ".endr"
]);

/// See [`super::keeps_registers`]. r2 to r6 are the arguments of the call; what is called is the
/// first stack argument.
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
        // r6 to r15 go to the caller's save area. Above our own, of 160 bytes: f8 to f15, r6, r15,
        // the control register.
        "stmg %r6, %r15, 48(%r15)",
        "lg %r1, 160(%r15)",
        "aghi %r15, -248",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "std %f\\i, 160 + 8 * (\\i - 8)(%r15)",
        "lghi %r0, 0x22 * \\i",
        "ldgr %f\\i, %r0",
        ".endr",
        ".irp i, 7, 8, 9, 10, 11, 12, 13",
        "lghi %r\\i, 0x11 * \\i",
        ".endr",
        "stg %r6, 224(%r15)",
        "stg %r15, 232(%r15)",
        "efpc %r0",
        "st %r0, 240(%r15)",
        "basr %r14, %r1",
        "lghi %r2, 0",
        "cg %r15, 232(%r15)",
        "jne 2f",
        "cg %r6, 224(%r15)",
        "jne 2f",
        ".irp i, 7, 8, 9, 10, 11, 12, 13",
        "cghi %r\\i, 0x11 * \\i",
        "jne 2f",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "lgdr %r0, %f\\i",
        "cghi %r0, 0x22 * \\i",
        "jne 2f",
        ".endr",
        // The masks of exceptions and the rounding mode, not what was noted.
        "lgf %r0, 240(%r15)",
        "efpc %r3",
        "xr %r0, %r3",
        "nilf %r0, 0xf8000007",
        "jne 2f",
        "lghi %r2, 1",
        "2:",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "ld %f\\i, 160 + 8 * (\\i - 8)(%r15)",
        ".endr",
        "lmg %r6, %r15, 48 + 248(%r15)",
        "br %r14",
    )
}
