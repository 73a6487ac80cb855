//! Veneers: the few encoded instructions between a stub and a Go function.
//!
//! Cranelift reaches System V registers only; Go's are others. So a stub calls its veneer as if that were an ordinary
//! function that clobbers every register, and the veneer moves the words on to where Go wants them and *jumps*. It has
//! no frame, saves nothing, and needs no unwind entry: at the callee's first instruction the stack is what the stub
//! left, so the frame is already Go's.
//!
//! Every file here serves one contract, [`Plan`]:
//!
//! | in | where the stub puts it |
//! |---|---|
//! | integer words 0 and 1, closure context, code address, g | integer arguments 0 to 4 of the `Direct` form |
//! | address of an [image](Plan::Image) with all of them | integer argument 0 of the `Image` form |
//! | float registers | where both ABIs agree they already are (`Direct`), or in the image |
#![forbid(unsafe_code)]

pub(crate) mod x86_64;

use crate::{Abi, Arch};

/// How the words travel from stub to veneer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// In registers: at most two integers and eight floats.
    Direct {
        /// Integer words.
        ints: u8,
    },
    /// In memory, in the layout of [`image`]; any number.
    Image {
        /// Integer words.
        ints: u8,
        /// Float words.
        floats: u8,
    },
}

/// Byte offsets in the image of the `Image` form: code, context, g, then integer words, then float words.
pub(crate) mod image {
    pub(crate) const CODE: i32 = 0;
    pub(crate) const CONTEXT: i32 = 8;
    pub(crate) const G: i32 = 16;
    pub(crate) const INTS: i32 = 24;

    pub(crate) fn int(index: u8) -> i32 {
        INTS + 8 * i32::from(index)
    }
    pub(crate) fn float(ints: u8, index: u8) -> i32 {
        int(ints) + 8 * i32::from(index)
    }
}

impl Plan {
    /// The cheaper form that fits.
    pub(crate) fn choose(ints: usize, floats: usize) -> Plan {
        if ints <= 2 && floats <= 8 {
            Plan::Direct { ints: ints as u8 }
        } else {
            Plan::Image {
                ints: ints as u8,
                floats: floats as u8,
            }
        }
    }
}

/// Encoded instructions, with what an assembler would call them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// Offset and text of each instruction.
    pub(crate) listing: Vec<(usize, String)>,
}

impl Encoded {
    fn push(&mut self, text: String, bytes: &[u8]) {
        self.listing.push((self.bytes.len(), text));
        self.bytes.extend_from_slice(bytes);
    }
}

/// The veneer's code, or `None` where this machine has no veneer yet.
pub(crate) fn encode(abi: Abi, plan: Plan) -> Option<Encoded> {
    match abi.arch() {
        Arch::Amd64 => Some(x86_64::encode(plan)),
        _ => None,
    }
}
