//! Veneers: the few encoded instructions between a stub and a Go function.
//!
//! Cranelift reaches the C convention's registers only; Go's are others. So a stub calls its veneer
//! as if that were an ordinary function that clobbers every register, and the veneer moves the
//! words on to where Go wants them.
//!
//! It has no frame of its own in either of its two endings:
//!
//! * It **jumps**: at the callee's first instruction the stack is what the stub left, so the frame
//!   is already Go's, and the callee returns to the stub.
//! * It **calls**, where something is left to do afterwards: results to store, or what
//!   [`Facts::always_calls`] says. First it takes its own return address off (the stack or the link
//!   register) and puts it into the *save area*, a stack slot of the stub's at a known distance
//!   from the stack pointer. So the callee again finds the stack as the stub left it, and an
//!   unwinder that looks at the veneer's call sees the stub's frame: the veneer needs no unwind
//!   entry but the stub's, or a variation of it ([`Facts::unwind`]).
//!
//! Every file here serves one contract, [`Plan`]:
//!
//! | in | where the stub puts it |
//! |---|---|
//! | integer words 0 and 1, closure context, code address, g | integer arguments (`Direct`) |
//! | address of an [image](Form::Image) with all of them | integer argument 0 of the `Image` form |
//! | float registers | where both ABIs agree they already are (`Direct`), or in the image |
//!
//! A float word of the image is the register's 64 bits as memory would hold them.
#![forbid(unsafe_code)]

mod aarch64;
mod riscv64;
mod s390x;
mod x86_64;

use crate::{Arch, RegClass, StubKey};

/// How the words travel from stub to veneer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// In registers: at most two integers, and floats as [`Facts::direct_floats`] says.
    Direct,
    /// In memory, in the layout of [`image`]; any number. The save area is the image's first two
    /// words.
    Image,
}

/// What a veneer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) form: Form,
    /// Integer and float words in.
    pub(crate) ints: u8,
    pub(crate) floats: u8,
    /// Integer and float result registers to store to the image, over the words that went in.
    pub(crate) int_results: u8,
    pub(crate) float_results: u8,
    /// It calls, and then returns to the stub; else it jumps.
    pub(crate) calls: bool,
}

/// Byte offsets in the image of the `Image` form: the save area, code, context, g, then integer
/// words, then float words.
pub(crate) mod image {
    use super::Plan;

    /// Save area: the return address into the stub.
    pub(crate) const RETURN: i32 = 0;
    /// Save area: a register the stub's caller wants back and Cranelift does not save.
    pub(crate) const SAVED: i32 = 8;
    /// Bytes of the save area alone, which is all a veneer that calls has in the `Direct` form.
    pub(crate) const SAVE_AREA: i32 = 16;
    pub(crate) const CODE: i32 = 16;
    pub(crate) const CONTEXT: i32 = 24;
    pub(crate) const G: i32 = 32;
    const INTS: i32 = 40;

    impl Plan {
        /// Offset of integer word or result `index`.
        pub(crate) fn int(&self, index: u8) -> i32 {
            INTS + 8 * i32::from(index)
        }

        /// Offset of float word or result `index`.
        pub(crate) fn float(&self, index: u8) -> i32 {
            self.int(self.ints.max(self.int_results)) + 8 * i32::from(index)
        }

        /// Bytes of the image.
        pub(crate) fn image_bytes(&self) -> i32 {
            self.float(self.floats.max(self.float_results))
        }
    }
}

/// What is peculiar to a machine's veneer and to the stack as Cranelift leaves it there.
pub(crate) struct Facts {
    /// The first so many float argument registers are the same in Go's ABI and in C's.
    direct_floats: u8,
    /// In the `Direct` form the order is code address, g, closure context, and then only words that
    /// the callee wants: where both words have to be moved on in any case.
    pub(crate) words_last: bool,
    /// The veneer has to put something right after each call, so it never jumps.
    always_calls: bool,
    /// Bytes from the stack pointer of the stub's call up to the stub's slot 0.
    pub(crate) slot_zero: u32,
    /// Bytes from slot 0 up to the callee's argument base.
    pub(crate) argument_base: u32,
    /// How an unwinder sees the veneer's call, compared with the stub's.
    pub(crate) unwind: Unwind,
    encode: fn(&Plan, i32) -> Result<Encoded, String>,
}

/// The veneer's call to an unwinder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwind {
    /// As the stub's.
    Same,
    /// This DWARF register is in the save area.
    Saved(u16),
}

impl Facts {
    /// The facts of a machine that has a veneer.
    pub(crate) fn of(arch: Arch) -> Option<&'static Facts> {
        match arch {
            Arch::Amd64 => Some(&AMD64),
            Arch::Arm64 => Some(&ARM64),
            Arch::Riscv64 => Some(&RISCV64),
            Arch::S390x => Some(&S390X),
            _ => None,
        }
    }
}

static AMD64: Facts = Facts {
    direct_floats: 8,
    words_last: true,
    always_calls: false,
    slot_zero: 0,
    argument_base: 0,
    unwind: Unwind::Same,
    encode: x86_64::encode,
};

static ARM64: Facts = Facts {
    argument_base: 8,
    words_last: false,
    encode: aarch64::encode,
    ..AMD64
};

/// Go changes f9, which the C convention keeps and Cranelift forgets to save. DWARF knows it as 41.
static RISCV64: Facts = Facts {
    argument_base: 8,
    words_last: false,
    always_calls: true,
    unwind: Unwind::Saved(32 + 9),
    encode: riscv64::encode,
    ..AMD64
};

/// Go wants its arguments 8 bytes above the stack pointer, and Cranelift keeps a register save area
/// of 160 bytes there, which Go has no use for. The veneer moves the stack pointer up over it for
/// the call.
static S390X: Facts = Facts {
    direct_floats: 1,
    words_last: false,
    always_calls: true,
    slot_zero: s390x::SAVE_AREA as u32,
    unwind: Unwind::Same,
    encode: s390x::encode,
    ..AMD64
};

impl Plan {
    /// The cheapest plan for a key of the Go family; `None` where there is no veneer.
    pub(crate) fn of(key: &StubKey) -> Option<Plan> {
        let facts = Facts::of(key.abi().arch())?;
        let count = |class| key.register_moves(class).len() as u8;
        let (ints, floats) = (count(RegClass::Int), count(RegClass::Float));
        let int_results = key.result_registers(RegClass::Int);
        let float_results = key.result_registers(RegClass::Float);
        let stores = int_results + float_results > 0;
        let direct = ints <= 2 && floats <= facts.direct_floats && !stores;
        Some(Plan {
            form: if direct { Form::Direct } else { Form::Image },
            ints,
            floats,
            int_results,
            float_results,
            calls: stores || facts.always_calls,
        })
    }

    /// Bytes of stack slot the stub has for the veneer: the image, or the save area alone, or none.
    pub(crate) fn slot_bytes(&self) -> i32 {
        match self.form {
            Form::Image => self.image_bytes(),
            Form::Direct if self.calls => image::SAVE_AREA,
            Form::Direct => 0,
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
    pub(crate) fn push(&mut self, text: String, bytes: &[u8]) {
        self.listing.push((self.bytes.len(), text));
        self.bytes.extend_from_slice(bytes);
    }

    /// A 32-bit instruction of a machine whose instructions are little-endian.
    pub(crate) fn word(&mut self, text: String, word: u32) {
        self.push(text, &word.to_le_bytes());
    }
}

/// The veneer's code. The save area is `save` bytes above the stack pointer of the stub's call.
pub(crate) fn encode(arch: Arch, plan: &Plan, save: i32) -> Result<Encoded, String> {
    let facts = Facts::of(arch).ok_or_else(|| format!("no veneer for {arch}"))?;
    (facts.encode)(plan, save)
}

/// The veneer before a variadic function on amd64, which jumps to the address that is `code` bytes
/// above the stack pointer of the stub's call.
pub(crate) fn variadic(vectors: Option<u8>, doubled: &[u8], code: i32) -> Encoded {
    x86_64::variadic(vectors, doubled, code)
}

/// Instructions that put the address of what lies `distance` bytes behind their end into the fifth
/// argument register of the C convention, on the machine whose stubs have an entrance.
pub(crate) fn lead_in(distance: usize) -> Option<[u8; x86_64::LEAD_IN]> {
    i32::try_from(distance).ok().map(x86_64::lead_in)
}

/// Bytes of [`lead_in`].
pub(crate) const LEAD_IN: usize = x86_64::LEAD_IN;
