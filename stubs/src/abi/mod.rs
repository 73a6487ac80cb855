//! ABIs as data: which registers carry arguments and results, where the frame begins, what is
//! reserved.
//!
//! An [`Abi`] is a small copyable value of one of two families: **Go** on any of six machines with
//! any number of argument registers up to the machine's, and **native**: what C compilers use on
//! each machine, and Cranelift's `tail`.
//!
//! ```
//! use fing_stubs::abi::{Abi, Arch, Convention};
//!
//! let internal = Abi::go(Arch::Amd64);
//! assert_eq!(internal.to_string(), "go/amd64:9,15");
//! assert_eq!(internal.machine().int_regs[0], "rax");
//! assert!(internal.with_int_arg_regs(0)?.is_abi0());
//! assert_eq!(
//!     internal.with_int_arg_regs(10).unwrap_err().to_string(),
//!     "ABI: 10 integer argument registers, wanted at most 9 on amd64",
//! );
//! assert_eq!("go/arm64".parse::<Abi>()?, Abi::go(Arch::Arm64));
//! assert_eq!("aapcs/arm64".parse::<Abi>()?, Abi::native(Convention::Aapcs64));
//! # Ok::<(), fing_stubs::abi::AbiError>(())
//! ```
#![forbid(unsafe_code)]

pub(crate) mod classify;
mod go;
mod native;

use std::fmt;
use std::str::FromStr;

use crate::quote::short;
use crate::signature::{CLayout, Kind, Type};

pub use classify::Feature;
pub use go::{Float32Image, Machine};
pub use native::{Aggregates, Convention, Extension, NativeConvention, Pair, Results};

/// A machine, by Go's name for it. `ppc64` is the big-endian one; `ppc64le` has the same
/// assignments. The two Pulleys, machines of Cranelift's portable interpreter, are none of Go's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Arch {
    Amd64,
    Arm64,
    Riscv64,
    S390x,
    Ppc64,
    Loong64,
    Pulley64,
    Pulley64Be,
}

impl Arch {
    /// All of them, those of [`Arch::GO`] first.
    pub const ALL: [Arch; 8] = [
        Arch::Amd64,
        Arch::Arm64,
        Arch::Riscv64,
        Arch::S390x,
        Arch::Ppc64,
        Arch::Loong64,
        Arch::Pulley64,
        Arch::Pulley64Be,
    ];

    /// The machines Go has a register ABI for.
    pub const GO: [Arch; 6] = [
        Arch::Amd64,
        Arch::Arm64,
        Arch::Riscv64,
        Arch::S390x,
        Arch::Ppc64,
        Arch::Loong64,
    ];

    /// Go's name.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
            Arch::Riscv64 => "riscv64",
            Arch::S390x => "s390x",
            Arch::Ppc64 => "ppc64",
            Arch::Loong64 => "loong64",
            Arch::Pulley64 => "pulley64",
            Arch::Pulley64Be => "pulley64be",
        }
    }

    /// The machine this program runs on; `None` if it is none of them.
    pub fn host() -> Option<Arch> {
        let name = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        name.parse().ok()
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = AbiError;

    fn from_str(text: &str) -> Result<Arch, AbiError> {
        let found = Arch::ALL.into_iter().find(|arch| arch.name() == text);
        found.ok_or_else(|| AbiError::UnknownArch {
            found: short(text).to_string(),
        })
    }
}

/// Integer or floating-point register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum RegClass {
    /// Integers and pointers.
    Int,
    /// Floating point.
    Float,
}

impl fmt::Display for RegClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RegClass::Int => "int",
            RegClass::Float => "float",
        })
    }
}

/// The two families of calling conventions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Go's ABIInternal with some number of argument registers; with none it is ABI0.
    Go,
    /// A C compiler's convention, or Cranelift's own.
    Native(Convention),
}

/// A calling convention. Equal values are interchangeable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Abi {
    family: Family,
    arch: Arch,
    ints: u8,
    floats: u8,
}

/// Why there is no such ABI.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AbiError {
    /// More registers than the machine has.
    #[error("ABI: {found} {} argument registers, wanted at most {max} on \
        {arch}", class_name(*.class))]
    TooManyRegisters {
        /// The machine.
        arch: Arch,
        /// Which registers.
        class: RegClass,
        /// How many were asked for.
        found: usize,
        /// How many it has.
        max: usize,
    },
    /// A native convention's registers are what they are.
    #[error("ABI: other register counts for {abi}, wanted an ABI of the Go family")]
    FixedRegisters {
        /// The ABI.
        abi: Abi,
    },
    /// No native convention is known for the machine this runs on.
    #[error(
        "ABI: no native convention is known for this machine, {machine}; wanted one of {}",
        native_names()
    )]
    NoHostConvention {
        /// The machine, by Rust's name.
        machine: &'static str,
    },
    /// No machine of that name.
    #[error("ABI: machine {found:?}, wanted one of {}", Arch::ALL.map(Arch::name).join(", "))]
    UnknownArch {
        /// The name given, shortened.
        found: String,
    },
    /// No ABI is written like that.
    #[error(
        "ABI: found {found:?}, wanted go/ARCH, go/ARCH:INTS, go/ARCH:INTS,FLOATS or a native \
         convention: {}",
        native_names()
    )]
    Syntax {
        /// The text given, shortened.
        found: String,
    },
}

fn native_names() -> String {
    let names = Convention::ALL.map(|convention| convention.to_string());
    names.join(", ")
}

fn class_name(class: RegClass) -> &'static str {
    match class {
        RegClass::Int => "integer",
        RegClass::Float => "float",
    }
}

impl Abi {
    /// Go's ABIInternal: every argument register of the machine.
    pub const fn go(arch: Arch) -> Abi {
        let machine = Machine::of(arch);
        Abi {
            family: Family::Go,
            arch,
            ints: machine.int_regs.len() as u8,
            floats: machine.float_regs.len() as u8,
        }
    }

    /// A native convention.
    pub const fn native(convention: Convention) -> Abi {
        let table = convention.table();
        Abi {
            family: Family::Native(convention),
            arch: table.arch,
            ints: table.int_args.len() as u8,
            floats: table.float_args.len() as u8,
        }
    }

    /// The System V psABI of x86-64, as C uses it on Unix.
    pub const fn system_v() -> Abi {
        Abi::native(Convention::SystemV)
    }

    /// What C compilers use on the machine this runs on.
    ///
    /// # Errors
    /// None of the conventions is used on this machine.
    pub fn host_native() -> Result<Abi, AbiError> {
        let convention = match (Arch::host(), std::env::consts::OS) {
            (Some(Arch::Amd64), "windows") => Convention::Fastcall,
            (Some(Arch::Amd64), _) => Convention::SystemV,
            (Some(Arch::Arm64), "macos" | "ios") => Convention::AppleArm64,
            (Some(Arch::Arm64), _) => Convention::Aapcs64,
            (Some(Arch::Riscv64), _) => Convention::Lp64d,
            (Some(Arch::S390x), _) => Convention::ElfS390x,
            _ => {
                return Err(AbiError::NoHostConvention {
                    machine: std::env::consts::ARCH,
                });
            }
        };
        Ok(Abi::native(convention))
    }

    /// Go's ABI with `ints` integer argument registers and all float registers; 0 means ABI0, which
    /// has neither.
    ///
    /// # Errors
    /// More than the machine has; not an ABI of the Go family.
    pub fn with_int_arg_regs(self, ints: usize) -> Result<Abi, AbiError> {
        let floats = if ints == 0 {
            0
        } else {
            self.machine().float_regs.len()
        };
        self.with_registers(ints, floats)
    }

    /// Go's ABI with so many argument registers of each class.
    ///
    /// # Errors
    /// More than the machine has; not an ABI of the Go family.
    pub fn with_registers(self, ints: usize, floats: usize) -> Result<Abi, AbiError> {
        if self.family != Family::Go {
            return Err(AbiError::FixedRegisters { abi: self });
        }
        let full = Abi::go(self.arch);
        let count = |class, found: usize, max: u8| match u8::try_from(found) {
            Ok(n) if n <= max => Ok(n),
            _ => Err(AbiError::TooManyRegisters {
                arch: self.arch,
                class,
                found,
                max: max.into(),
            }),
        };
        let ints = count(RegClass::Int, ints, full.ints)?;
        let floats = count(RegClass::Float, floats, full.floats)?;
        Ok(Abi {
            ints,
            floats,
            ..full
        })
    }

    /// Go's or a native one.
    pub const fn family(self) -> Family {
        self.family
    }

    /// Which machine.
    pub const fn arch(self) -> Arch {
        self.arch
    }

    /// What Go says about the machine.
    pub const fn machine(self) -> &'static Machine {
        Machine::of(self.arch)
    }

    /// The native convention; `None` for the Go family.
    pub const fn convention(self) -> Option<Convention> {
        match self.family {
            Family::Go => None,
            Family::Native(convention) => Some(convention),
        }
    }

    /// The table of a native convention; `None` for the Go family.
    pub const fn native_table(self) -> Option<&'static NativeConvention> {
        match self.family {
            Family::Go => None,
            Family::Native(convention) => Some(convention.table()),
        }
    }

    /// Size and alignment of a type: by Go's rules under Go's ABIs, where a struct whose last field
    /// has no bytes gets one, by C's under native ones. `None` for an opaque type.
    ///
    /// ```
    /// use fing_stubs::{Abi, Arch, Type};
    /// let ty: Type = "struct { A int32; End [0]int32 }".parse()?;
    /// let size = |abi: Abi| abi.layout_of(&ty).map(|layout| layout.size);
    /// assert_eq!(size(Abi::go(Arch::Amd64)), Some(8));
    /// assert_eq!(size(Abi::system_v()), Some(4));
    /// # Ok::<(), fing_stubs::ParseError>(())
    /// ```
    pub fn layout_of(self, ty: &Type) -> Option<CLayout> {
        match self.native_table() {
            Some(native) => native.data.layout(ty),
            None => ty.layout().map(|layout| CLayout {
                size: layout.size,
                align: layout.align,
                natural_align: layout.align,
            }),
        }
    }

    /// Whether a value of the type lies in memory as Go has it: each part where Go's rules put it.
    pub fn lays_out_as_go(self, ty: &Type) -> bool {
        let same = |ty: &Type| {
            let (own, go) = (self.layout_of(ty), ty.layout());
            own.map(|own| (own.size, own.align)) == go.map(|go| (go.size, go.align))
        };
        ty.is_go()
            && same(ty)
            && match ty.underlying() {
                Kind::Array(_, elem) => self.lays_out_as_go(elem),
                Kind::Struct(fields) => fields.iter().all(|field| self.lays_out_as_go(&field.ty)),
                _ => true,
            }
    }

    /// How a `float32` looks in a float register. The native conventions have it as Go does.
    pub const fn float32_image(self) -> Float32Image {
        self.machine().float32
    }

    /// How many integer argument registers.
    pub const fn int_regs(self) -> usize {
        self.ints as usize
    }

    /// How many float argument registers.
    pub const fn float_regs(self) -> usize {
        self.floats as usize
    }

    /// Whether it is Go's ABI0: everything on the stack.
    pub const fn is_abi0(self) -> bool {
        matches!(self.family, Family::Go) && self.ints == 0 && self.floats == 0
    }

    /// Whether the address of memory for results takes an integer argument register.
    pub(crate) const fn takes_hidden_argument(self) -> bool {
        match self.native_table() {
            Some(table) => table.hidden.is_none(),
            None => false,
        }
    }

    /// Names of the registers that carry arguments, in order.
    pub fn arg_registers(self, class: RegClass) -> &'static [&'static str] {
        let (all, count) = match (self.native_table(), class) {
            (None, RegClass::Int) => (self.machine().int_regs, self.int_regs()),
            (None, RegClass::Float) => (self.machine().float_regs, self.float_regs()),
            (Some(native), RegClass::Int) => (native.int_args, native.int_args.len()),
            (Some(native), RegClass::Float) => (native.float_args, native.float_args.len()),
        };
        &all[..count]
    }

    /// Names of the registers that carry results, in order. Go uses the same as for arguments.
    pub fn result_registers(self, class: RegClass) -> &'static [&'static str] {
        match (self.native_table(), class) {
            (None, _) => self.arg_registers(class),
            (Some(native), RegClass::Int) => native.int_results,
            (Some(native), RegClass::Float) => native.float_results,
        }
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::Go => write!(f, "go/{}:{},{}", self.arch, self.ints, self.floats),
            Family::Native(convention) => write!(f, "{convention}"),
        }
    }
}

impl fmt::Debug for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads what `Display` prints, and the short forms `go/amd64` (all registers) and `go/amd64:3` (as
/// [`Abi::with_int_arg_regs`]).
impl FromStr for Abi {
    type Err = AbiError;

    fn from_str(text: &str) -> Result<Abi, AbiError> {
        let syntax = || AbiError::Syntax {
            found: short(text).to_string(),
        };
        let number = |digits: &str| match digits.parse::<usize>() {
            Ok(n) if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(n),
            _ => Err(syntax()),
        };
        let Some(rest) = text.strip_prefix("go/") else {
            return Ok(Abi::native(text.parse()?));
        };
        let Some((arch, counts)) = rest.split_once(':') else {
            return Ok(Abi::go(rest.parse()?));
        };
        let abi = Abi::go(arch.parse()?);
        match counts.split_once(',') {
            None => abi.with_int_arg_regs(number(counts)?),
            Some((ints, floats)) => abi.with_registers(number(ints)?, number(floats)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new variant does not compile here until it has a number, and then has to be in `ALL`.
    #[test]
    fn all_is_all() {
        let number = |arch| match arch {
            Arch::Amd64 => 0,
            Arch::Arm64 => 1,
            Arch::Riscv64 => 2,
            Arch::S390x => 3,
            Arch::Ppc64 => 4,
            Arch::Loong64 => 5,
            Arch::Pulley64 => 6,
            Arch::Pulley64Be => 7,
        };
        assert!(Arch::ALL.into_iter().map(number).eq(0..8));
        let number = |convention| match convention {
            Convention::SystemV => 0,
            Convention::Fastcall => 1,
            Convention::Aapcs64 => 2,
            Convention::AppleArm64 => 3,
            Convention::Lp64d => 4,
            Convention::ElfS390x => 5,
            Convention::Pulley => 6,
            Convention::PulleyBe => 7,
            Convention::TailAmd64 => 8,
            Convention::TailArm64 => 9,
            Convention::TailRiscv64 => 10,
            Convention::TailS390x => 11,
        };
        assert!(Convention::ALL.into_iter().map(number).eq(0..12));
        assert_eq!(Arch::GO, Arch::ALL[..6]);
    }
}
