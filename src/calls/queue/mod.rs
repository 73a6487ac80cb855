//! The finalizer queue: what is due, in blocks of ready-to-call records, and the finalizer
//! goroutine's parking place.
//!
//! A block is filled from its end towards its beginning, and blocks are taken newest first. So the
//! ascending order in which a batch stub runs records is last in, first out, as Go runs them.
//! Records that are alike wait packed.
//!
//! Everything a record names is a root until its call has returned: records that are waiting,
//! records of the drain under way, and of the block that is running those from the published
//! progress on. A collector that moves objects updates the words of all of them in place; see
//! [`Queue::trace`].
#![forbid(unsafe_code)]

mod block;
mod cancel;
mod ends;
mod inner;
mod kinds;
mod packed;
mod record;
mod running;
mod tickets;
mod waiting;

// Not `sync`'s: see `record`.
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fing_stubs::Record;

pub(crate) use self::block::Block;
pub use self::cancel::CallStage;
use self::cancel::Cancelled;
pub(crate) use self::inner::Filling;
use self::inner::Inner;

pub use self::kinds::{Backlog, CallStats};
pub(crate) use self::kinds::{CallKind, Fates};
use self::packed::Packed;
pub(crate) use self::record::{CallId, Slot, Tag};
use self::running::{Cells, Found, Running};
pub use self::tickets::Outstanding;
use self::tickets::Tickets;
use self::waiting::{Spare, Waiting};
use crate::base::lock::{Condvar, Lock, Rank};
use crate::base::sync::{Arc, AtomicPtr, AtomicU32, Ordering};

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
    pub(crate) drains: u64,
    pub(crate) blocks: usize,
    /// Memory of the blocks.
    pub(crate) bytes: usize,
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

impl Dropped {
    /// The word of the record that is the object of a finalizer.
    pub(crate) fn own_word(&self) -> u64 {
        self.record.words[self.tag.own_word()]
    }
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
    status: AtomicU32,
    cells: Cells,
}

impl Queue {
    pub(crate) fn new(int_arg_regs: u8, order: DrainOrder) -> Queue {
        let inner = Inner {
            waiting: Vec::new(),
            open: vec![None; order.open_blocks()].into_boxed_slice(),
            draining: Vec::new(),
            running: None,
            cancelled: Cancelled::default(),
            tickets: Tickets::default(),
            collection: 0,
            plain: Spare::new(),
            packed: Spare::new(),
            int_arg_regs,
            stop: false,
            counts: Counts::default(),
            waiting_since: None,
            draining_since: None,
        };
        Queue {
            inner: Lock::new(Rank::Queue, inner),
            work: Condvar::new(),
            settled: Condvar::new(),
            status: AtomicU32::new(0),
            cells: Cells::new(),
        }
    }

    /// Adds the records that `body` pushes, for the collection with this number, which is above
    /// those before; in the order of Go, the first of them runs last. Holds the queue's lock, and
    /// does not wake the goroutine; see [`Queue::wake`].
    ///
    /// Once the queue is stopped, records are counted and dropped.
    pub(crate) fn fill<R>(&self, collection: u64, body: impl FnOnce(&mut Filling<'_>) -> R) -> R {
        let mut inner = self.inner.lock();
        let (open, blocks) = (inner.open_lengths(), inner.waiting.len());
        let result = body(&mut Filling {
            inner: &mut inner,
            collection,
            in_order: false,
        });
        inner.attribute(collection, &open, blocks);
        if inner.stop {
            inner.discard();
        }
        result
    }

    /// As [`Queue::fill`], but what is pushed first runs last also with [`DrainOrder::Grouped`].
    pub(crate) fn fill_in_order(&self, collection: u64, body: impl FnOnce(&mut Filling<'_>)) {
        let mut inner = self.inner.lock();
        inner.open.fill(None);
        let blocks = inner.waiting.len();
        body(&mut Filling {
            inner: &mut inner,
            collection,
            in_order: true,
        });
        inner.attribute(collection, &[], blocks);
        inner.open.fill(None);
    }

    /// Adds records; see [`Queue::fill`].
    #[cfg(test)]
    pub(crate) fn push(&self, records: impl IntoIterator<Item = (Record, Tag)>) {
        let collection = self.inner.lock().collection + 1;
        self.fill(collection, |due| {
            for (number, (record, tag)) in (0..).zip(records) {
                due.push(&record, tag, number);
            }
        });
    }

    /// Wakes the goroutine if something is due.
    pub(crate) fn wake(&self) {
        let inner = self.inner.lock();
        if !inner.waiting.is_empty() {
            self.status.fetch_or(status::WAKE, Ordering::AcqRel);
            self.work.notify_all();
        }
    }

    /// Begins a drain if anything is due; parks until then if `park`.
    pub(crate) fn take(&self, park: bool) -> Taken {
        let mut inner = self.inner.lock();
        loop {
            if inner.stop {
                self.status
                    .fetch_and(!(status::WAIT | status::WAKE), Ordering::AcqRel);
                return Taken::Stop;
            }
            if inner.has_work() {
                self.status
                    .fetch_and(!(status::WAIT | status::WAKE), Ordering::AcqRel);
                inner.take();
                return Taken::Drain {
                    int_arg_regs: inner.int_arg_regs,
                };
            }
            self.status.fetch_or(status::WAIT, Ordering::AcqRel);
            self.settled.notify_all();
            if !park {
                return Taken::Nothing;
            }
            inner = inner.wait(&self.work);
        }
    }

    /// Returns the block that was running when the goroutine panicked, and the number of the record
    /// after the one that was about to be called; `None` if no block was running. Calls `prepare`
    /// with the block.
    pub(crate) fn interrupted(&self, prepare: impl FnOnce(&Block)) -> Option<(Arc<Block>, usize)> {
        let inner = self.inner.lock();
        let running = inner.running.as_ref()?;
        prepare(&running.block);
        let from = running.progress(&self.cells) + 1;
        let block = running.block.clone();
        Some((block.clone(), from.min(block.slots().len())))
    }

    /// Takes the next block of the drain, calls `prepare` with it, and returns it with the number
    /// of its first record; `None` when the drain is over or the queue is stopped. The block's
    /// records stay roots until [`Queue::finish_block`].
    pub(crate) fn next_block(&self, prepare: impl FnOnce(&Block)) -> Option<(Arc<Block>, usize)> {
        let mut inner = self.inner.lock();
        if inner.stop {
            return None;
        }
        let (block, parts) = inner.next()?;
        prepare(&block);
        let block = Arc::new(block);
        let running = Running::new(block.clone(), parts);
        running.begin(&self.cells);
        inner.running = Some(running);
        Some((block, 0))
    }

    /// Whether the thread that runs a block must [pass](Queue::pass) before it calls this record.
    #[inline]
    pub(crate) fn is_cut(&self, at: &Slot) -> bool {
        self.cells.is_cut(at)
    }

    /// Of the running block's records from number `from` on, returns the number of the first one
    /// that may run; `None` if there is none, or the queue is stopped.
    pub(crate) fn pass(&self, from: usize) -> Option<usize> {
        let mut inner = self.inner.lock();
        self.settled.notify_all();
        let stop = inner.stop;
        let running = inner.running.as_mut().filter(|_| !stop)?;
        running.pass(from, &self.cells)
    }

    /// Begins a batch of the running block's records `from..to`. If it is `whole`, it is not ended
    /// early once it has begun. Returns where it ends.
    #[inline]
    pub(crate) fn begin_batch(&self, block: &Block, from: usize, to: usize, whole: bool) -> usize {
        if whole || !self.cells.is_divisible() {
            return self.claim(from, to);
        }
        self.cells.begin(block.slots()[from..to].as_ptr_range().end);
        to
    }

    #[cold]
    fn claim(&self, from: usize, to: usize) -> usize {
        let mut inner = self.inner.lock();
        let stop = inner.stop;
        let to = if stop { from } else { to };
        let running = inner.running.as_mut();
        running.map_or(from, |running| running.claim(from, to, &self.cells))
    }

    /// Ends the running block, of which the records in front of number `reached` were run.
    /// Returns how many these were.
    pub(crate) fn finish_block(&self, block: Arc<Block>, reached: usize) -> u64 {
        let mut inner = self.inner.lock();
        let (mut executed, mut discarded) = (0, 0);
        if let Some(running) = inner.running.take() {
            (executed, discarded) = running.account(reached, &mut inner.tickets);
            let fates = &mut inner.counts.fates;
            fates.executed.add_all(running.by_kind(0..reached));
            fates
                .discarded
                .add_all(running.by_kind(reached..usize::MAX));
        }
        inner.counts.executed += executed;
        inner.counts.discarded += discarded;
        if let Ok(mut block) = Arc::try_unwrap(block) {
            block.clear();
            inner.plain.give(block);
        }
        // For those who wait for a collection's calls, or for the end.
        self.settled.notify_all();
        executed
    }

    /// The cell to which stubs publish the record that is running.
    pub(crate) fn progress(&self) -> &AtomicPtr<Record> {
        &self.cells.progress
    }

    /// The cell from which stubs read where the batch ends.
    pub(crate) fn end(&self) -> &AtomicPtr<Record> {
        &self.cells.end
    }

    /// Cancels the call with this identity, of a function whose shape `allowed` takes, if it is
    /// queued and has not begun. Never returns [`CallStage::Registered`].
    pub(crate) fn cancel(&self, id: CallId, allowed: impl Fn(u32) -> bool) -> CallStage {
        let mut inner = self.inner.lock();
        let Inner {
            waiting,
            draining,
            running,
            cancelled,
            ..
        } = &mut *inner;
        // What waits is newer than what runs.
        let blocks = waiting.iter().chain(&*draining);
        let found = match cancelled.cancel(id, &allowed, blocks) {
            Some(known) => Some(Found::Cancelled(known.collection)),
            None => running.as_mut().and_then(|running| {
                running.cancel(|of, shape| of == id && allowed(shape), &self.cells)
            }),
        };
        match found {
            Some(Found::Cancelled(collection)) => {
                inner.counts.cancelled += 1;
                inner.counts.fates.cancelled.add_call(id);
                if collection.is_some_and(|collection| inner.tickets.done(collection, 1)) {
                    self.settled.notify_all();
                }
                CallStage::Queued
            }
            Some(Found::Running) => CallStage::Running,
            Some(Found::Done) | None => CallStage::Done,
        }
    }

    /// Calls `visit` with every reference of every record whose call has not returned.
    pub(crate) fn visit_references(&self, visit: &mut dyn FnMut(u64)) {
        self.for_each_reference(&mut |word| visit(word.load(Ordering::Relaxed)));
    }

    /// Replaces every such reference by what `trace` returns for it. The thread that runs a block
    /// is inside a call or stopped: it does not read a record while this writes.
    pub(crate) fn trace(&self, trace: &mut dyn FnMut(u64) -> u64) {
        self.for_each_reference(&mut |word| {
            word.store(trace(word.load(Ordering::Relaxed)), Ordering::Relaxed);
        });
    }

    fn for_each_reference(&self, visit: &mut dyn FnMut(&AtomicU64)) {
        let mut inner = self.inner.lock();
        inner.purge();
        inner.cancelled.forget_index();
        for block in inner.waiting.iter().chain(&inner.draining) {
            block.for_each_reference(visit);
        }
        if let Some(running) = &inner.running {
            let from = running.progress(&self.cells);
            running.block.for_each_reference(from, &running.skip, visit);
        }
    }

    /// Calls `visit` with the shape's index of every record whose call has not returned, perhaps
    /// several times with one index.
    pub(crate) fn for_each_shape(&self, mut visit: impl FnMut(u32)) {
        let inner = self.inner.lock();
        let waiting = inner.waiting.iter().chain(&inner.draining);
        let running = inner.running.as_ref();
        let running = running.map_or(&[][..], |running| running.block.tags());
        waiting
            .flat_map(Waiting::tags)
            .chain(running)
            .for_each(|tag| visit(tag.shape()));
    }

    /// Sets the register count from the next drain on, and returns the previous one.
    pub(crate) fn set_int_arg_regs(&self, count: u8) -> u8 {
        std::mem::replace(&mut self.inner.lock().int_arg_regs, count)
    }

    pub(crate) fn int_arg_regs(&self) -> u8 {
        self.inner.lock().int_arg_regs
    }

    pub(crate) fn counts(&self) -> Counts {
        let inner = self.inner.lock();
        let (fates, backlog) = self.fates(&inner);
        Counts {
            fates,
            backlog,
            blocks: inner.plain.made + inner.packed.made,
            bytes: inner.plain.made * Block::BYTES + inner.packed.made * Packed::BYTES,
            ..inner.counts
        }
    }

    /// What has become of the calls that were queued. The running block's count as executed before
    /// the one that was published last, and as waiting behind it.
    fn fates(&self, inner: &Inner) -> (Fates, Backlog) {
        let mut fates = inner.counts.fates;
        let mut bytes = 0;
        for waiting in inner.waiting.iter().chain(&inner.draining) {
            fates.waiting.add_all(waiting.by_kind());
            bytes += waiting.bytes();
        }
        fates.waiting.subtract(inner.cancelled.by_kind());
        if let Some(running) = &inner.running {
            let at = running.progress(&self.cells);
            fates.executed.add_all(running.by_kind(0..at));
            fates.running.add_all(running.by_kind(at..at + 1));
            fates.waiting.add_all(running.by_kind(at + 1..usize::MAX));
            bytes += Block::BYTES;
        }
        let is_draining = !inner.draining.is_empty() || inner.running.is_some();
        let since = match is_draining {
            true => inner.draining_since,
            false => inner.waiting_since.filter(|_| !inner.waiting.is_empty()),
        };
        let kinds = [CallKind::Finalizer, CallKind::Cleanup];
        let backlog = Backlog {
            calls: kinds.map(|kind| fates.waiting.get(kind)).iter().sum(),
            age: since.map_or(Duration::ZERO, |since| since.elapsed()),
            bytes,
        };
        (fates, backlog)
    }

    /// Calls `visit` with each record whose call has not returned, and whether it may have begun.
    pub(crate) fn for_each_record(&self, mut visit: impl FnMut(&Record, Tag, bool)) {
        let mut inner = self.inner.lock();
        inner.purge();
        if let Some(running) = &inner.running {
            let at = running.progress(&self.cells);
            for (n, (slot, tag)) in running.block.entries().enumerate().skip(at) {
                if !running.is_cancelled(n) {
                    visit(&slot.record(), tag, n == at);
                }
            }
        }
        for waiting in inner.draining.iter().chain(&inner.waiting) {
            waiting.for_each_record(&mut |record, tag| visit(record, tag, false));
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
