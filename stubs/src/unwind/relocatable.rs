//! What holds at the calls of code whose address somebody else will know: an `.eh_frame` section
//! with its addresses left out.
#![forbid(unsafe_code)]

use std::ops::Range;

use gimli::RunTimeEndian;
use gimli::constants::{DW_EH_PE_absptr, DW_EH_PE_pcrel, DW_EH_PE_sdata4};
use gimli::write::{
    Address, EhFrame, EndianVec, FrameDescriptionEntry, FrameTable, RelocateWriter, Relocation,
};

use super::{CallState, cie};

/// An `.eh_frame` section without its end, and where addresses are missing in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relocatable {
    pub(crate) bytes: Vec<u8>,
    /// Offsets in `bytes`, and which byte of the code stands there.
    pub(crate) addresses: Vec<(usize, u32)>,
}

impl Relocatable {
    /// For parts of one piece of code, each a range of its bytes. Addresses are 8 bytes, or if
    /// `relative` 4 bytes that count from themselves.
    pub(crate) fn new(
        parts: &[(Range<u32>, CallState)],
        endian: RunTimeEndian,
        relative: bool,
    ) -> Result<Relocatable, String> {
        let mut table = FrameTable::default();
        for (range, state) in parts {
            let mut entry = cie(state);
            entry.fde_address_encoding = match relative {
                true => DW_EH_PE_pcrel | DW_EH_PE_sdata4,
                false => DW_EH_PE_absptr,
            };
            let id = table.add_cie(entry);
            let address = Address::Symbol {
                symbol: 0,
                addend: range.start.into(),
            };
            let bytes = range.end - range.start;
            table.add_fde(id, FrameDescriptionEntry::new(address, bytes));
        }
        let mut section = EhFrame(Section {
            bytes: EndianVec::new(endian),
            addresses: Vec::new(),
        });
        table
            .write_eh_frame(&mut section)
            .map_err(|e| e.to_string())?;
        Ok(Relocatable {
            bytes: section.0.bytes.into_vec(),
            addresses: section.0.addresses,
        })
    }
}

struct Section {
    bytes: EndianVec<RunTimeEndian>,
    addresses: Vec<(usize, u32)>,
}

impl RelocateWriter for Section {
    type Writer = EndianVec<RunTimeEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.bytes
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.bytes
    }

    fn relocate(&mut self, relocation: Relocation) {
        self.addresses
            .push((relocation.offset, relocation.addend as u32));
    }
}
