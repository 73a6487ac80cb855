//! The callees on x86-64, the explained reference: the other machines' files have the same parts in
//! the same order.
//!
//! ```text
//! integer registers        RAX RBX RCX RDI RSI R8 R9 R10 R11
//! closure context          RDX
//! goroutine                R14
//! held at zero             XMM15
//! survive the call         RSP, RBP
//! scratch at a Go call     R12 R13 R15
//! argument base            RSP + 8 at the callee's entry
//! ```

use std::arch::naked_asm;
use std::mem::offset_of;

use super::{Entry, Observation};

/// The most integer argument registers that a Go callee has.
pub(super) const INT_ARG_REGS: usize = 9;

/// The callees of the pointer case, by their number of argument registers.
pub(super) const POINTER: &[Entry] = &each_count!(pointer_entry: 0 1 2 3 4 5 6 7 8 9);
/// Those of the interface case.
pub(super) const INTERFACE: &[Entry] = &each_count!(interface_entry: 0 1 2 3 4 5 6 7 8 9);
/// The callee with a large result.
pub(super) const SIXTY_KILOBYTES: &[Entry] = &[sixty_kilobytes];
/// The callees of the C convention: without results for a pointer and an interface, then with.
pub(super) const NATIVE: &[Entry] = &[
    native_pointer,
    native_interface,
    native_pointer_results,
    native_interface_results,
];

/// Each number of registers has an entry of its own, so that each has its own address and the
/// observation tells which one ran. At the jump: R12 = the number, R13 = the entry's address (both
/// are scratch at a Go call); all other registers as found.
macro_rules! entries {
    ($($entry:ident => [$zero:ident, $one:ident, $more:ident]);* $(;)?) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $entry<const N: usize>() {
            naked_asm!(
                "lea r13, [rip + {me}]",
                "mov r12d, {n}",
                ".if {n} == 0", "jmp {zero}", ".endif",
                ".if {n} == 1", "jmp {one}", ".endif",
                "jmp {more}",
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

/// A callee's body. At its start: RDX = observation, RSP = address of the return address, and as
/// [`entries`] leaves them R12 and R13.
///
/// The parts a case supplies run with RDX and RSP as at the start and all else saved: `word0`,
/// `object`: where the argument words are, as operands; `abi`: what this ABI promises besides;
/// `frame`: stores of results, and of junk over arguments and spill slots, which are the callee's;
/// `registers`: result registers, over the junk.
macro_rules! callee {
    ($name:ident, abi: [$($abi:literal),*], registers: [$($registers:literal),*],
     word0: $word0:literal, object: $object:literal, frame: [$($results:literal),*]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                // Everything as found.
                "mov [rdx+{ints}], rax", "mov [rdx+{ints}+8], rbx", "mov [rdx+{ints}+16], rcx",
                "mov [rdx+{ints}+24], rdi", "mov [rdx+{ints}+32], rsi", "mov [rdx+{ints}+40], r8",
                "mov [rdx+{ints}+48], r9", "mov [rdx+{ints}+56], r10", "mov [rdx+{ints}+64], r11",
                "mov [rdx+{sp}], rsp", "mov [rdx+{g}], r14", "movups [rdx+{zero}], xmm15",
                "mov [rdx+{int_arg_regs}], r12", "stmxcsr [rdx+{float_control}]",
                "pushfq", "pop rax", "mov [rdx+{flags}], rax",
                "mov rax, [rsp+8]", "mov [rdx+{frame}], rax", "mov rax, [rsp+16]",
                "mov [rdx+{frame}+8], rax",
                "mov rax, [rsp+24]", "mov [rdx+{frame}+16], rax", "mov rax, [rsp+32]",
                "mov [rdx+{frame}+24], rax",
                "mov rax, [rsp+40]", "mov [rdx+{frame}+32], rax",
                // Faults collect in RCX. RAX and RBX are scratch; the argument words are RSI and
                // RDI from here on.
                concat!("mov rsi, ", $word0), concat!("mov rdi, ", $object), "xor ecx, ecx",
                "cmp [rdx], r13", "je 20f", "or ecx, 1", "20:",
                "mov rax, [rdx+{expected}]", "test rax, rax", "jz 21f", "cmp rax, rsi", "je 21f",
                "or ecx, 2", "21:",
                "bt qword ptr [rdx+{flags}], 10", "jnc 22f", "or ecx, 32", "cld", "22:",
                "test spl, 7", "jz 25f", "or ecx, 64", "25:",
                $($abi,)*
                // The object: confirm its number unless it is not the right one.
                "mov rax, [rdx+{expected}+8]", "test rax, rax", "cmovz rax, rdi",
                "test rdi, rdi", "jz 23f", "cmp rax, rdi", "jne 23f",
                "mov rax, [rdi]", "mov rax, [rax]", "mov [rdx+{confirmed}], rax",
                "mov rbx, [rdx+{calls}]", "cmp rbx, [rdx+{log_len}]", "jae 24f",
                "mov rsi, [rdx+{log}]", "mov [rsi+8*rbx], rax", "jmp 24f",
                "23:", "or ecx, 4", "24:",
                "or [rdx+{faults}], rcx", "inc qword ptr [rdx+{calls}]",
                // Results and junk in the frame: RBX = bytes 1..8, RCX = bytes 9 and 10, RSI =
                // junk, EDI = 4.0.
                "movabs rbx, 0x0807060504030201", "mov ecx, 0x0a09",
                "movabs rsi, 0x6a756e6b6a756e6b", "mov edi, 0x40800000",
                $($results,)*
                // Junk in every register but RSP and RBP, which alone survive a Go call.
                "mov rax, rsi", "mov rbx, rsi", "mov rcx, rsi", "mov rdx, rsi", "mov rdi, rsi",
                "mov r8, rsi", "mov r9, rsi",
                "mov r10, rsi", "mov r11, rsi", "mov r12, rsi", "mov r13, rsi", "mov r14, rsi",
                "mov r15, rsi",
                "pcmpeqd xmm0, xmm0", "pcmpeqd xmm1, xmm1", "pcmpeqd xmm2, xmm2",
                "pcmpeqd xmm3, xmm3",
                "pcmpeqd xmm4, xmm4", "pcmpeqd xmm5, xmm5", "pcmpeqd xmm6, xmm6",
                "pcmpeqd xmm7, xmm7",
                "pcmpeqd xmm8, xmm8", "pcmpeqd xmm9, xmm9", "pcmpeqd xmm10, xmm10",
                "pcmpeqd xmm11, xmm11",
                "pcmpeqd xmm12, xmm12", "pcmpeqd xmm13, xmm13", "pcmpeqd xmm14, xmm14",
                "pcmpeqd xmm15, xmm15",
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
                zero = const offset_of!(Observation, zero),
                flags = const offset_of!(Observation, flags),
                float_control = const offset_of!(Observation, float_control),
                frame = const offset_of!(Observation, frame),
            )
        }
    };
}

/// What only the register ABI promises: R14 points at Go's goroutine, of which the stack check
/// reads word 2, and XMM15 is zero. And its result registers: RAX, and XMM0, whose upper bits are
/// anyone's.
macro_rules! register_callee {
    ($name:ident, $($rest:tt)*) => {
        callee! {
            $name,
            abi: ["cmp qword ptr [r14+16], 0", "je 26f", "or ecx, 8", "26:",
                  "mov rax, [rdx+{zero}]", "or rax, [rdx+{zero}+8]", "jz 27f", "or ecx, 16", "27:"],
            registers: ["mov eax, 5151", "movabs rdi, 0x6a756e6b40800000", "movq xmm0, rdi",
                "mov rdi, rsi"],
            $($rest)*
        }
    };
}

callee! {
    pointer_0, abi: [], registers: [], word0: "0", object: "[rsp+8]",
    frame: ["mov [rsp+8], rsi", "mov qword ptr [rsp+16], 5151", "mov [rsp+24], edi",
        "mov [rsp+28], rbx", "mov [rsp+36], cx"]
}
callee! {
    interface_0, abi: [], registers: [], word0: "[rsp+8]", object: "[rsp+16]",
    frame: ["mov [rsp+8], rsi", "mov [rsp+16], rsi", "mov qword ptr [rsp+24], 5151",
        "mov [rsp+32], edi", "mov [rsp+36], rbx",
            "mov [rsp+44], cx"]
}
register_callee! {
    pointer_1, word0: "0", object: "[rdx+{ints}]",
    frame: ["mov [rsp+8], rbx", "mov [rsp+16], cx", "mov [rsp+24], rsi"]
}
register_callee! {
    interface_1, word0: "[rsp+8]", object: "[rsp+16]",
    frame: ["mov [rsp+8], rsi", "mov [rsp+16], rsi", "mov [rsp+24], rbx", "mov [rsp+32], cx"]
}
register_callee! {
    interface_2, word0: "[rdx+{ints}]", object: "[rdx+{ints}+8]",
    frame: ["mov [rsp+8], rbx", "mov [rsp+16], cx", "mov [rsp+24], rsi", "mov [rsp+32], rsi"]
}

/// At its start: RDX = observation, RSP + 8 = the argument base.
#[unsafe(naked)]
unsafe extern "C" fn sixty_kilobytes() {
    naked_asm!(
        "lea rdi, [rsp + 8]",
        "mov rcx, 7681",
        "mov rax, -1",
        "rep stosq",
        "inc qword ptr [rdx + {calls}]",
        "mov rbx, -1",
        "mov r12, -1",
        "mov r13, -1",
        "mov r14, -1",
        "mov r15, -1",
        "pcmpeqd xmm15, xmm15",
        "ret",
        calls = const offset_of!(Observation, calls),
    )
}

/// The native callees, in System V form, run the body of the ABI0 interface case on a frame of
/// their own, then give back C's callee-saved registers.
///
/// ```text
/// RSP+48..+88   R15 R14 R13 R12 RBX     saved
/// RSP+40        RDI as found             the address for the results, where there are any
/// RSP+0..+40    ABI0 frame               words at 0 and 8; results at 16, 24 and 28
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
                "push rbx", "push r12", "push r13", "push r14", "push r15", "push rdi",
                "sub rsp, 40",
                concat!("mov rax, ", $word0), "mov [rsp], rax",
                concat!("mov rax, ", $object), "mov [rsp+8], rax",
                "mov rdx, [rax+8]",
                // 88 bytes and the return address lie between here and the argument base, which is
                // 16-aligned.
                "test spl, 15", "jz 30f", "or qword ptr [rdx+{faults}], 64", "30:",
                "lea r13, [rip+{me}]", "xor r12d, r12d",
                "call {body}",
                $($results,)*
                "add rsp, 48",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx",
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
            results: ["mov rax, [rsp+40]", "mov rcx, [rsp+16]", "mov [rax], rcx",
                "mov rcx, [rsp+24]", "mov [rax+8], rcx",
                      "mov ecx, [rsp+32]", "mov [rax+16], ecx", "mov cx, [rsp+36]",
                      "mov [rax+20], cx"]
        }
    };
}

native_callee! { native_pointer, word0: "0", object: "rdi", results: [] }
native_callee! { native_interface, word0: "rdi", object: "rsi", results: [] }
native_callee! { native_pointer_results, word0: "0", object: "rsi" }
native_callee! { native_interface_results, word0: "rsi", object: "rdx" }
