//! A block of records as stubs read them.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::AtomicU64;

use fing_stubs::Record;

use super::BLOCK_RECORDS;
use super::column::Column;
use super::kinds::ByKind;
use super::record::{CallId, Owned, References, Slot, Tag};

/// A fixed number of records, filled from the end.
#[derive(Debug)]
pub(crate) struct Block {
    slots: Box<[Slot]>,
    tags: Box<[Tag]>,
    /// The numbers of cleanups.
    numbers: Column,
    /// External bytes of the records' objects.
    external: Column,
    first: usize,
    /// Whether some tags differ.
    mixed: bool,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            slots: (0..BLOCK_RECORDS).map(|_| Slot::default()).collect(),
            tags: vec![Tag::default(); BLOCK_RECORDS].into_boxed_slice(),
            numbers: Column::default(),
            external: Column::default(),
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

    /// How many of these records of each kind there are.
    pub(super) fn by_kind(&self, records: Range<usize>) -> ByKind {
        match &self.tags()[records] {
            tags @ [first, ..] if !self.mixed => {
                let mut all = ByKind::default();
                all.add(first.kind(), tags.len());
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
    pub(super) fn push(&mut self, record: &Record, tag: Tag, owned: Owned) -> bool {
        let Some(first) = self.first.checked_sub(1) else {
            return false;
        };
        self.first = first;
        if tag.has(Tag::NUMBERED) {
            self.numbers.set(first, owned.number);
        }
        self.external.set(first, owned.external);
        self.slots[first] = Slot::new(record);
        self.tags[first] = tag;
        self.mixed |= tag != self.tags[BLOCK_RECORDS - 1];
        true
    }

    /// Fills the empty block with the record that `make` returns for each word. The columns have
    /// the numbers and external bytes of the records in the same places.
    pub(super) fn fill(
        &mut self,
        words: &[AtomicU64],
        (numbers, external): (&Column, &Column),
        tag: Tag,
        make: impl Fn(u64) -> Slot,
    ) {
        self.first = BLOCK_RECORDS - words.len();
        for (slot, word) in self.slots[self.first..].iter_mut().zip(words) {
            *slot = make(word.load(std::sync::atomic::Ordering::Relaxed));
        }
        self.tags[self.first..].fill(tag);
        if tag.has(Tag::NUMBERED) {
            self.numbers.copy(self.first..BLOCK_RECORDS, numbers);
        }
        self.external.copy(self.first..BLOCK_RECORDS, external);
    }

    /// What identifies the call of record `n`.
    pub(super) fn call_id(&self, n: usize) -> CallId {
        let (at, tag) = (self.first + n, self.tags[self.first + n]);
        tag.call_id(self.slots[at].word(tag.own_word()), self.numbers.get(at))
    }

    /// What the queue keeps of record `n` beside the record.
    pub(super) fn owned(&self, n: usize) -> Owned {
        Owned {
            number: self.numbers.get(self.first + n),
            external: self.external.get(self.first + n),
        }
    }

    /// Whether some records may have external bytes.
    pub(super) fn has_external(&self) -> bool {
        !self.external.is_empty()
    }

    /// External bytes of the objects of these records.
    pub(super) fn external(&self, records: Range<usize>) -> u128 {
        self.external
            .sum(self.first + records.start..self.first + records.end)
    }

    /// Removes the records for whose number in the order of running `keep` returns false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let (first, mut to) = (self.first, BLOCK_RECORDS);
        // From the end, where the block is filled from, so that those kept don't change order.
        for from in (first..BLOCK_RECORDS).rev().filter(|&at| keep(at - first)) {
            to -= 1;
            self.slots.swap(to, from);
            self.tags.swap(to, from);
            self.numbers.swap(to, from);
            self.external.swap(to, from);
        }
        self.first = to;
    }

    /// Moves the records that run first, at most `count`, to the empty block `to`.
    pub(super) fn move_first(&mut self, count: usize, to: &mut Block) {
        let count = count.min(self.slots().len());
        for n in (0..count).rev() {
            let at = self.first + n;
            to.push(&self.slots[at].record(), self.tags[at], self.owned(n));
        }
        self.first += count;
    }

    pub(super) fn clear(&mut self) {
        (self.first, self.mixed) = (BLOCK_RECORDS, false);
    }

    /// Visits the references of the records from number `from` on, except those that `skip` takes.
    pub(super) fn for_each_reference(
        &self,
        of: References,
        from: usize,
        skip: impl Fn(usize) -> bool,
        visit: &mut dyn FnMut(&AtomicU64),
    ) {
        for (n, (slot, tag)) in self.entries().enumerate().skip(from) {
            if !skip(n) {
                tag.references(of, slot).for_each(&mut *visit);
            }
        }
    }
}
