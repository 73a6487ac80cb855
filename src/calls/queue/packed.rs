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
use super::record::{Slot, Tag};
use crate::base::prefetch::prefetch;

/// Up to a block's number of records, which are of one shape and differ in one word only. Filled
/// from the end.
#[derive(Debug)]
pub(super) struct Packed {
    /// The record that they have in common, with 0 in the word that differs.
    common: Slot,
    tag: Tag,
    words: Box<[AtomicU64]>,
    first: usize,
}

impl Default for Packed {
    fn default() -> Packed {
        Packed {
            common: Slot::default(),
            tag: Tag::default(),
            words: (0..BLOCK_RECORDS).map(|_| AtomicU64::new(0)).collect(),
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
    pub(super) fn begin(&mut self, record: &Record, tag: Tag) {
        let mut common = *record;
        common.words[tag.own_word()] = 0;
        (self.common, self.tag) = (Slot::new(&common), tag);
        self.push(record, tag);
    }

    /// Adds a record before the others. Returns false if there is no space, or the record differs
    /// from them in more than one word.
    #[inline(always)]
    pub(super) fn push(&mut self, record: &Record, tag: Tag) -> bool {
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
        true
    }

    /// Moves the records into an empty block.
    pub(super) fn unpack(&mut self, into: &mut Block) {
        let (common, words) = (self.common.record(), &self.words[self.first..]);
        let [first, second] = common.words;
        match self.tag.own_word() {
            0 => into.fill(words, self.tag, |word| {
                Slot::new(&Record {
                    words: [word, second],
                    ..common
                })
            }),
            _ => into.fill(words, self.tag, |word| {
                Slot::new(&Record {
                    words: [first, word],
                    ..common
                })
            }),
        }
        self.first = BLOCK_RECORDS;
    }

    pub(super) fn for_each_record(&self, visit: &mut dyn FnMut(&Record, Tag)) {
        let mut record = self.common.record();
        for word in &self.words[self.first..] {
            record.words[self.tag.own_word()] = word.load(std::sync::atomic::Ordering::Relaxed);
            visit(&record, self.tag);
        }
    }

    /// Prefetches the words, which are unpacked next, while other records run. The processor's own
    /// prefetching stops at the end of a page, and the words are as long as a page.
    pub(super) fn prefetch(&self) {
        const LINE: usize = 64 / size_of::<AtomicU64>();
        for line in self.words[self.first..].chunks(LINE) {
            prefetch(line.as_ptr().addr());
        }
    }

    pub(super) fn for_each_reference(&self, visit: &mut dyn FnMut(&AtomicU64)) {
        let own = self.tag.own_word();
        let in_common = self.tag.references(&self.common);
        in_common
            .filter(|word| !std::ptr::eq(*word, &self.common.0[2 + own]))
            .for_each(&mut *visit);
        if self.tag.has(Tag::WORD_0 | Tag::WORD_1) {
            self.words[self.first..].iter().for_each(visit);
        }
    }
}
