//! The rules of System V, for scalars and interfaces in and anything out.
//!
//! * Results together are one C struct. Above 16 bytes it is in memory whose address takes the first integer argument register;
//!   else each of its eightbytes is in the next float result register if all its bytes are floating point or padding, in the next
//!   integer one otherwise.
//! * An argument takes registers or whole stack slots; an interface is the C struct of two pointers.
//! * There are no spill slots. The frame is a multiple of the stack's alignment.
#![forbid(unsafe_code)]

use super::{
    Part, Registers, Rule, Violation, basic_parts, broken, expect, expect_first_aligned,
    parts_in_registers, pieces_are,
};
use crate::abi::{NativeConvention, RegClass};
use crate::assign::{Assignment, Piece, Place};
use crate::signature::{Kind, Type, WORD};

pub(super) fn check(a: &Assignment, native: &NativeConvention) -> Result<(), Violation> {
    let (ints_out, floats_out) = results(a, native)?;
    let args = arguments(a, native)?;
    expect_first_aligned(
        Rule::Areas,
        format_args!("start of stack results"),
        a.results_off,
        a.args_end,
        WORD,
    )?;
    expect(
        Rule::Areas,
        format_args!("end of stack results"),
        a.results_end,
        a.results_off,
    )?;
    expect(
        Rule::Areas,
        format_args!("start of the spill area"),
        a.spill_off,
        a.results_end,
    )?;
    expect(
        Rule::Areas,
        format_args!("size of the spill area"),
        a.spill_size,
        0,
    )?;
    let align = native.stack_align;
    expect_first_aligned(
        Rule::Areas,
        format_args!("size of the frame"),
        a.frame_size,
        a.spill_off,
        align,
    )?;
    let totals = [
        ("integer registers in", a.int_in, args.ints),
        ("float registers in", a.float_in, args.floats),
        ("integer registers out", a.int_out, ints_out),
        ("float registers out", a.float_out, floats_out),
    ];
    totals.into_iter().try_for_each(|(what, found, used)| {
        expect(Rule::Totals, format_args!("{what}"), found, used)
    })
}

fn arguments(a: &Assignment, native: &NativeConvention) -> Result<Registers, Violation> {
    let (max_ints, max_floats) = (native.int_args.len(), native.float_args.len());
    let mut registers = Registers {
        ints: usize::from(a.hidden_result.is_some()),
        floats: 0,
        max_ints,
        max_floats,
    };
    let mut end = 0;
    for (i, value) in a.args.iter().enumerate() {
        let what = format_args!("argument {i}");
        let composite = matches!(
            value.ty.underlying(),
            Kind::Struct(_)
                | Kind::Array(..)
                | Kind::String
                | Kind::Slice(_)
                | Kind::Complex64
                | Kind::Complex128
        );
        let Some(parts) = parts_in_registers(&value.ty).filter(|_| !composite) else {
            return broken(
                Rule::Whole,
                format!("{what} is {}, wanted a scalar or an interface", value.ty),
            );
        };
        match &value.place {
            Place::Stack { .. } if registers.hold(&parts) => {
                return broken(
                    Rule::Fit,
                    format!("{what} is on the stack, wanted it in the registers left"),
                );
            }
            Place::Stack { offset } => {
                let slot = native.stack_slot;
                expect_first_aligned(
                    Rule::Stack,
                    format_args!("offset of {what}"),
                    *offset,
                    end,
                    slot,
                )?;
                end = offset + value.size.next_multiple_of(slot);
            }
            Place::Regs {
                pieces,
                spill: None,
            } => {
                pieces_are(what, pieces, &parts)?;
                registers.take(what, pieces, &parts)?;
            }
            Place::Regs { .. } => {
                return broken(
                    Rule::Spill,
                    format!("{what} has a spill slot, wanted none in {}", a.abi),
                );
            }
            Place::Hidden { .. } => {
                return broken(
                    Rule::Hidden,
                    format!("{what} is behind the hidden pointer, wanted only results there"),
                );
            }
        }
    }
    expect(
        Rule::Areas,
        format_args!("end of stack arguments"),
        a.args_end,
        end,
    )?;
    Ok(registers)
}

/// Checks the results and returns how many integer and float registers they use.
fn results(a: &Assignment, native: &NativeConvention) -> Result<(usize, usize), Violation> {
    // The members of the C struct: each at the first multiple of its alignment.
    let (mut end, mut align) = (0, 1);
    let mut offsets = Vec::new();
    for (i, value) in a.results.iter().enumerate() {
        if value.size == 0 {
            return broken(
                Rule::Whole,
                format!("result {i} is {}, wanted a type with bytes", value.ty),
            );
        }
        let offset = u64::next_multiple_of(end, value.align);
        offsets.push(offset);
        end = offset + value.size;
        align = align.max(value.align);
    }
    let size = end.next_multiple_of(align);
    let large = size > native.max_register_result;
    let hidden = a
        .hidden_result
        .map_or("none".into(), |size| format!("{size} bytes"));
    let wanted = if large {
        format!("{size} bytes")
    } else {
        "none".into()
    };
    expect(
        Rule::Hidden,
        format_args!("memory for results"),
        hidden,
        wanted,
    )?;
    if large {
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
    }
    small_results(a, &offsets)
}

/// What a byte of the result struct is.
#[derive(Clone, Copy, PartialEq)]
enum Byte {
    Padding,
    Int,
    Float,
}

fn small_results(a: &Assignment, offsets: &[u64]) -> Result<(usize, usize), Violation> {
    // Paint the struct byte by byte, then read each eightbyte's class off the picture.
    let mut bytes = [Byte::Padding; 16];
    let mut parts = Vec::new();
    for (value, &offset) in a.results.iter().zip(offsets) {
        let mut list = Vec::new();
        walk(&value.ty, 0, &mut list);
        for part in &list {
            let from = (offset + part.off) as usize;
            let paint = if part.class == RegClass::Float {
                Byte::Float
            } else {
                Byte::Int
            };
            bytes[from..from + part.size as usize].fill(paint);
        }
        parts.push(list);
    }
    let class = |eightbyte: &[Byte]| match (
        eightbyte.contains(&Byte::Int),
        eightbyte.contains(&Byte::Float),
    ) {
        (true, _) => Some(RegClass::Int),
        (false, true) => Some(RegClass::Float),
        (false, false) => None,
    };
    let classes = [class(&bytes[..8]), class(&bytes[8..])];
    let count = |wanted: RegClass| {
        classes
            .iter()
            .filter(|&&class| class == Some(wanted))
            .count()
    };

    for (i, ((value, &offset), parts)) in a.results.iter().zip(offsets).zip(&parts).enumerate() {
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
        pieces_are(what, pieces, parts)?;
        for (
            k,
            Piece {
                class,
                index,
                off,
                reg_off,
                ..
            },
        ) in pieces.iter().enumerate()
        {
            let at = offset + off;
            let word = (at / WORD) as usize;
            let before = usize::from(word == 1 && classes[0] == classes[1]);
            if classes[word] != Some(*class) {
                return broken(
                    Rule::Pieces,
                    format!("{what} piece {k} is in a {class} register, wanted the other class"),
                );
            }
            expect(
                Rule::Sequence,
                format_args!("{what} piece {k}: number of the {class} register"),
                *index,
                before,
            )?;
            expect(
                Rule::Pieces,
                format_args!("{what} piece {k}: first byte in the register"),
                *reg_off,
                at % WORD,
            )?;
        }
    }
    Ok((count(RegClass::Int), count(RegClass::Float)))
}

/// The parts of a value of at most 16 bytes, so arrays in it are short unless they have no bytes.
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
