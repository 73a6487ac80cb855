//! Unwind tables of what is defined in a module of the embedder's, for the embedder to put where
//! its unwinder looks.
#![forbid(unsafe_code)]

use std::ops::Range;

use gimli::RunTimeEndian;
use target_lexicon::{Endianness, Triple};

use super::module::Definition;
use crate::unwind::{CallState, Relocatable};
use crate::{Compiler, StubError};

/// What unwinders must know of a function that was defined in a module, as an `.eh_frame` section.
///
/// A [`Module`](cranelift_module::Module) takes machine code as bytes
/// ([`define_function_bytes`](cranelift_module::Module::define_function_bytes)), and with bytes no
/// unwind information: no module has any for them, whether it writes a section for what it compiles
/// itself or not. So the embedder gets the table, and puts it where its unwinder looks:
///
/// * a JIT registers [`UnwindTable::section_at`] with its unwinder (`__register_frame`) when it has
///   the function's address, and takes it back before it frees the code;
/// * an object file gets [`UnwindTable::relocatable`] in a section named `.eh_frame`, with a
///   relocation for each address: by the symbol of the function's section, since an exported
///   function may be replaced by another library's when it is loaded.
///
/// The table holds at calls: where the functions that the code calls return to. That is all that a
/// panic or a backtrace out of a callee needs. A profiler or debugger that stops a thread at
/// another instruction of the code may be misled by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwindTable {
    absolute: Relocatable,
    relative: RelocatableTable,
    endianness: Endianness,
}

/// An `.eh_frame` section for an object file, which has no end: sections of several functions
/// can be put one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelocatableTable {
    /// The bytes, to begin at a multiple of 4. The places of addresses are zero.
    pub bytes: Vec<u8>,
    /// The addresses, ascending by their places.
    pub addresses: Vec<TableAddress>,
}

/// An address in a [`RelocatableTable`]: 4 bytes, a signed number that counts from themselves
/// (`R_X86_64_PC32`, `R_AARCH64_PREL32`, `R_RISCV_32_PCREL`, `R_390_PC32`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableAddress {
    /// Where the 4 bytes are.
    pub offset: u64,
    /// What is added to the address of the function that was defined.
    pub addend: i64,
}

impl UnwindTable {
    /// For parts of what is defined, each a range of its bytes; `None` if there are none: Cranelift
    /// has no System V information for this target.
    pub(super) fn of(
        compiler: &Compiler,
        what: &Definition,
        parts: &[(Range<u32>, CallState)],
    ) -> Result<Option<UnwindTable>, StubError> {
        UnwindTable::new(compiler.triple(), parts).map_err(|detail| StubError::Internal {
            key: what.key().to_owned(),
            step: "describing the frame to unwinders",
            detail,
        })
    }

    fn new(
        target: &Triple,
        parts: &[(Range<u32>, CallState)],
    ) -> Result<Option<UnwindTable>, String> {
        if parts.is_empty() {
            return Ok(None);
        }
        let endianness = target.endianness().unwrap_or(Endianness::Little);
        let endian = match endianness {
            Endianness::Little => RunTimeEndian::Little,
            Endianness::Big => RunTimeEndian::Big,
        };
        let relative = Relocatable::new(parts, endian, true)?;
        let address = |(offset, addend): (usize, u32)| TableAddress {
            offset: offset as u64,
            addend: addend.into(),
        };
        Ok(Some(UnwindTable {
            absolute: Relocatable::new(parts, endian, false)?,
            relative: RelocatableTable {
                bytes: relative.bytes,
                addresses: relative.addresses.into_iter().map(address).collect(),
            },
            endianness,
        }))
    }

    /// A whole section for a function that lies at this address: common information entries, frame
    /// description entries and the zero that ends it, with absolute addresses of 8 bytes.
    ///
    /// libgcc's `__register_frame` takes the section. LLVM's libunwind takes one frame description
    /// entry at a time: each lies behind its common information entry, and both begin with their
    /// length in 4 bytes, which does not count itself.
    pub fn section_at(&self, address: u64) -> Vec<u8> {
        let mut bytes = self.absolute.bytes.clone();
        for &(offset, addend) in &self.absolute.addresses {
            let value = address.wrapping_add(addend.into());
            let value = match self.endianness {
                Endianness::Little => value.to_le_bytes(),
                Endianness::Big => value.to_be_bytes(),
            };
            bytes[offset..offset + 8].copy_from_slice(&value);
        }
        bytes.extend([0; 4]);
        bytes
    }

    /// The section for an object file.
    pub fn relocatable(&self) -> &RelocatableTable {
        &self.relative
    }
}
