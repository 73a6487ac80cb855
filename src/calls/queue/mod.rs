//! The finalizer queue: what is due, in blocks of ready-to-call records, and the finalizer
//! goroutine's parking place. Its lanes are drained apart from each other (`lane`).
//!
//! A block is filled from its end towards its beginning, and blocks are taken newest first. So the
//! ascending order in which a batch stub runs records is last in, first out, as Go runs them.
//! Records that are alike wait packed.
//!
//! Everything a record names is a root until its call has returned: records that are waiting,
//! records of the drain under way, of the block that is running those from the published progress
//! on, and those whose call a relieved thread is in (`relief`). A collector that moves objects
//! updates the words of all of them in place; see [`Queue::trace`].
#![forbid(unsafe_code)]

mod block;
mod by_shape;
mod cancel;
mod column;
mod ends;
mod inner;
mod kinds;
mod lane;
mod packed;
mod pressure;
mod record;
mod relief;
mod running;
mod stuck;
mod tickets;
mod waiting;
mod withdraw;

// Not `sync`'s: see `record`.
use std::sync::atomic::AtomicU64;

use std::cell::Cell;
use std::ops::Range;

use fing_stubs::Record;

pub(crate) use self::block::Block;
use self::by_shape::Ended;
pub(crate) use self::by_shape::OfShape;
pub use self::cancel::CallStage;
use self::cancel::Cancelled;
pub(crate) use self::inner::Filling;
use self::inner::{Inner, Load};
pub use self::kinds::{Backlog, CallKind, CallStats};
pub(crate) use self::kinds::{ByKind, Fates};
use self::lane::Lane;
pub(crate) use self::lane::{LaneId, Route};
use self::packed::Packed;
pub use self::pressure::BacklogBound;
use self::pressure::Gauge;
pub(crate) use self::pressure::{Crossing, Limit, demand};
pub(crate) use self::record::{CallId, Owned, References, Slot, Tag};
use self::relief::Stuck;
pub(crate) use self::relief::{HandedOut, Sight, Turn, TurnRef, Watched};
use self::running::Found;
use self::stuck::StuckCalls;
pub use self::tickets::Outstanding;
use self::tickets::Tickets;
use self::waiting::Waiting;
pub(crate) use self::withdraw::Withdrawn;
use crate::base::lock::{Condvar, Lock, Rank};
use crate::base::sync::{Arc, AtomicU32, Ordering};

/// Records of a block. Its records are 16 KiB, or 4 KiB while they are packed, and a batch never
/// crosses a block's end.
pub(crate) const BLOCK_RECORDS: usize = 512;

/// A packed block with fewer records is unpacked when a record comes that does not match them: so
/// no waiting record takes more than 36 bytes, whatever the order of shapes.
pub(crate) const WORTH_PACKING: usize = BLOCK_RECORDS / 4;

/// Status bits of the finalizer goroutine, with Go's values.
pub(crate) mod status {
    /// It exists.
    pub(crate) const CREATED: u32 = 1;
    /// It is inside a finalizer.
    pub(crate) const RUNNING: u32 = 2;
    /// It is parked.
    pub(crate) const WAIT: u32 = 4;
    /// There is work for it.
    pub(crate) const WAKE: u32 = 8;
}

/// Counts of a queue's records since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) queued: u64,
    pub(crate) executed: u64,
    /// Cancelled after they were queued.
    pub(crate) cancelled: u64,
    pub(crate) discarded: u64,
    /// Not run, as their function is in quarantine.
    pub(crate) quarantined: u64,
    /// Records whose call is stuck: their thread was relieved, and they have not returned.
    pub(crate) stuck: u64,
    /// Times that another thread took over.
    pub(crate) taken_over: u64,
    pub(crate) drains: u64,
    pub(crate) blocks: usize,
    /// Memory of the blocks.
    pub(crate) bytes: usize,
    /// In the queue itself, as the four sums of them above, only of blocks that have ended.
    pub(crate) fates: Fates,
    pub(crate) backlog: Backlog,
}

/// In which order a drain runs what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainOrder {
    /// Last queued, first run: Go's order.
    #[default]
    Lifo,
    /// Calls of one function together, those last queued first; the functions in no order that is
    /// promised. A loop over one function is several times faster than one over many in random
    /// order.
    ///
    /// No object whose call is queued refers to another such object that is to be finalized after
    /// it: of two objects, the one that is referred to is queued only when the other's call is
    /// done. So no call can tell the difference by what it finds in its object. That does not hold
    /// for [`Order::Topological`](crate::Order::Topological), which queues both at once: with it
    /// this is the same as `Lifo`.
    Grouped,
}

impl DrainOrder {
    /// How many blocks are open at a time, a power of two: the shapes fill them in turn. A program
    /// has a handful of functions; where it has more than these, some share blocks.
    fn open_blocks(self) -> usize {
        match self {
            DrainOrder::Lifo => 1,
            DrainOrder::Grouped => 64,
        }
    }
}

/// A call that was dropped, or had not returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropped {
    pub(crate) tag: Tag,
    pub(crate) record: Record,
    pub(crate) stage: CallStage,
}

/// What the finalizer goroutine finds when it looks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A drain begins, with this many integer argument registers from beginning to end.
    Drain {
        /// Read under the queue's lock, once.
        int_arg_regs: u8,
    },
    /// Nothing is due.
    Nothing,
    /// The runtime is shutting down.
    Stop,
}

#[derive(Debug)]
pub(crate) struct Queue {
    inner: Lock<Inner>,
    work: Condvar,
    settled: Condvar,
    /// For the watchdog: the goroutine is no longer parked.
    watch: Condvar,
    status: AtomicU32,
    /// See [`Queue::demands`].
    demands: AtomicU32,
}

impl Queue {
    /// A queue whose pool has so many threads.
    pub(crate) fn new(int_arg_regs: u8, order: DrainOrder, pool: usize) -> Queue {
        let lane = |id, threads| Lane::new(id, order, threads, false);
        let inner = Inner {
            lanes: vec![lane(LaneId::EXECUTOR, 1), lane(LaneId::POOL, pool)],
            next_lane: LaneId::POOL.next(),
            order,
            single: false,
            block_number: 0,
            stuck: StuckCalls::default(),
            watched: false,
            cancelled: Cancelled::default(),
            tickets: Tickets::default(),
            collection: 0,
            int_arg_regs,
            stop: false,
            counts: Counts::default(),
            ended: Ended::default(),
            load: Load::default(),
            gauge: Gauge::default(),
        };
        Queue {
            inner: Lock::new(Rank::Queue, inner),
            work: Condvar::new(),
            settled: Condvar::new(),
            watch: Condvar::new(),
            status: AtomicU32::new(0),
            demands: AtomicU32::new(0),
        }
    }

    /// Adds the records that `body` pushes, for the collection with this number, which is above
    /// those before; in the order of Go, the first of them runs last. Holds the queue's lock, and
    /// does not wake the goroutine; see [`Queue::wake`].
    ///
    /// Once the queue is stopped, records are counted and dropped.
    pub(crate) fn fill<R>(&self, collection: u64, body: impl FnOnce(&mut Filling<'_>) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = inner.fill(collection, body);
        self.gauge(&mut inner);
        result
    }

    /// Adds a lane for one thread, that of a mailbox.
    pub(crate) fn open_lane(&self) -> LaneId {
        let mut inner = self.inner.lock();
        let id = inner.next_lane;
        inner.next_lane = id.next();
        let lane = Lane::new(id, inner.order, 1, inner.single);
        inner.lanes.push(lane);
        id
    }

    /// Removes a lane of a mailbox. What is queued there, or would be from now on, is dropped and
    /// counted. A call that a thread makes just now runs to its end.
    pub(crate) fn close_lane(&self, id: LaneId) {
        let mut inner = self.inner.lock();
        inner.close(id);
        self.gauge(&mut inner);
        self.settled.notify_all();
    }

    /// Adds these records of a block again, to be run in the same order, on this route. They count
    /// as queued by the last collection.
    pub(crate) fn requeue(&self, block: &Block, records: Range<usize>, route: Route) {
        let mut inner = self.inner.lock();
        let collection = inner.collection;
        inner.fill(collection, |due| {
            for n in records.rev() {
                due.push(&block.slots()[n].record(), route, block.owned(n));
            }
        });
        self.gauge(&mut inner);
    }

    /// As [`Queue::fill`], but what is pushed first runs last also with [`DrainOrder::Grouped`].
    pub(crate) fn fill_in_order(&self, collection: u64, body: impl FnOnce(&mut Filling<'_>)) {
        let mut inner = self.inner.lock();
        // A call that was cancelled may have the identity of one that is added.
        inner.purge();
        inner.lanes.iter_mut().for_each(|lane| lane.open.fill(None));
        let blocks = inner.lanes[0].waiting.len();
        body(&mut Filling {
            inner: &mut inner,
            collection,
            in_order: true,
        });
        inner.attribute(collection, &[], blocks);
        inner.lanes.iter_mut().for_each(|lane| lane.open.fill(None));
        self.gauge(&mut inner);
    }

    /// Adds records; see [`Queue::fill`].
    #[cfg(test)]
    pub(crate) fn push(&self, records: impl IntoIterator<Item = (Record, Tag)>) {
        let collection = self.inner.lock().collection + 1;
        self.fill(collection, |due| {
            for (number, (record, tag)) in (0..).zip(records) {
                let external = 0;
                let owned = Owned { number, external };
                due.push(&record, Route::to_executor(tag), owned);
            }
        });
    }

    /// Wakes the threads that wait for calls. Returns whether calls wait in the executor's lane
    /// that this was not returned for before.
    pub(crate) fn wake(&self) -> bool {
        let mut inner = self.inner.lock();
        let due = !inner.lanes[0].waiting.is_empty();
        if due {
            self.status.fetch_or(status::WAKE, Ordering::AcqRel);
        }
        // Also if a thread of the pool has begun with them already: it leaves some for the others.
        if due || inner.lanes[1].blocks().next().is_some() {
            self.work.notify_all();
        }
        std::mem::take(&mut inner.lanes[0].news) && due
    }

    /// Whether calls wait in a lane.
    pub(crate) fn is_due_in(&self, lane: LaneId) -> bool {
        let mut inner = self.inner.lock();
        inner
            .lane(lane)
            .is_some_and(|lane| !lane.waiting.is_empty())
    }

    /// The lanes of mailboxes in which calls wait that they were not returned for before.
    pub(crate) fn due_mailboxes(&self) -> Vec<LaneId> {
        let mut inner = self.inner.lock();
        let mut due = Vec::new();
        for lane in &mut inner.lanes[2..] {
            if std::mem::take(&mut lane.news) && !lane.waiting.is_empty() {
                due.push(lane.id);
            }
        }
        due
    }

    /// The number of records of a lane that are not done and are in no call.
    pub(crate) fn left_in(&self, lane: LaneId) -> u64 {
        let mut inner = self.inner.lock();
        inner.purge();
        inner.lane(lane).map_or(0, |lane| lane.due()) as u64
    }

    /// The number of records of a lane that are not done.
    pub(crate) fn due_in(&self, lane: LaneId) -> u64 {
        self.inner.lock().due_in(lane)
    }

    /// Begins a drain if anything is due in the turn's lane; parks until then if `park`.
    pub(crate) fn take(&self, turn: &Turn, park: bool) -> Taken {
        let mut inner = self.inner.lock();
        loop {
            if inner.stop {
                self.set_parked(turn, false);
                inner.end_interrupted_of(turn);
                self.gauge(&mut inner);
                self.settled.notify_all();
                self.watch.notify_all();
                return Taken::Stop;
            }
            if turn.is_relieved() {
                return Taken::Nothing;
            }
            if let Some(int_arg_regs) = inner.take(turn) {
                self.set_parked(turn, false);
                self.gauge(&mut inner);
                if inner.watched {
                    self.watch.notify_all();
                }
                return Taken::Drain { int_arg_regs };
            }
            self.set_parked(turn, true);
            self.settled.notify_all();
            if !park {
                return Taken::Nothing;
            }
            inner = inner.wait(&self.work);
        }
    }

    /// The turn's thread, one of the embedder's, looks for no more work. If none is left, it is
    /// parked, as if it had found that out itself.
    pub(crate) fn rest(&self, turn: &Turn) {
        let mut inner = self.inner.lock();
        if inner.is_used_up(turn.lane()) {
            self.set_parked(turn, true);
            self.settled.notify_all();
        }
    }

    /// Whether the thread of the executor's lane is parked, in the status word.
    fn set_parked(&self, turn: &Turn, on: bool) {
        if turn.lane() != LaneId::EXECUTOR {
            return;
        }
        match on {
            true => self.status.fetch_or(status::WAIT, Ordering::AcqRel),
            false => self
                .status
                .fetch_and(!(status::WAIT | status::WAKE), Ordering::AcqRel),
        };
    }

    /// Whether the thread of the executor's lane is inside a finalizer, in the status word.
    pub(crate) fn set_running(&self, turn: &Turn, on: bool) {
        if turn.lane() == LaneId::EXECUTOR {
            self.set_status(status::RUNNING, on);
        }
    }

    /// Returns the block that the turn's thread was running when it panicked, and the number of the
    /// record after the one that was about to be called; `None` if no block was running. Calls
    /// `prepare` with the block.
    pub(crate) fn interrupted(
        &self,
        turn: &Turn,
        prepare: impl FnOnce(&Block),
    ) -> Option<(Arc<Block>, usize)> {
        let mut inner = self.inner.lock();
        if turn.is_relieved() {
            return None;
        }
        let runner = inner.runner(turn)?;
        let running = runner.running.as_ref()?;
        runner.at_work = true;
        prepare(&running.block);
        let from = running.behind_progress(&runner.turn.cells);
        let block = running.block.clone();
        self.set_running(turn, true);
        Some((block, from))
    }

    /// Takes the next block of the drain, or its first `at_most` records, calls `prepare` with it,
    /// and returns it with the number of its first record; `None` when the drain is over or the
    /// queue is stopped. The block's records stay roots until [`Queue::finish_block`].
    pub(crate) fn next_block(
        &self,
        turn: &Turn,
        at_most: usize,
        prepare: impl FnOnce(&Block),
    ) -> Option<(Arc<Block>, usize)> {
        let mut inner = self.inner.lock();
        if inner.stop || turn.is_relieved() {
            return None;
        }
        let block = inner.begin_next(turn, at_most, prepare)?;
        if let Some(runner) = inner.runner(turn) {
            runner.at_work = true;
        }
        self.set_running(turn, true);
        let running = inner.runner(turn).and_then(|runner| runner.running());
        // Who waits for the calls of one of several collections marks where they end, to be told
        // before the block does.
        if running.is_some_and(|running| running.parts.are_mixed()) {
            self.settled.notify_all();
        }
        Some((block, 0))
    }

    /// The turn's thread is at no block any more, though it may have been interrupted in one.
    pub(crate) fn leave(&self, turn: &Turn) {
        let mut inner = self.inner.lock();
        if !turn.is_relieved()
            && let Some(runner) = inner.runner(turn)
        {
            runner.at_work = false;
        }
    }

    /// Of the running block's records from number `from` on, returns the number of the first one
    /// that may run; `None` if there is none, or the queue is stopped, or the thread was relieved.
    pub(crate) fn pass(&self, turn: &Turn, from: usize) -> Option<usize> {
        let mut inner = self.inner.lock();
        self.settled.notify_all();
        let stop = inner.stop || turn.is_relieved();
        let running = inner.runner(turn)?.running.as_mut();
        running.filter(|_| !stop)?.pass(from, &turn.cells)
    }

    /// Begins a batch of the running block's records `from..to`. If it is `whole`, it is not ended
    /// early once it has begun. Returns where it ends.
    #[inline]
    pub(crate) fn begin_batch(
        &self,
        turn: &Turn,
        block: &Block,
        (from, to): (usize, usize),
        whole: bool,
    ) -> usize {
        if whole || !turn.cells.is_divisible() {
            return self.claim(turn, block, (from, to), whole);
        }
        turn.cells.begin(block.slots()[from..to].as_ptr_range().end);
        to
    }

    #[cold]
    fn claim(&self, turn: &Turn, block: &Block, (from, to): (usize, usize), whole: bool) -> usize {
        let mut inner = self.inner.lock();
        if turn.is_relieved() {
            let end = inner.claimed_by_relieved(turn, (from, to));
            let last = block.slots()[end..].as_ptr().cast_mut().cast();
            turn.end().store(last, Ordering::Relaxed);
            return end;
        }
        let stop = inner.stop;
        let to = if stop { from } else { to };
        let running = inner
            .runner(turn)
            .and_then(|runner| runner.running.as_mut());
        running.map_or(from, |running| {
            running.claim((from, to), whole, &turn.cells)
        })
    }

    /// Counts records of the running block with these tags that are not run: as quarantined, or,
    /// with `lost`, as discarded. `next` is the record behind them.
    pub(crate) fn skip(&self, turn: &Turn, tags: &[Tag], lost: bool, next: *const Slot) {
        let mut inner = self.inner.lock();
        // If another thread has taken over meanwhile, the record is counted when this one retires.
        if turn.is_relieved() {
            return;
        }
        if let Some(runner) = inner.runner(turn) {
            let same = tags.chunk_by(|a, b| a == b);
            let skipped = same.map(|same| (same[0], same.len(), lost));
            runner.skipped.extend(skipped);
            // In the same step: none of them is running any more.
            turn.reach(next);
        }
    }

    /// Ends the running block, of which the records in front of number `reached` were run.
    /// If the thread was relieved, ends the call that it was in instead. Returns how many were run.
    pub(crate) fn finish_block(&self, turn: &TurnRef, block: Arc<Block>, reached: usize) -> u64 {
        let mut inner = self.inner.lock();
        if turn.is_relieved() {
            let call = (turn, Some(block));
            return inner.retire(call, |fates| &mut fates.executed, self);
        }
        let executed = inner.end_block(turn, reached);
        inner.give_back(turn.lane(), Some(block));
        self.gauge(&mut inner);
        self.set_running(turn, false);
        // For those who wait for a collection's calls, or for the end.
        self.settled.notify_all();
        if inner.watched {
            self.watch.notify_all();
        }
        executed
    }

    /// Cancels the call with this identity, of a function whose shape `allowed` takes, if it is
    /// queued and has not begun. Never returns [`CallStage::Registered`].
    pub(crate) fn cancel(&self, id: CallId, allowed: impl Fn(u32) -> bool) -> CallStage {
        let mut inner = self.inner.lock();
        let Inner {
            lanes,
            cancelled,
            stuck,
            load,
            ..
        } = &mut *inner;
        let in_stuck = || {
            let found = stuck.iter().any(|stuck| stuck.has(id, &allowed));
            found.then_some(Found::Running)
        };
        // What waits is newer than what runs.
        let found = match cancelled.cancel(id, &allowed, lanes.iter().flat_map(Lane::blocks)) {
            Some(known) => {
                load.take(1, known.external.into());
                Some(Found::Cancelled(known.collection, known.shape))
            }
            None => lanes
                .iter_mut()
                .flat_map(|lane| &mut lane.runners)
                .find_map(|runner| {
                    let wanted = |of: CallId, shape: u32| of == id && allowed(shape);
                    let cells = &runner.turn.cells;
                    runner.running.as_mut()?.cancel(wanted, cells)
                }),
        };
        let found = found.or_else(in_stuck);
        match found {
            Some(Found::Cancelled(collection, shape)) => {
                inner.counts.fates.cancelled.add(id.kind(), 1);
                inner.ended.cancel(shape, id.kind());
                inner.forget_cancelled();
                if let Some(collection) = collection {
                    inner.tickets.done(collection, 1);
                    // It may have been the last one that was left, though blocks that run have
                    // others of them, which are done.
                    if self.outstanding_of(&inner, collection).is_over() {
                        self.settled.notify_all();
                    }
                }
                self.gauge(&mut inner);
                CallStage::Queued
            }
            Some(Found::Running) => CallStage::Running,
            Some(Found::Done) | None => CallStage::Done,
        }
    }

    /// Calls `visit` with every reference of every record whose call has not returned.
    pub(crate) fn visit_references(&self, visit: &mut dyn FnMut(u64)) {
        self.visit(References::All, visit);
    }

    /// As [`Queue::visit_references`], with references of these only.
    pub(crate) fn visit(&self, of: References, visit: &mut dyn FnMut(u64)) {
        self.for_each_reference(of, &mut |word| visit(word.load(Ordering::Relaxed)), || {
            false
        });
    }

    /// Replaces every reference of these by what `trace` returns for it. The thread that runs a
    /// block is inside a call or stopped: it does not read a record while this writes.
    pub(crate) fn trace(&self, of: References, trace: &mut dyn FnMut(u64) -> u64) {
        let moved = Cell::new(false);
        let mut follow = |word: &AtomicU64| {
            let before = word.load(Ordering::Relaxed);
            let after = trace(before);
            if after != before {
                moved.set(true);
                word.store(after, Ordering::Relaxed);
            }
        };
        self.for_each_reference(of, &mut follow, || moved.get());
    }

    /// `moved` says afterwards whether `visit` has changed a reference.
    fn for_each_reference(
        &self,
        of: References,
        visit: &mut dyn FnMut(&AtomicU64),
        moved: impl FnOnce() -> bool,
    ) {
        let mut inner = self.inner.lock();
        inner.purge();
        // Out of the way, so that it is forgotten too if `visit` panics after it has changed some.
        let index = inner.cancelled.take_index();
        for block in inner.blocks() {
            block.for_each_reference(of, visit);
        }
        for (runner, running) in inner.lanes.iter().flat_map(Lane::running) {
            let from = running.progress(&runner.turn.cells);
            let block = &running.block;
            block.for_each_reference(of, from, |n| running.is_taken(n), visit);
        }
        for (slot, tag) in inner.stuck.iter().flat_map(Stuck::entries) {
            tag.references(of, slot).for_each(&mut *visit);
        }
        if !moved() {
            inner.cancelled.put_index(index);
        }
    }

    /// Calls `visit` with the shape's index of every record whose call has not returned, perhaps
    /// several times with one index.
    pub(crate) fn for_each_shape(&self, mut visit: impl FnMut(u32)) {
        let inner = self.inner.lock();
        let running = inner.lanes.iter().flat_map(Lane::running);
        inner
            .blocks()
            .flat_map(Waiting::tags)
            .chain(running.flat_map(|(_, running)| running.block.tags()))
            .for_each(|tag| visit(tag.shape()));
        let stuck = inner.stuck.iter().flat_map(Stuck::entries);
        stuck.for_each(|(_, tag)| visit(tag.shape()));
    }

    /// Sets the register count from the next drain on, and returns the previous one.
    pub(crate) fn set_int_arg_regs(&self, count: u8) -> u8 {
        std::mem::replace(&mut self.inner.lock().int_arg_regs, count)
    }

    pub(crate) fn int_arg_regs(&self) -> u8 {
        self.inner.lock().int_arg_regs
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut inner = self.inner.lock();
        inner.purge();
        let (fates, backlog) = inner.fates();
        let plain: usize = inner.lanes.iter().map(|lane| lane.plain.made).sum();
        let packed: usize = inner.lanes.iter().map(|lane| lane.packed.made).sum();
        Counts {
            executed: fates.executed.all(),
            cancelled: fates.cancelled.all(),
            quarantined: fates.quarantined.all(),
            discarded: fates.discarded.all(),
            fates,
            backlog,
            stuck: inner.stuck().map(|stuck| stuck.len() as u64).sum(),
            blocks: plain + packed,
            bytes: plain * Block::BYTES + packed * Packed::BYTES,
            ..inner.counts
        }
    }

    /// Calls `visit` with each record whose call has not returned, and whether it may have begun.
    pub(crate) fn for_each_record(&self, mut visit: impl FnMut(&Record, Tag, bool)) {
        let mut inner = self.inner.lock();
        inner.purge();
        for (runner, running) in inner.lanes.iter().flat_map(Lane::running) {
            let cells = &runner.turn.cells;
            let at = running.progress(cells);
            running.for_each_left(cells, &mut |n, slot, tag| {
                visit(&slot.record(), tag, n == at);
            });
        }
        for (slot, tag) in inner.stuck.iter().flat_map(Stuck::entries) {
            visit(&slot.record(), tag, true);
        }
        for lane in &inner.lanes {
            for waiting in lane.draining.iter().chain(&lane.waiting) {
                waiting.for_each_record(&mut |record, tag| visit(record, tag, false));
            }
        }
    }

    pub(crate) fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    pub(crate) fn set_status(&self, bits: u32, on: bool) {
        if on {
            self.status.fetch_or(bits, Ordering::AcqRel);
        } else {
            self.status.fetch_and(!bits, Ordering::AcqRel);
        }
    }
}
