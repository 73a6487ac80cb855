//! Whether values in memory are equal, and their hashes.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use minigo_front::Compared;
use minigo_front::types::Ty;

use super::object::{bytes, read, small, string_at};
use super::{Ctx, TypeInfo, Vm, fail};

/// What the values of each type are compared by, with offsets, found when it is first needed.
pub(super) type Parts = Box<[OnceLock<Vec<(u64, Compared)>>]>;

fn parts(vm: &Vm, ty: Ty) -> impl Iterator<Item = (usize, Compared)> {
    let parts = vm.parts[ty.0 as usize].get_or_init(|| vm.types.compared(ty));
    parts.iter().map(|(offset, part)| (*offset as usize, *part))
}

/// A floating-point number of so many bytes.
pub(super) fn float(at: usize, size: u64) -> f64 {
    match small(at, size) {
        bits if size == 4 => f32::from_bits(bits as u32).into(),
        bits => f64::from_bits(bits),
    }
}

/// Whether two values in memory are equal; an error is the type of a part that has no `==`.
pub(super) fn equal(vm: &Vm, ty: Ty, a: usize, b: usize) -> Result<bool, Ty> {
    for (offset, part) in parts(vm, ty) {
        let (a, b) = (a + offset, b + offset);
        let are = match part {
            Compared::Bytes(size) => bytes(a as u64, size) == bytes(b as u64, size),
            Compared::Float(size) => float(a, size) == float(b, size),
            Compared::Text => string_at(a) == string_at(b),
            Compared::Interface => same(vm, [read(a), read(a + 8)], [read(b), read(b + 8)])?,
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
    parts(vm, ty).try_fold(state, |state, (offset, part)| {
        let at = at + offset;
        Ok(match part {
            Compared::Bytes(size) => mix(state, bytes(at as u64, size)),
            // 0 and -0 are equal.
            Compared::Float(size) => match float(at, size) {
                0.0 => state,
                _ => mix(state, bytes(at as u64, size)),
            },
            Compared::Text => mix(state, string_at(at)),
            Compared::Interface => match TypeInfo::of(read(at)) {
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
    let longer = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
    let words = bytes.chunks(8).map(|chunk| match chunk.try_into() {
        Ok(word) => u64::from_ne_bytes(word),
        Err(_) => chunk.iter().fold(0, longer),
    });
    words.fold(mixed(state, bytes.len() as u64), mixed)
}
