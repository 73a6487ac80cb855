//! Ids of single objects: a number that the heap's user sets for an object, and a word stored with
//! it.
#![forbid(unsafe_code)]

use super::Heap;
use super::block::Block;
use super::ids::CellId;
use crate::types::{Implied, TypeDesc};
use std::num::NonZeroU32;
use std::sync::atomic::Ordering::Relaxed;

/// An id for the objects of one type.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypedId {
    /// The header of such objects.
    header: u64,
    id: CellId,
}

impl TypedId {
    /// `id` is below 2^29. `traced`: the word stored with it is the address of an object, which it
    /// keeps alive.
    pub(crate) fn new(desc: &TypeDesc, id: NonZeroU32, traced: bool) -> TypedId {
        TypedId {
            header: desc.address() as u64,
            id: CellId::new(id, !desc.has_pointers(), traced),
        }
    }
}

/// The outcome of [`Heap::set_id`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetId {
    /// The id was set.
    Set,
    /// The object already has an id.
    HasOne,
    /// No object of the id's type starts there.
    NotThere,
}

impl Heap {
    /// The cell of the object that starts at `start`, if it is of the id's type. If it is not to be
    /// looked up, `start` must be the start of an object that is not freed, or an address outside
    /// this heap.
    #[inline(always)]
    fn typed(&self, start: usize, of: &TypedId, look_up: bool) -> Option<(&Block, usize)> {
        let block = self.block_at(start)?;
        match block.cell_of(start) {
            // Where all objects of the block have one header, the object itself need not be
            // touched.
            Some((index, 0))
                if (block.common_header() == Some(of.header)
                    || self.header_is(block, index, of.header))
                    && (!look_up || self.is_made(block, index, start)) =>
            {
                Some((block, index))
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn header_is(&self, block: &Block, index: usize, header: u64) -> bool {
        block.common_header().is_none() && self.header_of(block, index) == header
    }

    /// Whether an object of this heap starts at `start` and has this header.
    #[inline]
    pub(crate) fn has_header(&self, start: usize, header: u64) -> bool {
        let object = self.object_at(start);
        object.is_some_and(|object| self.header_of(object.block, object.index) == header)
    }

    /// Gives the id to every object of the type that is made from now on. Returns false, without
    /// effect, if one was made before, or the type has such an id already.
    pub(crate) fn imply(&self, desc: &TypeDesc, id: NonZeroU32) -> bool {
        debug_assert!(
            desc.tail().is_none(),
            "such objects are in blocks of several classes"
        );
        let mut books = self.books.lock();
        let pool = books.partial.len();
        let implied = desc.imply(Some(Implied { id, pool }));
        let done = implied.is_some_and(|implied| implied.pool == pool);
        if done {
            books.partial.push(Vec::new());
        }
        done
    }

    /// Sets the id of the object at `start`, and the word stored with it if one is given. If
    /// several threads do so for one object at the same time, one gets [`SetId::Set`] and the
    /// others get [`SetId::HasOne`].
    #[inline(always)]
    pub(crate) fn set_id(&self, start: usize, id: &TypedId, word: Option<u64>) -> SetId {
        self.set_typed(self.typed(start, id, self.must_look_up()), id, word)
    }

    /// As [`Heap::set_id`], for any address.
    #[inline(always)]
    pub(crate) fn set_id_at(&self, addr: usize, id: &TypedId, word: Option<u64>) -> SetId {
        self.set_typed(self.typed(addr, id, true), id, word)
    }

    #[inline(always)]
    fn set_typed(&self, of: Option<(&Block, usize)>, id: &TypedId, word: Option<u64>) -> SetId {
        match of {
            None => SetId::NotThere,
            Some((block, index)) if block.ids.set(index, id.id, word) => {
                if let Some(number) = self.next_number() {
                    block.ids.set_number(index, number);
                }
                SetId::Set
            }
            Some(_) => SetId::HasOne,
        }
    }

    /// From now on, each id that is set is numbered.
    pub(crate) fn number_ids(&self) {
        self.next_number.store(1, Relaxed);
    }

    /// Whether ids are numbered.
    pub(crate) fn numbers_ids(&self) -> bool {
        self.next_number.load(Relaxed) != 0
    }

    /// The number of the next id, or of something else that is counted with them, if ids are
    /// numbered.
    #[inline]
    pub(crate) fn next_number(&self) -> Option<u64> {
        let numbered = self.next_number.load(Relaxed) != 0;
        numbered.then(|| self.next_number.fetch_add(1, Relaxed))
    }

    /// The number of the id of the object at `start`; 0 if it has none, or one that its type has
    /// given it.
    pub(crate) fn id_number(&self, start: usize) -> u64 {
        let cell = self.object_at(start);
        cell.map_or(0, |cell| cell.block.ids.number(cell.index))
    }

    /// Removes the id of the object at `start` if it is this one, and returns whether it was.
    /// `None`: no object of the id's type starts there.
    #[inline(always)]
    pub(crate) fn take_this_id(&self, start: usize, id: &TypedId) -> Option<bool> {
        let (block, index) = self.typed(start, id, self.must_look_up())?;
        Some(block.ids.take_this(index, id.id))
    }

    /// Removes and returns the id of the object at `start`.
    #[inline]
    pub(crate) fn take_id(&self, start: usize) -> Option<NonZeroU32> {
        self.object_at(start)
            .and_then(|cell| cell.block.ids.take(cell.index))
    }

    /// The id of the object at `start`, and the word stored with it (0 if there is none).
    /// Lock-free.
    pub(crate) fn id(&self, start: usize) -> Option<(NonZeroU32, u64)> {
        let cell = self.object_at(start)?;
        let id = cell.block.ids.get(cell.index)?;
        Some((id.number(), cell.block.ids.word(cell.index)))
    }
}
