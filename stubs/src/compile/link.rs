//! Entrance, stub and veneer as one position-independent blob, the stub's one relocation resolved.
#![forbid(unsafe_code)]

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::{FinalizedMachReloc, FinalizedRelocTarget};

use crate::veneer::{LEAD_IN, lead_in};

/// Functions begin at multiples of this in a blob; enough for every machine.
const ALIGNMENT: usize = 16;

/// Where the stub begins behind an entrance of so many bytes.
pub(super) fn stub_offset(entrance: Option<usize>) -> usize {
    entrance.map_or(0, |bytes| (LEAD_IN + bytes).next_multiple_of(ALIGNMENT))
}

/// Where the veneer begins behind a stub of so many bytes that begins at `start`.
pub(super) fn veneer_offset(start: usize, stub: usize) -> usize {
    (start + stub).next_multiple_of(ALIGNMENT)
}

/// `entrance`, if there is one, told where the stub is; `stub` followed by `veneer`, with each of
/// the stub's relocations aimed at the veneer.
pub(super) fn link(
    entrance: Option<&[u8]>,
    stub: &[u8],
    relocations: &[FinalizedMachReloc],
    veneer: &[u8],
) -> Result<Vec<u8>, String> {
    let start = stub_offset(entrance.map(<[u8]>::len));
    let mut image = Vec::new();
    if let Some(entrance) = entrance {
        let lead_in = lead_in(start - LEAD_IN).ok_or("the entrance is too long")?;
        image.extend(lead_in);
        image.extend_from_slice(entrance);
        image.resize(start, 0);
    }
    image.extend_from_slice(stub);
    let target = veneer_offset(start, stub.len());
    image.resize(target, 0);
    image.extend_from_slice(veneer);
    for relocation in relocations {
        let FinalizedRelocTarget::ExternalName(_) = &relocation.target else {
            return Err(format!("{relocation:?}: wanted the veneer as its target"));
        };
        if veneer.is_empty() {
            return Err(format!("{relocation:?}: there is no veneer"));
        }
        let at = start + relocation.offset as usize;
        let distance = target as i64 + relocation.addend - at as i64;
        patch(&mut image, at, relocation.kind, distance)
            .ok_or_else(|| format!("{relocation:?}: out of reach or of an unknown kind"))?;
    }
    Ok(image)
}

/// Writes `distance`, counted from the relocation's own address, into the instruction at `at`.
fn patch(image: &mut [u8], at: usize, kind: Reloc, distance: i64) -> Option<()> {
    match kind {
        Reloc::X86CallPCRel4 | Reloc::X86PCRel4 => {
            write(image, at, i32::try_from(distance).ok()?.to_le_bytes())
        }
        // The whole instruction is `bl`, its low 26 bits count instructions.
        Reloc::Arm64Call => {
            let words = distance >> 2;
            let fits = (-(1 << 25)..1 << 25).contains(&words) && distance & 3 == 0;
            or(image, at, fits.then_some(words as u32 & 0x03ff_ffff)?)
        }
        // auipc takes the upper 20 bits, jalr the lower 12 as a signed number.
        Reloc::RiscvCallPlt => {
            let distance = i32::try_from(distance).ok()?;
            let upper = distance.checked_add(0x800)? as u32 & 0xffff_f000;
            or(image, at, upper)?;
            or(image, at + 4, (distance as u32).wrapping_sub(upper) << 20)
        }
        // Counts halfwords, from the instruction's start, which is two bytes before; the addend
        // says so.
        Reloc::S390xPLTRel32Dbl | Reloc::S390xPCRel32Dbl => {
            let halves = i32::try_from(distance >> 1).ok()?;
            write(image, at, halves.to_be_bytes())
        }
        _ => None,
    }
}

fn write(image: &mut [u8], at: usize, bytes: [u8; 4]) -> Option<()> {
    image.get_mut(at..at + 4)?.copy_from_slice(&bytes);
    Some(())
}

/// Adds bits to a little-endian instruction word.
fn or(image: &mut [u8], at: usize, bits: u32) -> Option<()> {
    let word = u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?);
    write(image, at, (word | bits).to_le_bytes())
}
