//! Callees for any signature on x86-64: they write down every register and the frame, and leave
//! results behind that they were given beforehand. One at a time, for they find their probe in a
//! static.

use std::arch::naked_asm;
use std::mem::offset_of;
use std::sync::atomic::AtomicUsize;

/// Names of a probe's integer registers, in order.
pub(crate) const INTS: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// What a callee found, and what it shall leave behind.
#[repr(C)]
pub(crate) struct Probe {
    pub(crate) calls: u64,
    /// Registers as found, by [`INTS`]; `rsp` is the address of the return address. r11 is not, in
    /// the native callees.
    pub(crate) ints: [u64; 16],
    pub(crate) floats: [u64; 16],
    /// Words above the return address: how many, where to write them down, what to leave there.
    pub(crate) frame_words: u64,
    pub(crate) frame: *mut u64,
    pub(crate) frame_fill: *const u64,
    /// Bytes to leave behind the hidden pointer, which is in register `hidden_register` of `ints`.
    pub(crate) hidden_bytes: u64,
    pub(crate) hidden_register: u64,
    pub(crate) hidden_fill: *const u8,
    /// Result registers, by [`INTS`].
    pub(crate) ints_out: [u64; 16],
    pub(crate) floats_out: [u64; 16],
}

/// Address of the probe of the call under way.
pub(crate) static PROBE: AtomicUsize = AtomicUsize::new(0);

macro_rules! callee {
    ($name:ident, $probe:literal, $($end:literal),*) => {
        /// A callee; its caller must have set [`PROBE`].
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
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

/// Calls a stub's code, or the entrance that calls it, with these arguments and something known in
/// every register the System V convention keeps; returns whether all of it is still there. The
/// direction flag and the floating-point control words are looked at too.
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
