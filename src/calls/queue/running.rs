//! The block that is running, and how another thread keeps some of its records from being run.
//!
//! The thread that runs a block publishes each record before it calls it, and then reads where the
//! batch ends. Both are plain accesses: fences between them would cost more than many a call. A
//! thread that wants to keep later records from running holds the queue's lock, lowers the end, has
//! a barrier made on all threads ([`heavy_fence`]), and then reads which record was published last:
//! what lies behind that one will not run before the running thread has asked for the queue's lock.
//!
//! Two cells are lowered: `cut`, which no record at or behind may pass, and `end`, which the stub
//! reads. The running thread stores `end` when it begins a batch, and only then looks at `cut`.
//!
//! Where the system has no such barrier, and for a bulk finalizer, a batch is claimed as a whole
//! under the lock: all its records count as running.
#![forbid(unsafe_code)]

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use fing_stubs::Record;

use super::Dropped;
use super::block::Block;
use super::cancel::CallStage;
use super::kinds::{ByKind, Fates};
use super::record::{CallId, Slot, Tag};
use super::tickets::{Outstanding, Parts, Tickets};
use super::withdraw::{Withdrawn, is_wanted};
use crate::base::sync::{Arc, AtomicPtr, Ordering, heavy_fence, light_fence};

/// What the running thread and others share of the running batch.
#[derive(Debug)]
pub(super) struct Cells {
    /// The record that is running, or the first that has not run. Written by stubs.
    pub(super) progress: AtomicPtr<Record>,
    /// Where the batch ends. Read by stubs.
    pub(super) end: AtomicPtr<Record>,
    /// No record from here on may run.
    cut: AtomicPtr<Record>,
    /// Whether the end of a batch can be lowered while it runs.
    divisible: bool,
}

/// The block that is running.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) block: Arc<Block>,
    pub(super) parts: Parts,
    /// When the first of its records was queued.
    pub(super) since: Instant,
    /// Records that were cancelled and that the running thread has not passed yet.
    pub(super) skip: BTreeSet<usize>,
    /// All that were cancelled while the block was running.
    cancelled: BTreeSet<usize>,
    /// Records at which somebody wants to be woken.
    marks: BTreeSet<usize>,
    /// Those that are called by a thread that was relieved, or were by one that has ended.
    elsewhere: BTreeSet<usize>,
    /// The end of the last batch that was claimed as a whole.
    claimed: usize,
    /// Whether those are one call.
    whole: bool,
    /// Nothing behind the record that is running may run any more.
    stopped: bool,
}

/// What a cancellation of a record of the running block has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It will not be called. Of this collection and shape.
    Cancelled(Option<u64>, u32),
    Running,
    Done,
}

impl Running {
    pub(super) fn new(block: Arc<Block>, parts: Parts, since: Instant) -> Running {
        Running {
            block,
            parts,
            since,
            skip: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            marks: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            claimed: 0,
            whole: false,
            stopped: false,
        }
    }

    fn len(&self) -> usize {
        self.block.slots().len()
    }

    fn at(&self, n: usize) -> *mut Record {
        let slots = self.block.slots().as_ptr_range();
        slots.start.wrapping_add(n).cast_mut().cast()
    }

    /// The number of the record that was published last.
    pub(super) fn progress(&self, cells: &Cells) -> usize {
        let progress = cells.progress.load(Ordering::Acquire).addr();
        progress.saturating_sub(self.at(0).addr()) / size_of::<Record>()
    }

    /// The number of the record behind that one, where a block goes on that was interrupted.
    pub(super) fn behind_progress(&self, cells: &Cells) -> usize {
        (self.progress(cells) + 1).min(self.len())
    }

    /// The number of the first record that may not run.
    fn first_skipped(&self) -> usize {
        self.skip.first().copied().unwrap_or(self.len())
    }

    /// The number of the first record before which the running thread must pass.
    fn boundary(&self) -> usize {
        if self.stopped {
            return 0;
        }
        let marked = self.marks.first().copied();
        self.first_skipped().min(marked.unwrap_or(self.len()))
    }

    /// Makes the block's first record the one that is running.
    pub(super) fn begin(&mut self, cells: &Cells) {
        if !cells.divisible {
            // Who comes to wait when a batch was claimed can't have it end earlier.
            let ends = self.parts.iter().map(|(_, records)| records.end);
            let len = self.len();
            self.marks.extend(ends.filter(|end| *end < len));
        }
        cells.cut.store(self.at(self.boundary()), Ordering::Relaxed);
        cells.progress.store(self.at(0), Ordering::Release);
    }

    /// Of the records from `from` on, skips those that were cancelled. Returns the number of the
    /// first one that may run, if any.
    pub(super) fn pass(&mut self, from: usize, cells: &Cells) -> Option<usize> {
        let mut at = from;
        while self.skip.remove(&at) {
            at += 1;
        }
        // A thread that has ended at one that was cancelled has not passed it.
        self.skip = self.skip.split_off(&at);
        self.marks = self.marks.split_off(&(at + 1));
        cells.cut.store(self.at(self.boundary()), Ordering::Relaxed);
        (at < self.len()).then_some(at)
    }

    /// Claims the records from `from` to `to` as a whole, or up to the first before which the
    /// thread must pass. Returns the end.
    pub(super) fn claim(
        &mut self,
        (from, to): (usize, usize),
        whole: bool,
        cells: &Cells,
    ) -> usize {
        self.whole = whole;
        self.claimed = to.min(self.boundary()).max(from);
        cells.end.store(self.at(self.claimed), Ordering::Relaxed);
        self.claimed
    }

    /// Keeps the records from number `n` on from being run, as far as they have not begun. Returns
    /// the number of the record that was published last, or `None` if nothing could be ordered.
    fn cut(&self, n: usize, cells: &Cells) -> Option<usize> {
        cells.cut.store(self.at(n), Ordering::Relaxed);
        let first = heavy_fence();
        cells.lower_end(self.at(n));
        (first && heavy_fence()).then(|| self.progress(cells))
    }

    /// The records that are called together with record `at`: itself, or those of a batch that was
    /// claimed as a whole. None if that is the end of the block, or it was cancelled, or another
    /// thread is at it.
    pub(super) fn call_at(&self, at: usize) -> Range<usize> {
        let len = self.len();
        if self.is_taken(at) {
            return at + 1..at + 1;
        }
        at.min(len)..self.claimed.max(at + 1).min(len)
    }

    /// As [`Running::call_at`], of a thread that runs no more: records that it had claimed one by
    /// one, and not come to, are not called.
    pub(super) fn left_at(&self, at: usize) -> Range<usize> {
        let records = self.call_at(at);
        match self.whole {
            true => records,
            false => records.start..records.end.min(at + 1),
        }
    }

    /// Keeps the thread that is at record `at`, the first of these if there are any, from running
    /// any behind them. Returns false if it is not there any more.
    pub(super) fn end_behind(&self, at: usize, records: &Range<usize>, cells: &Cells) -> bool {
        let reached = match self.claimed > at && !cells.is_divisible() {
            // What is behind has to be claimed, with the queue locked.
            true => {
                cells.cut.store(self.at(records.end), Ordering::Relaxed);
                Some(self.progress(cells))
            }
            false => self.cut(records.end, cells),
        };
        let there = reached == Some(at);
        if !there {
            cells.cut.store(self.at(self.boundary()), Ordering::Relaxed);
        }
        there
    }

    /// Whether the thread is at a record that was cancelled, and has to pass before the next one.
    pub(super) fn is_at_cancelled(&self, cells: &Cells) -> bool {
        self.cancelled.contains(&self.progress(cells))
    }

    /// Has the thread of these cells, which has begun none of these records, run none from number
    /// `n` on.
    pub(super) fn end_at(&self, n: usize, cells: &Cells) {
        cells.cut.store(self.at(n), Ordering::Relaxed);
    }

    /// Goes on behind these records, which another thread is at, with the cells of a new turn.
    pub(super) fn resume(&mut self, elsewhere: Range<usize>, cells: &Cells) {
        self.elsewhere.extend(elsewhere.clone());
        self.claimed = self.claimed.min(elsewhere.end);
        cells.cut.store(self.at(self.boundary()), Ordering::Relaxed);
        // As one that was interrupted, it begins behind the record that was published last.
        let last = self.at(elsewhere.end).wrapping_sub(1);
        cells.progress.store(last, Ordering::Release);
    }

    /// Ends the block after the record that is running.
    pub(super) fn stop(&mut self, cells: &Cells) {
        self.stopped = true;
        self.cut(0, cells);
    }

    /// Cancels a call of this block, if it is one of those that have not been done or cancelled.
    pub(super) fn cancel(
        &mut self,
        wanted: impl Fn(CallId, u32) -> bool,
        cells: &Cells,
    ) -> Option<Found> {
        let (block, tags) = (&self.block, self.block.tags());
        let running = self.progress(cells);
        let found =
            |n: &usize| !self.cancelled.contains(n) && wanted(block.call_id(*n), tags[*n].shape());
        let n = (running..tags.len()).find(found)?;
        if n == running || n < self.claimed {
            return Some(Found::Running);
        }
        self.skip.insert(n);
        let reached = self.cut(self.boundary(), cells);
        if reached.is_some_and(|reached| reached < n) {
            self.cancelled.insert(n);
            return Some(Found::Cancelled(self.parts.of(n), tags[n].shape()));
        }
        self.skip.remove(&n);
        cells.cut.store(self.at(self.boundary()), Ordering::Relaxed);
        Some(match reached {
            Some(reached) if reached > n => Found::Done,
            _ => Found::Running,
        })
    }

    /// Cancels the finalizers that have not begun and that `wanted` takes. Returns them, with the
    /// collections that queued them.
    pub(super) fn withdraw(
        &mut self,
        wanted: impl Fn(u64, Tag) -> bool,
        cells: &Cells,
    ) -> Vec<Withdrawn> {
        let begun = self.claimed.max(self.progress(cells) + 1);
        let entries = self.block.entries().enumerate().skip(begun);
        let found = entries.filter(|(n, (slot, tag))| {
            !self.is_taken(*n) && is_wanted(*tag, slot.word(tag.own_word()), &wanted)
        });
        let found: Vec<usize> = found.map(|(n, _)| n).collect();
        if found.is_empty() {
            return Vec::new();
        }
        self.skip.extend(&found);
        let reached = self.cut(self.boundary(), cells);
        let mut withdrawn = Vec::new();
        for n in found {
            if reached.is_some_and(|reached| reached < n) {
                self.cancelled.insert(n);
                withdrawn.push(Withdrawn {
                    collection: self.parts.of(n),
                    tag: self.block.tags()[n],
                    record: self.block.slots()[n].record(),
                    number: self.block.owned(n).number,
                });
            } else {
                self.skip.remove(&n);
            }
        }
        cells.cut.store(self.at(self.boundary()), Ordering::Relaxed);
        withdrawn
    }

    /// Whether record `n` is not this thread's to run.
    pub(super) fn is_taken(&self, n: usize) -> bool {
        self.cancelled.contains(&n) || self.elsewhere.contains(&n)
    }

    /// The records that are not this thread's to run.
    pub(super) fn taken(&self) -> impl Iterator<Item = usize> {
        self.cancelled.union(&self.elsewhere).copied()
    }

    /// Of the records in front of `reached` and behind it, adds up those that were not cancelled.
    /// Returns how many they are.
    pub(super) fn account(&self, reached: usize, tickets: &mut Tickets) -> (ByKind, ByKind) {
        let mut sums = (ByKind::default(), ByKind::default());
        for (collection, records) in self.parts.iter() {
            let count = |records: Range<usize>| {
                let cancelled = self.cancelled.range(records.clone());
                let elsewhere = self.elsewhere.range(records.clone());
                let mut all = self.block.by_kind(records);
                for n in cancelled.chain(elsewhere) {
                    all.take(self.block.by_kind(*n..*n + 1));
                }
                all
            };
            let middle = reached.clamp(records.start, records.end);
            let (done, dropped) = (count(records.start..middle), count(middle..records.end));
            tickets.discard(collection, dropped.all());
            tickets.done(collection, done.all());
            sums.0.add_all(done);
            sums.1.add_all(dropped);
        }
        sums
    }

    /// Adds its records to what they have come to.
    pub(super) fn add_to(&self, cells: &Cells, fates: &mut Fates) {
        let at = self.progress(cells);
        for (n, tag) in self.block.tags().iter().enumerate() {
            if !self.is_taken(n) {
                let fate = match n.cmp(&at) {
                    Less => &mut fates.executed,
                    Equal => &mut fates.running,
                    Greater => &mut fates.waiting,
                };
                fate.add(tag.kind(), 1);
            }
        }
    }

    /// Has the running thread pass when it has run the last record of this collection, so that
    /// those who wait for it are told.
    pub(super) fn mark(&mut self, collection: u64, cells: &Cells) {
        let records = self.parts.iter().find(|(of, _)| *of == collection);
        if let Some((_, records)) = records
            && records.end < self.len()
            && self.progress(cells) < records.end
            && self.marks.insert(records.end)
        {
            self.cut(self.boundary(), cells);
        }
    }

    /// Calls `visit` with the number of each record that has not returned and was not cancelled.
    pub(super) fn for_each_left(&self, cells: &Cells, visit: &mut dyn FnMut(usize, &Slot, Tag)) {
        let from = self.progress(cells);
        for (n, (slot, tag)) in self.block.entries().enumerate().skip(from) {
            if !self.is_taken(n) {
                visit(n, slot, tag);
            }
        }
    }

    /// Lists the records that have not returned and were not cancelled.
    pub(super) fn list_left(&self, cells: &Cells, dropped: &mut Vec<Dropped>) {
        let running = self.claimed.max(self.progress(cells) + 1);
        self.for_each_left(cells, &mut |n, slot, tag| {
            dropped.push(Dropped {
                tag,
                record: slot.record(),
                stage: match n < running {
                    true => CallStage::Running,
                    false => CallStage::Queued,
                },
            });
        });
    }

    /// How many records have not been called and were not cancelled.
    pub(super) fn left(&self, cells: &Cells) -> usize {
        let at = self.progress(cells);
        let elsewhere = self.elsewhere.range(at.min(self.len())..);
        (self.len() - at).saturating_sub(self.skip.len() + elsewhere.count())
    }

    /// How many records have not begun and were not cancelled.
    pub(super) fn behind(&self, cells: &Cells) -> usize {
        let from = self.behind_progress(cells);
        let cancelled = self.cancelled.range(from..).count();
        let elsewhere = self.elsewhere.range(from..).count();
        self.len() - from - cancelled - elsewhere
    }

    /// External bytes of the objects of records that have not returned and were not cancelled.
    pub(super) fn external_left(&self, cells: &Cells) -> u128 {
        if !self.block.has_external() {
            return 0;
        }
        let left = (self.progress(cells)..self.len()).filter(|n| !self.is_taken(*n));
        left.map(|n| u128::from(self.block.owned(n).external)).sum()
    }

    /// How many of its records are of a collection, but for those that were cancelled or are called
    /// by another thread.
    pub(super) fn part_of(&self, collection: u64) -> u64 {
        let records = self.parts.iter().find(|(of, _)| *of == collection);
        let count = |(_, records): (u64, Range<usize>)| {
            records.filter(|n| !self.is_taken(*n)).count() as u64
        };
        records.map_or(0, count)
    }

    /// Corrects what is outstanding of a collection by what this block has done of it.
    pub(super) fn correct(&self, collection: u64, outstanding: &mut Outstanding, cells: &Cells) {
        let at = self.progress(cells);
        let records = self.parts.iter().find(|(of, _)| *of == collection);
        let Some((_, records)) = records else {
            return;
        };
        let passed = records.start..at.clamp(records.start, records.end);
        let cancelled = self.cancelled.range(passed.clone()).count();
        let elsewhere = self.elsewhere.range(passed.clone()).count();
        outstanding.queued -= (passed.len() - cancelled - elsewhere) as u64;
        let end = self.claimed.max(at + 1).min(self.len());
        let running = (at..end).filter(|n| records.contains(n) && !self.is_taken(*n));
        let running = running.count() as u64;
        outstanding.running += running;
        outstanding.queued -= running;
    }
}

impl Cells {
    pub(super) fn new() -> Cells {
        let cell = || AtomicPtr::new(std::ptr::null_mut());
        Cells {
            progress: cell(),
            end: cell(),
            cut: cell(),
            divisible: heavy_fence(),
        }
    }

    pub(super) fn is_divisible(&self) -> bool {
        self.divisible
    }

    /// Whether the running thread must ask before it calls this record.
    #[inline]
    pub(super) fn is_cut(&self, at: *const Slot) -> bool {
        at.addr() >= self.cut.load(Ordering::Relaxed).addr()
    }

    /// Publishes a record as stubs do. Returns whether it is in front of the end.
    #[inline]
    pub(super) fn publish(&self, at: *const Slot) -> bool {
        let at: *mut Record = at.cast_mut().cast();
        self.progress.store(at, Ordering::Release);
        light_fence();
        at < self.end.load(Ordering::Relaxed)
    }

    /// Begins a batch that another thread may end early.
    #[inline]
    pub(super) fn begin(&self, end: *const Slot) {
        let end: *mut Record = end.cast_mut().cast();
        self.end.store(end, Ordering::Relaxed);
        light_fence();
        let cut = self.cut.load(Ordering::Relaxed);
        if cut < end {
            // Whoever lowers `cut` again lowers the end too, perhaps before this does.
            self.lower_end(cut);
        }
    }

    /// Lowers the end of the batch, unless another thread has lowered it as far.
    fn lower_end(&self, to: *mut Record) {
        let lower = |end: *mut Record| (end > to).then_some(to);
        let _ = self
            .end
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
    }

    /// Has no further record of the batch run before the running thread has begun it anew.
    pub(super) fn interrupt(&self) {
        self.end.store(std::ptr::null_mut(), Ordering::Relaxed);
    }
}
