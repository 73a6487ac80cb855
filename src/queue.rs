//! The finalizer queue: what is due, in blocks of ready-to-call records, and the finalizer goroutine's parking place.
//!
//! A block is filled from its end towards its beginning, and blocks are taken newest first. So the ascending order in
//! which a batch stub runs records is last in, first out, as Go runs them.
//!
//! Everything a record names is a root until its call has returned: records that are waiting, records of the drain
//! under way, and of the block that is running those from the published progress on. A collector that moves objects
//! updates the words of all of them in place; see [`Queue::trace`].
#![forbid(unsafe_code)]

use std::collections::HashMap;
// Not `sync`'s: stubs read the words where they lie, so they must be the machine's own.
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fing_stubs::Record;

use crate::lock::{Condvar, Lock, Rank};
use crate::sync::{Arc, AtomicPtr, AtomicU32, Ordering};

/// Records of a block. Its records are 16 KiB, and a batch never crosses a block's end.
pub(crate) const BLOCK_RECORDS: usize = 512;

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

/// A record in its place in a block, laid out as a [`Record`]. Stubs read it; a collection may write its references
/// while the thread that runs the block is inside a call.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Slot([AtomicU64; 4]);

const _: () = {
    assert!(size_of::<Slot>() == size_of::<Record>() && align_of::<Slot>() == align_of::<Record>());
    assert!(std::mem::offset_of!(Record, code) == 0);
    assert!(std::mem::offset_of!(Record, context) == 8);
    assert!(std::mem::offset_of!(Record, words) == 16);
};

impl Slot {
    fn new(record: &Record) -> Slot {
        let [first, second] = record.words;
        Slot([record.code as u64, record.context as u64, first, second].map(AtomicU64::new))
    }

    /// The record as it is now.
    pub(crate) fn record(&self) -> Record {
        let [code, context, first, second] =
            self.0.each_ref().map(|word| word.load(Ordering::Relaxed));
        Record {
            code: code as usize,
            context: context as usize,
            words: [first, second],
        }
    }

    /// Has it called at `code`.
    pub(crate) fn set_code(&self, code: usize) {
        self.0[0].store(code as u64, Ordering::Relaxed);
    }
}

/// What the collector and the finalizer goroutine know of a record beside its words: its shape, and which of its words
/// are references.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tag(u32);

impl Tag {
    /// Word 0 is a reference.
    pub(crate) const WORD_0: u8 = 1;
    /// Word 1 is a reference.
    pub(crate) const WORD_1: u8 = 2;
    /// The context is a reference.
    pub(crate) const CONTEXT: u8 = 4;

    /// `shape` is an index into the table of shapes, below 2^29.
    pub(crate) fn new(shape: u32, references: u8) -> Tag {
        Tag(shape << 3 | u32::from(references & 7))
    }

    pub(crate) fn shape(self) -> u32 {
        self.0 >> 3
    }

    /// The words of `slot` that are references.
    fn references(self, slot: &Slot) -> impl Iterator<Item = &AtomicU64> {
        let [_, context, first, second] = &slot.0;
        [
            (Tag::WORD_0, first),
            (Tag::WORD_1, second),
            (Tag::CONTEXT, context),
        ]
        .into_iter()
        .filter(move |(bit, _)| self.0 & u32::from(*bit) != 0)
        .map(|(_, word)| word)
    }
}

/// A fixed number of records, filled from the end.
#[derive(Debug)]
pub(crate) struct Block {
    slots: Box<[Slot]>,
    tags: Box<[Tag]>,
    first: usize,
}

impl Block {
    fn empty() -> Block {
        Block {
            slots: (0..BLOCK_RECORDS).map(|_| Slot::default()).collect(),
            tags: vec![Tag::default(); BLOCK_RECORDS].into_boxed_slice(),
            first: BLOCK_RECORDS,
        }
    }

    /// The records, in the order in which they run.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots[self.first..]
    }

    /// Their tags, in the same order.
    pub(crate) fn tags(&self) -> &[Tag] {
        &self.tags[self.first..]
    }

    /// Records and tags, for whoever chooses the code a record is called at.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Slot, Tag)> {
        self.slots().iter().zip(self.tags().iter().copied())
    }

    fn push(&mut self, record: &Record, tag: Tag) {
        self.first -= 1;
        self.slots[self.first] = Slot::new(record);
        self.tags[self.first] = tag;
    }

    fn for_each_reference(&self, from: usize, visit: &mut dyn FnMut(&AtomicU64)) {
        for (slot, tag) in self.entries().skip(from) {
            tag.references(slot).for_each(&mut *visit);
        }
    }
}

/// Counts of a runtime's records, all since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) queued: u64,
    pub(crate) executed: u64,
    pub(crate) discarded: u64,
    pub(crate) drains: u64,
    pub(crate) blocks: usize,
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
    /// The record that is running, or the end of its batch. Written by stubs.
    progress: AtomicPtr<Record>,
}

#[derive(Debug)]
struct Inner {
    /// Newest last.
    waiting: Vec<Block>,
    /// The rest of the drain under way, newest last.
    draining: Vec<Block>,
    running: Option<Arc<Block>>,
    spare: Vec<Block>,
    int_arg_regs: u8,
    stop: bool,
    counts: Counts,
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.draining.is_empty() && self.running.is_none()
    }

    fn due(&self) -> u64 {
        let blocks = self
            .waiting
            .iter()
            .chain(&self.draining)
            .chain(self.running.as_deref());
        blocks.map(|block| block.slots().len() as u64).sum()
    }
}

impl Queue {
    pub(crate) fn new(int_arg_regs: u8) -> Queue {
        let inner = Inner {
            waiting: Vec::new(),
            draining: Vec::new(),
            running: None,
            spare: Vec::new(),
            int_arg_regs,
            stop: false,
            counts: Counts::default(),
        };
        Queue {
            inner: Lock::new(Rank::Queue, inner),
            work: Condvar::new(),
            settled: Condvar::new(),
            status: AtomicU32::new(0),
            progress: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Adds records, the first of them to be run last. The goroutine is not woken; see [`Queue::wake`].
    pub(crate) fn push(&self, records: impl IntoIterator<Item = (Record, Tag)>) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        for (record, tag) in records {
            if inner.waiting.last().is_none_or(|block| block.first == 0) {
                let block = inner.spare.pop().unwrap_or_else(|| {
                    inner.counts.blocks += 1;
                    Block::empty()
                });
                inner.waiting.push(block);
            }
            if let Some(block) = inner.waiting.last_mut() {
                block.push(&record, tag);
            }
            inner.counts.queued += 1;
        }
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
            if !inner.waiting.is_empty() {
                self.status
                    .fetch_and(!(status::WAIT | status::WAKE), Ordering::AcqRel);
                inner.draining = std::mem::take(&mut inner.waiting);
                inner.counts.drains += 1;
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

    /// The next block of the drain, after `prepare` has had it; `None` when the drain is over or the runtime stops.
    /// It stays a root.
    pub(crate) fn next_block(&self, prepare: impl FnOnce(&Block)) -> Option<Arc<Block>> {
        let mut inner = self.inner.lock();
        if inner.stop {
            return None;
        }
        let block = inner.draining.pop()?;
        prepare(&block);
        self.progress
            .store(block.slots().as_ptr().cast_mut().cast(), Ordering::Release);
        let block = Arc::new(block);
        inner.running = Some(block.clone());
        Some(block)
    }

    /// The running block is done, `executed` of its records were run.
    pub(crate) fn finish_block(&self, block: Arc<Block>, executed: u64) {
        let mut inner = self.inner.lock();
        inner.running = None;
        inner.counts.executed += executed;
        if let Ok(mut block) = Arc::try_unwrap(block) {
            block.first = BLOCK_RECORDS;
            inner.spare.push(block);
        }
        if inner.stop {
            self.settled.notify_all();
        }
    }

    /// The cell to which stubs publish.
    pub(crate) fn progress(&self) -> &AtomicPtr<Record> {
        &self.progress
    }

    /// Visits every word that a record not yet done refers to an object by.
    pub(crate) fn visit_references(&self, visit: &mut dyn FnMut(u64)) {
        self.for_each_reference(&mut |word| visit(word.load(Ordering::Relaxed)));
    }

    /// Puts `trace` of each such word in its place. The thread that runs a block is inside a call or stopped: it does
    /// not read a record while this writes.
    pub(crate) fn trace(&self, trace: &mut dyn FnMut(u64) -> u64) {
        self.for_each_reference(&mut |word| {
            word.store(trace(word.load(Ordering::Relaxed)), Ordering::Relaxed);
        });
    }

    fn for_each_reference(&self, visit: &mut dyn FnMut(&AtomicU64)) {
        let inner = self.inner.lock();
        for block in inner.waiting.iter().chain(&inner.draining) {
            block.for_each_reference(0, visit);
        }
        if let Some(block) = &inner.running {
            let begin = block.slots().as_ptr().addr();
            let running = self
                .progress
                .load(Ordering::Acquire)
                .addr()
                .saturating_sub(begin)
                / size_of::<Record>();
            block.for_each_reference(running, visit);
        }
    }

    /// Sets the register count from the next drain on; returns the one before.
    pub(crate) fn set_int_arg_regs(&self, count: u8) -> u8 {
        std::mem::replace(&mut self.inner.lock().int_arg_regs, count)
    }

    pub(crate) fn int_arg_regs(&self) -> u8 {
        self.inner.lock().int_arg_regs
    }

    pub(crate) fn counts(&self) -> Counts {
        self.inner.lock().counts
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

    /// Ends all draining: at once when nothing runs, else after the batch that is running.
    pub(crate) fn stop(&self) {
        self.inner.lock().stop = true;
        self.work.notify_all();
        self.settled.notify_all();
    }

    /// After the last drain: drops what is left, and returns how many records of each shape that were.
    pub(crate) fn discard(&self) -> HashMap<u32, u64> {
        let mut inner = self.inner.lock();
        let mut shapes = HashMap::new();
        let left: Vec<Block> = std::mem::take(&mut inner.waiting)
            .into_iter()
            .chain(std::mem::take(&mut inner.draining))
            .collect();
        for tag in left.iter().flat_map(Block::tags) {
            *shapes.entry(tag.shape()).or_default() += 1;
            inner.counts.discarded += 1;
        }
        shapes
    }

    /// Waits until nothing is due or running and the goroutine is parked; once stopped, until nothing is running. Returns the number of records still due
    /// when `timeout` is over: 0 if all is settled.
    pub(crate) fn wait_until_settled(&self, timeout: Duration) -> Result<(), u64> {
        let deadline = Instant::now().checked_add(timeout);
        let mut inner = self.inner.lock();
        loop {
            let status = self.status();
            let parked = status & status::WAIT != 0 || status & status::CREATED == 0;
            if inner.is_empty() && parked || inner.stop && inner.running.is_none() {
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

    /// After [`Queue::stop`]: waits until no record is running. Returns as [`Queue::wait_until_settled`].
    pub(crate) fn wait_until_ended(&self, timeout: Duration) -> Result<(), u64> {
        let deadline = Instant::now() + timeout;
        let mut inner = self.inner.lock();
        while inner.running.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(inner.due());
            }
            inner = inner.wait_timeout(&self.settled, left);
        }
        Ok(())
    }
}
