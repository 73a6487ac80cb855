//! From an address to the object it is in. Exact: a free cell, a header, padding and one-past-the-end are no object.

use super::block::{Bit, Block};
use super::ids::Prepared;
use super::{BLOCK, Heap};
use crate::types::TypeDesc;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// What is at an address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Location<'h> {
    /// Address 0.
    Nil,
    /// The shared address of everything without size.
    Zero,
    /// Somebody else's memory, or ours without an object.
    NoObject,
    /// In an object, from `start` to `start` + size exclusive.
    Object {
        /// Where the object starts.
        start: usize,
        /// Its type.
        desc: &'h TypeDesc,
    },
}

/// Where an object is among all cells of its heap: for tables beside the heap. Good as long as the object lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Number of its (first) block.
    pub(crate) block: u32,
    /// Its cell in the block.
    pub(crate) cell: u16,
    /// Cells of the block, at most 4095.
    pub(crate) cells: u16,
}

/// An allocated cell that holds the address asked for.
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
}

impl Heap {
    /// Whether the address is in this heap's range: what an object of another heap is not.
    #[inline]
    pub(crate) fn contains(&self, addr: usize) -> bool {
        self.arena.block_of(addr).is_some()
    }

    /// The block that covers an address.
    #[inline]
    pub(super) fn block_at(&self, addr: usize) -> Option<&Block> {
        self.block(self.arena.block_of(addr)?)
    }

    /// The block that covers the addresses of this number.
    #[inline]
    fn block(&self, number: usize) -> Option<&Block> {
        let block = self.table.get(number)?.load(Acquire);
        // SAFETY: I14: an entry that is not null points to a block in `Books::all` (or in the cycle that has taken
        // it), where it stays until a sweep; callers are attached or are the collector, and keep it no longer.
        unsafe { block.as_ref() }
    }

    /// The allocated cell in whose object the address is.
    #[inline]
    pub(super) fn cell_at(&self, addr: usize) -> Option<Cell<'_>> {
        let block = self.block_at(addr)?;
        let (index, offset) = block.cell_of(addr)?;
        if !block.get(Bit::Used, index) {
            return None;
        }
        let desc = self.desc_of(block, index);
        (offset < desc.size()).then_some(Cell {
            block,
            index,
            offset,
            desc,
        })
    }

    /// Sets the mark of the object an address is in. `None`: it has it already, or there is no object. Only for the
    /// collector.
    #[inline]
    pub(super) fn mark(&self, addr: usize) -> Option<(usize, &TypeDesc)> {
        let block = self.block_at(addr)?;
        let (index, offset) = block.cell_of(addr)?;
        if !block.get(Bit::Used, index) || block.get(Bit::Mark, index) {
            return None;
        }
        let desc = self.desc_of(block, index);
        // Most pointers are to the start, which is in the object however small that is.
        if offset != 0 && offset >= desc.size() {
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

    /// What is at an address, whatever it is.
    pub(crate) fn locate(&self, addr: usize) -> Location<'_> {
        match self.cell_at(addr) {
            Some(cell) => Location::Object {
                start: cell.start(),
                desc: cell.desc,
            },
            None if addr == 0 => Location::Nil,
            None if addr == self.zero() => Location::Zero,
            None => Location::NoObject,
        }
    }

    /// The object an address is in: its start and its type.
    pub(crate) fn find(&self, addr: usize) -> Option<(usize, &TypeDesc)> {
        self.cell_at(addr).map(|cell| (cell.start(), cell.desc))
    }

    /// Calls `visit` with every pointer of the object at `start` that points into an object: the pointer's offset, and
    /// where the object it points into starts.
    pub(crate) fn for_each_child(&self, start: usize, mut visit: impl FnMut(usize, usize)) {
        let Some(object) = self.object_at(start) else {
            return;
        };
        object.desc.pointers().for_each(start, &mut |word| {
            if let Some(child) = self.cell_at(self.word(word)) {
                visit(word - start, child.start());
            }
        });
    }

    /// The id prepared for the object at `start`. Lock-free, as are the next ones.
    pub(crate) fn prepared(&self, start: usize) -> Option<NonZeroU32> {
        let cell = self.object_at(start)?;
        cell.block.ids.get(cell.index).map(Prepared::id)
    }

    /// Prepares an id for the object at `start`, which becomes finalizable. `Err(Some(id))`: it has that one already;
    /// `Err(None)`: no object starts there.
    pub(crate) fn prepare(&self, start: usize, id: NonZeroU32) -> Result<(), Option<NonZeroU32>> {
        let cell = self.object_at(start).ok_or(None)?;
        let id = Prepared::new(id, cell.desc.pointers().is_empty());
        cell.block.ids.set(cell.index, id).map_err(Some)
    }

    /// Takes the prepared id away and answers it.
    pub(crate) fn unprepare(&self, start: usize) -> Option<NonZeroU32> {
        self.object_at(start)
            .and_then(|cell| cell.block.ids.take(cell.index))
    }

    /// The place of the object an address is in.
    #[inline]
    pub(crate) fn place(&self, addr: usize) -> Option<Place> {
        let block = self.block_at(addr)?;
        let (index, offset) = block.cell_of(addr)?;
        // As in `mark`: at an object's start it need not be known how large that is.
        let inside = |offset| offset == 0 || offset < self.desc_of(block, index).size();
        (block.get(Bit::Used, index) && inside(offset)).then(|| block.place(index))
    }

    /// Says that something else must be decided when the object at this place dies. Only by one thread at a time.
    #[inline]
    pub(crate) fn set_special(&self, of: Place) {
        if let Some(block) = self.block(of.block as usize) {
            block.set_special(of.cell.into());
        }
    }

    /// Makes a block the one that covers its addresses, or nothing.
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
