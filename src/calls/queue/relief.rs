//! How another thread takes the place of one that is stuck in a call, or that has ended in one.
//!
//! Each thread that runs blocks has a [`Turn`], with cells of its own; the queue knows the one in
//! force. To relieve a thread that is in a call, another one ends its batch behind that call, as a
//! cancellation does (`running`), and then looks whether it is in that call still: if so, it runs
//! nothing else before it has asked for the queue's lock, and then it is told that it was relieved.
//!
//! The block goes on under the new turn. The records that the relieved thread is at stay roots
//! until it has [retired](Queue::retire).
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fing_stubs::Record;

use super::block::Block;
use super::kinds::ByKind;
use super::record::{CallId, Slot, Tag};
use super::running::Cells;
use super::tickets::Outstanding;
use super::{Inner, Queue, status};
use crate::base::sync::{Arc, AtomicPtr, Ordering};

/// A shared turn. Not `sync`'s: how often it is shared orders nothing.
pub(crate) type TurnRef = std::sync::Arc<Turn>;

/// A thread's right to run blocks.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(super) cells: Cells,
    /// Written and read with the queue locked; the thread itself may look without.
    relieved: AtomicBool,
    /// Whether calls are made one by one, as a batch can't be ended early.
    single: bool,
}

impl Turn {
    pub(super) fn new(single: bool) -> TurnRef {
        TurnRef::new(Turn {
            cells: Cells::new(),
            relieved: AtomicBool::new(false),
            single,
        })
    }

    /// Whether another thread has taken over.
    pub(crate) fn is_relieved(&self) -> bool {
        self.relieved.load(Ordering::Acquire)
    }

    /// Whether each batch must be of one record.
    pub(crate) fn is_single(&self) -> bool {
        self.single
    }

    /// Whether the thread must [pass](Queue::pass) before it calls this record.
    #[inline]
    pub(crate) fn is_cut(&self, at: &Slot) -> bool {
        self.cells.is_cut(at)
    }

    /// Publishes that this record of a batch is about to be called, as stubs do. Returns false if
    /// the batch has been ended in front of it.
    #[inline]
    pub(crate) fn publish(&self, at: &Slot) -> bool {
        self.cells.publish(at)
    }

    /// States that this record of a batch, or its end, is the next one; it is not about to run.
    pub(crate) fn reach(&self, next: *const Slot) {
        let next: *mut Record = next.cast_mut().cast();
        self.cells.progress.store(next, Ordering::Release);
    }

    /// The cell to which stubs publish the record that is running.
    pub(crate) fn progress(&self) -> &AtomicPtr<Record> {
        &self.cells.progress
    }

    /// The cell from which stubs read where the batch ends.
    pub(crate) fn end(&self) -> &AtomicPtr<Record> {
        &self.cells.end
    }

    /// The number of the record of `slots` that was published last.
    pub(crate) fn reached(&self, slots: &[Slot]) -> usize {
        let published = self.progress().load(Ordering::Acquire);
        (published.addr() - slots.as_ptr().addr()) / size_of::<Record>()
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
    /// The goroutine's turn.
    Turn(TurnRef),
    /// The queue is stopped, and nothing runs.
    Ended,
}

/// Records whose call has not returned, of a thread that was relieved or has ended.
#[derive(Debug)]
pub(super) struct Stuck {
    turn: TurnRef,
    block: Arc<Block>,
    records: Range<usize>,
    /// How many of them each collection has queued.
    parts: Vec<(u64, u64)>,
}

impl Stuck {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// How many of each kind there are.
    pub(super) fn by_kind(&self) -> ByKind {
        self.block.by_kind(self.records.clone())
    }

    /// External bytes of the objects.
    pub(super) fn external(&self) -> u128 {
        self.block.external(self.records.clone())
    }

    /// Its records with their tags.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Slot, Tag)> {
        let entries = self.block.entries().skip(self.records.start);
        entries.take(self.records.len())
    }

    /// Whether one of its records is this call, of a function whose shape `allowed` takes.
    pub(super) fn has(&self, id: CallId, allowed: impl Fn(u32) -> bool) -> bool {
        let is_it = |n: usize| self.block.call_id(n) == id && allowed(self.block.tags()[n].shape());
        self.records.clone().any(is_it)
    }

    /// Corrects what is outstanding of a collection: these calls are running.
    pub(super) fn correct(&self, collection: u64, outstanding: &mut Outstanding) {
        for (of, calls) in &self.parts {
            if *of == collection {
                outstanding.queued -= calls;
                outstanding.running += calls;
            }
        }
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
    fn sight(&self) -> Option<Sight> {
        let running = self.running.as_ref()?;
        let at = running.progress(&self.turn.cells);
        (!running.call_at(at).is_empty()).then_some(Sight {
            block: self.block_number,
            at,
        })
    }

    /// Puts a new turn in force. The thread of the old one is at these records of the running
    /// block, and the new one begins behind them.
    fn hand_over(&mut self, records: Range<usize>) -> (TurnRef, Option<Left>) {
        let new = Turn::new(self.turn.single);
        let old = std::mem::replace(&mut self.turn, new);
        old.relieved.store(true, Ordering::Release);
        self.counts.taken_over += 1;
        let left = self.running.as_mut().map(|running| {
            running.resume(records.clone(), &self.turn.cells);
            Left {
                block: running.block.clone(),
                records: records.clone(),
            }
        });
        if let (Some(running), false) = (&self.running, records.is_empty()) {
            let part = |(collection, of): (u64, Range<usize>)| {
                let calls = records.clone().filter(|n| of.contains(n)).count();
                (collection, calls as u64)
            };
            self.stuck.push(Stuck {
                turn: old,
                block: running.block.clone(),
                parts: running.parts.iter().map(part).collect(),
                records: records.clone(),
            });
        }
        if self.stop {
            self.end_block(records.end);
        }
        (
            self.turn.clone(),
            left.filter(|left| !left.records.is_empty()),
        )
    }
}

impl Queue {
    /// Has turns be such that their threads can be relieved. Before the first drain.
    pub(crate) fn guard_turns(&self) {
        let mut inner = self.inner.lock();
        inner.turn = Turn::new(!inner.turn.cells.is_divisible());
    }

    /// The turn in force.
    pub(crate) fn turn(&self) -> TurnRef {
        self.inner.lock().turn.clone()
    }

    /// Waits for `period`, or, while the goroutine is parked, until it is not.
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
        Watched::Turn(inner.turn.clone())
    }

    /// The call that runs now.
    pub(crate) fn sight(&self) -> Option<Sight> {
        self.inner.lock().sight()
    }

    /// Calls `look` with the running block and the number of the record that runs, with the queue
    /// locked, if that is still this call.
    pub(crate) fn look_at<R>(
        &self,
        sight: Sight,
        look: impl FnOnce(&Block, usize) -> R,
    ) -> Option<R> {
        let inner = self.inner.lock();
        let running = inner.running.as_ref();
        let running = running.filter(|_| inner.sight() == Some(sight))?;
        let block = &running.block;
        Some(look(block, sight.at))
    }

    /// Takes over from a thread that is in this call still, unless as many calls as `most` are
    /// stuck. Returns the turn for the calling thread.
    pub(crate) fn relieve(&self, sight: Sight, most: usize) -> Option<TurnRef> {
        let mut inner = self.inner.lock();
        if inner.stuck.len() >= most || inner.stop || inner.sight() != Some(sight) {
            return None;
        }
        let turn = inner.turn.clone();
        let running = inner.running.as_mut()?;
        let records = running.call_at(sight.at);
        if !running.end_behind(&records, &turn.cells) {
            return None;
        }
        self.set_status(status::RUNNING, false);
        Some(inner.hand_over(records).0)
    }

    /// Takes the place of a thread that has ended, whatever it was doing. Returns the turn for the
    /// calling thread, and the call that the other one was in.
    pub(crate) fn replace(&self, ended: &TurnRef) -> Option<(TurnRef, Option<Left>)> {
        let mut inner = self.inner.lock();
        if !TurnRef::ptr_eq(&inner.turn, ended) {
            return None;
        }
        let running = inner.running.as_ref();
        let records = running.map(|running| running.call_at(running.progress(&ended.cells)));
        let records = records.unwrap_or_default();
        self.set_status(status::RUNNING, false);
        let replaced = inner.hand_over(records);
        self.settled.notify_all();
        Some(replaced)
    }

    /// Ends the calls that a relieved thread was in, or one that has ended: they are no longer
    /// roots. Returns how many these were.
    pub(crate) fn retire(&self, turn: &TurnRef, block: Option<Arc<Block>>) -> u64 {
        self.inner.lock().retire(turn, block, self)
    }
}

impl Inner {
    pub(super) fn retire(
        &mut self,
        turn: &TurnRef,
        block: Option<Arc<Block>>,
        queue: &Queue,
    ) -> u64 {
        let mine = |stuck: &Stuck| TurnRef::ptr_eq(&stuck.turn, turn);
        let found = self.stuck.iter().position(mine);
        let mut calls = 0;
        if let Some(stuck) = found.map(|at| self.stuck.swap_remove(at)) {
            calls = stuck.len() as u64;
            self.counts.fates.executed.add_all(stuck.by_kind());
            let tags = &stuck.block.tags()[stuck.records.clone()];
            self.ended.add(tags, |fates| &mut fates.executed);
            for (collection, calls) in &stuck.parts {
                self.tickets.done(*collection, *calls);
            }
        }
        self.give_back(block);
        queue.gauge(self);
        queue.settled.notify_all();
        calls
    }
}
