//! Finds the object that contains an address. Exact: an address in a free cell, a header or
//! padding, or one past an object's end, is in no object.

use super::block::{Bit, Block};
use super::place::Place;
use super::{BLOCK, Heap};
use crate::types::{Tail, TypeDesc};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// What is at an address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Location<'h> {
    /// Address 0.
    Nil,
    /// The address that all objects without size share.
    Zero,
    /// Memory outside the heap, or a part of the heap that holds no object.
    NoObject,
    /// Inside an object: from `start` to `start` + size, exclusive.
    Object {
        /// Where the object starts.
        start: usize,
        /// Its type.
        desc: &'h TypeDesc,
        /// Its bytes.
        size: usize,
    },
}

/// The allocated cell that was found for an address.
#[derive(Copy, Clone)]
pub(super) struct Cell<'h> {
    pub(super) block: &'h Block,
    pub(super) index: usize,
    /// Offset of the address in the object.
    pub(super) offset: usize,
    pub(super) desc: &'h TypeDesc,
}

impl Cell<'_> {
    pub(super) fn start(&self) -> usize {
        self.block.object(self.index)
    }

    /// Bytes of the object.
    pub(super) fn size(&self) -> usize {
        self.block.extent(self.desc)
    }
}

impl Heap {
    /// Whether the address is in this heap's range. An object of another heap never is.
    #[inline]
    pub(crate) fn contains(&self, addr: usize) -> bool {
        self.arena.block_of(addr).is_some()
    }

    /// Whether an `Obj` with this address names an object of this heap.
    #[inline]
    pub(crate) fn names_object(&self, addr: usize) -> bool {
        let is_object = || addr == self.zero() || self.cell_at(addr).is_some();
        self.contains(addr) && (!self.must_look_up() || is_object())
    }

    /// The block that covers an address; `None` if it is free or the address is not in the heap.
    #[inline]
    pub(super) fn block_at(&self, addr: usize) -> Option<&Block> {
        self.block(self.arena.block_of(addr)?)
    }

    /// The block that covers this index of the arena; `None` if it is free.
    #[inline]
    fn block(&self, number: usize) -> Option<&Block> {
        let block = self.table.get(number)?.load(Acquire);
        // SAFETY: I14: an entry that is not null points to a block in `Books::all` (or in the
        // Marking that has taken it), where it stays until a sweep; callers are attached or are the
        // collector, and do not keep the reference longer.
        unsafe { block.as_ref() }
    }

    /// Whether the cell, which has the address in it, holds an object that someone has: the bit
    /// [`Bit::Used`] of those of a window is set before they are taken.
    #[inline(always)]
    pub(super) fn is_made(&self, block: &Block, index: usize, addr: usize) -> bool {
        // Looked at before the bit, as the window may be closed now, and behind it, as the bit may
        // be set now.
        !self.is_left(block, addr) && block.get(Bit::Used, index) && !self.is_left(block, addr)
    }

    /// Whether the address is in an object of a window that no one has taken.
    #[inline(always)]
    fn is_left(&self, block: &Block, addr: usize) -> bool {
        let window = block.window();
        // SAFETY: I34: the window is there until the world is stopped, and callers are attached or
        // are the collector.
        let window = unsafe { window.as_ref() };
        window.is_some_and(|window| window.is_left(addr))
    }

    /// The allocated cell whose object contains the address.
    #[inline]
    pub(super) fn cell_at(&self, addr: usize) -> Option<Cell<'_>> {
        let block = self.block_at(addr)?;
        let (index, offset) = block.cell_of(addr)?;
        if !self.is_made(block, index, addr) {
            return None;
        }
        let desc = self.desc_of(block, index);
        (offset < block.extent(desc)).then_some(Cell {
            block,
            index,
            offset,
            desc,
        })
    }

    /// Marks the object that contains the address, and returns its start and type. `None`: it was
    /// marked already, or there is no object. Only for the collector.
    #[inline]
    pub(super) fn mark(&self, addr: usize) -> Option<(usize, &TypeDesc)> {
        let block = self.block_at(addr)?;
        let (index, offset) = block.cell_of(addr)?;
        if !block.get(Bit::Used, index) || block.get(Bit::Mark, index) {
            return None;
        }
        let desc = self.desc_of(block, index);
        // Most pointers are to the start, which is in the object however small that is.
        if offset != 0 && offset >= block.extent(desc) {
            return None;
        }
        block.set_owned(Bit::Mark, index);
        Some((block.object(index), desc))
    }

    /// The word at an address of an object.
    #[inline]
    pub(super) fn word(&self, addr: usize) -> usize {
        self.arena.load(addr) as usize
    }

    /// The object that starts at the address.
    #[inline]
    pub(super) fn object_at(&self, addr: usize) -> Option<Cell<'_>> {
        self.cell_at(addr).filter(|cell| cell.offset == 0)
    }

    /// Whether an object starts at the address.
    #[inline]
    pub(crate) fn starts_object(&self, addr: usize) -> bool {
        self.block_at(addr).is_some_and(|block| {
            let cell = block.cell_of(addr);
            cell.is_some_and(|(index, offset)| offset == 0 && self.is_made(block, index, addr))
        })
    }

    /// Calls `visit` with the address of each pointer word of the object at `start`, ascending.
    #[inline]
    pub(super) fn for_each_pointer(
        &self,
        start: usize,
        desc: &TypeDesc,
        visit: &mut impl FnMut(usize),
    ) {
        desc.pointers().for_each(start, visit);
        if let Some(tail) = desc.tail() {
            self.for_each_in_tail(start, tail, visit);
        }
    }

    #[inline(never)]
    fn for_each_in_tail(&self, start: usize, tail: &Tail, visit: &mut impl FnMut(usize)) {
        if tail.pointers.is_empty() {
            return;
        }
        let room = self.block_at(start).map_or(0, Block::room);
        for index in 0..tail.capacity(room) {
            let element = start + tail.first + index * tail.stride;
            tail.pointers.for_each(element, visit);
        }
    }

    /// Bytes of the object that starts there, elements behind its value included.
    pub(crate) fn size_at(&self, start: usize) -> usize {
        self.object_at(start).map_or(0, |cell| cell.size())
    }

    /// What is at an address.
    pub(crate) fn locate(&self, addr: usize) -> Location<'_> {
        match self.cell_at(addr) {
            Some(cell) => Location::Object {
                start: cell.start(),
                desc: cell.desc,
                size: cell.size(),
            },
            None if addr == 0 => Location::Nil,
            None if addr == self.zero() => Location::Zero,
            None => Location::NoObject,
        }
    }

    /// The start and the type of the object that contains the address.
    pub(crate) fn find(&self, addr: usize) -> Option<(usize, &TypeDesc)> {
        self.cell_at(addr).map(|cell| (cell.start(), cell.desc))
    }

    /// Calls `visit` for every pointer of the object at `start` that points into an object of this
    /// heap: with the pointer's byte offset, and the start of the object it points into.
    pub(crate) fn for_each_child(&self, start: usize, mut visit: impl FnMut(usize, usize)) {
        let Some(object) = self.object_at(start) else {
            return;
        };
        self.for_each_pointer(start, object.desc, &mut |word| {
            if let Some(child) = self.cell_at(self.word(word)) {
                visit(word - start, child.start());
            }
        });
    }

    /// The type of an object that is a root of every collection as long as the caller looks, on a
    /// thread that need not be attached: windows, which may go then, are not looked at.
    pub(crate) fn type_of_root(&self, addr: usize) -> Option<&TypeDesc> {
        let block = self.block_at(addr)?;
        let (index, offset) = block.cell_of(addr)?;
        if !block.get(Bit::Used, index) {
            return None;
        }
        let desc = self.desc_of(block, index);
        (offset < block.extent(desc)).then_some(desc)
    }

    /// The place of the object that contains the address.
    #[inline]
    pub(crate) fn place(&self, addr: usize) -> Option<Place> {
        let block = self.block_at(addr)?;
        let (index, offset) = block.cell_of(addr)?;
        // As in `mark`: the start is in the object, however small that is.
        let inside = |offset| offset == 0 || offset < block.extent(self.desc_of(block, index));
        (self.is_made(block, index, addr) && inside(offset)).then(|| block.place(index))
    }

    /// Sets [`Bit::Special`] of the object at this place. Only by one thread at a time.
    #[inline]
    pub(crate) fn set_special(&self, of: Place) {
        if let Some(block) = self.block(of.block as usize) {
            block.set_special(of.cell.into());
        }
    }

    /// Enters a block in the table for all addresses that it covers, or removes it if not `there`.
    pub(super) fn publish(&self, block: &Arc<Block>, there: bool) {
        let entry = if there {
            Arc::as_ptr(block).cast_mut()
        } else {
            std::ptr::null_mut()
        };
        for index in block.index..block.index + block.span {
            self.table[index].store(entry, Release);
        }
        debug_assert_eq!(block.start, self.arena.start() + block.index * BLOCK);
    }
}
