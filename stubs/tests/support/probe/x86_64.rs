//! The callees on x86-64, the explained reference: the other machines' files have the same parts in
//! the same order.

use std::arch::naked_asm;
use std::mem::offset_of;

use fing_stubs::{Convention, Family};

use super::{PROBE, Probe};

/// Names of a probe's integer registers, in order. r11 is not written down in the native callees.
pub(crate) const INTS: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// Names of its float registers.
pub(crate) const FLOATS: [&str; 16] = [
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
    "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
];

/// Bytes by which the call itself lowers the stack pointer: the return address.
pub(crate) const PUSHED: u64 = 8;

/// The callee for a family.
pub(crate) fn callee(family: Family) -> usize {
    let callee = match family {
        Family::Go => go,
        Family::Native(Convention::SystemV) => system_v,
        Family::Native(_) => native,
    };
    callee as *const () as usize
}

macro_rules! callee {
    ($name:ident, $probe:literal, $($end:literal),*) => {
        /// A callee; its caller must have set [`PROBE`].
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                $probe,
                "inc qword ptr [r11 + {calls}]",
                "mov [r11 + {ints} + 0], rax", "mov [r11 + {ints} + 8], rcx",
                "mov [r11 + {ints} + 16], rdx",
                "mov [r11 + {ints} + 24], rbx", "mov [r11 + {ints} + 32], rsp",
                "mov [r11 + {ints} + 40], rbp",
                "mov [r11 + {ints} + 48], rsi", "mov [r11 + {ints} + 56], rdi",
                "mov [r11 + {ints} + 64], r8",
                "mov [r11 + {ints} + 72], r9", "mov [r11 + {ints} + 80], r10",
                "mov [r11 + {ints} + 96], r12",
                "mov [r11 + {ints} + 104], r13", "mov [r11 + {ints} + 112], r14",
                "mov [r11 + {ints} + 120], r15",
                "movsd [r11 + {floats} + 0], xmm0", "movsd [r11 + {floats} + 8], xmm1",
                "movsd [r11 + {floats} + 16], xmm2", "movsd [r11 + {floats} + 24], xmm3",
                "movsd [r11 + {floats} + 32], xmm4", "movsd [r11 + {floats} + 40], xmm5",
                "movsd [r11 + {floats} + 48], xmm6", "movsd [r11 + {floats} + 56], xmm7",
                "movsd [r11 + {floats} + 64], xmm8", "movsd [r11 + {floats} + 72], xmm9",
                "movsd [r11 + {floats} + 80], xmm10", "movsd [r11 + {floats} + 88], xmm11",
                "movsd [r11 + {floats} + 96], xmm12", "movsd [r11 + {floats} + 104], xmm13",
                "movsd [r11 + {floats} + 112], xmm14", "movsd [r11 + {floats} + 120], xmm15",
                // The frame, from its last word down.
                "mov r10, [r11 + {frame_words}]", "mov rcx, [r11 + {frame}]",
                "mov r8, [r11 + {frame_fill}]",
                "2: test r10, r10", "jz 3f",
                "mov rax, [rsp + 8*r10]", "mov [rcx + 8*r10 - 8], rax",
                "mov rax, [r8 + 8*r10 - 8]", "mov [rsp + 8*r10], rax",
                "dec r10", "jmp 2b", "3:",
                // The hidden area, byte by byte.
                "mov r10, [r11 + {hidden_bytes}]", "mov rcx, [r11 + {hidden_register}]",
                "mov rcx, [r11 + {ints} + 8*rcx]", "mov r8, [r11 + {hidden_fill}]",
                "4: test r10, r10", "jz 5f",
                "mov al, [r8 + r10 - 1]", "mov [rcx + r10 - 1], al",
                "dec r10", "jmp 4b", "5:",
                "mov rax, [r11 + {ints_out} + 0]", "mov rcx, [r11 + {ints_out} + 8]",
                "mov rdx, [r11 + {ints_out} + 16]",
                "mov r8, [r11 + {ints_out} + 64]", "mov r9, [r11 + {ints_out} + 72]",
                "mov r10, [r11 + {ints_out} + 80]",
                "movsd xmm0, [r11 + {floats_out} + 0]", "movsd xmm1, [r11 + {floats_out} + 8]",
                "movsd xmm2, [r11 + {floats_out} + 16]", "movsd xmm3, [r11 + {floats_out} + 24]",
                "movsd xmm4, [r11 + {floats_out} + 32]", "movsd xmm5, [r11 + {floats_out} + 40]",
                $($end,)*
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

// What both native conventions let a callee change is changed.
callee!(native, "mov r11, [rip + {probe}]", "mov r11, -1");
// System V lets it change some more.
callee!(
    system_v,
    "mov r11, [rip + {probe}]",
    "mov rsi, -1",
    "mov rdi, -1",
    "mov r11, -1",
    "pcmpeqd xmm6, xmm6",
    "pcmpeqd xmm15, xmm15"
);
// A Go function keeps nothing but rsp and rbp. r11 is an argument register, so it makes place for
// the probe in the frame pointer, which a caller of a Go function gets back.
callee!(
    go,
    "push rbp\n mov rbp, [rip + {probe}]\n mov [rbp + {ints} + 88], r11\n mov r11, rbp\n pop rbp",
    "mov rbx, [r11 + {ints_out} + 24]",
    "mov rsi, [r11 + {ints_out} + 48]",
    "mov rdi, [r11 + {ints_out} + 56]",
    "mov r12, -1",
    "mov r13, -1",
    "mov r14, -1",
    "mov r15, -1",
    "movsd xmm6, [r11 + {floats_out} + 48]",
    "movsd xmm7, [r11 + {floats_out} + 56]",
    "movsd xmm8, [r11 + {floats_out} + 64]",
    "movsd xmm9, [r11 + {floats_out} + 72]",
    "movsd xmm10, [r11 + {floats_out} + 80]",
    "movsd xmm11, [r11 + {floats_out} + 88]",
    "movsd xmm12, [r11 + {floats_out} + 96]",
    "movsd xmm13, [r11 + {floats_out} + 104]",
    "movsd xmm14, [r11 + {floats_out} + 112]",
    "pcmpeqd xmm15, xmm15",
    "mov r11, [r11 + {ints_out} + 88]"
);

/// See [`super::keeps_registers`]. RDI, RSI, RDX, RCX and R8 are the arguments of the call, R9 is
/// what is called.
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
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 24",
        "stmxcsr [rsp]",
        "mov [rsp + 8], rsp",
        "mov rbx, 0x11",
        "mov rbp, 0x22",
        "mov r12, 0x33",
        "mov r13, 0x44",
        "mov r14, 0x55",
        "mov r15, 0x66",
        "call r9",
        "xor eax, eax",
        "cmp [rsp + 8], rsp",
        "jne 2f",
        "cmp rbx, 0x11",
        "jne 2f",
        "cmp rbp, 0x22",
        "jne 2f",
        "cmp r12, 0x33",
        "jne 2f",
        "cmp r13, 0x44",
        "jne 2f",
        "cmp r14, 0x55",
        "jne 2f",
        "cmp r15, 0x66",
        "jne 2f",
        "stmxcsr [rsp + 4]",
        "mov ecx, [rsp]",
        "cmp ecx, [rsp + 4]",
        "jne 2f",
        "pushfq",
        "pop rcx",
        "bt rcx, 10",
        "jc 2f",
        "mov eax, 1",
        "2: cld",
        "add rsp, 24",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
