//! A block of records as stubs read them.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU64;

use fing_stubs::Record;

use super::BLOCK_RECORDS;
use super::record::{Slot, Tag};

/// A fixed number of records, filled from the end.
#[derive(Debug)]
pub(crate) struct Block {
    slots: Box<[Slot]>,
    tags: Box<[Tag]>,
    first: usize,
    /// Whether some tags differ.
    mixed: bool,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            slots: (0..BLOCK_RECORDS).map(|_| Slot::default()).collect(),
            tags: vec![Tag::default(); BLOCK_RECORDS].into_boxed_slice(),
            first: BLOCK_RECORDS,
            mixed: false,
        }
    }
}

impl Block {
    /// Bytes of memory that a block takes.
    pub(super) const BYTES: usize = BLOCK_RECORDS * (size_of::<Slot>() + size_of::<Tag>());

    /// Whether all records are of one shape.
    pub(crate) fn is_uniform(&self) -> bool {
        !self.mixed
    }

    /// The records, in the order in which they run.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots[self.first..]
    }

    /// Their tags, in the same order.
    pub(crate) fn tags(&self) -> &[Tag] {
        &self.tags[self.first..]
    }

    /// The records with their tags, in the order in which they run.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Slot, Tag)> {
        self.slots().iter().zip(self.tags().iter().copied())
    }

    /// Adds a record before the others. Returns false if the block is full.
    #[inline]
    pub(super) fn push(&mut self, record: &Record, tag: Tag) -> bool {
        let Some(first) = self.first.checked_sub(1) else {
            return false;
        };
        self.first = first;
        self.slots[first] = Slot::new(record);
        self.tags[first] = tag;
        self.mixed |= tag != self.tags[BLOCK_RECORDS - 1];
        true
    }

    /// Fills the empty block with the record that `make` returns for each word.
    pub(super) fn fill(&mut self, words: &[AtomicU64], tag: Tag, make: impl Fn(u64) -> Slot) {
        self.first = BLOCK_RECORDS - words.len();
        for (slot, word) in self.slots[self.first..].iter_mut().zip(words) {
            *slot = make(word.load(std::sync::atomic::Ordering::Relaxed));
        }
        self.tags[self.first..].fill(tag);
    }

    /// Fills the empty block with the records of another one from number `from` on.
    pub(super) fn fill_from(&mut self, other: &Block, from: usize) {
        for (slot, tag) in other
            .entries()
            .skip(from)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            self.push(&slot.record(), tag);
        }
    }

    pub(super) fn clear(&mut self) {
        (self.first, self.mixed) = (BLOCK_RECORDS, false);
    }

    pub(super) fn for_each_reference(&self, from: usize, visit: &mut dyn FnMut(&AtomicU64)) {
        for (slot, tag) in self.entries().skip(from) {
            tag.references(slot).for_each(&mut *visit);
        }
    }
}
