//! What a callee must find: an assignment's places with physical registers and bytes, by the
//! oracle's tables of conventions.
#![forbid(unsafe_code)]

use fing_oracles::convention::{Convention, Single, Small};
use fing_stubs::{Assignment, Kind, Piece, Place, RegClass, Type, Value};

/// A register's bits, of which those in `mask` count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub value: u128,
    /// Which of its bits have a meaning.
    pub mask: u128,
}

/// Bytes of the callee's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// First byte, from the argument base.
    pub offset: u64,
    /// What stands there.
    pub bytes: Vec<u8>,
    /// All ones where a byte counts.
    pub mask: Vec<u8>,
}

/// A value of which only the address is passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where its address is found.
    pub pointer: Pointer,
    /// What stands there.
    pub bytes: Vec<u8>,
    /// Its alignment.
    pub align: u64,
}

/// Where an address is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// In a register.
    Register(&'static str),
    /// In the frame, at this offset from the argument base.
    Frame(u64),
}

/// What the callee must find of its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// In registers.
    pub registers: Vec<Register>,
    /// In the frame.
    pub frame: Vec<Bytes>,
    /// Elsewhere in the caller's stack.
    pub copied: Vec<Copied>,
}

/// What a callee leaves for its caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// In registers.
    pub registers: Vec<Register>,
    /// In the frame, with offsets from the argument base.
    pub frame: Vec<Bytes>,
    /// In the memory whose address it was given, with offsets from there.
    pub hidden: Vec<Bytes>,
}

/// What the callee must find, for these memory images of the arguments.
///
/// # Errors
/// The assignment names a register that the oracle's table does not have in that place.
pub fn expected(
    assignment: &Assignment,
    convention: &Convention,
    images: &[Vec<u8>],
) -> Result<Expected, String> {
    let mut all = Expected::default();
    for (value, image) in assignment.args.iter().zip(images) {
        add(&mut all, assignment, convention, value, image)?;
    }
    Ok(all)
}

fn add(
    all: &mut Expected,
    assignment: &Assignment,
    convention: &Convention,
    value: &Value,
    image: &[u8],
) -> Result<(), String> {
    match &value.place {
        Place::Regs { pieces, .. } => {
            for piece in pieces {
                all.registers
                    .push(register(assignment, convention, piece, image)?);
            }
        }
        Place::Split { piece, offset } => {
            all.registers
                .push(register(assignment, convention, piece, image)?);
            all.frame
                .extend(slots(convention, value, *offset, &image[8..]));
        }
        Place::Reference { pointer, .. } => {
            let pointer = match &**pointer {
                Place::Regs { pieces, .. } if pieces.len() == 1 => {
                    Pointer::Register(name(assignment, convention, &pieces[0])?)
                }
                Place::Stack { offset } => Pointer::Frame(*offset),
                place => return Err(format!("an address is passed as {place:?}")),
            };
            let bytes = image.to_vec();
            let align = value.align;
            all.copied.push(Copied {
                pointer,
                bytes,
                align,
            });
        }
        Place::Stack { offset } if convention.is_go() || convention.name == "apple/arm64" => {
            all.frame.push(Bytes {
                offset: *offset,
                bytes: image.to_vec(),
                mask: vec![0xff; image.len()],
            })
        }
        Place::Stack { offset } => all.frame.extend(slots(convention, value, *offset, image)),
        place => return Err(format!("an argument is at {place:?}")),
    }
    Ok(())
}

/// The value of some bytes of memory.
fn number(convention: &Convention, bytes: &[u8]) -> u128 {
    let add = |value: u128, &byte: &u8| value << 8 | u128::from(byte);
    if convention.isa.big_endian() {
        bytes.iter().fold(0, add)
    } else {
        bytes.iter().rev().fold(0, add)
    }
}

/// The `bits` lowest bits.
fn low(bits: u64) -> u128 {
    if bits >= 128 {
        u128::MAX
    } else {
        (1 << bits) - 1
    }
}

/// Name of a piece's register, the same by fing and by the oracle's table.
fn name(
    assignment: &Assignment,
    convention: &Convention,
    piece: &Piece,
) -> Result<&'static str, String> {
    let names = match piece.class {
        RegClass::Int => convention.ints,
        RegClass::Float => convention.floats,
    };
    let found = assignment.arg_register(piece.class, piece.index);
    Ok(whole(
        agreed("argument", convention, piece, names, found)?,
        piece.size,
    ))
}

/// Names of arm64's vector registers, of which `d0` to `d7` are the low halves.
const ARM64_Q: [&str; 8] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"];

/// The register of so many bytes of which this is the name.
fn whole(name: &'static str, size: u64) -> &'static str {
    let number = name.strip_prefix('d').and_then(|n| n.parse::<usize>().ok());
    match number.and_then(|n| ARM64_Q.get(n)) {
        Some(whole) if size == 16 => whole,
        _ => name,
    }
}

fn agreed(
    role: &str,
    convention: &Convention,
    piece: &Piece,
    names: &[&'static str],
    found: &str,
) -> Result<&'static str, String> {
    let wanted = names.get(piece.index).copied();
    wanted.filter(|&wanted| wanted == found).ok_or_else(|| {
        format!(
            "{} {role} register {} of {} is {found:?}, wanted {wanted:?}",
            piece.class, piece.index, convention.name
        )
    })
}

/// What a callee leaves, for these memory images of its results.
///
/// # Errors
/// The assignment names a register that the oracle's table does not have in that place.
pub fn returned(
    assignment: &Assignment,
    convention: &Convention,
    images: &[Vec<u8>],
) -> Result<Returned, String> {
    let mut all = Returned::default();
    for (value, image) in assignment.results.iter().zip(images) {
        let bytes = |offset| Bytes {
            offset,
            bytes: image.clone(),
            mask: vec![0xff; image.len()],
        };
        match &value.place {
            Place::Regs { pieces, .. } => {
                for piece in pieces {
                    let lone = pieces_in(assignment, piece) == 1;
                    result_register(&mut all, assignment, convention, piece, lone, image)?;
                }
            }
            Place::Stack { offset } => all.frame.push(bytes(*offset)),
            Place::Hidden { offset } => all.hidden.push(bytes(*offset)),
            place => return Err(format!("a result is {place:?}")),
        }
    }
    Ok(all)
}

/// How many pieces of all results are in a piece's register.
fn pieces_in(assignment: &Assignment, piece: &Piece) -> usize {
    let all = assignment.results.iter().flat_map(|value| value.pieces());
    all.filter(|other| (other.class, other.index) == (piece.class, piece.index))
        .count()
}

fn result_register(
    all: &mut Returned,
    assignment: &Assignment,
    convention: &Convention,
    piece: &Piece,
    lone: bool,
    image: &[u8],
) -> Result<(), String> {
    let names = match piece.class {
        RegClass::Int => convention.int_results,
        RegClass::Float => convention.float_results,
    };
    let found = assignment.result_register(piece.class, piece.index);
    let name = whole(
        agreed("result", convention, piece, names, found)?,
        piece.size,
    );
    let raw = number(
        convention,
        &image[piece.off as usize..(piece.off + piece.size) as usize],
    );
    let (value, mask) = match piece.class {
        RegClass::Float if lone && piece.size == 4 => single(convention, raw),
        _ => (
            raw << (8 * piece.reg_off),
            low(8 * piece.size) << (8 * piece.reg_off),
        ),
    };
    match all
        .registers
        .iter_mut()
        .find(|register| register.name == name)
    {
        Some(register) if register.mask & mask != 0 => Err(format!("two results are in {name}")),
        Some(register) => {
            register.value |= value;
            register.mask |= mask;
            Ok(())
        }
        None => {
            all.registers.push(Register { name, value, mask });
            Ok(())
        }
    }
}

/// A `float32` in a float register of its own.
fn single(convention: &Convention, raw: u128) -> (u128, u128) {
    match convention.single {
        Single::Low => (raw, low(32)),
        Single::Boxed => (raw | low(64) & !low(32), low(64)),
        Single::High => (raw << 32, low(64) & !low(32)),
    }
}

fn register(
    assignment: &Assignment,
    convention: &Convention,
    piece: &Piece,
    image: &[u8],
) -> Result<Register, String> {
    let name = name(assignment, convention, piece)?;
    let raw = number(
        convention,
        &image[piece.off as usize..(piece.off + piece.size) as usize],
    );
    let (value, mask) = match piece.class {
        RegClass::Int => extended(convention, &piece.kind, piece.size, raw),
        RegClass::Float if piece.size == 4 => single(convention, raw),
        RegClass::Float => (raw, low(8 * piece.size)),
    };
    Ok(Register { name, value, mask })
}

/// An integer of `size` bytes as it stands in 64 bits, and which bits count.
pub(crate) fn extended(convention: &Convention, kind: &Type, size: u64, raw: u128) -> (u128, u128) {
    let bits = 8 * size;
    let sign_at = |value: u128, bits: u64| {
        let unused = 64 - bits;
        u128::from((((value as u64) << unused) as i64 >> unused) as u64)
    };
    // Above part of a struct there may be anything.
    let is_small = matches!(
        kind.underlying(),
        Kind::Bool
            | Kind::Int8
            | Kind::Int16
            | Kind::Int32
            | Kind::Uint8
            | Kind::Uint16
            | Kind::Uint32
    );
    let signed = matches!(kind.underlying(), Kind::Int8 | Kind::Int16 | Kind::Int32);
    let by_type = if signed { sign_at(raw, bits) } else { raw };
    match convention.small {
        _ if !is_small => (raw, low(bits)),
        Small::Garbage => (raw, low(bits)),
        Small::To32 => (by_type & low(32), low(32)),
        Small::To64 => (by_type, low(64)),
        Small::SignOf32 => (sign_at(by_type, 32), low(64)),
    }
}

/// A native argument on the stack: each part in a slot of 8 bytes, as it would stand in a register.
fn slots(convention: &Convention, value: &Value, offset: u64, image: &[u8]) -> Vec<Bytes> {
    let parts = image.chunks(8).enumerate();
    // The offset may be the slot's or, on a big-endian machine, that of the value within it.
    let first = offset / 8 * 8;
    parts
        .map(|(n, part)| {
            let (bits, mask) = extended(
                convention,
                &value.ty,
                part.len() as u64,
                number(convention, part),
            );
            let (bits, mask) = (bits as u64, mask as u64);
            let (bytes, mask) = if convention.isa.big_endian() {
                (bits.to_be_bytes(), mask.to_be_bytes())
            } else {
                (bits.to_le_bytes(), mask.to_le_bytes())
            };
            Bytes {
                offset: first + 8 * n as u64,
                bytes: bytes.into(),
                mask: mask.into(),
            }
        })
        .collect()
}

/// For one argument, the place a second reading of the ABI gives it: as many registers as it has
/// parts, from the first on, or the frame's start. Compared with the assignment's.
///
/// # Errors
/// What differs.
pub fn check_single(assignment: &Assignment, convention: &Convention) -> Result<(), String> {
    let is_composite = |value: &Value| {
        let kind = value.ty.underlying();
        let complex = matches!(kind, Kind::Complex64 | Kind::Complex128 | Kind::C(_));
        complex || matches!(kind, Kind::Struct(_) | Kind::String | Kind::Slice(_))
    };
    // C's structs have rules of their own, which gcc's functions judge.
    if !convention.is_go() && assignment.args.iter().any(is_composite) {
        return Ok(());
    }
    let [value] = assignment.args.as_slice() else {
        return Err(format!("{} arguments, wanted 1", assignment.args.len()));
    };
    let parts = fing_stubs::assign::pieces(&value.ty);
    let floats = parts
        .iter()
        .filter(|part| part.class == RegClass::Float)
        .count();
    let ints = parts.len() - floats;
    let in_memory = u64::from(assignment.hidden_result.is_some());
    let skipped =
        usize::from(in_memory == 1 && convention.ints.contains(&convention.result_address));
    let never = value.ty.layout().is_none_or(|layout| layout.need.is_none());
    let (limit_ints, limit_floats) = (assignment.abi.int_regs(), assignment.abi.float_regs());
    if let Place::Reference { pointer, .. } = &value.place {
        // One of the two conventions that have it: the address takes the first integer register
        // left.
        let wanted = ["fastcall/amd64", "elf/s390x"].contains(&convention.name) && value.size == 16;
        return match first_register(pointer) {
            Some(index) if wanted && index == skipped => Ok(()),
            found => Err(format!(
                "{} by reference in register {found:?}, wanted {skipped}",
                value.ty
            )),
        };
    }
    let fits = !never && skipped + ints <= limit_ints && floats <= limit_floats && value.size > 0;
    match &value.place {
        Place::Regs { pieces, .. } if fits => {
            let shift = |class| match class {
                RegClass::Int => skipped,
                RegClass::Float => skipped * usize::from(convention.shared_numbers),
            };
            let wanted: Vec<_> = parts
                .iter()
                .map(|p| (p.class, p.index + shift(p.class), p.off, p.size))
                .collect();
            let found: Vec<_> = pieces
                .iter()
                .map(|p| (p.class, p.index, p.off, p.size))
                .collect();
            if found == wanted {
                Ok(())
            } else {
                Err(format!("pieces {found:?}, wanted {wanted:?}"))
            }
        }
        Place::Stack { offset } if !fits && (*offset == 0 || !convention.is_go()) => Ok(()),
        place => Err(format!(
            "{} is {place:?}, wanted {}",
            value.ty,
            if fits {
                "registers"
            } else {
                "the frame's start"
            }
        )),
    }
}

/// The register of a place that is one register.
fn first_register(place: &Place) -> Option<usize> {
    match place {
        Place::Regs { pieces, .. } => pieces.first().map(|piece| piece.index),
        _ => None,
    }
}
