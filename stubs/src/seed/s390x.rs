//! The callees on s390x; see `x86_64.rs`. The machine is big-endian.
//!
//! ```text
//! integer registers        r2..r9
//! closure context          r12
//! goroutine                r13
//! held at zero             r0
//! survive the call         r15, the stack pointer
//! scratch at a Go call     r1 r10 r11
//! argument base            r15 + 8; the word at r15 is the caller's
//! ```

use std::arch::naked_asm;
use std::mem::offset_of;

use super::{Entry, Observation};

pub(super) const INT_ARG_REGS: usize = 8;

pub(super) const POINTER: &[Entry] = &each_count!(pointer_entry: 0 1 2 3 4 5 6 7 8);
pub(super) const INTERFACE: &[Entry] = &each_count!(interface_entry: 0 1 2 3 4 5 6 7 8);
pub(super) const SIXTY_KILOBYTES: &[Entry] = &[sixty_kilobytes];
pub(super) const NATIVE: &[Entry] = &[
    native_pointer,
    native_interface,
    native_pointer_results,
    native_interface_results,
];

/// Each number of registers has an entry of its own. At the jump: r1 = the entry's address, r10 =
/// the number; all other registers as found.
macro_rules! entries {
    ($($entry:ident => [$zero:ident, $one:ident, $more:ident]);* $(;)?) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $entry<const N: usize>() {
            naked_asm!(
                "larl %r1, {me}",
                "lghi %r10, {n}",
                ".if {n} == 0", "jg {zero}", ".endif",
                ".if {n} == 1", "jg {one}", ".endif",
                "jg {more}",
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

/// A callee's body. At its start: r12 = observation, r15 = the stack pointer at the call, and as
/// [`entries`] leaves them r1 and r10.
///
/// The parts a case supplies run with r12 and r15 as at the start and all else saved: `word0`,
/// `object`: load the argument words to r4 and r5; `abi`: what this ABI promises besides; `frame`:
/// stores of results, and of junk over arguments and spill slots, which are the callee's;
/// `registers`: result registers, over the junk.
macro_rules! callee {
    ($name:ident, abi: [$($abi:literal),*], registers: [$($registers:literal),*],
     word0: $word0:literal, object: $object:literal, frame: [$($results:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                // Everything as found.
                ".irp i, 2, 3, 4, 5, 6, 7, 8, 9",
                "stg %r\\i, {ints} + 8 * (\\i - 2)(%r12)",
                ".endr",
                "stg %r15, {sp}(%r12)", "stg %r13, {g}(%r12)", "stg %r0, {zero}(%r12)",
                "stg %r10, {int_arg_regs}(%r12)",
                "lghi %r2, 0", "ipm %r2", "stg %r2, {flags}(%r12)",
                "lghi %r2, 0", "efpc %r2", "stg %r2, {float_control}(%r12)",
                "mvc {frame}(40, %r12), 8(%r15)",
                // Faults collect in r3. r2 is scratch; the argument words are r4 and r5.
                $word0, $object, "lghi %r3, 0",
                "cg %r1, 0(%r12)", "je 20f", "oill %r3, 1", "20:",
                "ltg %r2, {expected}(%r12)", "je 21f", "cgr %r2, %r4", "je 21f", "oill %r3, 2",
                "21:",
                "tmll %r15, 7", "je 25f", "oill %r3, 64", "25:",
                $($abi,)*
                // The object: confirm its number unless it is not the right one.
                "ltgr %r5, %r5", "je 23f",
                "ltg %r2, {expected} + 8(%r12)", "je 22f", "cgr %r2, %r5", "jne 23f", "22:",
                "lg %r2, 0(%r5)", "lg %r2, 0(%r2)", "stg %r2, {confirmed}(%r12)",
                "lg %r6, {calls}(%r12)", "clg %r6, {log_len}(%r12)", "jhe 24f",
                "sllg %r6, %r6, 3", "ag %r6, {log}(%r12)", "stg %r2, 0(%r6)", "j 24f",
                "23:", "oill %r3, 4", "24:",
                "og %r3, {faults}(%r12)", "stg %r3, {faults}(%r12)",
                "lg %r2, {calls}(%r12)", "aghi %r2, 1", "stg %r2, {calls}(%r12)",
                // Results and junk in the frame: r2 = 5151, r6 = bytes 1..8, r7 = bytes 9 and 10,
                // r8 = junk, r9 = 4.0.
                "lghi %r2, 5151", "llihf %r6, 0x01020304", "oilf %r6, 0x05060708",
                "lghi %r7, 0x090a", "llihf %r8, 0x6a756e6b", "oilf %r8, 0x6a756e6b",
                "llilf %r9, 0x40800000",
                $($results,)*
                // Junk in every register but the stack pointer and the return address.
                "lghi %r2, -1",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                "ldgr %f\\i, %r2",
                ".endr",
                ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13",
                "lgr %r\\i, %r8",
                ".endr",
                $($registers,)*
                "br %r14",
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
                zero = const offset_of!(Observation, zero),
                flags = const offset_of!(Observation, flags),
                float_control = const offset_of!(Observation, float_control),
                frame = const offset_of!(Observation, frame),
            )
        }
    };
}

/// What only the register ABI promises: r13 points at Go's goroutine, of which the stack check
/// reads word 2, and r0 is zero. And its result registers: r2, and the high half of f0, whose low
/// half is anyone's.
macro_rules! register_callee {
    ($name:ident, $($rest:tt)*) => {
        callee! {
            $name,
            abi: ["ltg %r2, 16(%r13)", "je 26f", "oill %r3, 8", "26:",
                  "ltg %r2, {zero}(%r12)", "je 27f", "oill %r3, 16", "27:"],
            registers: ["iihf %r2, 0x40800000", "ldgr %f0, %r2", "lghi %r2, 5151"],
            $($rest)*
        }
    };
}

callee! {
    pointer_0, abi: [], registers: [], word0: "lghi %r4, 0", object: "lg %r5, 8(%r15)",
    frame: ["stg %r8, 8(%r15)", "stg %r2, 16(%r15)", "st %r9, 24(%r15)", "stg %r6, 28(%r15)",
        "sth %r7, 36(%r15)"]
}
callee! {
    interface_0, abi: [], registers: [], word0: "lg %r4, 8(%r15)", object: "lg %r5, 16(%r15)",
    frame: ["stg %r8, 8(%r15)", "stg %r8, 16(%r15)", "stg %r2, 24(%r15)", "st %r9, 32(%r15)",
        "stg %r6, 36(%r15)", "sth %r7, 44(%r15)"]
}
register_callee! {
    pointer_1, word0: "lghi %r4, 0", object: "lg %r5, {ints}(%r12)",
    frame: ["stg %r6, 8(%r15)", "sth %r7, 16(%r15)", "stg %r8, 24(%r15)"]
}
register_callee! {
    interface_1, word0: "lg %r4, 8(%r15)", object: "lg %r5, 16(%r15)",
    frame: ["stg %r8, 8(%r15)", "stg %r8, 16(%r15)", "stg %r6, 24(%r15)", "sth %r7, 32(%r15)"]
}
register_callee! {
    interface_2, word0: "lg %r4, {ints}(%r12)", object: "lg %r5, {ints} + 8(%r12)",
    frame: ["stg %r6, 8(%r15)", "sth %r7, 16(%r15)", "stg %r8, 24(%r15)", "stg %r8, 32(%r15)"]
}

/// At its start: r12 = observation, r15 + 8 = the argument base.
#[unsafe(naked)]
unsafe extern "C" fn sixty_kilobytes() {
    naked_asm!(
        "la %r2, 8(%r15)",
        "lghi %r3, 7681",
        "lghi %r4, -1",
        "2: stg %r4, 0(%r2)",
        "la %r2, 8(%r2)",
        "brctg %r3, 2b",
        "lg %r2, {calls}(%r12)",
        "aghi %r2, 1",
        "stg %r2, {calls}(%r12)",
        ".irp i, 6, 7, 8, 9, 10, 11, 12, 13",
        "lghi %r\\i, -1",
        ".endr",
        ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
        "ldgr %f\\i, %r4",
        ".endr",
        "br %r14",
        calls = const offset_of!(Observation, calls),
    )
}

/// The native callees, in the form of the ELF ABI, run the body of the ABI0 interface case on a
/// frame of their own, then give back C's callee-saved registers. An interface comes as the address
/// of its two words.
///
/// ```text
/// r15+168..+248  r6..r15                  saved, in the area that the caller has for them
/// r15+112        r2 as found              the address for the results, where there are any
/// r15+48..+112   f8..f15                  saved
/// r15+8..+48     ABI0 frame               words at 8 and 16; results at 24, 32 and 36
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
                "stmg %r6, %r15, 48(%r15)",
                "aghi %r15, -120",
                ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
                "std %f\\i, 48 + 8 * (\\i - 8)(%r15)",
                ".endr",
                "stg %r2, 112(%r15)",
                // The argument words to r4 and r5.
                $word0, $object,
                "stg %r4, 8(%r15)", "stg %r5, 16(%r15)",
                "lg %r12, 8(%r5)",
                // The frame is a multiple of 8 bytes.
                "tmll %r15, 7", "je 30f",
                "lg %r3, {faults}(%r12)", "oill %r3, 64", "stg %r3, {faults}(%r12)",
                "30:",
                "larl %r1, {me}", "lghi %r10, 0",
                "brasl %r14, {body}",
                $($results,)*
                ".irp i, 8, 9, 10, 11, 12, 13, 14, 15",
                "ld %f\\i, 48 + 8 * (\\i - 8)(%r15)",
                ".endr",
                "lmg %r6, %r15, 168(%r15)",
                "br %r14",
                faults = const offset_of!(Observation, faults),
                me = sym $name, body = sym interface_0,
            )
        }
    };
    // The struct { int64_t; float; uint8_t[10]; } behind the hidden pointer, which comes back in
    // r2: the ABI0 results have its very layout.
    ($name:ident, word0: $word0:literal, object: $object:literal) => {
        native_callee! {
            $name, word0: $word0, object: $object,
            results: ["lg %r2, 112(%r15)", "mvc 0(22, %r2), 24(%r15)"]
        }
    };
}

native_callee! { native_pointer, word0: "lghi %r4, 0", object: "lgr %r5, %r2", results: [] }
native_callee! {
    native_interface, word0: "lg %r4, 0(%r2)", object: "lg %r5, 8(%r2)", results: []
}
native_callee! { native_pointer_results, word0: "lghi %r4, 0", object: "lgr %r5, %r3" }
native_callee! {
    native_interface_results, word0: "lg %r4, 0(%r3)", object: "lg %r5, 8(%r3)"
}
