//! Maps: an array of keys and values in the order in which they were added, and an index by hash.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use minigo_front::types::{Ty, basic};

use super::equal::{equal, hash};
use super::fail::{self, OrFatal};
use super::object::{copy_bytes, read, write};
use super::{Ctx, Vm, lock};

/// The heap's type of maps: the type `hashed` of the prelude.
pub(crate) const MAP: &str = "struct { count, used, cap uintptr; entries, index unsafe.Pointer }";
/// Keys that are there.
const COUNT: usize = 0;
/// Entries that were used, those that were deleted included.
const USED: usize = 8;
const CAP: usize = 16;
const ENTRIES: usize = 24;
/// Numbers of entries, from 1; twice as many as there are entries.
const INDEX: usize = 32;
/// Where the key is in an entry, behind a word that is not 0 if the entry is there.
const KEY: usize = 8;

/// How an entry lies in memory.
pub(super) struct Layout {
    key: Ty,
    value: Ty,
    key_size: usize,
    value_at: usize,
    size: usize,
    text: String,
}

/// The layouts of all types of maps, by number of type, each made when it is first needed.
pub(super) type Layouts = Box<[OnceLock<Layout>]>;

fn layout(vm: &Vm, ty: Ty) -> &Layout {
    vm.maps[ty.0 as usize].get_or_init(|| {
        let (key, value) = vm.types.entry(ty);
        // The last word keeps the address of a value without size inside the entry.
        let words = [basic::UINTPTR, key, value, basic::UINTPTR];
        let places = vm.types.places(0, words);
        let mut heap = lock(&vm.heap);
        let mut text = |ty| heap.text(ty).or_fatal("minigo");
        let (key_text, value_text) = (text(key), text(value));
        Layout {
            key,
            value,
            key_size: vm.types.size(key) as usize,
            value_at: places[2] as usize,
            size: places[3] as usize + 8,
            text: format!(
                "struct {{ used uintptr; key {key_text}; value {value_text}; pad uintptr }}"
            ),
        }
    })
}

/// The address of an entry, by its number from 1.
fn entry(layout: &Layout, map: usize, number: usize) -> usize {
    read(map + ENTRIES) as usize + (number - 1) * layout.size
}

/// The entry of a key, or 0, and the place in the index where it is or would be. None: the key has
/// no `==`, which is a panic.
fn find(ctx: &mut Ctx, layout: &Layout, map: usize, key: usize, adds: bool) -> Option<[usize; 2]> {
    let vm = ctx.vm;
    let hash = match hash(vm, layout.key, key, 0) {
        Ok(hash) => hash,
        Err(ty) => {
            let ty = ctx.types().show(ty);
            match (map == 0 || read(map + COUNT) == 0) && !adds {
                true => fail::begin(ctx, format!("hash of unhashable type: {ty}")),
                false => fail::panic(ctx, &format!("hash of unhashable type {ty}")),
            }
            return None;
        }
    };
    let slots = if map == 0 { 0 } else { 2 * read(map + CAP) };
    if slots == 0 {
        return Some([0, 0]);
    }
    let index = read(map + INDEX) as usize;
    let mut slot = hash % slots;
    loop {
        let place = index + 8 * slot as usize;
        let number = read(place) as usize;
        if number == 0 {
            return Some([0, place]);
        }
        let entry = entry(layout, map, number);
        // Keys that are there have hashes, and so an `==`.
        if read(entry) != 0 && equal(vm, layout.key, entry + KEY, key) == Ok(true) {
            return Some([entry, place]);
        }
        slot = (slot + 1) % slots;
    }
}

/// Where the value of the key in the buffer is, or 0.
pub(super) fn get(ctx: &mut Ctx, ty: Ty, map: usize) -> usize {
    let layout = layout(ctx.vm, ty);
    match find(ctx, layout, map, ctx.buffer(), false) {
        Some([entry, _]) if entry != 0 => entry + layout.value_at,
        _ => 0,
    }
}

/// Where the value of the key in the buffer is, which is added if it is not there.
pub(super) fn set(ctx: &mut Ctx, ty: Ty, map: usize) -> usize {
    let (layout, key) = (layout(ctx.vm, ty), ctx.buffer());
    if map == 0 {
        fail::begin(ctx, "assignment to entry in nil map");
        return 0;
    }
    let mut found = find(ctx, layout, map, key, true);
    if let Some([0, _]) = found
        && read(map + USED) == read(map + CAP)
    {
        grow(ctx, layout, map);
        found = find(ctx, layout, map, key, true);
    }
    let entry = match found {
        None => return 0,
        Some([0, place]) => {
            let number = read(map + USED) + 1;
            write(map + USED, number);
            write(map + COUNT, read(map + COUNT) + 1);
            write(place, number);
            let entry = entry(layout, map, number as usize);
            write(entry, 1);
            entry
        }
        Some([entry, _]) => entry,
    };
    // It may be equal to a key that is there, and yet another one: -0.
    copy_bytes(entry + KEY, key, layout.key_size);
    entry + layout.value_at
}

/// Makes room, leaving out what was deleted.
fn grow(ctx: &mut Ctx, layout: &Layout, map: usize) {
    let (used, old) = (read(map + USED) as usize, read(map + ENTRIES) as usize);
    let cap = (2 * read(map + COUNT)).max(8);
    let entries = ctx.array_of(&layout.text, layout.size as u64, cap);
    let index = ctx.array(basic::UINTPTR, 2 * cap);
    for (field, value) in [(CAP, cap), (ENTRIES, entries as u64), (INDEX, index as u64)] {
        write(map + field, value);
    }
    let mut number = 0;
    for from in (0..used).map(|number| old + number * layout.size) {
        if read(from) != 0
            && let Some([_, place]) = find(ctx, layout, map, from + KEY, true)
        {
            number += 1;
            write(place, number);
            copy_bytes(entry(layout, map, number as usize), from, layout.size);
        }
    }
    write(map + USED, number);
}

/// Deletes the key in the buffer.
pub(super) fn delete(ctx: &mut Ctx, ty: Ty, map: usize) {
    let layout = layout(ctx.vm, ty);
    if let Some([entry, _]) = find(ctx, layout, map, ctx.buffer(), false)
        && entry != 0
    {
        let words = (0..layout.size).step_by(8);
        words.for_each(|offset| write(entry + offset, 0));
        write(map + COUNT, read(map + COUNT) - 1);
    }
}

/// The number of the next entry after one, or 0; leaves where its key and value are.
pub(super) fn next(ctx: &mut Ctx, ty: Ty, map: usize, after: usize) -> usize {
    let layout = layout(ctx.vm, ty);
    let used = (map != 0).then(|| read(map + USED) as usize);
    let there = |number: &usize| read(entry(layout, map, *number)) != 0;
    let found = (after + 1..used.unwrap_or(0) + 1).find(there).unwrap_or(0);
    if found != 0 {
        let at = entry(layout, map, found);
        ctx.leave([at + KEY, at + layout.value_at]);
    }
    found
}

/// The types and places of the key and the value of an entry, which [`next`] has found.
pub(super) fn parts(vm: &Vm, ty: Ty, map: usize, number: usize) -> [(Ty, usize); 2] {
    let layout = layout(vm, ty);
    let at = entry(layout, map, number);
    [(layout.key, at + KEY), (layout.value, at + layout.value_at)]
}
