//! Conventions as physical registers, written from the ABIs' own texts: Go's internal ABI, the
//! System V psABIs of x86-64, AArch64 (AAPCS64), RISC-V and z/Architecture, Microsoft's x64
//! convention. Shares nothing with fing's tables: it is there to contradict them.
#![forbid(unsafe_code)]

use crate::emulator::Isa;

/// What one convention fixes at the callee's first instruction.
#[derive(Debug)]
pub struct Convention {
    /// Short name: `go/amd64`, `sysv/amd64`.
    pub name: &'static str,
    /// The machine.
    pub isa: Isa,
    /// Integer argument registers in order.
    pub ints: &'static [&'static str],
    /// Float argument registers in order.
    pub floats: &'static [&'static str],
    /// Integer result registers in order.
    pub int_results: &'static [&'static str],
    /// Float result registers in order.
    pub float_results: &'static [&'static str],
    /// An integer and a float argument at one position take one number: the n-th argument goes to
    /// the n-th of either.
    pub shared_numbers: bool,
    /// Bytes from the stack pointer at the callee's first instruction up to the first stack
    /// argument.
    pub argument_base: u64,
    /// Register with the address of a result that lies in memory; empty for Go, which has none.
    pub result_address: &'static str,
    /// Register in which the callee gives that address back. Empty if none.
    pub hidden_back: &'static str,
    /// The callee takes its stack arguments off the stack, if it has any: rounded up to a multiple
    /// of the first number, and the second number of bytes besides.
    pub callee_pops: Option<(u64, u64)>,
    /// Go: the closure context. Empty otherwise.
    pub context: &'static str,
    /// Go: the current goroutine. Empty otherwise.
    pub g: &'static str,
    /// Register that must be zero. Empty if none.
    pub zero: &'static str,
    /// Registers a callee leaves as it found them; the stack pointer is one always.
    pub preserved: &'static [&'static str],
    /// Bytes from the stack pointer at the callee's first instruction, start and end: the callee
    /// may write them although no argument of its is there.
    pub home: (u64, u64),
    /// The stack pointer at the call instruction is a multiple of this.
    pub alignment: u64,
    /// What stands above a small integer in its register.
    pub small: Small,
    /// How a `float32` stands in a float register.
    pub single: Single,
}

/// What stands above a small integer in its register or stack slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Small {
    /// Anything.
    Garbage,
    /// Extended to 32 bits by its own sign, then anything. (Not in the psABI's text; gcc's callers
    /// do it and clang's callees rely on it.)
    To32,
    /// Extended to 64 bits by its own sign.
    To64,
    /// Extended to 32 bits by its own sign, then to 64 bits with the sign of bit 31, unsigned
    /// integers too.
    SignOf32,
}

/// How a `float32` stands in a 64-bit float register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single {
    /// Low half, anything above.
    Low,
    /// Low half, all ones above.
    Boxed,
    /// High half, anything below.
    High,
}

const AMD64_XMM: &[&str] = &[
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
    "xmm11", "xmm12", "xmm13", "xmm14",
];
const ARM64_D: &[&str] = &[
    "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10", "d11", "d12", "d13", "d14",
    "d15",
];
const S390X_F: &[&str] = &[
    "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14",
    "f15",
];

const GO_ARM64_INTS: &[&str] = &[
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15",
];

const GO_RISCV64_INTS: &[&str] = &[
    "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x8", "x9", "x18", "x19", "x20", "x21",
    "x22", "x23",
];

const GO_RISCV64_FLOATS: &[&str] = &[
    "f10", "f11", "f12", "f13", "f14", "f15", "f16", "f17", "f8", "f9", "f18", "f19", "f20", "f21",
    "f22", "f23",
];

static GO_AMD64: Convention = Convention {
    name: "go/amd64",
    isa: Isa::Amd64,
    ints: &["rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11"],
    floats: AMD64_XMM,
    int_results: &["rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11"],
    float_results: AMD64_XMM,
    shared_numbers: false,
    argument_base: 8,
    result_address: "",
    hidden_back: "",
    callee_pops: None,
    context: "rdx",
    g: "r14",
    zero: "xmm15",
    preserved: &["rbp"],
    home: (0, 0),
    alignment: 8,
    small: Small::Garbage,
    single: Single::Low,
};

static GO_ARM64: Convention = Convention {
    name: "go/arm64",
    isa: Isa::Arm64,
    ints: GO_ARM64_INTS,
    floats: ARM64_D,
    int_results: GO_ARM64_INTS,
    float_results: ARM64_D,
    shared_numbers: false,
    argument_base: 8,
    result_address: "",
    hidden_back: "",
    callee_pops: None,
    context: "x26",
    g: "x28",
    zero: "",
    preserved: &["x18"],
    home: (0, 0),
    alignment: 16,
    small: Small::Garbage,
    single: Single::Low,
};

static GO_RISCV64: Convention = Convention {
    name: "go/riscv64",
    isa: Isa::Riscv64,
    ints: GO_RISCV64_INTS,
    floats: GO_RISCV64_FLOATS,
    int_results: GO_RISCV64_INTS,
    float_results: GO_RISCV64_FLOATS,
    shared_numbers: false,
    argument_base: 8,
    result_address: "",
    hidden_back: "",
    callee_pops: None,
    context: "x26",
    g: "x27",
    zero: "",
    preserved: &["x3", "x4"],
    home: (0, 0),
    alignment: 8,
    small: Small::Garbage,
    single: Single::Boxed,
};

static GO_S390X: Convention = Convention {
    name: "go/s390x",
    isa: Isa::S390x,
    ints: &["r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"],
    floats: S390X_F,
    int_results: &["r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"],
    float_results: S390X_F,
    shared_numbers: false,
    argument_base: 8,
    result_address: "",
    hidden_back: "",
    callee_pops: None,
    context: "r12",
    g: "r13",
    zero: "r0",
    preserved: &[],
    home: (0, 0),
    alignment: 8,
    small: Small::Garbage,
    single: Single::High,
};

static SYSTEM_V: Convention = Convention {
    name: "sysv/amd64",
    isa: Isa::Amd64,
    ints: &["rdi", "rsi", "rdx", "rcx", "r8", "r9"],
    floats: &[
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
    ],
    int_results: &["rax", "rdx"],
    float_results: &["xmm0", "xmm1"],
    shared_numbers: false,
    argument_base: 8,
    result_address: "rdi",
    hidden_back: "rax",
    callee_pops: None,
    context: "",
    g: "",
    zero: "",
    preserved: &["rbx", "rbp", "r12", "r13", "r14", "r15"],
    home: (0, 0),
    alignment: 16,
    small: Small::To32,
    single: Single::Low,
};

static FASTCALL: Convention = Convention {
    name: "fastcall/amd64",
    isa: Isa::Amd64,
    ints: &["rcx", "rdx", "r8", "r9"],
    floats: &["xmm0", "xmm1", "xmm2", "xmm3"],
    int_results: &["rax"],
    float_results: &["xmm0"],
    shared_numbers: true,
    argument_base: 40,
    result_address: "rcx",
    hidden_back: "rax",
    callee_pops: None,
    context: "",
    g: "",
    zero: "",
    preserved: &[
        "rbx", "rbp", "rdi", "rsi", "r12", "r13", "r14", "r15", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
    ],
    home: (8, 40),
    alignment: 16,
    small: Small::Garbage,
    single: Single::Low,
};

static AAPCS64: Convention = Convention {
    name: "aapcs/arm64",
    isa: Isa::Arm64,
    ints: &["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"],
    floats: &["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"],
    int_results: &["x0", "x1"],
    float_results: &["d0", "d1", "d2", "d3"],
    shared_numbers: false,
    argument_base: 0,
    result_address: "x8",
    hidden_back: "",
    callee_pops: None,
    context: "",
    g: "",
    zero: "",
    preserved: &[
        "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "d8",
        "d9", "d10", "d11", "d12", "d13", "d14", "d15",
    ],
    home: (0, 0),
    alignment: 16,
    small: Small::Garbage,
    single: Single::Low,
};

/// Apple's: as AAPCS64, but the caller extends small integers and packs stack arguments by their
/// own size.
static APPLE: Convention = Convention {
    name: "apple/arm64",
    small: Small::To32,
    ..AAPCS64
};

static RISCV64: Convention = Convention {
    name: "lp64d/riscv64",
    isa: Isa::Riscv64,
    ints: &["x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17"],
    floats: &["f10", "f11", "f12", "f13", "f14", "f15", "f16", "f17"],
    int_results: &["x10", "x11"],
    float_results: &["f10", "f11"],
    shared_numbers: false,
    argument_base: 0,
    result_address: "x10",
    hidden_back: "",
    callee_pops: None,
    context: "",
    g: "",
    zero: "",
    preserved: &[
        "x3", "x4", "x8", "x9", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
        "x27", "f8", "f9", "f18", "f19", "f20", "f21", "f22", "f23", "f24", "f25", "f26", "f27",
    ],
    home: (0, 0),
    alignment: 16,
    small: Small::SignOf32,
    single: Single::Boxed,
};

static S390X: Convention = Convention {
    name: "elf/s390x",
    isa: Isa::S390x,
    ints: &["r2", "r3", "r4", "r5", "r6"],
    floats: &["f0", "f2", "f4", "f6"],
    int_results: &["r2"],
    float_results: &["f0"],
    shared_numbers: false,
    argument_base: 160,
    result_address: "r2",
    hidden_back: "",
    callee_pops: None,
    context: "",
    g: "",
    zero: "",
    preserved: &[
        "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "f8", "f9", "f10", "f11", "f12", "f13",
        "f14", "f15",
    ],
    home: (0, 160),
    alignment: 8,
    small: Small::To64,
    single: Single::High,
};

/// Cranelift's `tail`, as its sources have it: arguments as in C, no result in memory named by an
/// argument of ours.
static TAIL_AMD64: Convention = Convention {
    name: "tail/amd64",
    hidden_back: "",
    callee_pops: Some((16, 0)),
    small: Small::Garbage,
    int_results: &["rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10"],
    float_results: &[
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
    ],
    ..SYSTEM_V
};

/// x0 and x1 are kept for a result area and the callee's address.
static TAIL_ARM64: Convention = Convention {
    name: "tail/arm64",
    hidden_back: "",
    callee_pops: Some((16, 0)),
    small: Small::Garbage,
    ints: &["x2", "x3", "x4", "x5", "x6", "x7"],
    int_results: &["x2", "x3", "x4", "x5", "x6", "x7"],
    float_results: &["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"],
    result_address: "x2",
    ..AAPCS64
};

static TAIL_RISCV64: Convention = Convention {
    name: "tail/riscv64",
    hidden_back: "",
    callee_pops: Some((16, 0)),
    small: Small::Garbage,
    ..RISCV64
};

/// Two registers more, which a callee then need not keep. Stack arguments lie in the callee's
/// frame, below the caller's save area.
static TAIL_S390X: Convention = Convention {
    name: "tail/s390x",
    hidden_back: "",
    callee_pops: Some((8, 160)),
    small: Small::Garbage,
    ints: &["r2", "r3", "r4", "r5", "r6", "r7"],
    int_results: &["r2", "r3", "r4", "r5", "r6", "r7"],
    float_results: &["f0", "f2", "f4", "f6"],
    preserved: &[
        "r8", "r9", "r10", "r11", "r12", "r13", "f8", "f9", "f10", "f11", "f12", "f13", "f14",
        "f15",
    ],
    ..S390X
};

/// All conventions.
pub static CONVENTIONS: [&Convention; 14] = [
    &TAIL_AMD64,
    &TAIL_ARM64,
    &TAIL_RISCV64,
    &TAIL_S390X,
    &GO_AMD64,
    &GO_ARM64,
    &GO_RISCV64,
    &GO_S390X,
    &SYSTEM_V,
    &FASTCALL,
    &AAPCS64,
    &APPLE,
    &RISCV64,
    &S390X,
];

impl Convention {
    /// The convention of this name.
    pub fn named(name: &str) -> Option<&'static Convention> {
        CONVENTIONS.into_iter().find(|c| c.name == name)
    }

    /// Go's convention on a machine.
    pub const fn go(isa: Isa) -> &'static Convention {
        match isa {
            Isa::Amd64 => &GO_AMD64,
            Isa::Arm64 => &GO_ARM64,
            Isa::Riscv64 => &GO_RISCV64,
            Isa::S390x => &GO_S390X,
        }
    }

    /// What C uses on Unix on a machine.
    pub const fn c(isa: Isa) -> &'static Convention {
        match isa {
            Isa::Amd64 => &SYSTEM_V,
            Isa::Arm64 => &AAPCS64,
            Isa::Riscv64 => &RISCV64,
            Isa::S390x => &S390X,
        }
    }

    /// A convention of the Go family.
    pub const fn is_go(&self) -> bool {
        !self.context.is_empty()
    }
}
