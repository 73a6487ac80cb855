//! Mistakes planted on purpose, so that tests and oracles can show that they find them. Feature
//! `faults`, for tests only.
#![forbid(unsafe_code)]

pub use crate::planted::{HostFault, plant};
use crate::{Abi, AssignError, Assignment, Signature, StubKey};

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
    /// A variadic function is told that no vector register carries an argument.
    MissingVectorCount,
    /// Small integers are extended by the other sign.
    WrongExtension,
    /// The two eightbytes of a struct are in registers of each other's class.
    ClassesSwapped,
    /// The last member of a homogeneous aggregate is in an integer register.
    HomogeneousSplit,
    /// A union of a float and an integer is passed as the float that is its first member.
    UnionByFirstMember,
    /// The body of an entry does not give the address of a hidden result area back.
    AreaNotReturned,
}

impl Fault {
    /// Those that signatures of all kinds show.
    pub const ALL: [Fault; 4] = [
        Fault::WrongRegister,
        Fault::NoSpillRoom,
        Fault::SmallResultArea,
        Fault::CalleeSaved,
    ];

    /// Mistakes in reading C's rules, each shown by values of its class only.
    pub const OF_C: [Fault; 5] = [
        Fault::MissingVectorCount,
        Fault::WrongExtension,
        Fault::ClassesSwapped,
        Fault::HomogeneousSplit,
        Fault::UnionByFirstMember,
    ];

    /// Mistakes in the code of entries.
    pub const OF_ENTRIES: [Fault; 1] = [Fault::AreaNotReturned];

    /// The key to compile instead of `key`.
    pub(crate) fn spoil(self, key: &StubKey) -> StubKey {
        match self {
            Fault::NoSpillRoom => key.with_areas(key.used_frame(), key.hidden()),
            Fault::SmallResultArea => key.with_areas(key.argument_frame(), key.hidden().min(16)),
            Fault::WrongRegister | Fault::CalleeSaved | Fault::AreaNotReturned => key.clone(),
            Fault::MissingVectorCount => key.without_vectors(),
            Fault::WrongExtension => key.with_other_extension(),
            Fault::ClassesSwapped => key.with_classes_swapped(),
            Fault::HomogeneousSplit => key.with_last_float_as_word(),
            Fault::UnionByFirstMember => key.with_last_word_as_float(),
        }
    }
}

/// Go's assignment with the mistake of Go 1.27's Windows callbacks: a value that does not fit into
/// the registers left keeps those that its first parts had taken.
///
/// # Errors
/// As [`assign()`](crate::assign()).
pub fn assign_without_roll_back(
    signature: &Signature,
    abi: Abi,
) -> Result<Assignment, AssignError> {
    crate::assign::assign_without_roll_back(signature, abi)
}
