//! A block of records as stubs read them.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU64;

use fing_stubs::Record;

use super::BLOCK_RECORDS;
use super::kinds::ByKind;
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

    /// How many records of each kind there are.
    pub(super) fn by_kind(&self) -> ByKind {
        match self.tags() {
            [first, ..] if !self.mixed => {
                let mut all = ByKind::default();
                all.add(*first, self.slots().len());
                all
            }
            tags => ByKind::of(tags),
        }
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

    /// Moves the records that run first, at most `count`, to the empty block `to`.
    pub(super) fn move_first(&mut self, count: usize, to: &mut Block) {
        let count = count.min(self.slots().len());
        for n in (self.first..self.first + count).rev() {
            to.push(&self.slots[n].record(), self.tags[n]);
        }
        self.first += count;
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
