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
use super::kinds::{ByKind, Fates};
use super::lane::{Lane, LaneId, Runner};
use super::record::{CallId, Slot, Tag};
use super::running::Cells;
use super::tickets::Outstanding;
use super::{Inner, Queue, status};
use crate::base::sync::{Arc, AtomicPtr, Ordering, fence};

/// A shared turn. Not `sync`'s: how often it is shared orders nothing.
pub(crate) type TurnRef = std::sync::Arc<Turn>;

/// A thread's right to run blocks.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(super) cells: Cells,
    /// The lane of the blocks.
    pub(super) lane: LaneId,
    /// The place in the lane.
    pub(super) seat: usize,
    /// Written and read with the queue locked; the thread itself may look without.
    relieved: AtomicBool,
    /// Whether calls are made one by one, as a batch can't be ended early.
    single: bool,
    /// Whether [`Turn::interrupt`] may end the batch. Written by the thread itself.
    interruptible: AtomicBool,
}

impl Turn {
    pub(super) fn new(lane: LaneId, seat: usize, single: bool) -> TurnRef {
        TurnRef::new(Turn {
            cells: Cells::new(),
            lane,
            seat,
            relieved: AtomicBool::new(false),
            single,
            interruptible: AtomicBool::new(false),
        })
    }

    /// The lane whose blocks the thread runs.
    pub(crate) fn lane(&self) -> LaneId {
        self.lane
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

    /// Whether a batch can be ended while it runs.
    pub(crate) fn is_divisible(&self) -> bool {
        self.cells.is_divisible()
    }

    /// Begins what is left of a batch, up to `end`. Until [`Turn::is_not_interrupted`],
    /// [interrupting](Turn::interrupt) ends it in front of the next call; what the thread looks at
    /// behind this was changed before any interruption that it misses.
    pub(crate) fn begin_interruptible(&self, end: *const Slot) {
        self.interruptible.store(true, Ordering::Relaxed);
        self.cells.begin(end);
        fence(Ordering::SeqCst);
    }

    /// The batch is over, or is not to be interrupted.
    pub(crate) fn is_not_interrupted(&self) {
        self.interruptible.store(false, Ordering::Relaxed);
    }

    /// Ends the batch in front of the next call, if it was begun to be interrupted.
    pub(crate) fn interrupt(&self) {
        if self.interruptible.load(Ordering::Relaxed) {
            self.cells.interrupt();
        }
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
    /// The turns in force.
    Turns(Vec<TurnRef>),
    /// The queue is stopped, and nothing runs.
    Ended,
}

fn turns(runners: &[Runner]) -> impl Iterator<Item = TurnRef> {
    runners.iter().map(|runner| runner.turn.clone())
}

/// Records whose call has not returned, of a thread that was relieved or has ended, or of one that
/// was handed out.
#[derive(Debug)]
pub(super) struct Stuck {
    handed_out: bool,
    turn: TurnRef,
    block: Arc<Block>,
    records: Range<usize>,
    /// How many of them each collection has queued.
    parts: Vec<(u64, u64)>,
}

impl Stuck {
    pub(super) fn is_handed_out(&self) -> bool {
        self.handed_out
    }

    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// The lane that they are of.
    pub(super) fn lane(&self) -> LaneId {
        self.turn.lane
    }

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

    /// External bytes of the object of its record `n`.
    pub(super) fn external_of(&self, n: usize) -> u64 {
        self.block.owned(self.records.start + n).external
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

    /// How many of its records are of a collection.
    pub(super) fn part_of(&self, collection: u64) -> u64 {
        let parts = self.parts.iter().filter(|(of, _)| *of == collection);
        parts.map(|(_, calls)| calls).sum()
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

/// A call that was taken out of a drain, for whoever has this. It is running until
/// [`Queue::retire_as`].
#[derive(Debug)]
pub(crate) struct HandedOut {
    /// With cells of its own.
    pub(crate) turn: TurnRef,
    pub(crate) block: Arc<Block>,
    pub(crate) at: usize,
}

/// A call that the thread of an ended turn has left behind. Its records are roots until
/// [`Queue::retire`].
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) block: Arc<Block>,
    pub(crate) records: Range<usize>,
}

/// The call that the thread of this place is in.
fn sight(runner: &Runner) -> Option<Sight> {
    let running = runner.running.as_ref()?;
    let at = running.progress(&runner.turn.cells);
    (!running.call_at(at).is_empty()).then_some(Sight {
        block: runner.block_number,
        at,
    })
}

impl Inner {
    /// The place of the thread that is in this call still.
    fn seen(&self, wanted: Sight) -> Option<&Runner> {
        let is_it = |runner: &&Runner| runner.block_number == wanted.block;
        let found = self.runners().find(is_it);
        found.filter(|runner| sight(runner) == Some(wanted))
    }

    /// Puts a new turn in force. The thread of the old one is at these records of its block, and
    /// the new one begins behind them.
    pub(super) fn hand_over(
        &mut self,
        old: &TurnRef,
        records: Range<usize>,
    ) -> Option<(TurnRef, Option<Left>)> {
        let new = Turn::new(old.lane, old.seat, old.single);
        let runner = self.runner(old)?;
        runner.turn = new.clone();
        old.relieved.store(true, Ordering::Release);
        let left = runner.running.as_mut().map(|running| {
            running.resume(records.clone(), &new.cells);
            Left {
                block: running.block.clone(),
                records: records.clone(),
            }
        });
        let part = |(collection, of): (u64, Range<usize>)| {
            let calls = records.clone().filter(|n| of.contains(n)).count();
            (collection, calls as u64)
        };
        let running = runner.running.as_ref().filter(|_| !records.is_empty());
        let stuck = running.map(|running| Stuck {
            handed_out: false,
            turn: old.clone(),
            block: running.block.clone(),
            parts: running.parts.iter().map(part).collect(),
            records: records.clone(),
        });
        if let Some(stuck) = stuck {
            self.stuck.push(stuck);
        }
        if self.stop {
            self.end_block(&new, records.end);
        }
        Some((new, left.filter(|left| !left.records.is_empty())))
    }
}

impl Queue {
    /// Has turns be such that their threads can be relieved. Before the first drain.
    pub(crate) fn guard_turns(&self) {
        let mut inner = self.inner.lock();
        let divisible = inner
            .runners()
            .all(|runner| runner.turn.cells.is_divisible());
        inner.single = !divisible;
        let single = inner.single;
        for runner in inner.lanes.iter_mut().flat_map(|lane| &mut lane.runners) {
            runner.turn = Turn::new(runner.turn.lane, runner.turn.seat, single);
        }
    }

    /// The turn in force of the executor's lane.
    pub(crate) fn turn(&self) -> TurnRef {
        self.inner.lock().lanes[0].runners[0].turn.clone()
    }

    /// The turns in force of a lane; none if it was closed.
    pub(crate) fn turns_of(&self, lane: LaneId) -> Vec<TurnRef> {
        let mut inner = self.inner.lock();
        let lane = inner.lane(lane);
        lane.map_or_else(Vec::new, |lane| turns(&lane.runners).collect())
    }

    /// Waits for `period`, or, while no thread has anything to run, until one has.
    pub(crate) fn watch(&self, period: Duration) -> Watched {
        let mut inner = self.inner.lock();
        inner.watched = true;
        loop {
            let idle = inner.runners().all(|runner| runner.running.is_none());
            // One that was relieved may end in its call.
            let stuck = inner.stuck().next().is_some();
            if inner.stop && idle && !stuck {
                return Watched::Ended;
            }
            let parked = self.status() & status::WAIT != 0;
            let apart = inner.lanes[1..]
                .iter()
                .any(|lane: &Lane| !lane.draining.is_empty());
            if !(idle && parked) || apart || stuck {
                break;
            }
            inner = inner.wait(&self.watch);
        }
        inner = inner.wait_timeout(&self.watch, period);
        let lanes = inner.lanes.iter();
        Watched::Turns(lanes.flat_map(|lane| turns(&lane.runners)).collect())
    }

    /// The calls that run now.
    pub(crate) fn sights(&self) -> Vec<Sight> {
        self.inner.lock().runners().filter_map(sight).collect()
    }

    /// The lane of a call, if it runs still.
    pub(crate) fn lane_of(&self, sight: Sight) -> Option<LaneId> {
        Some(self.inner.lock().seen(sight)?.turn.lane)
    }

    /// Calls `look` with the running block and the number of the record that runs, with the queue
    /// locked, if that is still this call.
    pub(crate) fn look_at<R>(
        &self,
        sight: Sight,
        look: impl FnOnce(&Block, usize) -> R,
    ) -> Option<R> {
        let inner = self.inner.lock();
        let running = inner.seen(sight)?.running.as_ref()?;
        Some(look(&running.block, sight.at))
    }

    /// Takes over from a thread that is in this call still, unless as many calls as `most` are
    /// stuck, or its lane is that of a mailbox, whose thread no other can replace. Returns the turn
    /// for the calling thread.
    pub(crate) fn relieve(&self, sight: Sight, most: usize) -> Option<TurnRef> {
        let mut inner = self.inner.lock();
        if inner.stuck().count() >= most || inner.stop {
            return None;
        }
        let runner = inner.seen(sight)?;
        let turn = runner.turn.clone();
        if turn.lane > LaneId::POOL {
            return None;
        }
        let running = runner.running.as_ref()?;
        let records = running.call_at(sight.at);
        if !running.end_behind(sight.at, &records, &turn.cells) {
            return None;
        }
        self.set_running(&turn, false);
        inner.counts.taken_over += 1;
        Some(inner.hand_over(&turn, records)?.0)
    }

    /// Takes the place of a thread that has ended, whatever it was doing. Returns the turn for the
    /// calling thread, and the call that the other one was in.
    pub(crate) fn replace(&self, ended: &TurnRef) -> Option<(TurnRef, Option<Left>)> {
        let mut inner = self.inner.lock();
        let runner = inner.runner(ended)?;
        if !TurnRef::ptr_eq(&runner.turn, ended) {
            return None;
        }
        let running = runner.running.as_ref();
        let records = running.map(|running| running.left_at(running.progress(&ended.cells)));
        let records = records.unwrap_or_default();
        self.set_running(ended, false);
        let replaced = inner.hand_over(ended, records);
        inner.counts.taken_over += u64::from(replaced.is_some());
        self.settled.notify_all();
        replaced
    }

    /// Takes the next record of the turn's drain out of it, as if its call were stuck; the turn is
    /// that of the call from now on, and the lane has a new one. Calls `prepare` with its block.
    /// `None` if nothing is left, or the queue is stopped.
    pub(crate) fn hand_out(&self, turn: &TurnRef, prepare: impl Fn(&Block)) -> Option<HandedOut> {
        let mut inner = self.inner.lock();
        while !inner.stop {
            let cells = &turn.cells;
            let from = match &inner.runner(turn)?.running {
                // One that was interrupted.
                Some(running) => {
                    prepare(&running.block);
                    running.behind_progress(cells)
                }
                None => {
                    inner.begin_next(turn, 1, &prepare)?;
                    0
                }
            };
            let running = inner.runner(turn)?.running.as_mut()?;
            let block = running.block.clone();
            let end = block.slots().len();
            let Some(at) = running.pass(from, cells) else {
                inner.end_block(turn, end);
                continue;
            };
            running.end_at(at + 1, cells);
            let (new, _) = inner.hand_over(turn, at..at + 1)?;
            if let Some(call) = inner.stuck.of_mut(turn) {
                call.handed_out = true;
            }
            if at + 1 == end {
                inner.end_block(&new, end);
            }
            self.gauge(&mut inner);
            // The calls in front of this one are done, that of the interrupted record as well.
            self.settled.notify_all();
            return Some(HandedOut {
                turn: turn.clone(),
                block,
                at,
            });
        }
        None
    }

    /// Ends the calls that a relieved thread was in, or one that has ended: they are no longer
    /// roots. Returns how many these were.
    pub(crate) fn retire(&self, turn: &TurnRef, block: Option<Arc<Block>>) -> u64 {
        self.retire_as(turn, block, |fates| &mut fates.executed)
    }

    /// As [`Queue::retire`], counted as this.
    pub(crate) fn retire_as(
        &self,
        turn: &TurnRef,
        block: Option<Arc<Block>>,
        fate: fn(&mut Fates) -> &mut ByKind,
    ) -> u64 {
        self.inner.lock().retire((turn, block), fate, self)
    }
}

impl Inner {
    /// Where a batch of a relieved thread ends that begins with `from`: behind that record if it is
    /// that thread's.
    pub(super) fn claimed_by_relieved(&self, turn: &Turn, (from, to): (usize, usize)) -> usize {
        let stuck = self.stuck.of(turn);
        match stuck.is_some_and(|stuck| stuck.records.contains(&from)) {
            true => (from + 1).min(to),
            false => from,
        }
    }

    pub(super) fn retire(
        &mut self,
        (turn, block): (&TurnRef, Option<Arc<Block>>),
        fate: fn(&mut Fates) -> &mut ByKind,
        queue: &Queue,
    ) -> u64 {
        let mut calls = 0;
        if let Some(stuck) = self.stuck.take(turn) {
            calls = stuck.len() as u64;
            fate(&mut self.counts.fates).add_all(stuck.by_kind());
            let tags = &stuck.block.tags()[stuck.records.clone()];
            self.ended.add(tags, fate);
            for (collection, calls) in &stuck.parts {
                self.tickets.done(*collection, *calls);
            }
        }
        self.give_back(turn.lane, block);
        queue.gauge(self);
        queue.settled.notify_all();
        calls
    }
}
