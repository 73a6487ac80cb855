//! Lanes: the parts of a queue that are drained apart from each other.
//!
//! A lane has blocks and threads of its own, so that a call which takes long holds up its own lane
//! only. The lock, the cancelled calls, the tickets and the counts are those of the queue.
#![forbid(unsafe_code)]

use std::time::Instant;

use fing_stubs::Record;

use super::block::Block;
use super::cancel::Cancelled;
use super::kinds::Fates;
use super::packed::Packed;
use super::record::{Owned, Tag};
use super::relief::{Turn, TurnRef};
use super::running::Running;
use super::tickets::Parts;
use super::waiting::{Form, Spare, Waiting};
use super::{BLOCK_RECORDS, DrainOrder, WORTH_PACKING};
use crate::base::sync::Arc;

/// Identifies a lane of one queue. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneId(u64);

impl LaneId {
    /// The lane of the runtime's executor.
    pub(crate) const EXECUTOR: LaneId = LaneId(0);
    /// The lane of the runtime's pool, which is there in any case.
    pub(crate) const POOL: LaneId = LaneId(1);

    pub(super) fn next(self) -> LaneId {
        LaneId(self.0 + 1)
    }
}

/// Where a record goes, and its tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) lane: LaneId,
    pub(crate) tag: Tag,
}

impl Route {
    /// The route of a watcher's record, where this is that of a finalizer's.
    pub(crate) fn of_watcher(self) -> Route {
        Route {
            tag: self.tag.of_watcher(),
            ..self
        }
    }

    /// To the executor's lane.
    #[cfg(test)]
    pub(crate) fn to_executor(tag: Tag) -> Route {
        Route {
            lane: LaneId::EXECUTOR,
            tag,
        }
    }
}

/// One thread's place in a lane.
#[derive(Debug)]
pub(super) struct Runner {
    /// The right to run blocks.
    pub(super) turn: TurnRef,
    pub(super) running: Option<Running>,
    /// Whether a thread is at that block, and has not left it behind.
    pub(super) at_work: bool,
    /// Records of the running block that were passed and not run, so many with a tag in a row: as
    /// their function is in quarantine, or, if true, because they are lost.
    pub(super) skipped: Vec<(Tag, usize, bool)>,
    /// Number of the running block.
    pub(super) block_number: u64,
    /// The lane's drain that the thread takes part in.
    drain: u64,
    /// The register count of that drain.
    pub(super) int_arg_regs: u8,
}

impl Runner {
    pub(super) fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    /// What has become of the records of the running block that were passed and not run.
    pub(super) fn skipped(&self) -> Fates {
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
}

/// A block that is run next.
pub(super) struct Next {
    pub(super) block: Block,
    pub(super) parts: Parts,
    /// When the first of its records was queued.
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// Newest last.
    pub(super) waiting: Vec<Waiting>,
    /// Which of `waiting` are being filled: by the low bits of a shape's index, the position of the
    /// last block for such shapes.
    pub(super) open: Box<[Option<usize>]>,
    /// The rest of the drain under way, newest last.
    pub(super) draining: Vec<Waiting>,
    /// How many drains have begun.
    drains: u64,
    /// The register count of the drain under way.
    pub(super) drain_int_arg_regs: u8,
    pub(super) runners: Vec<Runner>,
    pub(super) plain: Spare<Block>,
    pub(super) packed: Spare<Packed>,
    /// When the first of `waiting` was queued, and the first of the drain under way.
    pub(super) waiting_since: Option<Instant>,
    pub(super) draining_since: Option<Instant>,
    /// Calls were added that those who wait for calls were not told of.
    pub(super) news: bool,
}

impl Lane {
    /// A lane for so many threads. If they are `single`, they make calls one by one.
    pub(super) fn new(id: LaneId, order: DrainOrder, threads: usize, single: bool) -> Lane {
        let runner = |seat| Runner {
            turn: Turn::new(id, seat, single),
            running: None,
            at_work: false,
            skipped: Vec::new(),
            block_number: 0,
            drain: 0,
            int_arg_regs: 0,
        };
        Lane {
            id,
            waiting: Vec::new(),
            open: vec![None; order.open_blocks()].into_boxed_slice(),
            draining: Vec::new(),
            drains: 0,
            drain_int_arg_regs: 0,
            runners: (0..threads).map(runner).collect(),
            plain: Spare::new(),
            packed: Spare::new(),
            waiting_since: None,
            draining_since: None,
            news: false,
        }
    }

    /// The blocks that wait and those of the drain under way.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().chain(&self.draining)
    }

    pub(super) fn blocks_mut(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.waiting.iter_mut().chain(&mut self.draining)
    }

    /// The threads that are at a block, each with its block.
    pub(super) fn running(&self) -> impl Iterator<Item = (&Runner, &Running)> {
        let running = |runner| Some((runner, Runner::running(runner)?));
        self.runners.iter().filter_map(running)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_calls() && self.running().next().is_none()
    }

    /// Whether calls wait, or are left of the drain under way.
    pub(super) fn has_calls(&self) -> bool {
        !self.waiting.is_empty() || !self.draining.is_empty()
    }

    /// Whether there is something to run for the thread of this seat.
    pub(super) fn has_work(&self, seat: usize) -> bool {
        self.has_calls() || self.runners[seat].running.is_some()
    }

    /// The number of records that have not returned, those cancelled but not yet removed included.
    pub(super) fn due(&self) -> usize {
        let waiting: usize = self.blocks().map(Waiting::len).sum();
        let running = self.running();
        let running: usize = running
            .map(|(runner, running)| running.left(&runner.turn.cells))
            .sum();
        waiting + running
    }

    /// Adds a record. Returns the position of its block.
    #[inline(always)]
    pub(super) fn push(
        &mut self,
        record: &Record,
        tag: Tag,
        owned: Owned,
        in_order: bool,
    ) -> usize {
        let group = match in_order {
            true => 0,
            false => tag.shape() as usize & (self.open.len() - 1),
        };
        if let Some(at) = self.open[group]
            && let Some(open) = self.waiting.get_mut(at)
            && open.push(record, tag, owned)
        {
            return at;
        }
        self.push_elsewhere(group, record, tag, owned)
    }

    /// Adds a record that does not go into the block that is open for this group of shapes.
    #[cold]
    fn push_elsewhere(&mut self, group: usize, record: &Record, tag: Tag, owned: Owned) -> usize {
        if let Some(at) = self.open[group]
            && let Some(waiting) = self.waiting.get_mut(at)
            && let Form::Packed(packed) = &mut waiting.form
            && packed.len() < WORTH_PACKING
        {
            let mut block = self.plain.take();
            packed.unpack(&mut block);
            block.push(record, tag, owned);
            if let Form::Packed(empty) = std::mem::replace(&mut waiting.form, Form::Plain(block)) {
                self.packed.give(empty);
            }
            return at;
        }
        let mut packed = self.packed.take();
        packed.begin(record, tag, owned);
        let since = Instant::now();
        if self.waiting.is_empty() {
            self.waiting_since = Some(since);
        }
        let at = self.waiting.len();
        self.open[group] = Some(at);
        self.waiting.push(Waiting {
            form: Form::Packed(packed),
            parts: Parts::default(),
            since,
        });
        at
    }

    /// The open blocks, each with the number of its records.
    pub(super) fn open_lengths(&self) -> Vec<(usize, usize)> {
        let mut open: Vec<usize> = self.open.iter().copied().flatten().collect();
        open.sort_unstable();
        open.dedup();
        let lengths = open.into_iter().map(|at| (at, self.waiting[at].len()));
        lengths.collect()
    }

    /// Begins a drain with this register count, for the thread of this seat; or has it take part in
    /// the one under way, or go on with the block at which it was interrupted. Returns whether a
    /// drain began.
    pub(super) fn take(&mut self, seat: usize, int_arg_regs: u8) -> bool {
        if self.runners[seat].running.is_some() {
            // With the drain that it began with; another one may be under way.
            return false;
        }
        let goes_on = !self.draining.is_empty();
        if !goes_on {
            self.drains += 1;
            self.draining = std::mem::take(&mut self.waiting);
            self.draining_since = self.waiting_since.take();
            self.open.fill(None);
            let packed = self.draining.iter().filter(|waiting| waiting.is_packed());
            let packed = packed.count();
            self.packed.trim(packed);
            // At least one for each thread, to unpack into.
            let plain = self.draining.len() - packed;
            self.plain.trim(plain.max(self.runners.len()));
            self.drain_int_arg_regs = int_arg_regs;
        }
        self.runners[seat].drain = self.drains;
        self.runners[seat].int_arg_regs = self.drain_int_arg_regs;
        !goes_on
    }

    /// How many records one thread takes at a time: if there are several threads, a part of what is
    /// left, so that all have something to do, and one whose call takes long keeps few others.
    fn share(&self) -> usize {
        let parts = 2 * self.runners.len();
        if self.runners.len() == 1 || self.draining.len() > parts {
            return BLOCK_RECORDS;
        }
        let left: usize = self.draining.iter().map(Waiting::len).sum();
        left.div_ceil(parts).clamp(1, BLOCK_RECORDS)
    }

    /// The next block of the drain that the thread of this seat takes part in, as stubs read it,
    /// with at most so many records.
    pub(super) fn next(
        &mut self,
        seat: usize,
        at_most: usize,
        cancelled: &mut Cancelled,
    ) -> Option<Next> {
        if self.runners[seat].drain != self.drains {
            return None;
        }
        let at_most = at_most.min(self.share());
        let mut next = self.draining.pop()?;
        if let Some(Form::Packed(packed)) = self.draining.last().map(|block| &block.form) {
            packed.prefetch();
        }
        cancelled.purge(&mut next);
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
        cancelled.taken(&mut next);
        let (block, parts) = self.unpacked(next);
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

    /// Gives back a block that has run, unless another thread has it still.
    pub(super) fn give_back(&mut self, block: Option<Arc<Block>>) {
        if let Some(Ok(mut block)) = block.map(Arc::try_unwrap) {
            block.clear();
            self.plain.give(block);
        }
    }

    /// Since when the oldest call that has not returned was queued.
    pub(super) fn since(&self) -> Option<Instant> {
        let running = self.running().map(|(_, running)| running.since).min();
        let draining = self.draining_since.filter(|_| !self.draining.is_empty());
        let waiting = self.waiting_since.filter(|_| !self.waiting.is_empty());
        [running, draining, waiting].into_iter().flatten().min()
    }
}
