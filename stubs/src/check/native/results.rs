//! Results of native conventions: one C value, the struct of all if there are several or if the one
//! is an array.
#![forbid(unsafe_code)]

use super::homes::{Group, Wish, wish};
use super::kind_is;
use super::shape::Shape;
use crate::abi::{NativeConvention, RegClass};
use crate::assign::{Assignment, Place, Value};
use crate::check::{Rule, Violation, broken, expect};
use crate::quote::short;
use crate::signature::{Kind, Type};

/// Checks the results and returns how many integer and float registers they use.
pub(super) fn check(
    a: &Assignment,
    native: &NativeConvention,
) -> Result<(usize, usize), Violation> {
    if a.results.is_empty() {
        let none = "none".to_owned();
        let found = a
            .hidden_result
            .map_or(none.clone(), |n| format!("{n} bytes"));
        expect(
            Rule::Hidden,
            format_args!("memory for results"),
            found,
            none,
        )?;
        return Ok((0, 0));
    }
    // The members of the C struct: each at the first multiple of its alignment.
    let (mut end, mut align, mut offsets) = (0, 1, Vec::new());
    for (i, value) in a.results.iter().enumerate() {
        if value.size == 0 {
            let found = short(&value.ty);
            return broken(
                Rule::Whole,
                format!("result {i} is {found}, wanted a type with bytes"),
            );
        }
        let offset = u64::next_multiple_of(end, value.align);
        offsets.push(offset);
        end = offset + value.size;
        align = align.max(value.align);
    }
    let size = end.next_multiple_of(align);
    let types: Vec<Type> = a.results.iter().map(|value| value.ty.clone()).collect();
    let whole = match &types[..] {
        [one] if !matches!(one.underlying(), Kind::Array(..)) => one.clone(),
        all => Type::struct_of(all),
    };
    let wish = wish(native, &whole, &Shape::of(native, &whole), false, true);
    let registers = registers(native, wish);
    let memory = registers.is_none().then_some(size);
    let text = |bytes: Option<u64>| bytes.map_or("none".into(), |n| format!("{n} bytes"));
    expect(
        Rule::Hidden,
        format_args!("memory for results"),
        text(a.hidden_result),
        text(memory),
    )?;
    let Some(registers) = registers else {
        for (i, (value, wanted)) in a.results.iter().zip(offsets).enumerate() {
            let Place::Hidden { offset } = value.place else {
                let detail =
                    format!("result {i} is elsewhere, wanted it behind the hidden pointer");
                return broken(Rule::Hidden, detail);
            };
            expect(
                Rule::Hidden,
                format_args!("offset of result {i}"),
                offset,
                wanted,
            )?;
        }
        return Ok((0, 0));
    };
    for (i, (value, &offset)) in a.results.iter().zip(&offsets).enumerate() {
        one(native, &format!("result {i}"), value, offset, &registers)?;
    }
    let ints = registers
        .iter()
        .filter(|(group, _)| group.0 == RegClass::Int)
        .count();
    Ok((ints, registers.len() - ints))
}

/// The groups with the numbers of their registers, from 0 in each class; `None` for memory.
fn registers(native: &NativeConvention, wish: Wish) -> Option<Vec<(Group, usize)>> {
    let groups = match wish {
        Wish::Registers(groups) | Wish::Either(groups, _) => groups,
        Wish::Memory | Wish::Address | Wish::Nothing => return None,
    };
    let (mut ints, mut floats) = (0..native.int_results.len(), 0..native.float_results.len());
    let number = |group: Group| {
        let number = match group.0 {
            RegClass::Int => ints.next(),
            RegClass::Float => floats.next(),
        };
        Some((group, number?))
    };
    groups.into_iter().map(number).collect()
}

/// What a result has of each register, in order.
fn one(
    native: &NativeConvention,
    what: &str,
    value: &Value,
    start: u64,
    registers: &[(Group, usize)],
) -> Result<(), Violation> {
    let Place::Regs { pieces, spill } = &value.place else {
        return broken(
            Rule::Whole,
            format!("{what} is in memory, wanted it in registers"),
        );
    };
    if spill.is_some() {
        return broken(Rule::Spill, format!("{what} has a spill slot, wanted none"));
    }
    let end = start + value.size;
    let shape = Shape::of(native, &value.ty);
    let mut pieces = pieces.iter();
    for &((class, from, to), index) in registers {
        let (first, last) = (from.max(start), to.min(end));
        if first >= last {
            continue;
        }
        let Some(piece) = pieces.next() else {
            return broken(Rule::Whole, format!("{what} has too few pieces"));
        };
        if (piece.off, piece.size) != (first - start, last - first) {
            let found = format!("{what}: piece of {} bytes at {}", piece.size, piece.off);
            let (from, to) = (first - start, last - start);
            return broken(Rule::Whole, format!("{found}, wanted bytes {from}..{to}"));
        }
        kind_is(what, piece, &shape, (first - start, last - start))?;
        if piece.class != class {
            let found = piece.class;
            let detail = format!("{what} is in a {found} register, wanted the other class");
            return broken(Rule::Pieces, detail);
        }
        expect(
            Rule::Sequence,
            format_args!("{what}: number of the {class} register"),
            piece.index,
            index,
        )?;
        expect(
            Rule::Pieces,
            format_args!("{what}: first byte in the register"),
            piece.reg_off,
            first - from,
        )?;
    }
    match pieces.next() {
        None => Ok(()),
        Some(_) => broken(Rule::Whole, format!("{what} has too many pieces")),
    }
}
