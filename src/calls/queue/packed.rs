//! Queued records that take one word each while they wait.
//!
//! Most records that a collection queues differ from their neighbours in the object's address only.
//! They are stored as one common record and an array of addresses, and unpacked a block at a time
//! right before they run, into memory that is in the processor's cache. So a million records write
//! and read 8 megabytes of memory, not 36.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU64;

use fing_stubs::Record;

use super::BLOCK_RECORDS;
use super::block::Block;
use super::column::Column;
use super::record::{CallId, Owned, References, Slot, Tag};
use crate::base::prefetch::prefetch;

/// Up to a block's number of records, which are of one shape and differ in one word only. Filled
/// from the end.
#[derive(Debug)]
pub(super) struct Packed {
    /// The record that they have in common, with 0 in the word that differs.
    common: Slot,
    tag: Tag,
    words: Box<[AtomicU64]>,
    /// The numbers of cleanups and watchers.
    numbers: Column,
    /// External bytes of the records' objects.
    external: Column,
    first: usize,
}

impl Default for Packed {
    fn default() -> Packed {
        Packed {
            common: Slot::default(),
            tag: Tag::default(),
            words: (0..BLOCK_RECORDS).map(|_| AtomicU64::new(0)).collect(),
            numbers: Column::default(),
            external: Column::default(),
            first: BLOCK_RECORDS,
        }
    }
}

impl Packed {
    /// Bytes of memory that its words take.
    pub(super) const BYTES: usize = BLOCK_RECORDS * size_of::<AtomicU64>();

    pub(super) fn len(&self) -> usize {
        BLOCK_RECORDS - self.first
    }

    pub(super) fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Adds the first record.
    pub(super) fn begin(&mut self, record: &Record, tag: Tag, owned: Owned) {
        let mut common = *record;
        common.words[tag.own_word()] = 0;
        (self.common, self.tag) = (Slot::new(&common), tag);
        self.push(record, tag, owned);
    }

    /// Adds a record before the others. Returns false if there is no space, or the record differs
    /// from them in more than one word.
    #[inline(always)]
    pub(super) fn push(&mut self, record: &Record, tag: Tag, owned: Owned) -> bool {
        let own = tag.own_word();
        let common = self.common.record();
        if tag != self.tag
            || record.words[1 - own] != common.words[1 - own]
            || (record.code, record.context) != (common.code, common.context)
        {
            return false;
        }
        let Some(first) = self.first.checked_sub(1) else {
            return false;
        };
        self.first = first;
        self.words[first] = AtomicU64::new(record.words[own]);
        if tag.has(Tag::NUMBERED) {
            self.numbers.set(first, owned.number);
        }
        self.external.set(first, owned.external);
        true
    }

    /// Moves the records into an empty block.
    pub(super) fn unpack(&mut self, into: &mut Block) {
        let (common, words) = (self.common.record(), &self.words[self.first..]);
        let columns = (&self.numbers, &self.external);
        let [first, second] = common.words;
        match self.tag.own_word() {
            0 => into.fill(words, columns, self.tag, |word| {
                Slot::new(&Record {
                    words: [word, second],
                    ..common
                })
            }),
            _ => into.fill(words, columns, self.tag, |word| {
                Slot::new(&Record {
                    words: [first, word],
                    ..common
                })
            }),
        }
        self.first = BLOCK_RECORDS;
    }

    /// What identifies the call of record `n`.
    pub(super) fn call_id(&self, n: usize) -> CallId {
        let at = self.first + n;
        let word = self.words[at].load(std::sync::atomic::Ordering::Relaxed);
        self.tag.call_id(word, self.numbers.get(at))
    }

    /// What the queue keeps of record `n` beside the record.
    pub(super) fn owned(&self, n: usize) -> Owned {
        Owned {
            number: self.numbers.get(self.first + n),
            external: self.external.get(self.first + n),
        }
    }

    /// Removes the records for whose number in the order of running `keep` returns false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let (first, mut to) = (self.first, BLOCK_RECORDS);
        for from in (first..BLOCK_RECORDS).rev().filter(|&at| keep(at - first)) {
            to -= 1;
            self.words.swap(to, from);
            self.numbers.swap(to, from);
            self.external.swap(to, from);
        }
        self.first = to;
    }

    /// The records, in the order of running.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let (common, own) = (self.common.record(), self.tag.own_word());
        self.words[self.first..].iter().map(move |word| {
            let mut record = common;
            record.words[own] = word.load(std::sync::atomic::Ordering::Relaxed);
            record
        })
    }

    /// Prefetches the words, which are unpacked next, while other records run. The processor's own
    /// prefetching stops at the end of a page, and the words are as long as a page.
    pub(super) fn prefetch(&self) {
        const LINE: usize = 64 / size_of::<AtomicU64>();
        for line in self.words[self.first..].chunks(LINE) {
            prefetch(line.as_ptr().addr());
        }
    }

    pub(super) fn for_each_reference(&self, of: References, visit: &mut dyn FnMut(&AtomicU64)) {
        let own = self.tag.own_word();
        let in_common = self.tag.references(of, &self.common);
        in_common
            .filter(|word| !std::ptr::eq(*word, &self.common.0[2 + own]))
            .for_each(&mut *visit);
        if self.tag.among(of).has(Tag::WORD_0 | Tag::WORD_1) {
            self.words[self.first..].iter().for_each(visit);
        }
    }
}
