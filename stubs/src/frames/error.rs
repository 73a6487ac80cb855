//! Errors of stack maps.
#![forbid(unsafe_code)]

use std::ops::Range;

/// Why code was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The range has no bytes.
    #[error("register code: found the range {found:#x?}, wanted one with code in it")]
    Empty {
        /// The range given.
        found: Range<usize>,
    },
    /// A part of the range is registered already.
    #[error("register code: {found:#x?} overlaps {there:#x?}, wanted code not registered before")]
    Overlap {
        /// The range given.
        found: Range<usize>,
        /// The range that is registered.
        there: Range<usize>,
    },
    /// A map is for a return address outside of the code.
    #[error(
        "register code: found a stack map for the return address at offset {found:#x} of \
         {bytes:#x} bytes of code, wanted an offset from 1 to the last byte's end"
    )]
    Offset {
        /// The offset given.
        found: u32,
        /// Bytes of code.
        bytes: usize,
    },
    /// A slot is not at a multiple of 8 bytes from the stack pointer.
    #[error(
        "register code: the stack map for the return address at offset {at:#x} has a slot at \
         offset {found:#x} from the stack pointer, wanted a multiple of 8"
    )]
    Slot {
        /// The return address's offset in the code.
        at: u32,
        /// The slot's offset.
        found: u32,
    },
    /// Two maps are for one return address.
    #[error(
        "register code: found two stack maps for the return address at offset {found:#x}, wanted \
         one"
    )]
    Twice {
        /// The offset given twice.
        found: u32,
    },
    /// It is not known where frames have their return addresses on this machine.
    #[error("register code: stack frames of this machine are not known, found {found}")]
    UnknownHost {
        /// The machine's architecture.
        found: &'static str,
    },
}

/// Why the frames of a stack could not be walked.
///
/// Code that lies on a stack is not registered, or was registered with the wrong [`Callers`].
/// References may have been missed, so nothing may be freed.
///
/// [`Callers`]: super::Callers
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// A function that only registered code calls was called by other code.
    #[error(
        "stack maps: the code at {code:#x?} is called by registered code only, found the return \
         address {found:#x} in none"
    )]
    UnknownCaller {
        /// The code whose frame returns there.
        code: Range<usize>,
        /// The return address.
        found: usize,
    },
    /// An exit stub was called by code that is not registered.
    #[error(
        "stack maps: an exit stub was called by the code at {found:#x}, wanted registered code"
    )]
    UnknownExit {
        /// The return address.
        found: usize,
    },
}
