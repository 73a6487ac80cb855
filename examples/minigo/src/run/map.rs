//! Maps: an array of keys and values in the order in which they were added, and an index by hash.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use super::object::{bytes, copy_bytes, equal, read, write};
use super::{Ctx, TypeInfo, Vm, fail, lock};
use crate::types::{Basic, Kind, Ty, Types, basic};

const MAP: &str = "struct { count, used, cap uintptr; entries, index unsafe.Pointer }";
/// Keys that are there.
const COUNT: usize = 0;
/// Entries that were used, those that were deleted included.
const USED: usize = 8;
const CAP: usize = 16;
const ENTRIES: usize = 24;
/// Numbers of entries, from 1; twice as many as there are entries.
const INDEX: usize = 32;

/// How an entry lies in memory: a word that is not 0 if it is there, the key, the value.
struct Layout {
    key: Ty,
    key_size: usize,
    value_at: usize,
    size: usize,
    text: String,
}

/// The layouts of all types of maps, by number of type, each made when it is first needed.
pub(super) struct Layouts(Box<[OnceLock<Layout>]>);

impl Layouts {
    pub(super) fn of(types: &Types) -> Layouts {
        Layouts(types.all().map(|_| OnceLock::new()).collect())
    }
}

fn layout(vm: &Vm, ty: Ty) -> &Layout {
    vm.maps.0[ty.0 as usize].get_or_init(|| make_layout(vm, ty))
}

fn make_layout(vm: &Vm, ty: Ty) -> Layout {
    let types = &vm.program.types;
    let Kind::Map(key, value) = *types.kind(ty) else {
        unreachable!("generated code passes the type of a map");
    };
    let (key_size, value_size) = (types.size(key), types.size(value));
    let value_align = types.size_align(value).1;
    let value_at = (8 + key_size).next_multiple_of(value_align);
    // The last word keeps the address of a value without size inside the entry.
    let pad_at = (value_at + value_size).next_multiple_of(8);
    let text = {
        let mut heap = lock(&vm.heap);
        let texts = heap.text(key).and_then(|key| Ok((key, heap.text(value)?)));
        let (key, value) = texts.unwrap_or_else(|error| fail::fatal(vm, &error));
        format!("struct {{ used uintptr; key {key}; value {value}; pad uintptr }}")
    };
    Layout {
        key,
        key_size: key_size as usize,
        value_at: value_at as usize,
        size: (pad_at + 8) as usize,
        text,
    }
}

pub(super) extern "C" fn new(ctx: &mut Ctx, _ty: u64) -> u64 {
    ctx.object_of(MAP) as u64
}

pub(super) extern "C" fn len(_: &mut Ctx, at: u64) -> u64 {
    if at == 0 {
        0
    } else {
        read(at as usize + COUNT)
    }
}

/// Hashes a value in memory; an error is the type that has no `==`.
fn hash(vm: &Vm, ty: Ty, at: usize, state: u64) -> Result<u64, Ty> {
    let mix = |state: u64, word: u64| {
        (state ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    let text = |state: u64, text: &[u8]| {
        text.iter()
            .fold(mix(state, text.len() as u64), |state, byte| {
                mix(state, (*byte).into())
            })
    };
    let types = &vm.program.types;
    match types.kind(ty) {
        Kind::Struct(fields) => {
            let mut parts = fields.iter().zip(types.offsets(fields));
            parts.try_fold(state, |state, (field, offset)| {
                hash(vm, field.ty, at + offset as usize, state)
            })
        }
        Kind::Array(n, of) => {
            let size = types.size(*of) as usize;
            (0..*n as usize).try_fold(state, |state, n| hash(vm, *of, at + n * size, state))
        }
        Kind::Interface(_) => {
            let (info, word) = (read(at), read(at + 8));
            match TypeInfo::of(info) {
                None => Ok(state),
                Some(found) if !types.is_comparable(found.ty()) => Err(found.ty()),
                Some(found) if types.is_pointer_shaped(found.ty()) => Ok(mix(state, word)),
                Some(found) => hash(vm, found.ty(), word as usize, mix(state, info)),
            }
        }
        Kind::Basic(Basic::String) => Ok(text(state, super::text::string_at(at))),
        // 0 and -0 are equal.
        _ if types.is_float(ty) && equal(vm, ty, at, zero_of()) => Ok(mix(state, 0)),
        _ => Ok(text(state, bytes(at as u64, types.size(ty)))),
    }
}

/// The address of a zero.
fn zero_of() -> usize {
    static ZERO: u64 = 0;
    std::ptr::from_ref(&ZERO).expose_provenance()
}

/// The entry of the key in the buffer, and the place in the index where it is or would be.
fn find(ctx: &mut Ctx, layout: &Layout, map: usize) -> Result<(Option<usize>, usize), Ty> {
    let key = ctx.buffer();
    let hash = hash(ctx.vm, layout.key, key, 0)?;
    let slots = 2 * read(map + CAP) as usize;
    if slots == 0 {
        return Ok((None, 0));
    }
    let (entries, index) = (read(map + ENTRIES) as usize, read(map + INDEX) as usize);
    let mut slot = hash as usize % slots;
    loop {
        let number = read(index + 8 * slot) as usize;
        if number == 0 {
            return Ok((None, slot));
        }
        let entry = entries + (number - 1) * layout.size;
        if read(entry) != 0 && equal(ctx.vm, layout.key, entry + 8, key) {
            return Ok((Some(entry), slot));
        }
        slot = (slot + 1) % slots;
    }
}

fn unhashable(ctx: &mut Ctx, ty: Ty) -> u64 {
    let ty = ctx.vm.program.types.show(ty);
    fail::panic(ctx, &format!("hash of unhashable type {ty}"))
}

/// Where the value of the key in the buffer is, or 0.
pub(super) extern "C" fn get(ctx: &mut Ctx, ty: u64, at: u64) -> u64 {
    let layout = layout(ctx.vm, Ty(ty as u32));
    if at == 0 {
        return match hash(ctx.vm, layout.key, ctx.buffer(), 0) {
            Ok(_) => 0,
            Err(ty) => unhashable(ctx, ty),
        };
    }
    match find(ctx, layout, at as usize) {
        Ok((entry, _)) => entry.map_or(0, |entry| (entry + layout.value_at) as u64),
        Err(ty) => unhashable(ctx, ty),
    }
}

/// Where the value of the key in the buffer is, which is added if it is not there.
pub(super) extern "C" fn set(ctx: &mut Ctx, ty: u64, at: u64) -> u64 {
    let (layout, map) = (layout(ctx.vm, Ty(ty as u32)), at as usize);
    if map == 0 {
        return fail::begin(ctx, b"assignment to entry in nil map");
    }
    let mut slot = match find(ctx, layout, map) {
        Ok((Some(entry), _)) => return (entry + layout.value_at) as u64,
        Ok((None, slot)) => slot,
        Err(ty) => return unhashable(ctx, ty),
    };
    if read(map + USED) == read(map + CAP) {
        grow(ctx, layout, map);
        slot = match find(ctx, layout, map) {
            Ok((_, slot)) => slot,
            Err(ty) => return unhashable(ctx, ty),
        };
    }
    let used = read(map + USED);
    let entry = read(map + ENTRIES) as usize + used as usize * layout.size;
    write(entry, 1);
    copy_bytes(entry + 8, ctx.buffer(), layout.key_size);
    write(read(map + INDEX) as usize + 8 * slot, used + 1);
    write(map + USED, used + 1);
    write(map + COUNT, read(map + COUNT) + 1);
    (entry + layout.value_at) as u64
}

/// Makes room, leaving out what was deleted.
fn grow(ctx: &mut Ctx, layout: &Layout, map: usize) {
    let key: Vec<u64> = ctx.buffer.to_vec();
    let (used, old) = (read(map + USED) as usize, read(map + ENTRIES) as usize);
    let cap = (2 * read(map + COUNT)).max(8);
    let entries = ctx.array_of(&layout.text, layout.size as u64, cap);
    let index = ctx.array(basic::UINTPTR, 2 * cap);
    write(map + CAP, cap);
    write(map + USED, 0);
    write(map + ENTRIES, entries as u64);
    write(map + INDEX, index as u64);
    let mut next = 0;
    for number in 0..used {
        let from = old + number * layout.size;
        if read(from) == 0 {
            continue;
        }
        copy_bytes(ctx.buffer(), from + 8, layout.key_size);
        // Keys that are there have hashes.
        if let Ok((_, slot)) = find(ctx, layout, map) {
            copy_bytes(entries + next * layout.size, from, layout.size);
            next += 1;
            write(index + 8 * slot, next as u64);
        }
    }
    write(map + USED, next as u64);
    ctx.buffer.copy_from_slice(&key);
}

pub(super) extern "C" fn delete(ctx: &mut Ctx, ty: u64, at: u64) -> u64 {
    let (layout, map) = (layout(ctx.vm, Ty(ty as u32)), at as usize);
    if map == 0 {
        return 0;
    }
    match find(ctx, layout, map) {
        Ok((Some(entry), _)) => {
            let zeros = vec![0u8; layout.size];
            copy_bytes(entry, zeros.as_ptr().expose_provenance(), layout.size);
            write(map + COUNT, read(map + COUNT) - 1);
            0
        }
        Ok((None, _)) => 0,
        Err(ty) => unhashable(ctx, ty),
    }
}

pub(super) extern "C" fn clear(_: &mut Ctx, at: u64) -> u64 {
    if at != 0 {
        for word in [COUNT, USED, CAP, ENTRIES, INDEX] {
            write(at as usize + word, 0);
        }
    }
    0
}

/// The number of the next entry from an index, or 0; leaves where its key and value are.
pub(super) extern "C" fn next(ctx: &mut Ctx, ty: u64, at: u64, index: u64) -> u64 {
    let map = at as usize;
    if map == 0 {
        return 0;
    }
    let layout = layout(ctx.vm, Ty(ty as u32));
    let entries = read(map + ENTRIES) as usize;
    for number in index..read(map + USED) {
        let entry = entries + number as usize * layout.size;
        if read(entry) != 0 {
            ctx.results[0] = (entry + 8) as u64;
            ctx.results[1] = (entry + layout.value_at) as u64;
            return number + 1;
        }
    }
    0
}

/// Where the keys and values of a map are, in order.
pub(super) fn entries(vm: &Vm, ty: Ty, map: usize) -> Vec<(usize, usize)> {
    if map == 0 {
        return Vec::new();
    }
    let layout = layout(vm, ty);
    let start = read(map + ENTRIES) as usize;
    let all = (0..read(map + USED) as usize).map(|number| start + number * layout.size);
    let there = all.filter(|entry| read(*entry) != 0);
    there
        .map(|entry| (entry + 8, entry + layout.value_at))
        .collect()
}
