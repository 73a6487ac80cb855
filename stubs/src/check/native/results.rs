//! Results of native conventions. Together they are one C struct, whose bytes this file paints and
//! then reads.
//!
//! * **Eightbytes**: at most 16 bytes; each 8 of them go to the next float register if all are
//!   floating point or padding, else to the next integer register.
//! * **Word-sized**: 1, 2, 4 or 8 bytes, in the integer register, whatever they are.
//! * **Homogeneous floats**: one to four floats of one size and nothing else, not even padding: a
//!   float register each. Else at most 16 bytes, in integer registers as they lie in memory.
//! * **Flattened floats**: one float, two floats, a float and an integer that is no pointer: a
//!   register each. Else at most 16 bytes, in integer registers as they lie in memory.
//! * **Scalars**: nothing but the single scalar.
//! * **Parts**: each basic part in the next register of its class, if there are enough for all.
#![forbid(unsafe_code)]

use crate::abi::{NativeConvention, RegClass, Results};
use crate::assign::{Assignment, Place};
use crate::check::{Part, Rule, Violation, basic_parts, broken, expect, pieces_are};
use crate::quote::short;
use crate::signature::{Kind, Type, WORD};

/// What a byte of the result struct is.
#[derive(Clone, Copy, PartialEq)]
enum Byte {
    Padding,
    Int,
    Float,
}

/// A register and the first byte of it.
type Register = (RegClass, usize, u64);

/// Checks the results and returns how many integer and float registers they use.
pub(super) fn check(
    a: &Assignment,
    native: &NativeConvention,
) -> Result<(usize, usize), Violation> {
    // The members of the C struct: each at the first multiple of its alignment.
    let (mut end, mut align) = (0, 1);
    let mut offsets = Vec::new();
    for (i, value) in a.results.iter().enumerate() {
        if value.size == 0 {
            return broken(
                Rule::Whole,
                format!(
                    "result {i} is {}, wanted a type with bytes",
                    short(&value.ty)
                ),
            );
        }
        let offset = u64::next_multiple_of(end, value.align);
        offsets.push(offset);
        end = offset + value.size;
        align = align.max(value.align);
    }
    let size = end.next_multiple_of(align);
    // Nothing larger than eight registers of each class is ever in registers.
    let mut parts = Vec::new();
    if size <= 128 {
        for (value, &offset) in a.results.iter().zip(&offsets) {
            let mut list = Vec::new();
            walk(&value.ty, 0, &mut list);
            parts.extend(list.into_iter().map(|part| (offset, part)));
        }
    }
    let registers = wanted(a, native, &parts, size);
    let hidden = |bytes: Option<u64>| bytes.map_or("none".into(), |n| format!("{n} bytes"));
    let memory = (registers.is_none() && size > 0).then_some(size);
    expect(
        Rule::Hidden,
        format_args!("memory for results"),
        hidden(a.hidden_result),
        hidden(memory),
    )?;
    let Some(registers) = registers else {
        for (i, (value, wanted)) in a.results.iter().zip(offsets).enumerate() {
            match value.place {
                Place::Hidden { offset } => expect(
                    Rule::Hidden,
                    format_args!("offset of result {i}"),
                    offset,
                    wanted,
                )?,
                _ => {
                    return broken(
                        Rule::Hidden,
                        format!("result {i} is elsewhere, wanted it behind the hidden pointer"),
                    );
                }
            }
        }
        return Ok((0, 0));
    };
    compare(a, &registers)?;
    let mut used: Vec<(RegClass, usize)> = registers.iter().map(|r| (r.0, r.1)).collect();
    used.sort_unstable();
    used.dedup();
    let ints = used.iter().filter(|r| r.0 == RegClass::Int).count();
    Ok((ints, used.len() - ints))
}

/// The pieces of each result are its parts, in these registers.
fn compare(a: &Assignment, registers: &[Register]) -> Result<(), Violation> {
    let mut registers = registers.iter();
    for (i, value) in a.results.iter().enumerate() {
        let what = format_args!("result {i}");
        let Place::Regs { pieces, spill } = &value.place else {
            return broken(
                Rule::Whole,
                format!("{what} is in memory, wanted it in registers"),
            );
        };
        if spill.is_some() {
            return broken(Rule::Spill, format!("{what} has a spill slot, wanted none"));
        }
        let mut parts = Vec::new();
        walk(&value.ty, 0, &mut parts);
        pieces_are(what, pieces, &parts)?;
        for (k, (piece, &(class, index, byte))) in pieces.iter().zip(&mut registers).enumerate() {
            if piece.class != class {
                let found = piece.class;
                return broken(
                    Rule::Pieces,
                    format!("{what} piece {k} is in a {found} register, wanted the other class"),
                );
            }
            expect(
                Rule::Sequence,
                format_args!("{what} piece {k}: number of the {class} register"),
                piece.index,
                index,
            )?;
            expect(
                Rule::Pieces,
                format_args!("{what} piece {k}: first byte in the register"),
                piece.reg_off,
                byte,
            )?;
        }
    }
    Ok(())
}

/// The register of each part, `None` if the results are in memory.
fn wanted(
    a: &Assignment,
    native: &NativeConvention,
    parts: &[(u64, Part)],
    size: u64,
) -> Option<Vec<Register>> {
    if size == 0 {
        return Some(Vec::new());
    }
    if let ([value], [(_, part)]) = (&a.results[..], parts)
        && !matches!(value.ty.underlying(), Kind::Struct(_) | Kind::Array(..))
    {
        return Some(vec![(part.class, 0, 0)]);
    }
    let at = |(offset, part): &(u64, Part)| offset + part.off;
    let floats = parts
        .iter()
        .filter(|p| p.1.class == RegClass::Float)
        .count();
    let ints = parts.len() - floats;
    let as_in_memory = || {
        let word = |p| (RegClass::Int, (at(p) / WORD) as usize, at(p) % WORD);
        (size <= 16).then(|| parts.iter().map(word).collect())
    };
    // Each part in a register of its own, numbered in each class.
    let own = || {
        let mut next = [0, 0];
        let number = |p: &(u64, Part)| {
            let n = &mut next[usize::from(p.1.class == RegClass::Float)];
            *n += 1;
            (p.1.class, *n - 1, 0)
        };
        parts.iter().map(number).collect::<Vec<_>>()
    };
    match native.results {
        Results::Scalars => None,
        Results::WordSized => [1, 2, 4, 8].contains(&size).then(as_in_memory)?,
        Results::Parts => {
            let enough = ints <= native.int_results.len() && floats <= native.float_results.len();
            (size <= 128 && enough).then(own)
        }
        Results::HomogeneousFloats => {
            let bytes: u64 = parts.iter().map(|p| p.1.size).sum();
            let one_size = parts.windows(2).all(|w| w[0].1.size == w[1].1.size);
            if ints == 0 && (1..=4).contains(&floats) && one_size && bytes == size {
                Some(own())
            } else {
                as_in_memory()
            }
        }
        Results::FlattenedFloats => match (ints, floats) {
            (0, 1 | 2) => Some(own()),
            (1, 1) if !parts.iter().any(|p| is_pointer(&p.1.kind)) => Some(own()),
            _ => as_in_memory(),
        },
        Results::Eightbytes => {
            let mut bytes = [Byte::Padding; 16];
            if size > 16 {
                return None;
            }
            for p in parts {
                let paint = match p.1.class {
                    RegClass::Float => Byte::Float,
                    RegClass::Int => Byte::Int,
                };
                bytes[at(p) as usize..(at(p) + p.1.size) as usize].fill(paint);
            }
            let class = |word: usize| {
                let eightbyte = &bytes[8 * word..8 * word + 8];
                if eightbyte.contains(&Byte::Int) {
                    RegClass::Int
                } else {
                    RegClass::Float
                }
            };
            let place = |p| {
                let word = (at(p) / WORD) as usize;
                let before = usize::from(word == 1 && class(0) == class(1));
                (class(word), before, at(p) % WORD)
            };
            Some(parts.iter().map(place).collect())
        }
    }
}

/// What is a pointer in C: gcc and clang do not count it among the integers of flattened structs.
fn is_pointer(kind: &Type) -> bool {
    use Kind::{Chan, Func, Map, Pointer, UnsafePointer};
    matches!(
        kind.underlying(),
        Pointer(_) | UnsafePointer | Map(..) | Chan(..) | Func(_)
    )
}

/// The parts of a value that is small, so arrays in it are short unless they have no bytes.
fn walk(ty: &Type, at: u64, parts: &mut Vec<Part>) {
    let size = ty.layout().map_or(0, |layout| layout.size);
    match ty.underlying() {
        _ if size == 0 => {}
        Kind::Struct(fields) => fields
            .iter()
            .for_each(|field| walk(&field.ty, at + field.offset, parts)),
        Kind::Array(len, elem) => (0..*len).for_each(|i| walk(elem, at + i * (size / len), parts)),
        _ => parts.extend(basic_parts(ty, at)),
    }
}
