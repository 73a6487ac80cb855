//! Which registers each convention's text names for a value, as groups of bytes.
#![forbid(unsafe_code)]

use super::shape::{Extent, Nature, Shape};
use crate::abi::{Aggregates, NativeConvention, RegClass, Results};
use crate::signature::{CType, Kind, Type};

/// Bytes `from..to` of a value in the next register of a class.
pub(super) type Group = (RegClass, u64, u64);

/// What a value wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// These registers.
    Registers(Vec<Group>),
    /// These, and if they are not free those words.
    Either(Vec<Group>, Vec<Group>),
    /// Memory of the convention's stack, or for a result behind the hidden pointer.
    Memory,
    /// The address of a copy; a result is behind the hidden pointer.
    Address,
    /// No place at all.
    Nothing,
}

fn words(size: u64) -> Vec<Group> {
    let starts = (0..size).step_by(8);
    starts
        .map(|from| (RegClass::Int, from, size.min(from + 8)))
        .collect()
}

fn is_composite(ty: &Type) -> bool {
    matches!(
        ty.underlying(),
        Kind::Struct(_) | Kind::Array(..) | Kind::C(CType::Record(_))
    )
}

/// What the text says of a value of this type, as an argument of the prototype or behind `...`, or
/// as a result.
pub(super) fn wish(
    native: &NativeConvention,
    ty: &Type,
    shape: &Shape,
    variadic: bool,
    result: bool,
) -> Wish {
    let single = match &shape.extents[..] {
        [one] if !is_composite(ty) => Some(one),
        _ => None,
    };
    let by_results = result || native.aggregates == Aggregates::AsResults;
    match (native.aggregates, native.results) {
        (_, Results::Eightbytes) if by_results => system_v(shape),
        (_, Results::WordSized) if by_results => windows(shape, single, result),
        (_, Results::HomogeneousFloats) if by_results => arm(native, ty, shape),
        (_, Results::FlattenedFloats) if by_results => riscv(shape, variadic),
        (_, Results::Scalars) if by_results => match single {
            Some(one) if one.len() <= 8 => Wish::Registers(vec![group(one)]),
            _ => Wish::Address,
        },
        (_, Results::Parts) if by_results => {
            let fits = shape.size <= 128 && shape.extents.iter().all(|one| one.len() <= 8);
            let groups = shape.extents.iter().map(group).collect();
            if fits {
                Wish::Registers(groups)
            } else {
                Wish::Address
            }
        }
        (Aggregates::SingleFloat, _) => z(ty, shape),
        _ => match single {
            Some(one) => Wish::Registers(vec![group(one)]),
            None => Wish::Registers(words(shape.size)),
        },
    }
}

fn group(one: &Extent) -> Group {
    let class = if one.is_real() {
        RegClass::Float
    } else {
        RegClass::Int
    };
    (class, one.from, one.to)
}

/// The psABI's classes, painted byte by byte.
#[derive(Clone, Copy, PartialEq)]
enum Paint {
    None,
    Sse,
    /// The upper half of a vector.
    Up,
    /// Of the x87 unit.
    Extended,
    Integer,
}

fn system_v(shape: &Shape) -> Wish {
    let (size, extents) = (shape.size, &shape.extents);
    if size == 0 {
        return Wish::Nothing;
    }
    let unaligned = |one: &Extent| !one.bits && !one.from.is_multiple_of(one.len());
    if size > 16 || extents.iter().any(unaligned) {
        return Wish::Memory;
    }
    let mut bytes = [Paint::None; 16];
    for one in extents {
        for at in one.from..one.to {
            let own = match one.nature {
                Nature::Real => Paint::Sse,
                Nature::Short if at - one.from >= 8 => Paint::Up,
                Nature::Short => Paint::Sse,
                Nature::Extended => Paint::Extended,
                Nature::Whole | Nature::Address => Paint::Integer,
            };
            let old = &mut bytes[at as usize];
            *old = match (*old, own) {
                (Paint::None, own) => own,
                (Paint::Integer, _) | (_, Paint::Integer) => Paint::Integer,
                (old, own) if old == own => own,
                (Paint::Extended, _) | (_, Paint::Extended) => Paint::Extended,
                _ => Paint::Sse,
            };
        }
    }
    let (first, second) = bytes.split_at(8);
    // An integer prevails in its eightbyte; what is left to the x87 unit is in memory.
    let extended =
        |half: &[Paint]| half.contains(&Paint::Extended) && !half.contains(&Paint::Integer);
    if extended(first) || extended(second) {
        return Wish::Memory;
    }
    let all = |half: &[Paint], of| half.iter().all(|&byte| byte == of || byte == Paint::None);
    if second.contains(&Paint::Up) && all(second, Paint::Up) && all(first, Paint::Sse) {
        return Wish::Registers(vec![(RegClass::Float, 0, 16)]);
    }
    let mut groups = Vec::new();
    for (half, from) in [(first, 0), (second, 8)] {
        if half.iter().all(|&byte| byte == Paint::None) {
            continue;
        }
        let class = if half.contains(&Paint::Integer) {
            RegClass::Int
        } else {
            RegClass::Float
        };
        groups.push((class, from, size.min(from + 8)));
    }
    Wish::Registers(groups)
}

fn windows(shape: &Shape, single: Option<&Extent>, result: bool) -> Wish {
    let whole = |class| Wish::Registers(vec![(class, 0, shape.size)]);
    match (single, shape.size) {
        (Some(one), 4 | 8) if one.nature == Nature::Real => whole(RegClass::Float),
        (Some(_), 16) if result => whole(RegClass::Float),
        (_, 1 | 2 | 4 | 8) => whole(RegClass::Int),
        _ => Wish::Address,
    }
}

fn arm(native: &NativeConvention, ty: &Type, shape: &Shape) -> Wish {
    if shape.size == 0 {
        return Wish::Nothing;
    }
    let apple = native.stack_slot == 1;
    if tile(native, ty, apple).is_some_and(|tile| tile.is_some()) {
        let mut groups: Vec<Group> = shape.extents.iter().map(group).collect();
        groups.sort_by_key(|group| group.1);
        groups.dedup();
        if groups.len() <= 4 {
            return Wish::Registers(groups);
        }
    }
    if shape.size > 16 {
        Wish::Address
    } else {
        Wish::Registers(words(shape.size))
    }
}

/// The one kind of float or vector that tiles a type and each struct in it without gaps:
/// `Some(None)` if it has no bytes, `None` if there is no such kind.
fn tile(native: &NativeConvention, ty: &Type, apple: bool) -> Option<Option<(Nature, u64)>> {
    let shape = Shape::of(native, ty);
    if apple && shape.has_empty_array {
        return None;
    }
    let mut kinds = shape.extents.iter().chain(&shape.absent);
    if !kinds.clone().all(|one| one.is_real() && !one.bits) {
        return None;
    }
    let kind = kinds.next().map(|one| (one.nature, one.len()));
    if let Some((nature, len)) = kind {
        if kinds.any(|one| (one.nature, one.len()) != (nature, len)) {
            return None;
        }
        let covered = |at: &u64| shape.extents.iter().any(|one| one.from == *at);
        let whole = shape.size.is_multiple_of(len) && shape.size / len <= 4;
        if !whole || !(0..shape.size).step_by(len as usize).all(|at| covered(&at)) {
            return None;
        }
    } else if shape.size > 0 {
        return None;
    }
    let parts: Vec<&Type> = match ty.underlying() {
        Kind::Struct(fields) => fields.iter().map(|field| &field.ty).collect(),
        Kind::C(CType::Record(record)) => record.members.iter().map(|one| &one.ty).collect(),
        Kind::Array(_, elem) => vec![elem],
        _ => Vec::new(),
    };
    parts
        .into_iter()
        .all(|part| tile(native, part, apple).is_some())
        .then_some(())?;
    Some(kind.filter(|_| shape.size > 0))
}

fn riscv(shape: &Shape, variadic: bool) -> Wish {
    let real = |one: &Extent| one.nature == Nature::Real && one.len() <= 8;
    let whole = |one: &Extent| one.nature == Nature::Whole && one.len() <= 8;
    let alone = match &shape.extents[..] {
        [a] => real(a),
        [a, b] => real(a) && (real(b) || whole(b)) || whole(a) && real(b),
        _ => false,
    };
    let own: Option<Vec<Group>> =
        (alone && !shape.has_union && !variadic).then(|| shape.extents.iter().map(group).collect());
    match (own, shape.size) {
        (_, 0) => Wish::Nothing,
        (Some(own), 1..=16) => Wish::Either(own, words(shape.size)),
        (Some(own), _) => Wish::Either(own, Vec::new()),
        (None, 1..=16) => Wish::Registers(words(shape.size)),
        (None, _) => Wish::Address,
    }
}

/// s390x: what is a float but for structs of one member around it; else by size.
fn z(ty: &Type, shape: &Shape) -> Wish {
    let mut inner = ty;
    loop {
        let next = match inner.underlying() {
            Kind::Struct(fields) if fields.len() == 1 => &fields[0].ty,
            Kind::C(CType::Record(record)) if record.members.len() == 1 && !record.is_union => {
                &record.members[0].ty
            }
            _ => break,
        };
        inner = next;
    }
    let complex = matches!(ty.underlying(), Kind::Complex64 | Kind::Complex128);
    match (inner.underlying(), shape.size) {
        (Kind::Float32 | Kind::Float64, size @ ..=8) => {
            Wish::Registers(vec![(RegClass::Float, 0, size)])
        }
        (_, size @ (1 | 2 | 4 | 8)) if !complex => Wish::Registers(vec![(RegClass::Int, 0, size)]),
        _ => Wish::Address,
    }
}
