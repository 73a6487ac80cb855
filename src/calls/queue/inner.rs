//! What the queue's lock protects: the lanes with their blocks, what is common to them; and adding
//! records.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use fing_stubs::Record;

use super::block::Block;
use super::by_shape::Ended;
use super::cancel::{Cancelled, Known};
use super::kinds::{Backlog, ByKind, CallKind, Fates};
use super::lane::{Lane, LaneId, Next, Route, Runner};
use super::pressure::Gauge;
use super::record::Owned;
use super::relief::{Stuck, Turn};
use super::running::Running;
use super::stuck::StuckCalls;
use super::tickets::Tickets;
use super::waiting::Waiting;
use super::{Counts, DrainOrder};
use crate::base::sync::{Arc, heavy_fence};

#[derive(Debug)]
pub(super) struct Inner {
    /// By their ids, ascending. The first one is the executor's.
    pub(super) lanes: Vec<Lane>,
    pub(super) next_lane: LaneId,
    pub(super) order: DrainOrder,
    /// Whether turns are such that their threads make calls one by one.
    pub(super) single: bool,
    /// Number of the last block that was begun.
    pub(super) block_number: u64,
    pub(super) stuck: StuckCalls,
    /// Whether there is a watchdog.
    pub(super) watched: bool,
    pub(super) cancelled: Cancelled,
    pub(super) tickets: Tickets,
    /// The collection that queued last.
    pub(super) collection: u64,
    pub(super) int_arg_regs: u8,
    pub(super) stop: bool,
    pub(super) counts: Counts,
    /// Calls that have ended, by shape.
    pub(super) ended: Ended,
    /// Records that wait in any lane, also in the drains under way, and were not cancelled.
    pub(super) load: Load,
    pub(super) gauge: Gauge,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) calls: u64,
    /// External bytes of the objects.
    pub(super) external: u128,
}

impl Load {
    fn add(&mut self, calls: u64, external: u128) {
        self.calls += calls;
        self.external += external;
    }

    pub(super) fn take(&mut self, calls: u64, external: u128) {
        self.calls -= calls;
        self.external -= external;
    }
}

impl Inner {
    fn position(&self, id: LaneId) -> Option<usize> {
        if id == LaneId::EXECUTOR {
            return Some(0);
        }
        self.lanes.binary_search_by_key(&id, |lane| lane.id).ok()
    }

    /// A lane; `None` if it was closed.
    pub(super) fn lane(&mut self, id: LaneId) -> Option<&mut Lane> {
        let at = self.position(id)?;
        Some(&mut self.lanes[at])
    }

    /// The place of the thread of this turn.
    pub(super) fn runner(&mut self, turn: &Turn) -> Option<&mut Runner> {
        Some(&mut self.lane(turn.lane)?.runners[turn.seat])
    }

    /// Calls that are stuck, without those that were handed out.
    pub(super) fn stuck(&self) -> impl Iterator<Item = &Stuck> {
        self.stuck.iter().filter(|stuck| !stuck.is_handed_out())
    }

    pub(super) fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.lanes.iter().flat_map(|lane| &lane.runners)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty)
    }

    pub(super) fn due(&self) -> u64 {
        let lanes: usize = self.lanes.iter().map(Lane::due).sum();
        let stuck: usize = self.stuck.iter().map(Stuck::len).sum();
        (lanes - self.cancelled.len() + stuck) as u64
    }

    /// The number of records of one lane that are not done.
    pub(super) fn due_in(&mut self, id: LaneId) -> u64 {
        self.purge();
        let stuck = self.stuck.iter().filter(|stuck| stuck.lane() == id);
        let stuck: usize = stuck.map(Stuck::len).sum();
        let lane = self.lane(id).map_or(0, |lane| lane.due());
        (lane + stuck) as u64
    }

    /// States for each block of the executor's lane to which records were added, since the open
    /// blocks had these lengths and there were so many blocks, that this collection has queued
    /// them.
    pub(super) fn attribute(&mut self, collection: u64, open: &[(usize, usize)], blocks: usize) {
        let mut all = 0;
        let waiting = &mut self.lanes[0].waiting;
        let new = (blocks..waiting.len()).map(|at| (at, 0));
        for (at, before) in open.iter().copied().chain(new) {
            let block = &mut waiting[at];
            let added = block.len() - before;
            block.parts.add(collection, added);
            all += added as u64;
        }
        self.lanes[0].news |= all > 0;
        self.tickets.add(collection, all);
        self.collection = collection;
    }

    /// Adds the records that `body` pushes; see [`Queue::fill`](super::Queue::fill).
    pub(super) fn fill<R>(
        &mut self,
        collection: u64,
        body: impl FnOnce(&mut Filling<'_>) -> R,
    ) -> R {
        let (open, blocks) = (self.lanes[0].open_lengths(), self.lanes[0].waiting.len());
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

    /// Adds a record to another lane than the executor's; if that was closed, drops and counts it.
    #[cold]
    fn push_apart(
        &mut self,
        record: &Record,
        route: Route,
        owned: Owned,
        (collection, in_order): (u64, bool),
    ) -> bool {
        self.tickets.add(collection, 1);
        let Some(lane) = self.lane(route.lane) else {
            self.tickets.discard(collection, 1);
            self.counts.fates.discarded.add(route.tag.kind(), 1);
            self.ended
                .add_equal(route.tag, 1, |fates| &mut fates.discarded);
            return false;
        };
        let at = lane.push(record, route.tag, owned, in_order);
        lane.waiting[at].parts.add(collection, 1);
        lane.news = true;
        true
    }

    /// Adds up how much waits, when no cancelled record is in a block.
    pub(super) fn weigh(&mut self) {
        let mut load = Load::default();
        for waiting in self.blocks() {
            let external = (0..waiting.len()).map(|n| u128::from(waiting.owned(n).external));
            load.add(waiting.len() as u64, external.sum());
        }
        self.load = load;
    }

    /// Takes cancelled records out of all blocks.
    pub(super) fn purge(&mut self) {
        let Inner {
            lanes, cancelled, ..
        } = self;
        if cancelled.len() > 0 {
            let blocks = lanes.iter_mut().flat_map(Lane::blocks_mut);
            blocks.for_each(|block| cancelled.purge(block));
        }
    }

    /// Drops all records that wait, and counts them.
    pub(super) fn discard(&mut self) {
        self.purge();
        for at in 0..self.lanes.len() {
            self.discard_lane(at);
        }
        self.weigh();
        self.cancelled.clear();
    }

    /// Drops all records of a lane that wait, and counts them. Cancelled ones were purged.
    fn discard_lane(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        lane.open.fill(None);
        let waiting = std::mem::take(&mut lane.waiting);
        for left in waiting
            .into_iter()
            .chain(std::mem::take(&mut lane.draining))
        {
            for (collection, records) in left.parts.iter() {
                self.tickets.discard(collection, records.len() as u64);
            }
            self.counts.fates.discarded.add_all(left.by_kind());
            match (left.is_packed(), left.tags()) {
                (true, [tag]) => {
                    self.ended
                        .add_equal(*tag, left.len(), |fates| &mut fates.discarded);
                }
                (_, tags) => self.ended.add(tags, |fates| &mut fates.discarded),
            }
        }
    }

    /// Whether nothing runs or waits in a lane. Forgets blocks of which all records were cancelled.
    pub(super) fn is_used_up(&mut self, id: LaneId) -> bool {
        self.purge();
        let Some(at) = self.position(id) else {
            return true;
        };
        let used_up = self.lanes[at].due() == 0 && self.lanes[at].running().next().is_none();
        if used_up {
            self.discard_lane(at);
        }
        used_up
    }

    /// Forgets the blocks that wait if all their records were cancelled.
    pub(super) fn forget_cancelled(&mut self) {
        if self.load.calls == 0 && self.lanes.iter().any(Lane::has_calls) {
            self.purge();
            (0..self.lanes.len()).for_each(|at| self.discard_lane(at));
        }
    }

    /// Removes a lane, whose thread is relieved if it is in a call. What waits there is dropped and
    /// counted.
    pub(super) fn close(&mut self, id: LaneId) {
        let Some(at) = self.position(id) else {
            return;
        };
        self.purge();
        // It names calls that wait no more.
        self.cancelled.forget_index();
        for seat in 0..self.lanes[at].runners.len() {
            self.take_from((at, seat));
        }
        self.discard_lane(at);
        self.lanes.remove(at);
        self.weigh();
    }

    /// Begins a drain of a lane for the thread of this turn, or has it go on with one. Returns its
    /// register count, or `None` if there is nothing to run.
    pub(super) fn take(&mut self, turn: &Turn) -> Option<u8> {
        let int_arg_regs = self.int_arg_regs;
        let lane = self.lane(turn.lane)?;
        if !lane.has_work(turn.seat) {
            return None;
        }
        let began = lane.take(turn.seat, int_arg_regs);
        let int_arg_regs = lane.runners[turn.seat].int_arg_regs;
        self.counts.drains += u64::from(began);
        Some(int_arg_regs)
    }

    /// Begins with the next block of the turn's drain; see [`Queue::next_block`].
    ///
    /// [`Queue::next_block`]: super::Queue::next_block
    pub(super) fn begin_next(
        &mut self,
        turn: &Turn,
        at_most: usize,
        prepare: impl FnOnce(&Block),
    ) -> Option<Arc<Block>> {
        let Next {
            block,
            parts,
            since,
        } = self.next(turn, at_most)?;
        prepare(&block);
        let block = Arc::new(block);
        let mut running = Running::new(block.clone(), parts, since);
        self.block_number += 1;
        let number = self.block_number;
        let runner = self.runner(turn)?;
        running.begin(&runner.turn.cells);
        runner.block_number = number;
        runner.running = Some(running);
        Some(block)
    }

    /// Ends the block that the thread of this turn runs, of which the records in front of number
    /// `reached` were run or skipped. Returns how many were run.
    pub(super) fn end_block(&mut self, turn: &Turn, reached: usize) -> u64 {
        match self.position(turn.lane) {
            Some(at) => self.end_block_at((at, turn.seat), reached),
            None => 0,
        }
    }

    fn end_block_at(&mut self, (lane, seat): (usize, usize), reached: usize) -> u64 {
        self.end_by_shape((lane, seat), reached);
        let runner = &mut self.lanes[lane].runners[seat];
        let Some(running) = runner.running.take() else {
            return 0;
        };
        let (mut done, discarded) = running.account(reached, &mut self.tickets);
        let skipped = runner.skipped();
        runner.skipped.clear();
        done.take(skipped.quarantined);
        done.take(skipped.discarded);
        let fates = &mut self.counts.fates;
        fates.executed.add_all(done);
        fates.quarantined.add_all(skipped.quarantined);
        fates.discarded.add_all(skipped.discarded);
        fates.discarded.add_all(discarded);
        done.all()
    }

    /// Ends a block that was interrupted, or that another thread has left behind.
    pub(super) fn end_interrupted_of(&mut self, turn: &Turn) {
        if let Some(at) = self.position(turn.lane) {
            self.end_interrupted((at, turn.seat));
        }
    }

    fn end_interrupted(&mut self, (lane, seat): (usize, usize)) {
        let runner = &self.lanes[lane].runners[seat];
        let running = runner.running.as_ref();
        let reached = running.map(|running| running.behind_progress(&runner.turn.cells));
        if let Some(reached) = reached {
            self.end_block_at((lane, seat), reached);
        }
    }

    /// Ends the block of a lane that goes. The call that its thread is in is that of a thread that
    /// was relieved from now on.
    fn take_from(&mut self, (lane, seat): (usize, usize)) {
        let runner = &self.lanes[lane].runners[seat];
        let (true, Some(running)) = (runner.at_work, &runner.running) else {
            return self.end_interrupted((lane, seat));
        };
        let turn = runner.turn.clone();
        let cells = &turn.cells;
        let records = loop {
            let at = running.progress(cells);
            let records = running.call_at(at);
            // One that was cancelled is as good as passed: nothing begins before it is.
            if running.is_at_cancelled(cells) || running.end_behind(at, &records, cells) {
                break records;
            }
            if !cells.is_divisible() {
                // What is behind has to be claimed, with the queue locked.
                running.end_at(records.end, cells);
                break records;
            }
            if !heavy_fence() {
                // Forbidden since the start: nothing can be kept from the thread any more.
                break at..running.block.slots().len().max(at);
            }
        };
        let end = records.end;
        self.hand_over(&turn, records);
        self.end_block_at((lane, seat), end);
    }

    /// Gives back a block of a lane that has run, unless another thread has it still.
    pub(super) fn give_back(&mut self, id: LaneId, block: Option<Arc<Block>>) {
        if let Some(lane) = self.lane(id) {
            lane.give_back(block);
        }
    }

    /// Whether no call is running, on any thread.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stuck.is_empty() && self.runners().all(|runner| runner.running.is_none())
    }

    /// The next block of the drain that the thread of this turn takes part in, with at most so many
    /// records.
    pub(super) fn next(&mut self, turn: &Turn, at_most: usize) -> Option<Next> {
        let at = self.position(turn.lane)?;
        let Inner {
            lanes,
            cancelled,
            load,
            ..
        } = self;
        let next = lanes[at].next(turn.seat, at_most, cancelled)?;
        if !lanes.iter().any(Lane::has_calls) {
            cancelled.clear();
        }
        let records = next.block.slots().len();
        load.take(records as u64, next.block.external(0..records));
        Some(next)
    }

    /// What has become of the calls that were queued. The running blocks' count as executed before
    /// the one that was published last, and as waiting behind it. Cancelled ones were purged.
    pub(super) fn fates(&self) -> (Fates, Backlog) {
        let mut fates = self.counts.fates;
        let mut bytes = 0;
        for lane in &self.lanes {
            for waiting in lane.blocks() {
                fates.waiting.add_all(waiting.by_kind());
                bytes += waiting.bytes();
            }
            for (runner, running) in lane.running() {
                running.add_to(&runner.turn.cells, &mut fates);
                let skipped = runner.skipped();
                fates.executed.take(skipped.quarantined);
                fates.executed.take(skipped.discarded);
                fates.quarantined.add_all(skipped.quarantined);
                fates.discarded.add_all(skipped.discarded);
                bytes += Block::BYTES;
            }
        }
        for stuck in self.stuck.iter() {
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
        self.lanes.iter().filter_map(Lane::since).min()
    }

    /// How many calls have not begun.
    pub(super) fn not_begun(&self) -> u64 {
        let running = self.lanes.iter().flat_map(Lane::running);
        let behind = running.map(|(runner, running)| running.behind(&runner.turn.cells));
        self.load.calls + behind.sum::<usize>() as u64
    }

    /// External bytes of the objects whose calls have not ended.
    pub(super) fn external(&self) -> u128 {
        let running = self.lanes.iter().flat_map(Lane::running);
        let running = running.map(|(runner, running)| running.external_left(&runner.turn.cells));
        let stuck = self.stuck.iter().map(Stuck::external).sum::<u128>();
        self.load.external + running.sum::<u128>() + stuck
    }

    /// All blocks that wait, of all lanes.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Waiting> {
        self.lanes.iter().flat_map(Lane::blocks)
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
    pub(crate) fn push(&mut self, record: &Record, route: Route, owned: Owned) {
        let inner = &mut *self.inner;
        inner.counts.queued += 1;
        if route.lane == LaneId::EXECUTOR {
            inner.lanes[0].push(record, route.tag, owned, self.in_order);
        } else {
            let how = (self.collection, self.in_order);
            if !inner.push_apart(record, route, owned, how) {
                return;
            }
        }
        inner.load.add(1, owned.external.into());
        if inner.cancelled.has_index() {
            let tag = route.tag;
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
