//! What the queue's lock protects: blocks that wait, the drain under way, the block that runs; and
//! adding records to it.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use fing_stubs::Record;

use super::block::Block;
use super::by_shape::Ended;
use super::cancel::{Cancelled, Known};
use super::kinds::{Backlog, ByKind, CallKind, Fates};
use super::packed::Packed;
use super::pressure::Gauge;
use super::record::{Owned, Tag};
use super::relief::{Stuck, TurnRef};
use super::running::Running;
use super::tickets::{Parts, Tickets};
use super::waiting::{Form, Spare, Waiting};
use super::{Counts, WORTH_PACKING};
use crate::base::sync::Arc;

#[derive(Debug)]
pub(super) struct Inner {
    /// Newest last.
    pub(super) waiting: Vec<Waiting>,
    /// Which of `waiting` are being filled: by the low bits of a shape's index, the position of the
    /// last block for such shapes.
    pub(super) open: Box<[Option<usize>]>,
    /// The rest of the drain under way, newest last.
    pub(super) draining: Vec<Waiting>,
    pub(super) running: Option<Running>,
    /// Records of the running block that were passed and not run, so many with a tag in a row: as
    /// their function is in quarantine, or, if true, because they are lost.
    pub(super) skipped: Vec<(Tag, usize, bool)>,
    /// Calls that have ended, by shape.
    pub(super) ended: Ended,
    /// Number of the running block.
    pub(super) block_number: u64,
    /// The right to run blocks.
    pub(super) turn: TurnRef,
    pub(super) stuck: Vec<Stuck>,
    /// Whether there is a watchdog.
    pub(super) watched: bool,
    pub(super) cancelled: Cancelled,
    pub(super) tickets: Tickets,
    /// The collection that queued last.
    pub(super) collection: u64,
    pub(super) plain: Spare<Block>,
    pub(super) packed: Spare<Packed>,
    pub(super) int_arg_regs: u8,
    /// The register count of the drain under way.
    pub(super) drain_int_arg_regs: u8,
    pub(super) stop: bool,
    pub(super) counts: Counts,
    /// Records that wait, also in the drain under way, and were not cancelled.
    pub(super) load: Load,
    pub(super) gauge: Gauge,
    /// When the first of `waiting` was queued, and the first of the drain under way.
    pub(super) waiting_since: Option<Instant>,
    pub(super) draining_since: Option<Instant>,
}

/// A block that is run next.
pub(super) struct Next {
    pub(super) block: Block,
    pub(super) parts: Parts,
    /// When the first of its records was queued.
    pub(super) since: Instant,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) calls: u64,
    /// External bytes of the objects.
    pub(super) external: u128,
}

impl Load {
    pub(super) fn take(&mut self, calls: u64, external: u128) {
        self.calls -= calls;
        self.external -= external;
    }
}

impl Inner {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.draining.is_empty() && self.running.is_none()
    }

    pub(super) fn due(&self) -> u64 {
        let running = self.running.as_ref();
        let running = running.map_or(0, |running| running.left(&self.turn.cells));
        let stuck: usize = self.stuck.iter().map(Stuck::len).sum();
        self.load.calls + (running + stuck) as u64
    }

    /// Adds a record that does not go into the block that is open for this group of shapes.
    #[cold]
    pub(super) fn push_elsewhere(&mut self, group: usize, record: &Record, tag: Tag, owned: Owned) {
        let open = self.open[group].and_then(|at| self.waiting.get_mut(at));
        if let Some(waiting) = open
            && let Form::Packed(packed) = &mut waiting.form
            && packed.len() < WORTH_PACKING
        {
            let mut block = self.plain.take();
            packed.unpack(&mut block);
            block.push(record, tag, owned);
            if let Form::Packed(empty) = std::mem::replace(&mut waiting.form, Form::Plain(block)) {
                self.packed.give(empty);
            }
            return;
        }
        let mut packed = self.packed.take();
        packed.begin(record, tag, owned);
        let since = Instant::now();
        if self.waiting.is_empty() {
            self.waiting_since = Some(since);
        }
        self.open[group] = Some(self.waiting.len());
        self.waiting.push(Waiting {
            form: Form::Packed(packed),
            parts: Parts::default(),
            since,
        });
    }

    /// States for each block to which records were added, since the open blocks had these lengths
    /// and there were so many blocks, that this collection has queued them.
    pub(super) fn attribute(&mut self, collection: u64, open: &[(usize, usize)], blocks: usize) {
        let mut all = 0;
        let new = (blocks..self.waiting.len()).map(|at| (at, 0));
        for (at, before) in open.iter().copied().chain(new) {
            let block = &mut self.waiting[at];
            let added = block.len() - before;
            block.parts.add(collection, added);
            all += added as u64;
        }
        self.tickets.add(collection, all);
        self.collection = collection;
    }

    /// The open blocks, each with the number of its records.
    pub(super) fn open_lengths(&self) -> Vec<(usize, usize)> {
        let mut open: Vec<usize> = self.open.iter().copied().flatten().collect();
        open.sort_unstable();
        open.dedup();
        let lengths = open.into_iter().map(|at| (at, self.waiting[at].len()));
        lengths.collect()
    }

    /// Adds the records that `body` pushes; see [`Queue::fill`](super::Queue::fill).
    pub(super) fn fill<R>(
        &mut self,
        collection: u64,
        body: impl FnOnce(&mut Filling<'_>) -> R,
    ) -> R {
        let (open, blocks) = (self.open_lengths(), self.waiting.len());
        let result = body(&mut Filling {
            inner: self,
            collection,
            in_order: false,
        });
        self.attribute(collection, &open, blocks);
        if self.stop {
            self.discard();
        }
        result
    }

    /// Adds up how much waits, when no cancelled record is in a block.
    pub(super) fn weigh(&mut self) {
        self.load = Load::default();
        for waiting in self.waiting.iter().chain(&self.draining) {
            self.load.calls += waiting.len() as u64;
            let external = (0..waiting.len()).map(|n| u128::from(waiting.external(n)));
            self.load.external += external.sum::<u128>();
        }
    }

    /// Takes cancelled records out of all blocks.
    pub(super) fn purge(&mut self) {
        let Inner {
            waiting,
            draining,
            cancelled,
            ..
        } = self;
        if cancelled.len() > 0 {
            let blocks = waiting.iter_mut().chain(draining);
            blocks.for_each(|block| cancelled.purge(block));
        }
    }

    /// Drops all records that wait, and counts them.
    pub(super) fn discard(&mut self) {
        self.purge();
        self.open.fill(None);
        let waiting = std::mem::take(&mut self.waiting);
        for left in waiting
            .into_iter()
            .chain(std::mem::take(&mut self.draining))
        {
            for (collection, records) in left.parts.iter() {
                self.tickets.discard(collection, records.len() as u64);
            }
            self.counts.fates.discarded.add_all(left.by_kind());
            match (&left.form, left.tags()) {
                (Form::Packed(_), [tag]) => {
                    self.ended
                        .add_equal(*tag, left.len(), |fates| &mut fates.discarded);
                }
                (_, tags) => self.ended.add(tags, |fates| &mut fates.discarded),
            }
        }
        self.load = Load::default();
        self.cancelled.clear();
    }

    /// Whether there is something to run.
    pub(super) fn has_work(&self) -> bool {
        !self.is_empty()
    }

    /// Begins a drain, or goes on with one that was interrupted.
    pub(super) fn take(&mut self) {
        if !self.draining.is_empty() || self.running.is_some() {
            return;
        }
        self.draining = std::mem::take(&mut self.waiting);
        self.draining_since = self.waiting_since.take();
        self.open.fill(None);
        let packed = self.draining.iter().filter(|waiting| waiting.is_packed());
        let packed = packed.count();
        self.packed.trim(packed);
        // At least one, to unpack into.
        self.plain.trim((self.draining.len() - packed).max(1));
        self.counts.drains += 1;
        self.drain_int_arg_regs = self.int_arg_regs;
    }

    /// Ends the running block, of which the records in front of number `reached` were run or
    /// skipped. Returns how many were run.
    pub(super) fn end_block(&mut self, reached: usize) -> u64 {
        self.end_by_shape(reached);
        let Some(running) = self.running.take() else {
            return 0;
        };
        let (mut done, discarded) = running.account(reached, &mut self.tickets);
        let skipped = self.skipped();
        self.skipped.clear();
        done.take(skipped.quarantined);
        done.take(skipped.discarded);
        let fates = &mut self.counts.fates;
        fates.executed.add_all(done);
        fates.quarantined.add_all(skipped.quarantined);
        fates.discarded.add_all(skipped.discarded);
        fates.discarded.add_all(discarded);
        done.all()
    }

    /// The records of the running block that were passed and not run.
    fn skipped(&self) -> Fates {
        let mut fates = Fates::default();
        for &(tag, calls, lost) in &self.skipped {
            let fate = match lost {
                true => &mut fates.discarded,
                false => &mut fates.quarantined,
            };
            fate.add(tag.kind(), calls);
        }
        fates
    }

    /// Ends a block that was interrupted, or that another thread has left behind.
    pub(super) fn end_interrupted(&mut self) {
        let running = self.running.as_ref();
        let reached = running.map(|running| running.behind_progress(&self.turn.cells));
        if let Some(reached) = reached {
            self.end_block(reached);
        }
    }

    /// Gives back a block that has run, unless another thread has it still.
    pub(super) fn give_back(&mut self, block: Option<Arc<Block>>) {
        if let Some(Ok(mut block)) = block.map(Arc::try_unwrap) {
            block.clear();
            self.plain.give(block);
        }
    }

    /// Whether no call is running, on any thread.
    pub(super) fn is_at_rest(&self) -> bool {
        self.running.is_none() && self.stuck.is_empty()
    }

    /// The next block of the drain, as stubs read it, with at most so many records.
    pub(super) fn next(&mut self, at_most: usize) -> Option<Next> {
        let mut next = self.draining.pop()?;
        if let Some(Form::Packed(packed)) = self.draining.last().map(|block| &block.form) {
            packed.prefetch();
        }
        self.cancelled.purge(&mut next);
        let since = next.since;
        if next.len() > at_most {
            let (mut whole, mut parts) = self.unpacked(next);
            let mut part = self.plain.take();
            whole.move_first(at_most, &mut part);
            let first = parts.take_first(at_most);
            self.draining.push(Waiting {
                form: Form::Plain(whole),
                parts,
                since,
            });
            next = Waiting {
                form: Form::Plain(part),
                parts: first,
                since,
            };
        }
        self.cancelled.taken(&mut next);
        if self.draining.is_empty() && self.waiting.is_empty() {
            self.cancelled.clear();
        }
        let (block, parts) = self.unpacked(next);
        let records = block.slots().len();
        self.load.take(records as u64, block.external(0..records));
        Some(Next {
            block,
            parts,
            since,
        })
    }

    fn unpacked(&mut self, waiting: Waiting) -> (Block, Parts) {
        let block = match waiting.form {
            Form::Plain(block) => block,
            Form::Packed(mut packed) => {
                let mut block = self.plain.take();
                packed.unpack(&mut block);
                self.packed.give(packed);
                block
            }
        };
        (block, waiting.parts)
    }

    /// What has become of the calls that were queued. The running block's count as executed before
    /// the one that was published last, and as waiting behind it. Cancelled ones were purged.
    pub(super) fn fates(&self) -> (Fates, Backlog) {
        let mut fates = self.counts.fates;
        let mut bytes = 0;
        for waiting in self.waiting.iter().chain(&self.draining) {
            fates.waiting.add_all(waiting.by_kind());
            bytes += waiting.bytes();
        }
        if let Some(running) = &self.running {
            running.add_to(&self.turn.cells, &mut fates);
            let skipped = self.skipped();
            fates.executed.take(skipped.quarantined);
            fates.executed.take(skipped.discarded);
            fates.quarantined.add_all(skipped.quarantined);
            fates.discarded.add_all(skipped.discarded);
            bytes += Block::BYTES;
        }
        for stuck in &self.stuck {
            fates.running.add_all(stuck.by_kind());
        }
        let kinds = [CallKind::Finalizer, CallKind::Cleanup];
        let backlog = Backlog {
            calls: kinds.map(|kind| fates.waiting.get(kind)).iter().sum(),
            age: self.since().map_or(Duration::ZERO, |since| since.elapsed()),
            bytes,
            external_bytes: usize::try_from(self.external()).unwrap_or(usize::MAX),
        };
        (fates, backlog)
    }

    /// When the first of the calls that have not ended was queued; `None` if there are none.
    pub(super) fn since(&self) -> Option<Instant> {
        match !self.draining.is_empty() || self.running.is_some() {
            true => self.draining_since,
            false => self.waiting_since.filter(|_| !self.waiting.is_empty()),
        }
    }

    /// How many calls have not begun.
    pub(super) fn not_begun(&self) -> u64 {
        let running = self.running.as_ref();
        let behind = running.map_or(0, |running| running.behind(&self.turn.cells));
        self.load.calls + behind as u64
    }

    /// External bytes of the objects whose calls have not ended.
    pub(super) fn external(&self) -> u128 {
        let running = self.running.as_ref();
        let running = running.map_or(0, |running| running.external_left(&self.turn.cells));
        let stuck = self.stuck.iter().map(Stuck::external).sum::<u128>();
        self.load.external + running + stuck
    }
}

/// The locked queue, to which records are added.
pub(crate) struct Filling<'a> {
    pub(super) inner: &'a mut Inner,
    /// Number of the collection that adds them.
    pub(super) collection: u64,
    /// Whether they run in the reverse of the order in which they are pushed, whatever the order
    /// of drains is.
    pub(super) in_order: bool,
}

impl Filling<'_> {
    /// Adds a record.
    #[inline(always)]
    pub(crate) fn push(&mut self, record: &Record, tag: Tag, owned: Owned) {
        let inner = &mut *self.inner;
        let group = match self.in_order {
            true => 0,
            false => tag.shape() as usize & (inner.open.len() - 1),
        };
        let open = inner.open[group].and_then(|at| inner.waiting.get_mut(at));
        if !open.is_some_and(|open| open.push(record, tag, owned)) {
            inner.push_elsewhere(group, record, tag, owned);
        }
        inner.counts.queued += 1;
        inner.load.calls += 1;
        inner.load.external += u128::from(owned.external);
        if inner.cancelled.has_index() {
            let id = tag.call_id(record.words[tag.own_word()], owned.number);
            let known = Known {
                collection: Some(self.collection),
                shape: tag.shape(),
                external: owned.external,
            };
            inner.cancelled.add(id, known);
        }
    }

    /// Counts calls that would be due, and are dropped instead.
    pub(crate) fn discard(&mut self, calls: ByKind) {
        self.inner.counts.fates.discarded.add_all(calls);
    }
}
