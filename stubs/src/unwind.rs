//! Telling the unwinder about generated code.
//!
//! A panic of a `C-unwind` callee passes through the stub's frame. The unwinder's registry is a
//! list that it searches on *every* throw of the process, so stubs are not registered one by one:
//! code that looks the same to an unwinder at its calls (the same [`CallState`]) lies in one region
//! of the arena, and a region has one entry.
#![expect(unsafe_code, reason = "the unwinder's registry is two C functions")]

mod frames;
#[cfg(feature = "clif")]
mod relocatable;

use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::systemv::UnwindInfo;
use gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, EhFrame, EndianVec, Expression,
    FrameDescriptionEntry, FrameTable,
};
use gimli::{
    BaseAddresses, CfaRule, Encoding, Format, NativeEndian, Register, RegisterRule, RunTimeEndian,
    UnwindSection,
};
use target_lexicon::Architecture;

pub(crate) use self::frames::Frames;
#[cfg(feature = "clif")]
pub(crate) use self::relocatable::Relocatable;
use crate::host::{IS_BIG_ENDIAN, UNWINDER_TAKES_SECTIONS, deregister_frame, register_frame};
use crate::veneer::{Unwind, image};

/// DWARF's number on arm64 for whether return addresses are signed.
const RETURN_ADDRESS_SIGNED: u16 = 34;

/// Bytes from the stack pointer that a function of s390x is entered with, which its back chain is,
/// to its canonical frame address.
const S390X_SAVE_AREA: i64 = 160;

/// What an unwinder needs to know at a call: where the canonical frame address is, and which
/// registers lie where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallState {
    return_address: u16,
    code_alignment: u8,
    data_alignment: i8,
    cfa: Cfa,
    /// Registers and their offsets from the canonical frame address, ascending.
    saved: Vec<Rule>,
}

/// Where the canonical frame address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cfa {
    /// So far from what a register holds.
    Register(Rule),
    /// So far from what memory holds where this register, the stack pointer, points: s390x's back
    /// chain. That machine has no frame pointer, and by its stack pointer each size of frame would
    /// be a state of its own.
    BackChain(Rule),
}

impl Cfa {
    fn instruction(self) -> CallFrameInstruction {
        match self {
            Cfa::Register((register, offset)) => {
                CallFrameInstruction::Cfa(Register(register), offset as i32)
            }
            Cfa::BackChain((register, offset)) => {
                let mut expression = Expression::new();
                expression.op_breg(Register(register), 0);
                expression.op_deref();
                expression.op_plus_uconst(offset as u64);
                CallFrameInstruction::CfaExpression(expression)
            }
        }
    }
}

impl CallState {
    /// Evaluates Cranelift's unwind information at each return address; all calls of a stub must
    /// agree.
    pub(crate) fn at_calls(
        isa: &dyn TargetIsa,
        info: &UnwindInfo,
        calls: &[u32],
    ) -> Result<CallState, String> {
        // Not 0, which readers take for the end of the table.
        const AT: u64 = 0x1000;
        let bytes = one_entry(isa, info, AT)?;
        let section = gimli::EhFrame::new(&bytes, NativeEndian);
        let bases = BaseAddresses::default();
        let fde = section
            .fde_for_address(&bases, AT, gimli::EhFrame::cie_from_offset)
            .map_err(|e| e.to_string())?;
        let mut context = gimli::UnwindContext::new();
        let is_riscv64 = matches!(isa.triple().architecture, Architecture::Riscv64(_));
        let mut agreed: Option<CallState> = None;
        for &call in calls {
            let row = fde
                .unwind_info_for_address(&section, &bases, &mut context, AT + u64::from(call) - 1)
                .map_err(|e| e.to_string())?;
            let mut state = CallState::of_row(fde.cie(), rules(row, is_riscv64)?);
            if let (Architecture::S390x, Cfa::Register((register, _))) =
                (isa.triple().architecture, state.cfa)
            {
                state.cfa = Cfa::BackChain((register, S390X_SAVE_AREA));
            }
            match &agreed {
                Some(first) if *first != state => {
                    return Err(format!("two calls disagree: {first:?}, {state:?}"));
                }
                _ => agreed = Some(state),
            }
        }
        agreed.ok_or_else(|| "the stub makes no call".to_owned())
    }

    /// What a row of an unwind table says, with the facts of its CIE.
    fn of_row<R: gimli::Reader>(
        entry: &gimli::CommonInformationEntry<R>,
        (cfa, saved): (Rule, Vec<Rule>),
    ) -> CallState {
        CallState {
            return_address: entry.return_address_register().0,
            code_alignment: entry.code_alignment_factor() as u8,
            data_alignment: entry.data_alignment_factor() as i8,
            cfa: Cfa::Register(cfa),
            saved,
        }
    }

    /// The state at the call of a veneer that calls: the stub's frame, seen from the veneer. The
    /// save area lies `save` bytes above the stack pointer of the stub's call, and that `to_cfa`
    /// below the canonical frame address.
    pub(crate) fn at_veneer(&self, unwind: Unwind, save: i32, to_cfa: i64) -> CallState {
        let mut state = self.clone();
        match unwind {
            Unwind::Same => {}
            Unwind::Saved(register) => {
                let place = i64::from(save + image::SAVED) - to_cfa;
                state.saved.push((register, place));
                state.saved.sort_unstable();
            }
        }
        state
    }

    /// The state of code of the same machine with a frame of its own: where the return address is
    /// named, the canonical frame address as register and offset, and where registers lie from
    /// there.
    pub(crate) fn with_frame(
        &self,
        return_address: u16,
        cfa: (u16, i64),
        saved: &[(u16, i64)],
    ) -> CallState {
        CallState {
            return_address,
            cfa: Cfa::Register(cfa),
            saved: saved.to_vec(),
            ..self.clone()
        }
    }

    /// The canonical frame address, and where registers lie from there.
    #[cfg(all(test, feature = "all-arch"))]
    pub(crate) fn rules(&self) -> (Cfa, &[Rule]) {
        (self.cfa, &self.saved)
    }

    /// An `.eh_frame` section with one entry that holds for every call in `start..start + bytes`.
    fn eh_frame(&self, start: usize, bytes: usize) -> Result<Vec<u8>, String> {
        let mut table = FrameTable::default();
        let id = table.add_cie(cie(self));
        table.add_fde(
            id,
            FrameDescriptionEntry::new(Address::Constant(start as u64), bytes as u32),
        );
        write(&table)
    }
}

/// A CIE whose initial rules are those of `state`.
fn cie(state: &CallState) -> CommonInformationEntry {
    let encoding = Encoding {
        format: Format::Dwarf32,
        version: 1,
        address_size: 8,
    };
    let mut cie = CommonInformationEntry::new(
        encoding,
        state.code_alignment,
        state.data_alignment,
        Register(state.return_address),
    );
    cie.add_instruction(state.cfa.instruction());
    for &(register, offset) in &state.saved {
        cie.add_instruction(CallFrameInstruction::Offset(
            Register(register),
            offset as i32,
        ));
    }
    cie
}

/// Cranelift's unwind information as an `.eh_frame` section, for code at this address.
fn one_entry(isa: &dyn TargetIsa, info: &UnwindInfo, at: u64) -> Result<Vec<u8>, String> {
    let cie = isa
        .create_systemv_cie()
        .ok_or("Cranelift has no CIE for this ISA")?;
    let mut table = FrameTable::default();
    let id = table.add_cie(cie);
    table.add_fde(id, info.to_fde(Address::Constant(at)));
    write(&table)
}

fn endian() -> RunTimeEndian {
    if IS_BIG_ENDIAN {
        RunTimeEndian::Big
    } else {
        RunTimeEndian::Little
    }
}

/// A DWARF register and an offset: from the register, or of the register from the canonical frame
/// address.
type Rule = (u16, i64);

/// The rules of one row: for the canonical frame address, and for saved registers, ascending.
fn rules(
    row: &gimli::UnwindTableRow<usize>,
    is_riscv64: bool,
) -> Result<(Rule, Vec<Rule>), String> {
    let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
        return Err(format!(
            "canonical frame address is {:?}, wanted a register and an offset",
            row.cfa()
        ));
    };
    let mut saved = Vec::new();
    for (register, rule) in row.registers() {
        match rule {
            RegisterRule::Offset(offset) => saved.push((register.0, *offset)),
            // On Apple's arm64 Cranelift says that return addresses are not signed, which is so
            // anyway.
            RegisterRule::ValExpression(_) if register.0 == RETURN_ADDRESS_SIGNED => {}
            other => {
                return Err(format!(
                    "register {} is {other:?}, wanted a place in the frame",
                    register.0
                ));
            }
        }
    }
    // On riscv64 Cranelift pushes the frame pointer, points it there, and then saves it again with
    // the other registers; its rule names the second place, which holds the stub's own.
    for rule in &mut saved {
        if is_riscv64 && rule.0 == register.0 {
            rule.1 = -offset;
        }
    }
    saved.sort_unstable();
    Ok(((register.0, offset), saved))
}

fn write(table: &FrameTable) -> Result<Vec<u8>, String> {
    let mut section = EhFrame(EndianVec::new(endian()));
    table
        .write_eh_frame(&mut section)
        .map_err(|e| e.to_string())?;
    let mut bytes = section.0.into_vec();
    // A length of zero ends the section.
    bytes.extend([0; 4]);
    Ok(bytes)
}

/// A region's entry in the unwinder's registry, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Registration {
    section: Box<[u8]>,
    /// Where in the section what is registered begins: see [`UNWINDER_TAKES_SECTIONS`].
    entry: usize,
}

impl Registration {
    /// Registers `start..start + bytes` as code whose calls are in `state`.
    pub(crate) fn new(
        state: &CallState,
        start: usize,
        bytes: usize,
    ) -> Result<Registration, String> {
        let section = state.eh_frame(start, bytes)?.into_boxed_slice();
        let entry = match UNWINDER_TAKES_SECTIONS {
            true => 0,
            false => second_entry(&section)?,
        };
        let registration = Registration { section, entry };
        // SAFETY: I4: the section is a complete table, its bytes stay at this address until `drop`
        // takes the entry back, and the arena drops its registrations before it unmaps the code
        // they describe.
        unsafe { register_frame(registration.address()) };
        Ok(registration)
    }

    fn address(&self) -> *const u8 {
        self.section[self.entry..].as_ptr()
    }
}

/// Offset of the frame description entry, which lies behind the common information entry.
fn second_entry(section: &[u8]) -> Result<usize, String> {
    let length = section
        .first_chunk()
        .map(|bytes| u32::from_ne_bytes(*bytes));
    let second = length.map(|length| size_of::<u32>() + length as usize);
    second
        .filter(|&second| second < section.len())
        .ok_or_else(|| {
            format!(
                "an .eh_frame of {} bytes, wanted two entries",
                section.len()
            )
        })
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: I4: registered in `new` at this address, and only once taken back.
        unsafe { deregister_frame(self.address()) };
    }
}
