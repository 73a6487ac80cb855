//! Preparing ids for objects of one type, as fast as the machine allows: no lock, no atomic exchange, no look-up of
//! the type, one look at the object's header.
#![forbid(unsafe_code)]

use super::Heap;
use super::block::Block;
use super::ids::Prepared;
use crate::types::{Implied, TypeDesc};
use std::num::NonZeroU32;

/// An id for the objects of one type.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypedId {
    /// What stands in the header of such an object.
    header: u64,
    id: Prepared,
}

impl TypedId {
    /// `id` is below 2^31.
    pub(crate) fn new(desc: &TypeDesc, id: NonZeroU32) -> TypedId {
        TypedId {
            header: desc.address() as u64,
            id: Prepared::new(id, !desc.has_pointers()),
        }
    }
}

impl Heap {
    /// The cell of the object that starts at `start`, if it is of the id's type. `start` is an object's, not freed, or
    /// no address of this heap.
    fn typed(&self, start: usize, of: &TypedId) -> Option<(&Block, usize)> {
        let block = self.block_at(start)?;
        match block.cell_of(start) {
            Some((index, 0)) if self.header_of(block, index) == of.header => Some((block, index)),
            _ => None,
        }
    }

    /// The same where the block knows the type. Without a call, so that it can be part of paths that have none.
    #[inline(always)]
    fn typed_at_once(&self, start: usize, of: &TypedId) -> Option<(&Block, usize)> {
        let block = self.block_at(start)?;
        match block.cell_of(start) {
            Some((index, 0)) if block.common_header() == Some(of.header) => Some((block, index)),
            _ => None,
        }
    }

    /// Every object of the type that is made from now on has the id. `false`: one was made before, or there is such an id
    /// already.
    pub(crate) fn imply(&self, desc: &TypeDesc, id: NonZeroU32) -> bool {
        let mut books = self.books.lock();
        let pool = books.partial.len();
        let implied = desc.imply(Some(Implied { id, pool }));
        let done = implied.is_some_and(|implied| implied.pool == pool);
        if done {
            books.partial.push(Vec::new());
        }
        done
    }

    /// Prepares the id for the object at `start`. `Some(false)`: it has one; `None`: it is not of the type.
    ///
    /// When two threads prepare ids for one object at the same time, one id stays, and the other thread may not be
    /// told. The same goes for taking one away.
    pub(crate) fn attach(&self, start: usize, id: &TypedId) -> Option<bool> {
        let (block, index) = self.typed(start, id)?;
        Some(block.ids.set_fast(index, id.id))
    }

    /// Takes the id away from the object at `start` if it has this one. `None`: it is not of the type.
    pub(crate) fn detach(&self, start: usize, id: &TypedId) -> Option<bool> {
        let (block, index) = self.typed(start, id)?;
        Some(block.ids.take_fast(index, id.id))
    }

    /// [`Heap::attach`], done if it takes no call: in a block whose objects are of one type, after the first.
    #[inline(always)]
    pub(crate) fn attach_at_once(&self, start: usize, id: &TypedId) -> bool {
        let cell = self.typed_at_once(start, id);
        cell.is_some_and(|(block, index)| block.ids.set_at_once(index, id.id))
    }

    /// [`Heap::detach`], done if it takes no call.
    #[inline(always)]
    pub(crate) fn detach_at_once(&self, start: usize, id: &TypedId) -> bool {
        let cell = self.typed_at_once(start, id);
        cell.is_some_and(|(block, index)| block.ids.take_at_once(index, id.id))
    }

    /// As [`Heap::attach_at_once`], and of threads that prepare ids for one object all but one are told.
    #[inline(always)]
    pub(crate) fn attach_exactly_at_once(&self, start: usize, id: &TypedId) -> bool {
        let cell = self.typed_at_once(start, id);
        cell.is_some_and(|(block, index)| block.ids.set_exactly_at_once(index, id.id))
    }
}
