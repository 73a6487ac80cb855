//! What Go's ABIInternal fixes on each machine: register sequences, the argument base, reserved
//! registers.
//!
//! Names are the CPU's usual ones. Sequences are those Go 1.27.3's compiler uses; `docs/abi.md`
//! says why each column exists.
#![forbid(unsafe_code)]

use super::{Arch, RegClass};

/// One machine's table.
#[derive(Debug)]
#[non_exhaustive]
pub struct Machine {
    /// Which machine.
    pub arch: Arch,
    /// Integer argument and result registers, in order of use.
    pub int_regs: &'static [&'static str],
    /// Float argument and result registers, in order of use.
    pub float_regs: &'static [&'static str],
    /// Bytes from the stack pointer at the call instruction up to the argument base.
    pub argument_base: u64,
    /// Carries the closure (a pointer to code address and captured values).
    pub context: &'static str,
    /// Carries the current goroutine.
    pub g: &'static str,
    /// Carries the return address; `None` where the call pushes it.
    pub link: Option<&'static str>,
    /// A register that must hold zero at every call, if it isn't zero by nature.
    pub zero: Option<&'static str>,
    /// The stack pointer.
    pub stack_pointer: &'static str,
    /// Registers a call may use for itself: they carry nothing in or out.
    pub scratch: &'static [&'static str],
    /// Most significant byte first.
    pub big_endian: bool,
    /// How a `float32` looks in a float register.
    pub float32: Float32Image,
}

/// How a `float32` looks in a 64-bit float register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Float32Image {
    /// In the low 32 bits, the rest unspecified.
    Low,
    /// In the low 32 bits, all ones above.
    NanBoxed,
    /// Converted to a `float64`.
    AsDouble,
    /// In the high 32 bits, the rest unspecified.
    High,
}

impl Machine {
    /// The table of a machine.
    pub const fn of(arch: Arch) -> &'static Machine {
        match arch {
            Arch::Amd64 => &AMD64,
            Arch::Arm64 => &ARM64,
            Arch::Riscv64 => &RISCV64,
            Arch::S390x => &S390X,
            Arch::Ppc64 => &PPC64,
            Arch::Loong64 => &LOONG64,
            Arch::Pulley64 => &PULLEY64,
            Arch::Pulley64Be => &PULLEY64_BE,
        }
    }

    /// The sequence of one class.
    pub const fn registers(&self, class: RegClass) -> &'static [&'static str] {
        match class {
            RegClass::Int => self.int_regs,
            RegClass::Float => self.float_regs,
        }
    }
}

static AMD64: Machine = Machine {
    arch: Arch::Amd64,
    int_regs: &["rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11"],
    float_regs: &[
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm12", "xmm13", "xmm14",
    ],
    argument_base: 0,
    context: "rdx",
    g: "r14",
    link: None,
    zero: Some("xmm15"),
    stack_pointer: "rsp",
    scratch: &["r12", "r13", "r15"],
    big_endian: false,
    float32: Float32Image::Low,
};

static ARM64: Machine = Machine {
    arch: Arch::Arm64,
    int_regs: &[
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "x14", "x15",
    ],
    float_regs: &[
        "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10", "d11", "d12", "d13",
        "d14", "d15",
    ],
    argument_base: 8,
    context: "x26",
    g: "x28",
    link: Some("x30"),
    zero: None,
    stack_pointer: "sp",
    scratch: &["x16", "x17", "x27"],
    big_endian: false,
    float32: Float32Image::Low,
};

static RISCV64: Machine = Machine {
    arch: Arch::Riscv64,
    int_regs: &[
        "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x8", "x9", "x18", "x19", "x20",
        "x21", "x22", "x23",
    ],
    float_regs: &[
        "f10", "f11", "f12", "f13", "f14", "f15", "f16", "f17", "f8", "f9", "f18", "f19", "f20",
        "f21", "f22", "f23",
    ],
    argument_base: 8,
    context: "x26",
    g: "x27",
    link: Some("x1"),
    zero: None,
    stack_pointer: "x2",
    scratch: &["x31"],
    big_endian: false,
    float32: Float32Image::NanBoxed,
};

static S390X: Machine = Machine {
    arch: Arch::S390x,
    int_regs: &["r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"],
    float_regs: &[
        "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13",
        "f14", "f15",
    ],
    argument_base: 8,
    context: "r12",
    g: "r13",
    link: Some("r14"),
    zero: Some("r0"),
    stack_pointer: "r15",
    scratch: &["r1", "r10", "r11"],
    big_endian: true,
    float32: Float32Image::High,
};

static PPC64: Machine = Machine {
    arch: Arch::Ppc64,
    int_regs: &[
        "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r14", "r15", "r16", "r17",
    ],
    float_regs: &[
        "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12",
    ],
    argument_base: 32,
    context: "r11",
    g: "r30",
    link: Some("lr"),
    zero: Some("r0"),
    stack_pointer: "r1",
    scratch: &["r12", "r20", "r21", "r31"],
    big_endian: true,
    float32: Float32Image::AsDouble,
};

static LOONG64: Machine = Machine {
    arch: Arch::Loong64,
    int_regs: &[
        "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "r16", "r17",
        "r18", "r19",
    ],
    float_regs: &[
        "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13",
        "f14", "f15",
    ],
    argument_base: 8,
    context: "r29",
    g: "r22",
    link: Some("r1"),
    zero: None,
    stack_pointer: "r3",
    scratch: &["r30", "r31"],
    big_endian: false,
    float32: Float32Image::Low,
};

/// Go does not support Pulley, so there are no registers: only ABI0 can be expressed.
static PULLEY64: Machine = Machine {
    arch: Arch::Pulley64,
    int_regs: &[],
    float_regs: &[],
    argument_base: 0,
    context: "",
    g: "",
    link: Some("lr"),
    zero: None,
    stack_pointer: "sp",
    scratch: &[],
    big_endian: false,
    float32: Float32Image::Low,
};

static PULLEY64_BE: Machine = Machine {
    arch: Arch::Pulley64Be,
    big_endian: true,
    ..PULLEY64
};
