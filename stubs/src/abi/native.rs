//! Native conventions as tables: one row per convention, from the text of its ABI.
//!
//! What the rules make of a type is in `classify`; what of a signature, in
//! [`assign`](mod@crate::assign).
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::{AbiError, Arch, Feature};
use crate::quote::short;
use crate::signature::{BitFields, DataModel, Enumeration, LongDouble, WideChar};

/// A native convention: a C compiler's on some machine, or Cranelift's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Convention {
    /// System V on x86-64.
    SystemV,
    /// Windows on x86-64.
    Fastcall,
    /// AAPCS64, as on Linux.
    Aapcs64,
    /// Apple's variant of AAPCS64.
    AppleArm64,
    /// RISC-V, 64-bit with hard floats of double precision.
    Lp64d,
    /// The s390x ELF ABI.
    ElfS390x,
    /// Cranelift's portable interpreter Pulley, little-endian.
    Pulley,
    /// Pulley, big-endian.
    PulleyBe,
    /// Cranelift's `tail` on x86-64, for functions a VM compiled itself.
    TailAmd64,
    /// Cranelift's `tail` on arm64.
    TailArm64,
    /// Cranelift's `tail` on riscv64.
    TailRiscv64,
    /// Cranelift's `tail` on s390x.
    TailS390x,
}

/// Whether the caller or the callee extends a small integer in a register or stack slot, and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Extension {
    /// The callee: the bits above the value are anything.
    Callee,
    /// The caller, by the type's own sign, at least to 32 bits.
    Caller,
    /// The caller: by the type's own sign to 32 bits, and from there by bit 31, even if unsigned.
    CallerFromBit31,
}

/// How structs, unions and other types of several parts travel as arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Aggregates {
    /// As they do as results, by the rule of [`NativeConvention::results`].
    AsResults,
    /// As the float that is their only member; in an integer register if of 1, 2, 4 or 8 bytes; by
    /// reference.
    SingleFloat,
    /// There are none but interfaces, which are two words.
    Words,
}

/// How the C struct of two pointers, which an interface is, travels by value, and every other value
/// of two words in integer registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Pair {
    /// In two registers or else on the stack; the registers left stay for later arguments.
    Together,
    /// In two registers or else on the stack; then every later integer is on the stack too.
    TogetherOrLast,
    /// Word by word: one may be in the last register and the other on the stack.
    Words,
    /// As the address of a copy in the caller's frame.
    Reference,
}

/// Which results travel in registers. A single scalar does in every convention.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Results {
    /// Up to 16 bytes, each eightbyte in a register of its class.
    Eightbytes,
    /// 1, 2, 4 or 8 bytes, in the integer register.
    WordSized,
    /// Up to four floats of one type, each in a register of its own; else up to 16 bytes in integer
    /// registers.
    HomogeneousFloats,
    /// One or two floats, or one float and one integer (no pointer), each in a register of its own;
    /// else up to 16 bytes in integer registers.
    FlattenedFloats,
    /// Only the single scalar.
    Scalars,
    /// Each basic part in the next register of its class, while they last.
    Parts,
}

/// What a convention fixes.
#[derive(Debug)]
#[non_exhaustive]
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
    /// Argument number n takes register n of its class, and register n of the other class stays
    /// empty.
    pub positional: bool,
    /// A float that finds no float register takes an integer register, if one is left.
    pub floats_in_ints: bool,
    /// Whether the caller or the callee extends small integers.
    pub extension: Extension,
    /// How C's types lie in memory.
    pub data: DataModel,
    /// What the convention has no one answer to, and why.
    pub undefined: &'static [(Feature, &'static str)],
    /// How structs and the like travel as arguments.
    pub aggregates: Aggregates,
    /// How an interface travels.
    pub pair: Pair,
    /// Which results travel in registers; the others go to memory whose address the caller passes.
    pub results: Results,
    /// Carries that address; `None` if the first integer argument register does.
    pub hidden: Option<&'static str>,
    /// A stack argument takes whole slots of this many bytes and lies, on a big-endian machine, at
    /// the slot's end. 1: it takes its own size at its own alignment.
    pub stack_slot: u64,
    /// A `float32` lies at its stack slot's start even on a big-endian machine.
    pub float32_at_slot_start: bool,
    /// The stack pointer is a multiple of this many bytes at the call instruction.
    pub stack_align: u64,
    /// Bytes from the stack pointer at the call instruction up to the first stack argument.
    pub argument_base: u64,
    /// The callee takes its stack arguments off the stack.
    pub callee_pops: bool,
}

impl Convention {
    /// All of them.
    pub const ALL: [Convention; 12] = [
        Convention::SystemV,
        Convention::Fastcall,
        Convention::Aapcs64,
        Convention::AppleArm64,
        Convention::Lp64d,
        Convention::ElfS390x,
        Convention::Pulley,
        Convention::PulleyBe,
        Convention::TailAmd64,
        Convention::TailArm64,
        Convention::TailRiscv64,
        Convention::TailS390x,
    ];

    /// The convention's table.
    pub const fn table(self) -> &'static NativeConvention {
        match self {
            Convention::SystemV => &SYSTEM_V,
            Convention::Fastcall => &FASTCALL,
            Convention::Aapcs64 => &AAPCS64,
            Convention::AppleArm64 => &APPLE,
            Convention::Lp64d => &LP64D,
            Convention::ElfS390x => &ELF_S390X,
            Convention::Pulley => &PULLEY,
            Convention::PulleyBe => &PULLEY_BE,
            Convention::TailAmd64 => &TAIL_AMD64,
            Convention::TailArm64 => &TAIL_ARM64,
            Convention::TailRiscv64 => &TAIL_RISCV64,
            Convention::TailS390x => &TAIL_S390X,
        }
    }

    /// Whether it is Cranelift's `tail`.
    pub const fn is_tail(self) -> bool {
        self.table().callee_pops
    }
}

/// `sysv/amd64`: name and machine.
impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        write!(f, "{}/{}", table.name, table.arch)
    }
}

impl FromStr for Convention {
    type Err = AbiError;

    fn from_str(text: &str) -> Result<Convention, AbiError> {
        let found = Convention::ALL
            .into_iter()
            .find(|convention| convention.to_string() == text);
        found.ok_or_else(|| AbiError::Syntax {
            found: short(text).to_string(),
        })
    }
}

/// The System V psABI for x86-64, section 3.2. That callers extend to 32 bits is not in it, but
/// compilers count on it.
static SYSTEM_V: NativeConvention = NativeConvention {
    name: "sysv",
    arch: Arch::Amd64,
    int_args: &["rdi", "rsi", "rdx", "rcx", "r8", "r9"],
    float_args: &[
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
    ],
    int_results: &["rax", "rdx"],
    float_results: &["xmm0", "xmm1"],
    positional: false,
    floats_in_ints: false,
    extension: Extension::Caller,
    data: DataModel::SYSTEM_V,
    undefined: &[],
    aggregates: Aggregates::AsResults,
    pair: Pair::Together,
    results: Results::Eightbytes,
    hidden: None,
    stack_slot: 8,
    float32_at_slot_start: false,
    stack_align: 16,
    argument_base: 0,
    callee_pops: false,
};

/// Microsoft's x64 calling convention. The argument base is above 32 bytes of home space for the
/// register arguments.
static FASTCALL: NativeConvention = NativeConvention {
    name: "fastcall",
    int_args: &["rcx", "rdx", "r8", "r9"],
    float_args: &["xmm0", "xmm1", "xmm2", "xmm3"],
    int_results: &["rax"],
    float_results: &["xmm0"],
    positional: true,
    extension: Extension::Callee,
    data: DataModel {
        bit_fields: BitFields::Units,
        long: 4,
        wchar: WideChar::UnsignedShort,
        enumeration: Enumeration::Int,
        ..DataModel::SYSTEM_V
    },
    undefined: &[
        (Feature::Float16, "Microsoft's compiler has no _Float16"),
        (
            Feature::LongDouble,
            "it is double to Microsoft's compiler and 80 bits of the x87 unit to gcc",
        ),
        (
            Feature::Vector8,
            "gcc passes it in an integer register and clang by reference",
        ),
        (
            Feature::PackedBits,
            "gcc and Microsoft's compiler give a packed union of bit-fields different sizes",
        ),
    ],
    pair: Pair::Reference,
    results: Results::WordSized,
    argument_base: 32,
    ..SYSTEM_V
};

/// Procedure Call Standard for the Arm 64-bit Architecture, sections 6.8 and 6.9.
static AAPCS64: NativeConvention = NativeConvention {
    name: "aapcs",
    arch: Arch::Arm64,
    int_args: &["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"],
    float_args: &["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"],
    int_results: &["x0", "x1"],
    float_results: &["d0", "d1", "d2", "d3"],
    extension: Extension::Callee,
    data: DataModel {
        long_double: LongDouble::Binary128,
        char_is_signed: false,
        wchar: WideChar::UnsignedInt,
        ..DataModel::SYSTEM_V
    },
    pair: Pair::TogetherOrLast,
    results: Results::HomogeneousFloats,
    hidden: Some("x8"),
    ..SYSTEM_V
};

/// Apple, "Writing ARM64 code for Apple platforms": callers extend, stack arguments are packed.
static APPLE: NativeConvention = NativeConvention {
    name: "apple",
    extension: Extension::Caller,
    data: DataModel {
        long_double: LongDouble::Double,
        ..DataModel::SYSTEM_V
    },
    stack_slot: 1,
    ..AAPCS64
};

/// RISC-V Calling Conventions, hardware floating-point, ABI_FLEN 64.
static LP64D: NativeConvention = NativeConvention {
    name: "lp64d",
    arch: Arch::Riscv64,
    int_args: &["x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17"],
    float_args: &["f10", "f11", "f12", "f13", "f14", "f15", "f16", "f17"],
    int_results: &["x10", "x11"],
    float_results: &["f10", "f11"],
    floats_in_ints: true,
    extension: Extension::CallerFromBit31,
    data: DataModel {
        wchar: WideChar::Int,
        ..AAPCS64.data
    },
    undefined: &[
        (
            Feature::Float16,
            "no compiler has settled how _Float16 travels",
        ),
        (
            Feature::EmptyElements,
            "gcc and clang differ on a float beside an array of empty structs",
        ),
    ],
    pair: Pair::Words,
    results: Results::FlattenedFloats,
    ..SYSTEM_V
};

/// ELF Application Binary Interface, s390x Supplement, section 1.2. The argument base is above the
/// register save area.
static ELF_S390X: NativeConvention = NativeConvention {
    name: "elf",
    arch: Arch::S390x,
    int_args: &["r2", "r3", "r4", "r5", "r6"],
    float_args: &["f0", "f2", "f4", "f6"],
    int_results: &["r2"],
    float_results: &["f0"],
    data: DataModel {
        max_align: 8,
        long_double: LongDouble::Binary128,
        char_is_signed: false,
        ..DataModel::SYSTEM_V
    },
    undefined: &[
        (
            Feature::Float16,
            "no compiler has settled how _Float16 travels",
        ),
        (Feature::Vector8, VECTOR_FACILITY),
        (Feature::Vector16, VECTOR_FACILITY),
    ],
    aggregates: Aggregates::SingleFloat,
    pair: Pair::Reference,
    results: Results::Scalars,
    stack_align: 8,
    argument_base: 160,
    ..SYSTEM_V
};

const VECTOR_FACILITY: &str =
    "it travels in registers only where code is compiled for the vector facility";

const NO_AGGREGATES: &str = "it is a convention of scalars and interfaces";

/// What a convention of Cranelift's has no answer to.
const SCALARS_ONLY: &[(Feature, &str)] = &[
    (Feature::Aggregate, NO_AGGREGATES),
    (Feature::Float16, NO_AGGREGATES),
    (Feature::LongDouble, NO_AGGREGATES),
    (Feature::Vector8, NO_AGGREGATES),
    (Feature::Vector16, NO_AGGREGATES),
];

/// What Cranelift makes of its C convention on Pulley.
static PULLEY: NativeConvention = NativeConvention {
    name: "c",
    arch: Arch::Pulley64,
    int_args: &[
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "x14",
    ],
    float_args: &[
        "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13",
        "f14", "f15",
    ],
    int_results: &["x0"],
    float_results: &["f0"],
    undefined: SCALARS_ONLY,
    aggregates: Aggregates::Words,
    pair: Pair::Words,
    results: Results::Scalars,
    ..SYSTEM_V
};

static PULLEY_BE: NativeConvention = NativeConvention {
    arch: Arch::Pulley64Be,
    float32_at_slot_start: true,
    ..PULLEY
};

/// Cranelift's `tail`: System V's arguments, eight results of each class.
static TAIL_AMD64: NativeConvention = NativeConvention {
    name: "tail",
    int_results: &["rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10"],
    float_results: &[
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
    ],
    undefined: SCALARS_ONLY,
    aggregates: Aggregates::Words,
    pair: Pair::Words,
    results: Results::Parts,
    callee_pops: true,
    ..SYSTEM_V
};

/// Cranelift's `tail`: x0 and x1 are kept for a result area and the callee's address.
static TAIL_ARM64: NativeConvention = NativeConvention {
    arch: Arch::Arm64,
    int_args: &["x2", "x3", "x4", "x5", "x6", "x7"],
    float_args: AAPCS64.float_args,
    int_results: &["x2", "x3", "x4", "x5", "x6", "x7"],
    float_results: AAPCS64.float_args,
    ..TAIL_AMD64
};

static TAIL_RISCV64: NativeConvention = NativeConvention {
    arch: Arch::Riscv64,
    int_args: LP64D.int_args,
    float_args: LP64D.float_args,
    int_results: LP64D.int_results,
    float_results: LP64D.float_results,
    ..TAIL_AMD64
};

/// Cranelift's `tail`: one more integer register than ELF.
static TAIL_S390X: NativeConvention = NativeConvention {
    arch: Arch::S390x,
    int_args: &["r2", "r3", "r4", "r5", "r6", "r7"],
    float_args: ELF_S390X.float_args,
    int_results: &["r2", "r3", "r4", "r5", "r6", "r7"],
    float_results: ELF_S390X.float_args,
    stack_align: 8,
    argument_base: 160,
    ..TAIL_AMD64
};
