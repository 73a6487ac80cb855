//! Cancelling calls that are queued.
//!
//! A cancelled record stays in its block, which skips it when it is run, and which drops it when
//! the next collection looks for roots: so cancelling costs no copy, and the object of a cancelled
//! call stays where it is until then.
//!
//! A call is found by looking at all records, the first few times; then an index is made, which is
//! kept until the queue is empty or objects of it move. So programs that cancel nothing pay
//! nothing, and cancelling all of a million calls is linear.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::record::CallId;
use super::waiting::Waiting;

/// How far a call had come when it was asked to be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallStage {
    /// It was registered, and no collection had found it due. It is registered no more, and will
    /// not be made.
    Registered,
    /// It was queued and had not begun. It will not be made.
    Queued,
    /// It is being made, or is about to be, and can't be stopped any more.
    Running,
    /// There is nothing to cancel: the call was made, cancelled or dropped before, or there never
    /// was one.
    Done,
}

impl CallStage {
    /// Whether a call was cancelled: it would have been made, and will not be.
    pub fn is_cancelled(self) -> bool {
        matches!(self, CallStage::Registered | CallStage::Queued)
    }
}

/// How many times all records are looked at before an index is made.
const SEARCHES: u32 = 16;

/// What is known of a record that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) collection: Option<u64>,
    pub(super) shape: u32,
    /// External bytes of its object.
    pub(super) external: u64,
}

/// Where waiting records that can be cancelled are found.
pub(super) type Index = HashMap<CallId, Known>;

/// Which waiting records were cancelled, and where those that can be are found.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    /// Cancelled, but still in their blocks.
    gone: HashSet<CallId>,
    /// All that wait and are not cancelled, if there is an index.
    index: Option<Index>,
    searches: u32,
}

impl Cancelled {
    /// The number of cancelled records in waiting blocks.
    pub(super) fn len(&self) -> usize {
        self.gone.len()
    }

    /// Cancels the call with this identity if `blocks` has it and `allowed` takes its shape.
    /// Returns what it was.
    pub(super) fn cancel<'b>(
        &mut self,
        id: CallId,
        allowed: impl Fn(u32) -> bool,
        blocks: impl Iterator<Item = &'b Waiting>,
    ) -> Option<Known> {
        if self.gone.contains(&id) {
            return None;
        }
        if self.index.is_none() {
            self.searches += 1;
            if self.searches <= SEARCHES {
                let known = search(id, blocks).filter(|known| allowed(known.shape))?;
                self.gone.insert(id);
                return Some(known);
            }
            self.index = Some(self.make_index(blocks));
        }
        let index = self.index.as_mut()?;
        index.get(&id).filter(|known| allowed(known.shape))?;
        self.gone.insert(id);
        index.remove(&id)
    }

    fn make_index<'b>(&self, blocks: impl Iterator<Item = &'b Waiting>) -> Index {
        let mut index = HashMap::new();
        for block in blocks {
            for (collection, records) in block.parts.iter() {
                for n in records {
                    let id = block.call_id(n);
                    if !self.gone.contains(&id) {
                        let known = Known {
                            collection: Some(collection),
                            shape: block.tag(n).shape(),
                            external: block.owned(n).external,
                        };
                        index.insert(id, known);
                    }
                }
            }
        }
        index
    }

    /// Whether records that are added must be told by [`Cancelled::add`].
    #[inline]
    pub(super) fn has_index(&self) -> bool {
        self.index.is_some()
    }

    /// A record was added.
    pub(super) fn add(&mut self, id: CallId, known: Known) {
        if let Some(index) = &mut self.index {
            index.insert(id, known);
        }
    }

    /// Forgets the index.
    pub(super) fn forget_index(&mut self) {
        self.index = None;
    }

    /// Takes the index, as objects may move. If none has, it is [put back](Self::put_index).
    pub(super) fn take_index(&mut self) -> Option<Index> {
        self.index.take()
    }

    /// Puts back what was taken, before which no record was added or taken.
    pub(super) fn put_index(&mut self, index: Option<Index>) {
        self.index = index;
    }

    /// Takes the cancelled records out of a block.
    pub(super) fn purge(&mut self, block: &mut Waiting) {
        if self.gone.is_empty() {
            return;
        }
        let gone: HashSet<usize> = (0..block.len())
            .filter(|&n| self.gone.remove(&block.call_id(n)))
            .collect();
        if !gone.is_empty() {
            block.retain(|n| !gone.contains(&n));
        }
    }

    /// A block begins to run: its records can't be found here any more.
    pub(super) fn taken(&mut self, block: &mut Waiting) {
        self.purge(block);
        if let Some(index) = &mut self.index {
            for n in 0..block.len() {
                index.remove(&block.call_id(n));
            }
        }
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        debug_assert!(self.gone.is_empty());
        *self = Cancelled::default();
    }
}

/// Looks at all records that wait.
fn search<'b>(id: CallId, blocks: impl Iterator<Item = &'b Waiting>) -> Option<Known> {
    for block in blocks {
        if let Some(n) = (0..block.len()).find(|&n| block.call_id(n) == id) {
            return Some(Known {
                collection: block.parts.of(n),
                shape: block.tag(n).shape(),
                external: block.owned(n).external,
            });
        }
    }
    None
}
