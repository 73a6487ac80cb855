//! How another thread takes the place of one that is stuck in a call, or that has ended in one.
//!
//! Each thread that runs blocks has a [`Turn`]; the queue knows the one in force. A turn that is
//! *guarded* holds the number of the record that its thread is at: the thread makes one call at a
//! time, and claims each record by a compare-and-exchange from the one before. To relieve it, another
//! thread exchanges that number for [`RELIEVED`], so that exactly one of the two goes on: either the
//! thread has claimed its next record, and was not stuck, or it claims none any more.
//!
//! The records behind the one it is at become a block of their own. That one stays a root until the
//! call has returned, and its thread has [retired](Queue::retire).
#![forbid(unsafe_code)]

use std::ops::Range;
use std::time::Duration;

use super::block::Block;
use super::waiting::Waiting;
use super::{Inner, Queue, status};
use crate::base::sync::{Arc, AtomicUsize, Ordering};

/// In place of a record's number: another thread has taken over.
const RELIEVED: usize = usize::MAX;
/// In place of a record's number: the thread has claimed none of its block yet.
const NONE_YET: usize = usize::MAX - 1;

/// A shared turn. Not `sync`'s: how often it is shared orders nothing.
pub(crate) type TurnRef = std::sync::Arc<Turn>;

/// A thread's right to run blocks.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The number of the record that it is at. Only kept if it is guarded.
    at: AtomicUsize,
    /// The end of the batch that a bulk finalizer was given, or 0.
    batch_end: AtomicUsize,
    guarded: bool,
}

impl Turn {
    fn new(guarded: bool) -> TurnRef {
        TurnRef::new(Turn {
            at: AtomicUsize::new(NONE_YET),
            batch_end: AtomicUsize::new(0),
            guarded,
        })
    }

    /// Whether its thread can be relieved, and so makes one call at a time.
    #[inline]
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    pub(crate) fn is_relieved(&self) -> bool {
        self.at.load(Ordering::Acquire) == RELIEVED
    }

    /// Claims the record with this number of the running block. Returns false if the thread was
    /// relieved.
    #[inline]
    pub(crate) fn claim(&self, at: usize) -> bool {
        let before = self.at.load(Ordering::Relaxed);
        let claim = |before| {
            let order = (Ordering::AcqRel, Ordering::Acquire);
            self.at
                .compare_exchange(before, at, order.0, order.1)
                .is_ok()
        };
        before != RELIEVED && claim(before)
    }

    /// States that one call is made for all records up to this number.
    pub(crate) fn set_batch_end(&self, end: usize) {
        self.batch_end.store(end, Ordering::Release);
    }

    /// The number of the record that a guarded thread is at, or else the first.
    pub(super) fn guarded_at(&self) -> Option<usize> {
        let at = || self.at.load(Ordering::Acquire);
        self.guarded
            .then(|| if self.is_at_none() { 0 } else { at() })
    }

    /// Whether it is guarded, and its thread is at no record.
    fn is_at_none(&self) -> bool {
        self.guarded && self.at.load(Ordering::Acquire) == NONE_YET
    }

    /// Starts a block. Called with the queue locked, by the thread whose turn it is.
    pub(super) fn begin_block(&self) {
        self.at.store(NONE_YET, Ordering::Release);
        self.batch_end.store(0, Ordering::Release);
    }
}

/// The call that runs now. Two equal sights are of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    block: u64,
    at: usize,
}

/// What a watchdog finds.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    /// The goroutine's turn, and the call it is in.
    Turn(TurnRef, Option<Sight>),
    /// The queue is stopped, and nothing runs.
    Ended,
}

/// Records whose call has not returned, of a thread that was relieved or has ended.
#[derive(Debug)]
pub(super) struct Stuck {
    turn: TurnRef,
    block: Arc<Block>,
    records: Range<usize>,
}

impl Stuck {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Its records with their tags.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (&super::record::Slot, super::record::Tag)> {
        self.block
            .entries()
            .skip(self.records.start)
            .take(self.records.len())
    }
}

/// A call that the thread of an ended turn has left behind. Its records are roots until
/// [`Queue::retire`].
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) block: Arc<Block>,
    pub(crate) records: Range<usize>,
}

impl Inner {
    fn sight(&self, queue: &Queue) -> Option<Sight> {
        let block = self.running.as_deref()?;
        if self.turn.is_at_none() {
            return None;
        }
        let at = queue.running_at(self, block).min(block.slots().len());
        Some(Sight {
            block: self.block_number,
            at,
        })
    }

    /// Takes the running block from its thread, which is at record `at`, or at none yet: counts what
    /// is done, and makes a block of what has not begun. Returns what the thread is at.
    fn take_from(&mut self, at: Option<usize>) -> Option<Left> {
        let block = self.running.take()?;
        let len = block.slots().len();
        let batch_end = self.turn.batch_end.load(Ordering::Acquire);
        // Where it was about to leave the block, there is no record that it is at either.
        let records = match at {
            Some(at) => at.min(len)..(at + 1).max(batch_end).min(len),
            None => 0..0,
        };
        let end = records.end;
        let skipped = std::mem::take(&mut self.skipped);
        self.counts.executed += records.start as u64 - skipped;
        self.counts.skipped += skipped;
        if self.stop {
            self.counts.discarded += (len - end) as u64;
        } else if end < len {
            let mut rest = self.plain.take();
            rest.fill_from(&block, end);
            self.draining.push(Waiting::Plain(rest));
        }
        let turn = self.turn.clone();
        if !records.is_empty() {
            self.stuck.push(Stuck {
                turn,
                block: block.clone(),
                records: records.clone(),
            });
        }
        Some(Left { block, records })
    }

    fn new_turn(&mut self) -> TurnRef {
        self.turn = Turn::new(self.turn.guarded);
        self.counts.taken_over += 1;
        self.turn.clone()
    }
}

impl Queue {
    /// Has each thread that runs blocks make one call at a time, so that it can be relieved. Before
    /// the first drain.
    pub(crate) fn guard_turns(&self) {
        self.inner.lock().turn = Turn::new(true);
    }

    /// The turn in force.
    pub(crate) fn turn(&self) -> TurnRef {
        self.inner.lock().turn.clone()
    }

    pub(super) fn first_turn() -> TurnRef {
        Turn::new(false)
    }

    /// Waits for `period`, or, while the goroutine is parked, until it is not; then returns what it
    /// does.
    pub(crate) fn watch(&self, period: Duration) -> Watched {
        let mut inner = self.inner.lock();
        inner.watched = true;
        loop {
            let idle = inner.running.is_none();
            if inner.stop && idle {
                return Watched::Ended;
            }
            let parked = self.status() & status::WAIT != 0;
            if !(idle && parked) {
                break;
            }
            inner = inner.wait(&self.watch);
        }
        inner = inner.wait_timeout(&self.watch, period);
        Watched::Turn(inner.turn.clone(), inner.sight(self))
    }

    /// The turn in force, and the call it is in.
    #[cfg(test)]
    pub(crate) fn sight(&self) -> Watched {
        let inner = self.inner.lock();
        Watched::Turn(inner.turn.clone(), inner.sight(self))
    }

    /// Calls `look` with the running block and the number of the record that runs, with the queue
    /// locked, if that is still this call.
    pub(crate) fn look_at<R>(
        &self,
        sight: Sight,
        look: impl FnOnce(&Block, usize) -> R,
    ) -> Option<R> {
        let inner = self.inner.lock();
        let same = inner.sight(self) == Some(sight);
        let block = inner.running.as_deref().filter(|_| same)?;
        (sight.at < block.slots().len()).then(|| look(block, sight.at))
    }

    /// Takes over from a guarded thread that is in this call still, unless as many calls as
    /// `most` are stuck. Returns the turn for the calling thread.
    pub(crate) fn relieve(&self, sight: Sight, most: usize) -> Option<TurnRef> {
        let mut inner = self.inner.lock();
        let may = inner.turn.guarded && inner.stuck.len() < most && !inner.stop;
        if !may || inner.sight(self) != Some(sight) {
            return None;
        }
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let at = &inner.turn.at;
        at.compare_exchange(sight.at, RELIEVED, order.0, order.1)
            .ok()?;
        inner.take_from(Some(sight.at));
        self.set_status(status::RUNNING, false);
        Some(inner.new_turn())
    }

    /// Takes the place of a thread that has ended, whatever it was doing. Returns the turn for the
    /// calling thread, and the call that the other one was in.
    pub(crate) fn replace(&self, ended: &TurnRef) -> Option<(TurnRef, Option<Left>)> {
        let mut inner = self.inner.lock();
        if !TurnRef::ptr_eq(&inner.turn, ended) {
            return None;
        }
        let at = inner.sight(self).map(|sight| sight.at);
        let left = inner.take_from(at);
        ended.at.store(RELIEVED, Ordering::Release);
        self.set_status(status::RUNNING, false);
        let left = left.filter(|left| !left.records.is_empty());
        Some((inner.new_turn(), left))
    }

    /// Ends the calls that a relieved thread was in, or one that has ended: they are no longer
    /// roots. Returns how many these were.
    pub(crate) fn retire(&self, turn: &TurnRef, block: Option<Arc<Block>>) -> u64 {
        let mut inner = self.inner.lock();
        let mine = |stuck: &Stuck| TurnRef::ptr_eq(&stuck.turn, turn);
        let found = inner.stuck.iter().position(mine);
        let calls = found.map_or(0, |at| inner.stuck.swap_remove(at).len() as u64);
        inner.counts.executed += calls;
        inner.give_back(block);
        self.settled.notify_all();
        calls
    }
}
