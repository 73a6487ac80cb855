//! How debuggers see a piece of code at each of its instructions, as a `.debug_frame` section.
//!
//! The unwinder's registry knows only what holds at calls, which is all that a panic needs. A
//! debugger may stop a thread anywhere, before a stub has made its frame as well.
#![forbid(unsafe_code)]

use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::systemv::UnwindInfo;
use gimli::write::{
    Address, CallFrameInstruction, DebugFrame, EndianVec, FrameDescriptionEntry, FrameTable,
};
use gimli::{BaseAddresses, NativeEndian, Register, UnwindSection};
use target_lexicon::Architecture;

use super::{CallState, cie, endian, one_entry, rules};

/// What holds from each offset on, ascending from 0.
#[derive(Clone, Debug)]
pub(crate) struct Frames(Vec<(u32, CallState)>);

impl Frames {
    /// What holds at every call, taken to hold everywhere: right at calls only.
    pub(crate) fn at_calls(state: &CallState) -> Frames {
        Frames(vec![(0, state.clone())])
    }

    /// Evaluates Cranelift's unwind information at each instruction that changes it.
    pub(crate) fn of(isa: &dyn TargetIsa, info: &UnwindInfo) -> Result<Frames, String> {
        const AT: u64 = 0x1000;
        let bytes = one_entry(isa, info, AT)?;
        let section = gimli::EhFrame::new(&bytes, NativeEndian);
        let bases = BaseAddresses::default();
        let text = |e: gimli::Error| e.to_string();
        let fde = section
            .fde_for_address(&bases, AT, gimli::EhFrame::cie_from_offset)
            .map_err(text)?;
        let is_riscv64 = matches!(isa.triple().architecture, Architecture::Riscv64(_));
        let mut context = gimli::UnwindContext::new();
        let mut table = fde.rows(&section, &bases, &mut context).map_err(text)?;
        let mut frames = Vec::new();
        while let Some(row) = table.next_row().map_err(text)? {
            let offset = (row.start_address() - AT) as u32;
            let state = CallState::of_row(fde.cie(), rules(row, is_riscv64)?);
            frames.push((offset, state));
        }
        Ok(Frames(frames))
    }

    /// What holds at the first instruction, and what holds last.
    #[cfg(all(test, feature = "all-arch"))]
    pub(crate) fn ends(&self) -> (&CallState, &CallState) {
        let states = &self.0;
        (&states[0].1, &states[states.len() - 1].1)
    }

    /// A `.debug_frame` section for the `bytes` bytes of code at `start`.
    pub(crate) fn debug_frame(&self, start: usize, bytes: usize) -> Result<Vec<u8>, String> {
        let [(_, first), later @ ..] = &self.0[..] else {
            return Err("no row".to_owned());
        };
        let mut table = FrameTable::default();
        let id = table.add_cie(cie(first));
        let address = Address::Constant(start as u64);
        let mut entry = FrameDescriptionEntry::new(address, bytes as u32);
        let mut before = first;
        for (offset, state) in later {
            entry.add_instruction(*offset, state.cfa.instruction());
            for &(register, _) in &before.saved {
                if !state.saved.iter().any(|saved| saved.0 == register) {
                    let same = CallFrameInstruction::SameValue(Register(register));
                    entry.add_instruction(*offset, same);
                }
            }
            for &(register, at) in &state.saved {
                let saved = CallFrameInstruction::Offset(Register(register), at as i32);
                entry.add_instruction(*offset, saved);
            }
            before = state;
        }
        table.add_fde(id, entry);
        let mut section = DebugFrame(EndianVec::new(endian()));
        table
            .write_debug_frame(&mut section)
            .map_err(|e| e.to_string())?;
        Ok(section.0.into_vec())
    }
}
