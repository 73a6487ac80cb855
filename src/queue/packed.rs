//! Records that wait in a word each.
//!
//! Most records of a collection differ from their neighbours in the object's address only. They wait as what they have
//! in common and their addresses, and are unpacked a block at a time, into memory that the processor has at hand, right
//! before they run. So of a million records 8 megabytes go to memory and back, and not 36.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU64;

use fing_stubs::Record;

use super::BLOCK_RECORDS;
use super::block::Block;
use super::record::{Slot, Tag};
use crate::prefetch::prefetch;

/// As many records as a block has room for, all of one shape and alike but for one word. Filled from the end.
#[derive(Debug)]
pub(super) struct Packed {
    /// The word that is each record's own is 0.
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
    /// Memory it takes.
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

    /// Adds a record before the others. `false`: there is no room, or it is not like the others.
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

    /// Writes the records into an empty block, and is empty.
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

    /// It will be unpacked next: its words are fetched while other records run. The processor's own foresight ends at a
    /// page, which is as long as the words are.
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
