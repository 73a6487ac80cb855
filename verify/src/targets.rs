//! Which conventions are checked on which machines.
#![forbid(unsafe_code)]

use fing_oracles::convention::Convention;
use fing_stubs::{Abi, Compiler, Family, StubError};

/// A convention of callees, with the machine its stubs are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The machine, as its compilers call it.
    pub triple: &'static str,
    /// The convention of the callees: its name to [`Abi`] and in the oracle's tables.
    pub convention: &'static str,
    /// The C convention by which the stub itself is entered, in the oracle's tables; empty for
    /// Pulley, which is in none of them.
    pub entry: &'static str,
}

const LINUX_AMD64: &str = "x86_64-unknown-linux-gnu";
const LINUX_ARM64: &str = "aarch64-unknown-linux-gnu";
const APPLE_ARM64: &str = "aarch64-apple-darwin";
const LINUX_RISCV64: &str = "riscv64gc-unknown-linux-gnu";
const LINUX_S390X: &str = "s390x-unknown-linux-gnu";

/// All of them.
pub const TARGETS: &[Target] = &[
    target(LINUX_AMD64, "go/amd64", "sysv/amd64"),
    target(LINUX_AMD64, "sysv/amd64", "sysv/amd64"),
    target(LINUX_AMD64, "fastcall/amd64", "sysv/amd64"),
    target(LINUX_AMD64, "tail/amd64", "sysv/amd64"),
    target(LINUX_ARM64, "go/arm64", "aapcs/arm64"),
    target(LINUX_ARM64, "aapcs/arm64", "aapcs/arm64"),
    target(LINUX_ARM64, "tail/arm64", "aapcs/arm64"),
    target(APPLE_ARM64, "apple/arm64", "apple/arm64"),
    target(LINUX_RISCV64, "go/riscv64", "lp64d/riscv64"),
    target(LINUX_RISCV64, "lp64d/riscv64", "lp64d/riscv64"),
    target(LINUX_RISCV64, "tail/riscv64", "lp64d/riscv64"),
    target(LINUX_S390X, "go/s390x", "elf/s390x"),
    target(LINUX_S390X, "elf/s390x", "elf/s390x"),
    target(LINUX_S390X, "tail/s390x", "elf/s390x"),
    target("pulley64", "c/pulley64", ""),
    target("pulley64be", "c/pulley64be", ""),
];

const fn target(triple: &'static str, convention: &'static str, entry: &'static str) -> Target {
    Target {
        triple,
        convention,
        entry,
    }
}

impl Target {
    /// The convention.
    ///
    /// # Panics
    ///
    /// If this fing has none of that name: the table above is wrong.
    pub fn abi(&self) -> Abi {
        self.convention
            .parse()
            .unwrap_or_else(|e| panic!("target {}: {e}", self.convention))
    }

    /// The convention by the oracle's tables.
    ///
    /// # Panics
    ///
    /// If there is none of that name: the table above is wrong.
    pub fn physical(&self) -> &'static Convention {
        Convention::named(self.convention)
            .unwrap_or_else(|| panic!("no convention {}", self.convention))
    }

    /// The convention by which the stub is entered.
    ///
    /// # Panics
    ///
    /// If there is none of that name: the table above is wrong.
    pub fn entry(&self) -> &'static Convention {
        Convention::named(self.entry).unwrap_or_else(|| panic!("no convention {}", self.entry))
    }

    /// A compiler of stubs for the machine.
    ///
    /// # Errors
    /// This build has no such machine.
    pub fn compiler(&self) -> Result<Compiler, StubError> {
        let triple = self.triple.parse().map_err(|e| StubError::NoTarget {
            target: self.triple.to_owned(),
            reason: format!("{e}"),
        })?;
        Compiler::for_target(triple)
    }

    /// Whether callees are Go's.
    pub fn is_go(&self) -> bool {
        self.abi().family() == Family::Go
    }
}
