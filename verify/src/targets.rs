//! Which conventions are checked on which machines.

use fing_oracles::convention::Convention;
use fing_stubs::{Abi, Compiler, Family, StubError};

/// A convention of callees, with the machine its stubs are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The machine, as its compilers call it.
    pub triple: &'static str,
    /// The convention of the callees, as [`Abi`] reads it.
    pub abi: &'static str,
    /// The same in the oracle's tables.
    pub physical: &'static str,
    /// The C convention by which the stub itself is entered, in the oracle's tables.
    pub entry: &'static str,
}

const fn target(
    triple: &'static str,
    abi: &'static str,
    physical: &'static str,
    entry: &'static str,
) -> Target {
    Target {
        triple,
        abi,
        physical,
        entry,
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target(
        "x86_64-unknown-linux-gnu",
        "go/amd64",
        "go/amd64",
        "sysv/amd64",
    ),
    target(
        "x86_64-unknown-linux-gnu",
        "sysv/amd64",
        "sysv/amd64",
        "sysv/amd64",
    ),
];

impl Target {
    /// The convention.
    ///
    /// # Panics
    ///
    /// If this fing has none of that name: the table above is wrong.
    pub fn abi(&self) -> Abi {
        self.abi
            .parse()
            .unwrap_or_else(|e| panic!("target {}: {e}", self.abi))
    }

    /// The convention by the oracle's tables.
    ///
    /// # Panics
    ///
    /// If there is none of that name: the table above is wrong.
    pub fn physical(&self) -> &'static Convention {
        Convention::named(self.physical)
            .unwrap_or_else(|| panic!("no convention {}", self.physical))
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
