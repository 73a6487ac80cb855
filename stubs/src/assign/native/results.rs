//! Where native results travel: in registers, as the convention classifies the one result or the
//! struct of all, or behind the hidden pointer.
#![forbid(unsafe_code)]

use super::NO_BYTES;
use super::pieces;
use crate::abi::classify::{Class, Part, Position, classify};
use crate::abi::{NativeConvention, RegClass};
use crate::assign::{Piece, Place, Value};
use crate::signature::{CLayout, Kind, Signature, Type};

#[derive(Default)]
pub(super) struct Results {
    pub(super) values: Vec<Value>,
    pub(super) hidden: Option<u64>,
    pub(super) ints: usize,
    pub(super) floats: usize,
}

/// A result in the struct of all.
struct Field<'a> {
    ty: &'a Type,
    layout: CLayout,
    offset: u64,
}

/// Places the results as one C value. `Err` is the index of a result that can't be, and why.
pub(super) fn place(
    sig: &Signature,
    native: &NativeConvention,
) -> Result<Results, (usize, &'static str)> {
    for (i, ty) in sig.results().iter().enumerate() {
        if native.data.layout(ty).is_none_or(|layout| layout.size == 0) {
            return Err((i, NO_BYTES));
        }
    }
    let whole = match sig.results() {
        [] => return Ok(Results::default()),
        // C has no arrays as results: it is the only member of a struct.
        [one] if !matches!(one.underlying(), Kind::Array(..)) => None,
        all => Some(Type::struct_of(all)),
    };
    let fields: Vec<Field<'_>> = match &whole {
        Some(whole) => {
            let offsets = native
                .data
                .members(whole)
                .into_iter()
                .map(|member| member.offset);
            fields(sig, native, &offsets.collect::<Vec<_>>())
        }
        None => fields(sig, native, &[0]),
    };
    let value = whole.as_ref().unwrap_or(&sig.results()[0]);
    let class = classify(native, value, Position::Result).map_err(|why| {
        let is_refused = |ty| classify(native, ty, Position::Result).is_err();
        (sig.results().iter().position(is_refused).unwrap_or(0), why)
    })?;
    let Some((parts, indices)) = registers(native, class) else {
        let size = native.data.layout(value).map_or(0, |layout| layout.size);
        let hidden = |field: &Field<'_>| {
            Value::new(
                field.ty,
                field.layout,
                Place::Hidden {
                    offset: field.offset,
                },
            )
        };
        return Ok(Results {
            values: fields.iter().map(hidden).collect(),
            hidden: Some(size),
            ..Results::default()
        });
    };
    let count = |class| parts.iter().filter(|part| part.class == class).count();
    let values = fields.iter().map(|field| {
        let pieces = pieces_of(native, field, &parts, &indices);
        let spill = None;
        Value::new(field.ty, field.layout, Place::Regs { pieces, spill })
    });
    Ok(Results {
        values: values.collect(),
        hidden: None,
        ints: count(RegClass::Int),
        floats: count(RegClass::Float),
    })
}

fn fields<'a>(sig: &'a Signature, native: &NativeConvention, offsets: &[u64]) -> Vec<Field<'a>> {
    let fields = sig.results().iter().zip(offsets);
    let field = |(ty, &offset): (&'a Type, &u64)| {
        Some(Field {
            ty,
            layout: native.data.layout(ty)?,
            offset,
        })
    };
    fields.filter_map(field).collect()
}

/// The parts in result registers, numbered; `None` if there are not enough, or it is in memory.
fn registers(native: &NativeConvention, class: Class) -> Option<(Vec<Part>, Vec<usize>)> {
    let way = class.ways.into_iter().next()?;
    let mut next = [0, 0];
    let mut indices = Vec::new();
    for part in &way.parts {
        let (next, count) = match part.class {
            RegClass::Int => (&mut next[0], native.int_results.len()),
            RegClass::Float => (&mut next[1], native.float_results.len()),
        };
        if *next >= count {
            return None;
        }
        indices.push(*next);
        *next += 1;
    }
    Some((way.parts, indices))
}

/// What of one result is in each part.
fn pieces_of(
    native: &NativeConvention,
    field: &Field<'_>,
    parts: &[Part],
    indices: &[usize],
) -> Vec<Piece> {
    let (start, end) = (field.offset, field.offset + field.layout.size);
    let mut own = Vec::new();
    let mut places = Vec::new();
    for (part, &index) in parts.iter().zip(indices) {
        let (from, to) = (part.off.max(start), (part.off + part.size).min(end));
        if from < to {
            own.push(Part {
                class: part.class,
                off: from - start,
                size: to - from,
            });
            places.push((index, from - part.off));
        }
    }
    let mut pieces = pieces::of(native, field.ty, &own);
    for (piece, (index, reg_off)) in pieces.iter_mut().zip(places) {
        (piece.index, piece.reg_off) = (index, reg_off);
    }
    pieces
}
