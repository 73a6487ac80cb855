//! Blocks of records that wait to be run, packed or not, and empty blocks to be filled.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU64;

use fing_stubs::Record;

use super::block::Block;
use super::kinds::ByKind;
use super::packed::Packed;
use super::record::Tag;

/// A block of records that wait.
#[derive(Debug)]
pub(super) enum Waiting {
    Plain(Block),
    Packed(Packed),
}

impl Waiting {
    pub(super) fn is_packed(&self) -> bool {
        matches!(self, Waiting::Packed(_))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Waiting::Plain(block) => block.slots().len(),
            Waiting::Packed(packed) => packed.len(),
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, record: &Record, tag: Tag) -> bool {
        match self {
            Waiting::Packed(packed) => packed.push(record, tag),
            Waiting::Plain(block) => block.push(record, tag),
        }
    }

    pub(super) fn for_each_reference(&self, visit: &mut dyn FnMut(&AtomicU64)) {
        match self {
            Waiting::Plain(block) => block.for_each_reference(0, visit),
            Waiting::Packed(packed) => packed.for_each_reference(visit),
        }
    }

    pub(super) fn for_each_record(&self, visit: &mut dyn FnMut(&Record, Tag)) {
        match self {
            Waiting::Plain(block) => {
                for (slot, tag) in block.entries() {
                    visit(&slot.record(), tag);
                }
            }
            Waiting::Packed(packed) => packed.for_each_record(visit),
        }
    }

    /// How many records of each kind there are.
    pub(super) fn by_kind(&self) -> ByKind {
        match self {
            Waiting::Plain(block) => ByKind::of(block.tags()),
            Waiting::Packed(packed) => {
                let mut all = ByKind::default();
                all.add(*packed.tag(), packed.len());
                all
            }
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Waiting::Plain(_) => Block::BYTES,
            Waiting::Packed(_) => Packed::BYTES,
        }
    }

    /// The tags of its records; a single one stands for all if they are equal.
    pub(super) fn tags(&self) -> &[Tag] {
        match self {
            Waiting::Packed(packed) => std::slice::from_ref(packed.tag()),
            Waiting::Plain(block) => block.tags(),
        }
    }
}

/// Empty blocks that are kept for the next records: together with those in use at most as many as
/// the larger of the last two drains had.
#[derive(Debug)]
pub(super) struct Spare<T> {
    empty: Vec<T>,
    /// The number of blocks of the previous drain.
    before: usize,
    /// The number of blocks that exist, in use or empty.
    pub(super) made: usize,
}

impl<T: Default> Spare<T> {
    pub(super) fn new() -> Spare<T> {
        Spare {
            empty: Vec::new(),
            before: 0,
            made: 0,
        }
    }

    pub(super) fn take(&mut self) -> T {
        self.empty.pop().unwrap_or_else(|| {
            self.made += 1;
            T::default()
        })
    }

    pub(super) fn give(&mut self, empty: T) {
        self.empty.push(empty);
    }

    /// Frees the empty blocks that are more than the last two drains had at most. Called when a
    /// drain of `now` blocks begins.
    pub(super) fn trim(&mut self, now: usize) {
        let keep = std::mem::replace(&mut self.before, now).max(now);
        self.made -= self.empty.len().saturating_sub(keep);
        self.empty.truncate(keep);
    }
}
