//! A call with every argument register and frame word given by hand, in the manner of Go's
//! `reflectcall`. Contains unsafe code.
//!
//! It is deliberately not built from anything of fing: what fing's stubs do is compared with what
//! this does.

use std::arch::naked_asm;
use std::mem::offset_of;

/// Words beyond the caller's frame that must come back unchanged.
const GUARD: usize = 16;
const GUARD_WORD: u64 = 0x6775_6172_6420_6775;

/// Register images of one call, in Go's order on amd64: given before the call, as found after it.
#[repr(C)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    /// RAX RBX RCX RDI RSI R8 R9 R10 R11.
    pub ints: [u64; 9],
    /// Low halves of XMM0..XMM14.
    pub floats: [u64; 15],
    /// RDX: the closure context.
    pub context: u64,
    /// R14: Go's current goroutine.
    pub g: u64,
    /// XMM15, which Go keeps zero.
    pub zero: [u64; 2],
    /// RFLAGS as found after the call; not loaded before it.
    pub flags: u64,
}

/// A goroutine descriptor of zeroes: every stack check of Go code passes.
static G: [u64; 64] = [0; 64];

impl Registers {
    /// Different junk in each argument register; context 0; R14 on a block of zeroes; XMM15 zero.
    pub fn junk() -> Registers {
        Registers {
            ints: std::array::from_fn(|i| 0x1111_0000_dead_0000 + i as u64),
            floats: std::array::from_fn(|i| 0x2222_0000_dead_0000 + i as u64),
            context: 0,
            g: G.as_ptr() as u64,
            zero: [0; 2],
            flags: 0,
        }
    }
}

/// Calls `code` with `registers` loaded and `frame` at the argument base (the stack pointer before
/// the call's push), then stores both back as the callee left them.
///
/// # Panics
///
/// If the callee wrote behind `frame`, within 16 words.
///
/// # Safety
///
/// `code` must be a function which, for these registers and this frame, does nothing but what Rust
/// allows foreign code to do. It may leave every register changed except RSP and RBP; it must
/// return, without unwinding.
pub unsafe fn call(code: usize, registers: &mut Registers, frame: &mut [u64]) {
    let mut guarded = frame.to_vec();
    guarded.resize(frame.len() + GUARD, GUARD_WORD);
    // SAFETY: `enter` reads and writes these two areas only, besides its own stack frame; the rest
    // is the caller's promise.
    unsafe { enter(code, registers, guarded.as_mut_ptr(), guarded.len()) };
    for (i, word) in guarded[frame.len()..].iter().enumerate() {
        assert_eq!(
            *word,
            GUARD_WORD,
            "callee wrote {} bytes behind its frame of {}",
            8 * i,
            8 * frame.len()
        );
    }
    frame.copy_from_slice(&guarded[..frame.len()]);
}

/// System V arguments: RDI code, RSI registers, RDX frame, RCX frame words.
///
/// ```text
/// RBP-40..RBP   RBX R12 R13 R14 R15      C's callee-saved registers
/// RBP-64..-40   registers, frame, words   to find everything again after the call
/// RSP..         copy of the frame, 16-aligned: the callee's argument base
/// ```
#[unsafe(naked)]
unsafe extern "C" fn enter(code: usize, registers: *mut Registers, frame: *mut u64, words: usize) {
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
