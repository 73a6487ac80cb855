//! Blocks of records that wait to be run, packed or not, and empty blocks to be filled.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use fing_stubs::Record;

use super::Dropped;
use super::block::Block;
use super::cancel::CallStage;
use super::kinds::ByKind;
use super::packed::Packed;
use super::record::{CallId, Owned, References, Tag};
use super::tickets::Parts;
use super::withdraw::{Withdrawn, is_wanted};

/// A block of records that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) form: Form,
    /// Which collections queued them.
    pub(super) parts: Parts,
    /// When the first of them was queued.
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) enum Form {
    Plain(Block),
    Packed(Packed),
}

impl Waiting {
    pub(super) fn is_packed(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    pub(super) fn len(&self) -> usize {
        match &self.form {
            Form::Plain(block) => block.slots().len(),
            Form::Packed(packed) => packed.len(),
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, record: &Record, tag: Tag, owned: Owned) -> bool {
        match &mut self.form {
            Form::Packed(packed) => packed.push(record, tag, owned),
            Form::Plain(block) => block.push(record, tag, owned),
        }
    }

    pub(super) fn for_each_reference(&self, of: References, visit: &mut dyn FnMut(&AtomicU64)) {
        match &self.form {
            Form::Plain(block) => block.for_each_reference(of, 0, |_| false, visit),
            Form::Packed(packed) => packed.for_each_reference(of, visit),
        }
    }

    pub(super) fn for_each_record(&self, visit: &mut dyn FnMut(&Record, Tag)) {
        match &self.form {
            Form::Plain(block) => {
                for (slot, tag) in block.entries() {
                    visit(&slot.record(), tag);
                }
            }
            Form::Packed(packed) => {
                for record in packed.records() {
                    visit(&record, *packed.tag());
                }
            }
        }
    }

    /// How many records of each kind there are.
    pub(super) fn by_kind(&self) -> ByKind {
        match &self.form {
            Form::Plain(block) => block.by_kind(0..block.slots().len()),
            Form::Packed(packed) => {
                let mut all = ByKind::default();
                all.add(packed.tag().kind(), packed.len());
                all
            }
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        match &self.form {
            Form::Plain(_) => Block::BYTES,
            Form::Packed(_) => Packed::BYTES,
        }
    }

    /// The tags of its records; a single one stands for all if they are equal.
    pub(super) fn tags(&self) -> &[Tag] {
        match &self.form {
            Form::Packed(packed) => std::slice::from_ref(packed.tag()),
            Form::Plain(block) => block.tags(),
        }
    }

    /// What identifies the call of record `n`, in the order of running.
    pub(super) fn call_id(&self, n: usize) -> CallId {
        match &self.form {
            Form::Plain(block) => block.call_id(n),
            Form::Packed(packed) => packed.call_id(n),
        }
    }

    /// What the queue keeps of record `n` beside the record.
    pub(super) fn owned(&self, n: usize) -> Owned {
        match &self.form {
            Form::Plain(block) => block.owned(n),
            Form::Packed(packed) => packed.owned(n),
        }
    }

    /// The tag of record `n`.
    pub(super) fn tag(&self, n: usize) -> Tag {
        match &self.form {
            Form::Plain(block) => block.tags()[n],
            Form::Packed(packed) => *packed.tag(),
        }
    }

    /// Takes out the finalizers that `wanted` takes, and returns them, with the collections that
    /// queued them.
    pub(super) fn withdraw(&mut self, wanted: impl Fn(u64, Tag) -> bool) -> Vec<Withdrawn> {
        let (mut n, mut numbers, mut withdrawn) = (0, Vec::new(), Vec::new());
        self.for_each_record(&mut |record, tag| {
            if is_wanted(tag, tag.object_of(record), &wanted) {
                numbers.push(n);
                withdrawn.push(Withdrawn {
                    collection: self.parts.of(n),
                    tag,
                    record: *record,
                    number: self.owned(n).number,
                });
            }
            n += 1;
        });
        if !numbers.is_empty() {
            self.retain(|n| numbers.binary_search(&n).is_err());
        }
        withdrawn
    }

    /// Lists the records.
    pub(super) fn list(&self, dropped: &mut Vec<Dropped>) {
        self.for_each_record(&mut |record, tag| {
            dropped.push(Dropped {
                tag,
                record: *record,
                stage: CallStage::Queued,
            });
        });
    }

    /// Removes the records for whose number `keep` returns false.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.parts.remove((0..self.len()).filter(|&n| !keep(n)));
        match &mut self.form {
            Form::Plain(block) => block.retain(keep),
            Form::Packed(packed) => packed.retain(keep),
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
