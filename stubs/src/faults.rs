//! Mistakes planted on purpose, so that tests and oracles can show that they find them. Feature
//! `faults`, for tests only.
#![forbid(unsafe_code)]

use crate::StubKey;
pub use crate::planted::{HostFault, plant};

/// A mistake that a stub generator could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Integer words arrive one register further on.
    WrongRegister,
    /// The frame has no room for spill slots.
    NoSpillRoom,
    /// The area for results, in the frame or behind the hidden pointer, is cut down to 16 bytes or
    /// less.
    SmallResultArea,
    /// Registers that the stub's caller wants back are not saved around a Go function.
    CalleeSaved,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 4] = [
        Fault::WrongRegister,
        Fault::NoSpillRoom,
        Fault::SmallResultArea,
        Fault::CalleeSaved,
    ];

    /// The key to compile instead of `key`.
    pub(crate) fn spoil(self, key: &StubKey) -> StubKey {
        match self {
            Fault::NoSpillRoom => key.with_areas(key.used_frame(), key.hidden()),
            Fault::SmallResultArea => key.with_areas(key.argument_frame(), key.hidden().min(16)),
            Fault::WrongRegister | Fault::CalleeSaved => key.clone(),
        }
    }
}
