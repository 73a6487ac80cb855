//! Whether values in memory are equal, and their hashes.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use minigo_front::types::{Basic, Kind, Ty, Types};

use super::object::{bytes, read, small, string_at};
use super::{Ctx, TypeInfo, Vm, fail};

/// What a value is compared by; arrays and structs are lists of such parts.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Bytes(u64),
    Float(u64),
    Text,
    Interface,
}

/// The parts of the values of each type, with their offsets, found when they are first needed.
pub(super) type Parts = Box<[OnceLock<Vec<(usize, Part)>>]>;

fn parts(vm: &Vm, ty: Ty) -> &[(usize, Part)] {
    vm.parts[ty.0 as usize].get_or_init(|| {
        let mut parts = Vec::new();
        add_parts(vm.types, ty, 0, &mut parts);
        parts
    })
}

fn add_parts(types: &Types, ty: Ty, at: usize, parts: &mut Vec<(usize, Part)>) {
    let size = types.size(ty);
    let part = match types.kind(ty) {
        Kind::Struct(fields) => {
            for (field, offset) in fields.iter().zip(types.offsets(fields)) {
                add_parts(types, field.ty, at + offset as usize, parts);
            }
            return;
        }
        Kind::Array(count, of) => {
            for index in 0..*count as usize {
                add_parts(types, *of, at + index * types.size(*of) as usize, parts);
            }
            return;
        }
        Kind::Interface(_) => Part::Interface,
        Kind::Basic(Basic::String) => Part::Text,
        Kind::Basic(Basic::Float32 | Basic::Float64) => Part::Float(size),
        _ => Part::Bytes(size),
    };
    match (parts.last_mut(), part) {
        (Some((before, Part::Bytes(count))), Part::Bytes(size))
            if *before + *count as usize == at =>
        {
            *count += size;
        }
        _ => parts.push((at, part)),
    }
}

fn float(at: usize, size: u64) -> f64 {
    match small(at, size) {
        bits if size == 4 => f32::from_bits(bits as u32).into(),
        bits => f64::from_bits(bits),
    }
}

/// Whether two values in memory are equal; an error is the type of a part that has no `==`.
pub(super) fn equal(vm: &Vm, ty: Ty, a: usize, b: usize) -> Result<bool, Ty> {
    for (offset, part) in parts(vm, ty) {
        let (a, b) = (a + offset, b + offset);
        let are = match *part {
            Part::Bytes(size) => bytes(a as u64, size) == bytes(b as u64, size),
            Part::Float(size) => float(a, size) == float(b, size),
            Part::Text => string_at(a) == string_at(b),
            Part::Interface => same(vm, [read(a), read(a + 8)], [read(b), read(b + 8)])?,
        };
        if !are {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same(vm: &Vm, [info, a]: [u64; 2], [other, b]: [u64; 2]) -> Result<bool, Ty> {
    match TypeInfo::of(info) {
        _ if info != other => Ok(false),
        None => Ok(true),
        Some(info) if !vm.types.is_comparable(info.ty) => Err(info.ty),
        Some(info) if vm.types.is_pointer_shaped(info.ty) => Ok(a == b),
        Some(info) => equal(vm, info.ty, a as usize, b as usize),
    }
}

pub(super) fn interfaces_equal(ctx: &mut Ctx, a: [u64; 2], b: [u64; 2]) -> bool {
    same(ctx.vm, a, b).unwrap_or_else(|ty| {
        let ty = ctx.types().show(ty);
        fail::panic(ctx, &format!("comparing uncomparable type {ty}"));
        false
    })
}

/// Hashes a value in memory; an error is the type of a part that has no `==`.
pub(super) fn hash(vm: &Vm, ty: Ty, at: usize, state: u64) -> Result<u64, Ty> {
    parts(vm, ty)
        .iter()
        .try_fold(state, |state, (offset, part)| {
            let at = at + offset;
            Ok(match *part {
                Part::Bytes(size) => mix(state, bytes(at as u64, size)),
                // 0 and -0 are equal.
                Part::Float(size) => match float(at, size) {
                    0.0 => state,
                    _ => mix(state, bytes(at as u64, size)),
                },
                Part::Text => mix(state, string_at(at)),
                Part::Interface => match TypeInfo::of(read(at)) {
                    None => state,
                    Some(info) if !vm.types.is_comparable(info.ty) => return Err(info.ty),
                    Some(info) if vm.types.is_pointer_shaped(info.ty) => {
                        mix(state, bytes(at as u64, 16))
                    }
                    Some(info) => {
                        let state = mix(state, bytes(at as u64, 8));
                        hash(vm, info.ty, read(at + 8) as usize, state)?
                    }
                },
            })
        })
}

fn mix(state: u64, bytes: &[u8]) -> u64 {
    let mixed = |state: u64, word: u64| {
        let mixed = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.rotate_left(29)
    };
    let words = bytes.chunks(8).map(|chunk| match chunk.try_into() {
        Ok(word) => u64::from_ne_bytes(word),
        Err(_) => chunk
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    });
    words.fold(mixed(state, bytes.len() as u64), mixed)
}
