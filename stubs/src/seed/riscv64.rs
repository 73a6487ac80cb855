//! The callees on riscv64; see `x86_64.rs`.
//!
//! ```text
//! integer registers        x10..x17 x8 x9 x18..x23
//! closure context          x26
//! goroutine                x27
//! held at zero             none
//! survive the call         x2 (sp); x3 and x4 are the platform's, and are left alone
//! scratch at a Go call     x31; x5 x6 x7 x28 x29 x30 carry nothing in or out either
//! argument base            x2 + 8; the word at x2 is the caller's
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

/// Each number of registers has an entry of its own. At the jump: x30 = the number, x31 = the
/// entry's address; all other registers as found, but for x6, which the jump itself may use.
macro_rules! entries {
    ($($entry:ident => [$zero:ident, $one:ident, $more:ident]);* $(;)?) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $entry<const N: usize>() {
            naked_asm!(
                "lla x31, {me}",
                "li x30, {n}",
                ".if {n} == 0", "tail {zero}", ".endif",
                ".if {n} == 1", "tail {one}", ".endif",
                "tail {more}",
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
/// [`entries`] leaves them x30 and x31.
///
/// The parts a case supplies run with x26 and sp as at the start and all else saved: `word0`,
/// `object`: load the argument words to x28 and x29; `abi`: what this ABI promises besides;
/// `frame`: stores of results, and of junk over arguments and spill slots, which are the callee's;
/// `registers`: result registers, over the junk.
macro_rules! callee {
    ($name:ident, abi: [$($abi:literal),*], registers: [$($registers:literal),*],
     word0: $word0:literal, object: $object:literal, frame: [$($results:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                ".option push",
                ".option arch, +d",
                // Everything as found.
                ".irp i, 10, 11, 12, 13, 14, 15, 16, 17",
                "sd x\\i, {ints} + 8 * (\\i - 10)(x26)",
                ".endr",
                "sd x8, {ints} + 64(x26)", "sd x9, {ints} + 72(x26)",
                ".irp i, 18, 19, 20, 21, 22, 23",
                "sd x\\i, {ints} + 8 * (\\i - 8)(x26)",
                ".endr",
                "sd sp, {sp}(x26)", "sd x27, {g}(x26)", "sd x30, {int_arg_regs}(x26)",
                "frcsr x5", "sd x5, {float_control}(x26)",
                ".irp i, 0, 1, 2, 3, 4",
                "ld x5, 8 + 8 * \\i(sp)", "sd x5, {frame} + 8 * \\i(x26)",
                ".endr",
                // Faults collect in x6. x5 is scratch; the argument words are x28 and x29.
                $word0, $object, "li x6, 0",
                "ld x5, 0(x26)", "beq x5, x31, 20f", "ori x6, x6, 1", "20:",
                "ld x5, {expected}(x26)", "beqz x5, 21f", "beq x5, x28, 21f", "ori x6, x6, 2",
                "21:",
                "andi x5, sp, 7", "beqz x5, 25f", "ori x6, x6, 64", "25:",
                $($abi,)*
                // The object: confirm its number unless it is not the right one.
                "beqz x29, 23f",
                "ld x5, {expected} + 8(x26)", "beqz x5, 22f", "bne x5, x29, 23f", "22:",
                "ld x5, 0(x29)", "ld x5, 0(x5)", "sd x5, {confirmed}(x26)",
                "ld x7, {calls}(x26)", "ld x10, {log_len}(x26)", "bgeu x7, x10, 24f",
                "ld x10, {log}(x26)", "slli x7, x7, 3", "add x10, x10, x7", "sd x5, 0(x10)",
                "j 24f",
                "23:", "ori x6, x6, 4", "24:",
                "ld x5, {faults}(x26)", "or x5, x5, x6", "sd x5, {faults}(x26)",
                "ld x5, {calls}(x26)", "addi x5, x5, 1", "sd x5, {calls}(x26)",
                // Results and junk in the frame: x10 = 5151, x11 = 4.0, x12 = bytes 1..8, x13 =
                // bytes 9 and 10, x31 = junk. All stores are aligned.
                "li x10, 5151", "li x11, 0x40800000",
                "li x12, 0x0807060504030201", "li x13, 0x0a09", "li x31, 0x6a756e6b6a756e6b",
                $($results,)*
                // Junk in every register but sp, the return address, x3 and x4.
                ".irp i, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23",
                "mv x\\i, x31",
                ".endr",
                ".irp i, 24, 25, 26, 27, 28, 29, 30",
                "mv x\\i, x31",
                ".endr",
                "li x5, -1",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "fmv.d.x f\\i, x5",
                ".endr",
                ".irp i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
                "fmv.d.x f\\i, x5",
                ".endr",
                "mv x5, x31",
                $($registers,)*
                "ret",
                ".option pop",
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
                float_control = const offset_of!(Observation, float_control),
                frame = const offset_of!(Observation, frame),
            )
        }
    };
}

/// What only the register ABI promises: x27 points at Go's goroutine, of which the stack check
/// reads word 2. And its result registers: x10, and f10, where a `float32` has ones above it.
macro_rules! register_callee {
    ($name:ident, $($rest:tt)*) => {
        callee! {
            $name,
            abi: ["ld x5, 16(x27)", "beqz x5, 26f", "ori x6, x6, 8", "26:"],
            registers: ["li x10, 0x40800000", "fmv.w.x f10, x10", "li x10, 5151"],
            $($rest)*
        }
    };
}

callee! {
    pointer_0, abi: [], registers: [], word0: "li x28, 0", object: "ld x29, 8(sp)",
    frame: ["sd x31, 8(sp)", "sd x10, 16(sp)", "sw x11, 24(sp)", "sw x12, 28(sp)",
        "srli x12, x12, 32", "sw x12, 32(sp)", "sh x13, 36(sp)"]
}
callee! {
    interface_0, abi: [], registers: [], word0: "ld x28, 8(sp)", object: "ld x29, 16(sp)",
    frame: ["sd x31, 8(sp)", "sd x31, 16(sp)", "sd x10, 24(sp)", "sw x11, 32(sp)",
        "sw x12, 36(sp)", "srli x12, x12, 32", "sw x12, 40(sp)", "sh x13, 44(sp)"]
}
register_callee! {
    pointer_1, word0: "li x28, 0", object: "ld x29, {ints}(x26)",
    frame: ["sd x12, 8(sp)", "sh x13, 16(sp)", "sd x31, 24(sp)"]
}
register_callee! {
    interface_1, word0: "ld x28, 8(sp)", object: "ld x29, 16(sp)",
    frame: ["sd x31, 8(sp)", "sd x31, 16(sp)", "sd x12, 24(sp)", "sh x13, 32(sp)"]
}
register_callee! {
    interface_2, word0: "ld x28, {ints}(x26)", object: "ld x29, {ints} + 8(x26)",
    frame: ["sd x12, 8(sp)", "sh x13, 16(sp)", "sd x31, 24(sp)", "sd x31, 32(sp)"]
}

/// At its start: x26 = observation, sp + 8 = the argument base.
#[unsafe(naked)]
unsafe extern "C" fn sixty_kilobytes() {
    naked_asm!(
        ".option push",
        ".option arch, +d",
        "addi x5, sp, 8",
        "li x6, 7681",
        "li x7, -1",
        "2: sd x7, 0(x5)",
        "addi x5, x5, 8",
        "addi x6, x6, -1",
        "bnez x6, 2b",
        "ld x5, {calls}(x26)",
        "addi x5, x5, 1",
        "sd x5, {calls}(x26)",
        ".irp i, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "li x\\i, -1",
        "fmv.d.x f\\i, x7",
        ".endr",
        "ret",
        ".option pop",
        calls = const offset_of!(Observation, calls),
    )
}

/// The native callees, in LP64D form, run the body of the ABI0 interface case on a frame of their
/// own, then give back C's callee-saved registers.
///
/// ```text
/// sp+248        x10 as found              the address for the results, where there are any
/// sp+152..+248  f8 f9 f18..f27            saved
/// sp+56..+152   x8 x9 x18..x27            saved
/// sp+48         x1                        saved
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
                ".option push",
                ".option arch, +d",
                "addi sp, sp, -256",
                "sd x1, 48(sp)", "sd x8, 56(sp)", "sd x9, 64(sp)",
                "fsd f8, 152(sp)", "fsd f9, 160(sp)",
                ".irp i, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
                "sd x\\i, 72 + 8 * (\\i - 18)(sp)", "fsd f\\i, 168 + 8 * (\\i - 18)(sp)",
                ".endr",
                "sd x10, 248(sp)",
                $word0, $object,
                "sd x28, 8(sp)", "sd x29, 16(sp)",
                "ld x26, 8(x29)",
                // The frame is a multiple of 16 bytes.
                "andi x5, sp, 15", "beqz x5, 30f",
                "ld x6, {faults}(x26)", "ori x6, x6, 64", "sd x6, {faults}(x26)",
                "30:",
                "lla x31, {me}", "li x30, 0",
                "call {body}",
                $($results,)*
                "ld x1, 48(sp)", "ld x8, 56(sp)", "ld x9, 64(sp)",
                "fld f8, 152(sp)", "fld f9, 160(sp)",
                ".irp i, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
                "ld x\\i, 72 + 8 * (\\i - 18)(sp)", "fld f\\i, 168 + 8 * (\\i - 18)(sp)",
                ".endr",
                "addi sp, sp, 256",
                "ret",
                ".option pop",
                faults = const offset_of!(Observation, faults),
                me = sym $name, body = sym interface_0,
            )
        }
    };
    // The struct { int64_t; float; uint8_t[10]; } behind the hidden pointer, which comes back in
    // x10: the ABI0 results have its very layout.
    ($name:ident, word0: $word0:literal, object: $object:literal) => {
        native_callee! {
            $name, word0: $word0, object: $object,
            results: ["ld x10, 248(sp)", "ld x5, 24(sp)", "sd x5, 0(x10)",
                "ld x5, 32(sp)", "sd x5, 8(x10)", "lw x5, 40(sp)", "sw x5, 16(x10)",
                "lh x5, 44(sp)", "sh x5, 20(x10)"]
        }
    };
}

native_callee! { native_pointer, word0: "li x28, 0", object: "mv x29, x10", results: [] }
native_callee! { native_interface, word0: "mv x28, x10", object: "mv x29, x11", results: [] }
native_callee! { native_pointer_results, word0: "li x28, 0", object: "mv x29, x11" }
native_callee! { native_interface_results, word0: "mv x28, x11", object: "mv x29, x12" }
