//! The call on x86-64, the explained reference.

use std::arch::naked_asm;
use std::mem::offset_of;

use super::Registers;

/// RAX RBX RCX RDI RSI R8 R9 R10 R11.
pub const INTS: usize = 9;
/// XMM0..XMM14.
pub const FLOATS: usize = 15;
/// XMM15.
pub const ZERO_WORDS: usize = 2;

/// System V arguments: RDI code, RSI registers, RDX frame, RCX frame words.
///
/// ```text
/// RBP-40..RBP   RBX R12 R13 R14 R15      C's callee-saved registers
/// RBP-64..-40   registers, frame, words   to find everything again after the call
/// RSP..         copy of the frame, 16-aligned: the callee's argument base
/// ```
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter(
    code: usize,
    registers: *mut Registers,
    frame: *mut u64,
    words: usize,
) {
    naked_asm!(
        "push rbp", "mov rbp, rsp",
        "push rbx", "push r12", "push r13", "push r14", "push r15",
        "push rsi", "push rdx", "push rcx",
        // The frame: r12 = registers and r13 = code stay put meanwhile, Go passes nothing in
        // either.
        "mov r12, rsi", "mov r13, rdi",
        "lea rax, [8*rcx]", "sub rsp, rax", "and rsp, -16",
        "mov rdi, rsp", "mov rsi, rdx", "rep movsq",
        // All argument registers, then the call.
        "mov rax, [r12+{ints}]", "mov rbx, [r12+{ints}+8]", "mov rcx, [r12+{ints}+16]",
        "mov rdi, [r12+{ints}+24]", "mov rsi, [r12+{ints}+32]", "mov r8, [r12+{ints}+40]",
        "mov r9, [r12+{ints}+48]", "mov r10, [r12+{ints}+56]", "mov r11, [r12+{ints}+64]",
        "movq xmm0, [r12+{floats}]", "movq xmm1, [r12+{floats}+8]", "movq xmm2, [r12+{floats}+16]",
        "movq xmm3, [r12+{floats}+24]", "movq xmm4, [r12+{floats}+32]",
        "movq xmm5, [r12+{floats}+40]",
        "movq xmm6, [r12+{floats}+48]", "movq xmm7, [r12+{floats}+56]",
        "movq xmm8, [r12+{floats}+64]",
        "movq xmm9, [r12+{floats}+72]", "movq xmm10, [r12+{floats}+80]",
        "movq xmm11, [r12+{floats}+88]",
        "movq xmm12, [r12+{floats}+96]", "movq xmm13, [r12+{floats}+104]",
        "movq xmm14, [r12+{floats}+112]",
        "movups xmm15, [r12+{zero}]",
        "mov rdx, [r12+{context}]", "mov r14, [r12+{g}]",
        "call r13",
        // Everything back. R12, R13 and R15 carry no result.
        "mov r12, [rbp-48]",
        "mov [r12+{ints}], rax", "mov [r12+{ints}+8], rbx", "mov [r12+{ints}+16], rcx",
        "mov [r12+{ints}+24], rdi", "mov [r12+{ints}+32], rsi", "mov [r12+{ints}+40], r8",
        "mov [r12+{ints}+48], r9", "mov [r12+{ints}+56], r10", "mov [r12+{ints}+64], r11",
        "movq [r12+{floats}], xmm0", "movq [r12+{floats}+8], xmm1", "movq [r12+{floats}+16], xmm2",
        "movq [r12+{floats}+24], xmm3", "movq [r12+{floats}+32], xmm4",
        "movq [r12+{floats}+40], xmm5",
        "movq [r12+{floats}+48], xmm6", "movq [r12+{floats}+56], xmm7",
        "movq [r12+{floats}+64], xmm8",
        "movq [r12+{floats}+72], xmm9", "movq [r12+{floats}+80], xmm10",
        "movq [r12+{floats}+88], xmm11",
        "movq [r12+{floats}+96], xmm12", "movq [r12+{floats}+104], xmm13",
        "movq [r12+{floats}+112], xmm14",
        "movups [r12+{zero}], xmm15",
        "mov [r12+{context}], rdx", "mov [r12+{g}], r14",
        "pushfq", "pop rax", "mov [r12+{flags}], rax",
        "cld",
        "mov rsi, rsp", "mov rdi, [rbp-56]", "mov rcx, [rbp-64]", "rep movsq",
        "lea rsp, [rbp-40]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
        "ret",
        ints = const offset_of!(Registers, ints),
        floats = const offset_of!(Registers, floats),
        context = const offset_of!(Registers, context),
        g = const offset_of!(Registers, g),
        zero = const offset_of!(Registers, zero),
        flags = const offset_of!(Registers, flags),
    )
}
