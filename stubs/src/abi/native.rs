//! Native conventions as tables. One row so far: System V on x86-64.
#![forbid(unsafe_code)]

use super::Arch;

/// What a C compiler's convention fixes, as far as scalars, interfaces and result structs need it.
#[derive(Debug)]
pub struct NativeConvention {
    /// Short name, as in `sysv/amd64`.
    pub name: &'static str,
    /// Which machine.
    pub arch: Arch,
    /// Registers of integer and pointer arguments, in order of use.
    pub int_args: &'static [&'static str],
    /// Registers of float arguments, in order of use.
    pub float_args: &'static [&'static str],
    /// Registers of integer results, in order of use.
    pub int_results: &'static [&'static str],
    /// Registers of float results, in order of use.
    pub float_results: &'static [&'static str],
    /// Largest result, in bytes, that comes back in registers. A larger one goes to memory the caller names: the address
    /// takes the first integer argument register and comes back in the first integer result register.
    pub max_register_result: u64,
    /// A stack argument takes whole slots of this many bytes.
    pub stack_slot: u64,
    /// The stack pointer is a multiple of this many bytes at the call instruction.
    pub stack_align: u64,
    /// Bytes from the stack pointer at the call instruction up to the first stack argument.
    pub argument_base: u64,
}

/// The System V psABI for x86-64, section 3.2.
pub(super) static SYSTEM_V: NativeConvention = NativeConvention {
    name: "sysv",
    arch: Arch::Amd64,
    int_args: &["rdi", "rsi", "rdx", "rcx", "r8", "r9"],
    float_args: &[
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
    ],
    int_results: &["rax", "rdx"],
    float_results: &["xmm0", "xmm1"],
    max_register_result: 16,
    stack_slot: 8,
    stack_align: 16,
    argument_base: 0,
};
