//! The machines, and the emulator's numbers for their registers.
#![forbid(unsafe_code)]

/// A machine that can be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64.
    Amd64,
    /// AArch64, little-endian.
    Arm64,
    /// RV64GC.
    Riscv64,
    /// z/Architecture, big-endian.
    S390x,
}

impl Isa {
    /// All of them.
    pub const ALL: [Isa; 4] = [Isa::Amd64, Isa::Arm64, Isa::Riscv64, Isa::S390x];

    /// This machine, if it is one of them.
    pub fn host() -> Option<Isa> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Isa::Amd64),
            "aarch64" => Some(Isa::Arm64),
            "riscv64" => Some(Isa::Riscv64),
            "s390x" => Some(Isa::S390x),
            _ => None,
        }
    }

    /// The name Go has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Amd64 => "amd64",
            Isa::Arm64 => "arm64",
            Isa::Riscv64 => "riscv64",
            Isa::S390x => "s390x",
        }
    }

    /// Most significant byte first.
    pub const fn big_endian(self) -> bool {
        matches!(self, Isa::S390x)
    }

    /// The program counter.
    pub const fn pc(self) -> &'static str {
        match self {
            Isa::Amd64 => "rip",
            _ => "pc",
        }
    }

    /// The stack pointer.
    pub const fn sp(self) -> &'static str {
        match self {
            Isa::Amd64 => "rsp",
            Isa::Arm64 => "sp",
            Isa::Riscv64 => "x2",
            Isa::S390x => "r15",
        }
    }

    /// The register a call leaves the return address in; `None` where it is pushed.
    pub const fn link(self) -> Option<&'static str> {
        match self {
            Isa::Amd64 => None,
            Isa::Arm64 => Some("x30"),
            Isa::Riscv64 => Some("x1"),
            Isa::S390x => Some("r14"),
        }
    }

    /// An instruction that can only fault.
    pub const fn fault(self) -> &'static [u8] {
        match self {
            Isa::Amd64 => &[0x0f, 0x0b],
            Isa::Arm64 | Isa::Riscv64 => &[0; 4],
            Isa::S390x => &[0; 2],
        }
    }

    /// Every register a program can change, but for the program counter, the stack pointer and a
    /// wired zero.
    pub fn registers(self) -> Vec<String> {
        let numbered = |prefix: &str, numbers: std::ops::Range<u32>| {
            numbers
                .map(|n| format!("{prefix}{n}"))
                .collect::<Vec<String>>()
        };
        let mut all: Vec<String> = match self {
            Isa::Amd64 => ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"]
                .map(String::from)
                .into(),
            Isa::Arm64 => numbered("x", 0..31),
            Isa::Riscv64 => [numbered("x", 1..2), numbered("x", 3..32)].concat(),
            Isa::S390x => numbered("r", 0..15),
        };
        all.extend(match self {
            Isa::Amd64 => [numbered("r", 8..16), numbered("xmm", 0..16)].concat(),
            Isa::Arm64 => numbered("d", 0..32),
            Isa::Riscv64 => numbered("f", 0..32),
            Isa::S390x => numbered("f", 0..16),
        });
        all
    }

    /// Bytes of a register.
    pub fn width(self, register: &str) -> usize {
        if register.starts_with("xmm") || register.starts_with('q') {
            16
        } else {
            8
        }
    }

    /// Unicorn's numbers of architecture and mode.
    pub(super) const fn unicorn(self) -> (i32, i32) {
        const BIG_ENDIAN: i32 = 1 << 30;
        const MODE_64: i32 = 1 << 3;
        match self {
            Isa::Amd64 => (4, MODE_64),
            Isa::Arm64 => (2, 0),
            Isa::Riscv64 => (8, MODE_64),
            Isa::S390x => (9, BIG_ENDIAN),
        }
    }

    /// Unicorn's number of a register; `None` for a name the machine does not have.
    pub(super) fn id(self, register: &str) -> Option<i32> {
        let split = register
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(register.len());
        let (prefix, digits) = register.split_at(split);
        let number = digits.parse::<i32>().ok();
        match (self, prefix, number) {
            (Isa::Amd64, "xmm", Some(n @ 0..16)) => Some(122 + n),
            (Isa::Amd64, "r", Some(n @ 8..16)) => Some(98 + n),
            (Isa::Amd64, name, None) => Some(match name {
                "rax" => 35,
                "rbp" => 36,
                "rbx" => 37,
                "rcx" => 38,
                "rdi" => 39,
                "rdx" => 40,
                "rip" => 41,
                "rsi" => 43,
                "rsp" => 44,
                "rflags" => 253,
                "mxcsr" => 249,
                _ => return None,
            }),
            (Isa::Arm64, "x", Some(n @ 0..29)) => Some(199 + n),
            (Isa::Arm64, "x", Some(n @ 29..31)) => Some(n - 28),
            (Isa::Arm64, "d", Some(n @ 0..32)) => Some(40 + n),
            (Isa::Arm64, "q", Some(n @ 0..32)) => Some(104 + n),
            (Isa::Arm64, "sp", None) => Some(4),
            (Isa::Arm64, "pc", None) => Some(260),
            (Isa::Riscv64, "x", Some(n @ 0..32)) => Some(1 + n),
            (Isa::Riscv64, "f", Some(n @ 0..32)) => Some(158 + n),
            (Isa::Riscv64, "pc", None) => Some(190),
            (Isa::S390x, "r", Some(n @ 0..16)) => Some(1 + n),
            (Isa::S390x, "f", Some(n @ 0..16)) => Some(17 + n),
            (Isa::S390x, "pc", None) => Some(65),
            _ => None,
        }
    }

    /// System registers with bits that must be set: floating point, 64-bit addresses. As (number,
    /// bits).
    pub(super) const fn system(self) -> &'static [(i32, u64)] {
        match self {
            // mstatus.FS: dirty.
            Isa::Riscv64 => &[(116, 0x6000)],
            // Control register 0: all float registers, vector instructions. PSW mask: extended and
            // basic addressing.
            Isa::S390x => &[(100, 0x6_0000), (66, 0x1_8000_0000)],
            _ => &[],
        }
    }
}
