//! The finalizer queue: what is due, in blocks of ready-to-call records, and the finalizer
//! goroutine's parking place.
//!
//! A block is filled from its end towards its beginning, and blocks are taken newest first. So the
//! ascending order in which a batch stub runs records is last in, first out, as Go runs them.
//! Records that are alike wait packed.
//!
//! Everything a record names is a root until its call has returned: records that are waiting,
//! records of the drain under way, and of the block that is running those from the published
//! progress on, and those whose call a relieved thread is in (`relief`). A collector that moves objects updates the words of all of them in place; see
//! [`Queue::trace`].
#![forbid(unsafe_code)]

mod block;
mod packed;
mod record;
mod relief;
mod waiting;

// Not `sync`'s: see `record`.
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fing_stubs::Record;

pub(crate) use self::block::Block;
use self::packed::Packed;
pub(crate) use self::record::{Slot, Tag};
use self::relief::Stuck;
pub(crate) use self::relief::{Sight, Turn, TurnRef, Watched};
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
    pub(crate) discarded: u64,
    /// Not run, as their function is in quarantine.
    pub(crate) skipped: u64,
    /// Records whose call is stuck: their thread was relieved, and they have not returned.
    pub(crate) stuck: u64,
    /// Times that another thread took over.
    pub(crate) taken_over: u64,
    pub(crate) drains: u64,
    pub(crate) blocks: usize,
    /// Memory of the blocks.
    pub(crate) bytes: usize,
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
    /// The record that is running, or the end of its batch. Written by stubs.
    progress: AtomicPtr<Record>,
}

#[derive(Debug)]
struct Inner {
    /// Newest last.
    waiting: Vec<Waiting>,
    /// Which of `waiting` are being filled: by the low bits of a shape's index, the position of the
    /// last block for such shapes.
    open: Box<[Option<usize>]>,
    /// The rest of the drain under way, newest last.
    draining: Vec<Waiting>,
    running: Option<Arc<Block>>,
    /// Records of the running block that were not run.
    skipped: u64,
    /// Number of the running block.
    block_number: u64,
    /// The right to run blocks.
    turn: TurnRef,
    stuck: Vec<Stuck>,
    /// Whether there is a watchdog.
    watched: bool,
    plain: Spare<Block>,
    packed: Spare<Packed>,
    int_arg_regs: u8,
    /// The register count of the drain under way.
    drain_int_arg_regs: u8,
    stop: bool,
    counts: Counts,
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.draining.is_empty() && self.running.is_none()
    }

    fn due(&self) -> u64 {
        let waiting = self.waiting.iter().chain(&self.draining);
        let running = self
            .running
            .as_deref()
            .map_or(0, |block| block.slots().len());
        let stuck: usize = self.stuck.iter().map(Stuck::len).sum();
        (waiting.map(Waiting::len).sum::<usize>() + running + stuck) as u64
    }

    /// Adds a record that does not go into the block that is open for this group of shapes.
    #[cold]
    fn push_elsewhere(&mut self, group: usize, record: &Record, tag: Tag) {
        let open = self.open[group].and_then(|at| self.waiting.get_mut(at));
        if let Some(waiting) = open
            && let Waiting::Packed(packed) = waiting
            && packed.len() < WORTH_PACKING
        {
            let mut block = self.plain.take();
            packed.unpack(&mut block);
            block.push(record, tag);
            if let Waiting::Packed(empty) = std::mem::replace(waiting, Waiting::Plain(block)) {
                self.packed.give(empty);
            }
            return;
        }
        let mut packed = self.packed.take();
        packed.begin(record, tag);
        self.open[group] = Some(self.waiting.len());
        self.waiting.push(Waiting::Packed(packed));
    }

    /// Whether there is something to run.
    fn has_work(&self) -> bool {
        !self.is_empty()
    }

    /// Begins a drain, or goes on with one that was interrupted.
    fn take(&mut self) {
        if !self.draining.is_empty() || self.running.is_some() {
            return;
        }
        self.draining = std::mem::take(&mut self.waiting);
        self.open.fill(None);
        let packed = self.draining.iter().filter(|waiting| waiting.is_packed());
        let packed = packed.count();
        self.packed.trim(packed);
        // At least one, to unpack into.
        self.plain.trim((self.draining.len() - packed).max(1));
        self.counts.drains += 1;
        self.drain_int_arg_regs = self.int_arg_regs;
    }

    /// Gives back a block that has run, unless another thread has it still.
    fn give_back(&mut self, block: Option<Arc<Block>>) {
        if let Some(Ok(mut block)) = block.map(Arc::try_unwrap) {
            block.clear();
            self.plain.give(block);
        }
    }

    /// The next block of the drain, as stubs read it.
    fn next(&mut self) -> Option<Block> {
        let next = self.draining.pop()?;
        if let Some(Waiting::Packed(packed)) = self.draining.last() {
            packed.prefetch();
        }
        match next {
            Waiting::Plain(block) => Some(block),
            Waiting::Packed(mut packed) => {
                let mut block = self.plain.take();
                packed.unpack(&mut block);
                self.packed.give(packed);
                Some(block)
            }
        }
    }
}

/// The locked queue, to which records are added.
pub(crate) struct Filling<'a> {
    inner: &'a mut Inner,
}

impl Filling<'_> {
    /// Adds a record.
    #[inline(always)]
    pub(crate) fn push(&mut self, record: &Record, tag: Tag) {
        let inner = &mut *self.inner;
        let group = tag.shape() as usize & (inner.open.len() - 1);
        let open = inner.open[group].and_then(|at| inner.waiting.get_mut(at));
        if !open.is_some_and(|open| open.push(record, tag)) {
            inner.push_elsewhere(group, record, tag);
        }
        inner.counts.queued += 1;
    }
}

impl Queue {
    pub(crate) fn new(int_arg_regs: u8, order: DrainOrder) -> Queue {
        let inner = Inner {
            waiting: Vec::new(),
            open: vec![None; order.open_blocks()].into_boxed_slice(),
            draining: Vec::new(),
            running: None,
            skipped: 0,
            block_number: 0,
            turn: Queue::first_turn(),
            stuck: Vec::new(),
            watched: false,
            plain: Spare::new(),
            packed: Spare::new(),
            int_arg_regs,
            drain_int_arg_regs: int_arg_regs,
            stop: false,
            counts: Counts::default(),
        };
        Queue {
            inner: Lock::new(Rank::Queue, inner),
            work: Condvar::new(),
            settled: Condvar::new(),
            watch: Condvar::new(),
            status: AtomicU32::new(0),
            progress: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Adds the records that `body` pushes; in the order of Go, the first of them runs last. Holds
    /// the queue's lock, and does not wake the goroutine; see [`Queue::wake`].
    pub(crate) fn fill<R>(&self, body: impl FnOnce(&mut Filling<'_>) -> R) -> R {
        body(&mut Filling {
            inner: &mut self.inner.lock(),
        })
    }

    /// Adds records; see [`Queue::fill`].
    #[cfg(test)]
    pub(crate) fn push(&self, records: impl IntoIterator<Item = (Record, Tag)>) {
        self.fill(|due| {
            for (record, tag) in records {
                due.push(&record, tag);
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
                if inner.watched {
                    self.watch.notify_all();
                }
                return Taken::Drain {
                    int_arg_regs: inner.drain_int_arg_regs,
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
        let block = inner.running.clone()?;
        prepare(&block);
        let from = self.running_at(&inner, &block) + 1;
        Some((block.clone(), from.min(block.slots().len())))
    }

    /// The number of the record of the running block that was published last.
    fn running_at(&self, inner: &Inner, block: &Block) -> usize {
        if let Some(at) = inner.turn.guarded_at() {
            return at;
        }
        let begin = block.slots().as_ptr().addr();
        let progress = self.progress.load(Ordering::Acquire).addr();
        progress.saturating_sub(begin) / size_of::<Record>()
    }

    /// Takes the next block of the drain, calls `prepare` with it, and returns it with the number
    /// of its first record; `None` when the drain is over or the queue is stopped. The block's
    /// records stay roots until [`Queue::finish_block`].
    pub(crate) fn next_block(&self, prepare: impl FnOnce(&Block)) -> Option<(Arc<Block>, usize)> {
        let mut inner = self.inner.lock();
        if inner.stop {
            return None;
        }
        inner.turn.begin_block();
        inner.block_number += 1;
        let block = inner.next()?;
        prepare(&block);
        self.progress
            .store(block.slots().as_ptr().cast_mut().cast(), Ordering::Release);
        let block = Arc::new(block);
        inner.running = Some(block.clone());
        Some((block, 0))
    }

    /// Counts a record of the running block that is not run.
    pub(crate) fn skip(&self, turn: &Turn) {
        let mut inner = self.inner.lock();
        // If another thread has taken over meanwhile, the record is counted when this one retires.
        if !turn.is_relieved() {
            inner.skipped += 1;
        }
    }

    /// Ends the running block, of which `executed` records were run or skipped.
    /// Returns false if the thread whose turn this is was relieved: then it was in the last call.
    pub(crate) fn finish_block(&self, turn: &TurnRef, block: Arc<Block>, executed: u64) -> bool {
        let mut inner = self.inner.lock();
        if turn.is_relieved() {
            drop(inner);
            self.retire(turn, Some(block));
            return false;
        }
        inner.running = None;
        let skipped = std::mem::take(&mut inner.skipped);
        inner.counts.executed += executed - skipped;
        inner.counts.skipped += skipped;
        inner.give_back(Some(block));
        if inner.stop {
            self.settled.notify_all();
            self.watch.notify_all();
        }
        true
    }

    /// The cell to which stubs publish the record that is running.
    pub(crate) fn progress(&self) -> &AtomicPtr<Record> {
        &self.progress
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
        let inner = self.inner.lock();
        for block in inner.waiting.iter().chain(&inner.draining) {
            block.for_each_reference(visit);
        }
        if let Some(block) = &inner.running {
            block.for_each_reference(self.running_at(&inner, block), visit);
        }
        for (slot, tag) in inner.stuck.iter().flat_map(Stuck::entries) {
            tag.references(slot).for_each(&mut *visit);
        }
    }

    /// Calls `visit` with the shape's index of every record whose call has not returned, perhaps
    /// several times with one index.
    pub(crate) fn for_each_shape(&self, mut visit: impl FnMut(u32)) {
        let inner = self.inner.lock();
        let waiting = inner.waiting.iter().chain(&inner.draining);
        let running = inner.running.as_deref().map_or(&[][..], Block::tags);
        waiting
            .flat_map(Waiting::tags)
            .chain(running)
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
        let inner = self.inner.lock();
        Counts {
            blocks: inner.plain.made + inner.packed.made,
            stuck: inner.stuck.iter().map(|stuck| stuck.len() as u64).sum(),
            bytes: inner.plain.made * Block::BYTES + inner.packed.made * Packed::BYTES,
            ..inner.counts
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

    /// Stops the queue. Draining ends at once if nothing is running, and otherwise after the batch
    /// that is running.
    pub(crate) fn stop(&self) {
        self.inner.lock().stop = true;
        self.work.notify_all();
        self.settled.notify_all();
        self.watch.notify_all();
    }

    /// Drops all records that are left, and counts them. Only after the last drain.
    pub(crate) fn discard(&self) {
        let mut inner = self.inner.lock();
        inner.open.fill(None);
        let left: Vec<Waiting> = std::mem::take(&mut inner.waiting)
            .into_iter()
            .chain(std::mem::take(&mut inner.draining))
            .collect();
        inner.counts.discarded += left.iter().map(|waiting| waiting.len() as u64).sum::<u64>();
    }

    /// Waits until nothing is due or running and the goroutine is parked; once stopped, until
    /// nothing is running. If `timeout` passes first, the error is the number of records still due;
    /// it is 0 if only the goroutine was not parked yet.
    pub(crate) fn wait_until_settled(&self, timeout: Duration) -> Result<(), u64> {
        let deadline = Instant::now().checked_add(timeout);
        let mut inner = self.inner.lock();
        loop {
            let status = self.status();
            let parked = status & status::WAIT != 0 || status & status::CREATED == 0;
            let ended = inner.running.is_none() && inner.stuck.is_empty();
            if inner.is_empty() && ended && parked || inner.stop && ended {
                return Ok(());
            }
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => timeout,
            };
            if left.is_zero() {
                return Err(inner.due());
            }
            inner = inner.wait_timeout(&self.settled, left);
        }
    }

    /// Waits until no record is running, after [`Queue::stop`]. If `timeout` passes first, the
    /// error is the number of records still due.
    pub(crate) fn wait_until_ended(&self, timeout: Duration) -> Result<(), u64> {
        let deadline = Instant::now() + timeout;
        let mut inner = self.inner.lock();
        while inner.running.is_some() || !inner.stuck.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(inner.due());
            }
            inner = inner.wait_timeout(&self.settled, left);
        }
        Ok(())
    }
}
