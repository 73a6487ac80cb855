//! The callees on arm64; see `x86_64.rs`.
//!
//! ```text
//! integer registers        x0..x15
//! closure context          x26
//! goroutine                x28
//! held at zero             none
//! survive the call         sp; x18 is the platform's, and is left alone
//! scratch at a Go call     x16 x17 x27
//! argument base            sp + 8; the word at sp is the caller's
//! ```

use std::arch::naked_asm;
use std::mem::offset_of;

use super::{Entry, Observation};

pub(super) const INT_ARG_REGS: usize = 16;

pub(super) const POINTER: &[Entry] =
    &each_count!(pointer_entry: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
pub(super) const INTERFACE: &[Entry] =
    &each_count!(interface_entry: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
pub(super) const SIXTY_KILOBYTES: &[Entry] = &[sixty_kilobytes];
pub(super) const NATIVE: &[Entry] = &[
    native_pointer,
    native_interface,
    native_pointer_results,
    native_interface_results,
];

/// Each number of registers has an entry of its own. At the branch: x16 = the entry's address, x17
/// = the number; all other registers as found. `hint #34` is `bti c`, which an indirect call may
/// land on.
macro_rules! entries {
    ($($entry:ident => [$zero:ident, $one:ident, $more:ident]);* $(;)?) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $entry<const N: usize>() {
            naked_asm!(
                "hint #34",
                "adr x16, {me}",
                "mov x17, #{n}",
                ".if {n} == 0", "b {zero}", ".endif",
                ".if {n} == 1", "b {one}", ".endif",
                "b {more}",
                me = sym $entry::<N>, n = const N,
                zero = sym $zero, one = sym $one, more = sym $more,
            )
        }
    )*};
}

entries! {
    pointer_entry => [pointer_0, pointer_1, pointer_1];
    interface_entry => [interface_0, interface_1, interface_2];
}

/// A callee's body. At its start: x26 = observation, sp = the stack pointer at the call, and as
/// [`entries`] leaves them x16 and x17.
///
/// The parts a case supplies run with x26 and sp as at the start and all else saved: `word0`,
/// `object`: load the argument words to x11 and x12; `abi`: what this ABI promises besides;
/// `frame`: stores of results, and of junk over arguments and spill slots, which are the callee's;
/// `registers`: result registers, over the junk.
macro_rules! callee {
    ($name:ident, abi: [$($abi:literal),*], registers: [$($registers:literal),*],
     word0: $word0:literal, object: $object:literal, frame: [$($results:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                // Everything as found.
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "str x\\i, [x26, #{ints} + 8 * \\i]",
                ".endr",
                "mov x9, sp", "str x9, [x26, #{sp}]", "str x28, [x26, #{g}]",
                "str x17, [x26, #{int_arg_regs}]",
                "mrs x9, nzcv", "str x9, [x26, #{flags}]",
                "mrs x9, fpcr", "str x9, [x26, #{float_control}]",
                ".irp i, 0, 1, 2, 3, 4",
                "ldr x9, [sp, #8 + 8 * \\i]", "str x9, [x26, #{frame} + 8 * \\i]",
                ".endr",
                // Faults collect in x10. x9 is scratch; the argument words are x11 and x12.
                $word0, $object, "mov x10, #0",
                "ldr x9, [x26]", "cmp x9, x16", "b.eq 20f", "orr x10, x10, #1", "20:",
                "ldr x9, [x26, #{expected}]", "cbz x9, 21f", "cmp x9, x11", "b.eq 21f",
                "orr x10, x10, #2", "21:",
                "mov x9, sp", "tst x9, #15", "b.eq 25f", "orr x10, x10, #64", "25:",
                $($abi,)*
                // The object: confirm its number unless it is not the right one.
                "cbz x12, 23f",
                "ldr x9, [x26, #{expected} + 8]", "cbz x9, 22f", "cmp x9, x12", "b.ne 23f", "22:",
                "ldr x9, [x12]", "ldr x9, [x9]", "str x9, [x26, #{confirmed}]",
                "ldr x13, [x26, #{calls}]", "ldr x14, [x26, #{log_len}]", "cmp x13, x14",
                "b.hs 24f",
                "ldr x14, [x26, #{log}]", "str x9, [x14, x13, lsl #3]", "b 24f",
                "23:", "orr x10, x10, #4", "24:",
                "ldr x9, [x26, #{faults}]", "orr x9, x9, x10", "str x9, [x26, #{faults}]",
                "ldr x9, [x26, #{calls}]", "add x9, x9, #1", "str x9, [x26, #{calls}]",
                // Results and junk in the frame: w11 = 4.0, x12 = 5151, x13 = bytes 1..8, w14 =
                // bytes 9 and 10, x15 = junk.
                "mov w11, #0x40800000", "mov x12, #5151",
                "mov x13, #0x0201", "movk x13, #0x0403, lsl #16",
                "movk x13, #0x0605, lsl #32", "movk x13, #0x0807, lsl #48",
                "mov w14, #0x0a09",
                "mov x15, #0x6e6b", "movk x15, #0x6a75, lsl #16",
                "movk x15, #0x6e6b, lsl #32", "movk x15, #0x6a75, lsl #48",
                $($results,)*
                // Junk in every register but sp, x18 and the return address. x29 is Go's frame
                // pointer, which its functions do not give back.
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17",
                "mov x\\i, x15",
                ".endr",
                ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
                "mov x\\i, x15",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "movi v\\i\\().2d, #0xffffffffffffffff",
                ".endr",
                ".irp i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                "movi v\\i\\().2d, #0xffffffffffffffff",
                ".endr",
                $($registers,)*
                "ret",
                expected = const offset_of!(Observation, expected),
                log = const offset_of!(Observation, log),
                log_len = const offset_of!(Observation, log_len),
                calls = const offset_of!(Observation, calls),
                faults = const offset_of!(Observation, faults),
                confirmed = const offset_of!(Observation, confirmed),
                int_arg_regs = const offset_of!(Observation, int_arg_regs),
                ints = const offset_of!(Observation, ints),
                sp = const offset_of!(Observation, sp),
                g = const offset_of!(Observation, g),
                flags = const offset_of!(Observation, flags),
                float_control = const offset_of!(Observation, float_control),
                frame = const offset_of!(Observation, frame),
            )
        }
    };
}

/// What only the register ABI promises: x28 points at Go's goroutine, of which the stack check
/// reads word 2. And its result registers: x0, and d0, whose upper bits are anyone's.
macro_rules! register_callee {
    ($name:ident, $($rest:tt)*) => {
        callee! {
            $name,
            abi: ["ldr x9, [x28, #16]", "cbz x9, 26f", "orr x10, x10, #8", "26:"],
            registers: ["mov x0, #0x40800000", "bfi x15, x0, #0, #32", "fmov d0, x15",
                "mov x15, x1", "mov x0, #5151"],
            $($rest)*
        }
    };
}

callee! {
    pointer_0, abi: [], registers: [], word0: "mov x11, #0", object: "ldr x12, [sp, #8]",
    frame: ["str x15, [sp, #8]", "str x12, [sp, #16]", "str w11, [sp, #24]",
        "stur x13, [sp, #28]", "strh w14, [sp, #36]"]
}
callee! {
    interface_0, abi: [], registers: [],
    word0: "ldr x11, [sp, #8]", object: "ldr x12, [sp, #16]",
    frame: ["str x15, [sp, #8]", "str x15, [sp, #16]", "str x12, [sp, #24]",
        "str w11, [sp, #32]", "stur x13, [sp, #36]", "strh w14, [sp, #44]"]
}
register_callee! {
    pointer_1, word0: "mov x11, #0", object: "ldr x12, [x26, #{ints}]",
    frame: ["str x13, [sp, #8]", "strh w14, [sp, #16]", "str x15, [sp, #24]"]
}
register_callee! {
    interface_1, word0: "ldr x11, [sp, #8]", object: "ldr x12, [sp, #16]",
    frame: ["str x15, [sp, #8]", "str x15, [sp, #16]", "str x13, [sp, #24]",
        "strh w14, [sp, #32]"]
}
register_callee! {
    interface_2, word0: "ldr x11, [x26, #{ints}]", object: "ldr x12, [x26, #{ints} + 8]",
    frame: ["str x13, [sp, #8]", "strh w14, [sp, #16]", "str x15, [sp, #24]",
        "str x15, [sp, #32]"]
}

/// At its start: x26 = observation, sp + 8 = the argument base.
#[unsafe(naked)]
unsafe extern "C" fn sixty_kilobytes() {
    naked_asm!(
        "hint #34",
        "add x0, sp, #8",
        "mov x1, #7681",
        "mov x2, #-1",
        "2: str x2, [x0], #8",
        "subs x1, x1, #1",
        "b.ne 2b",
        "ldr x0, [x26, #{calls}]",
        "add x0, x0, #1",
        "str x0, [x26, #{calls}]",
        ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
        "mov x\\i, #-1",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "fmov d\\i, x2",
        ".endr",
        "ret",
        calls = const offset_of!(Observation, calls),
    )
}

/// The native callees, in AAPCS64 form, run the body of the ABI0 interface case on a frame of their
/// own, then give back C's callee-saved registers.
///
/// ```text
/// sp+208        x8 as found               the address for the results, where there are any
/// sp+144..+208  d8..d15                   saved
/// sp+64..+144   x19..x28                  saved
/// sp+48..+64    x29 x30                   saved
/// sp+8..+48     ABI0 frame                words at 8 and 16; results at 24, 32 and 36
/// ```
macro_rules! native_callee {
    (
        $name:ident,
        word0: $word0:literal,
        object: $object:literal,
        results: [$($results:literal),*]
    ) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "hint #34",
                "sub sp, sp, #224",
                "stp x29, x30, [sp, #48]",
                ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
                "str x\\i, [sp, #64 + 8 * (\\i - 19)]",
                ".endr",
                ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
                "str d\\i, [sp, #144 + 8 * (\\i - 8)]",
                ".endr",
                "str x8, [sp, #208]",
                $word0, $object,
                "stp x16, x17, [sp, #8]",
                "ldr x26, [x17, #8]",
                // The frame is a multiple of 16 bytes.
                "mov x9, sp", "tst x9, #15", "b.eq 30f",
                "ldr x10, [x26, #{faults}]", "orr x10, x10, #64", "str x10, [x26, #{faults}]",
                "30:",
                "adr x16, {me}", "mov x17, #0",
                "bl {body}",
                $($results,)*
                ".irp i, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
                "ldr x\\i, [sp, #64 + 8 * (\\i - 19)]",
                ".endr",
                ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
                "ldr d\\i, [sp, #144 + 8 * (\\i - 8)]",
                ".endr",
                "ldp x29, x30, [sp, #48]",
                "add sp, sp, #224",
                "ret",
                faults = const offset_of!(Observation, faults),
                me = sym $name, body = sym interface_0,
            )
        }
    };
    // The struct { int64_t; float; uint8_t[10]; } behind the hidden pointer: the ABI0 results have
    // its very layout.
    ($name:ident, word0: $word0:literal, object: $object:literal) => {
        native_callee! {
            $name, word0: $word0, object: $object,
            results: ["ldr x8, [sp, #208]", "ldp x9, x10, [sp, #24]", "stp x9, x10, [x8]",
                "ldr w9, [sp, #40]", "str w9, [x8, #16]", "ldrh w9, [sp, #44]",
                "strh w9, [x8, #20]"]
        }
    };
}

native_callee! { native_pointer, word0: "mov x16, #0", object: "mov x17, x0", results: [] }
native_callee! { native_interface, word0: "mov x16, x0", object: "mov x17, x1", results: [] }
native_callee! { native_pointer_results, word0: "mov x16, #0", object: "mov x17, x0" }
native_callee! { native_interface_results, word0: "mov x16, x0", object: "mov x17, x1" }
