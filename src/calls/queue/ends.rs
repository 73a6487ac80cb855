//! Waiting for what is queued, and stopping the queue.
#![forbid(unsafe_code)]

use super::inner::Inner;
use super::lane::{Lane, LaneId};
use super::relief::Stuck;
use super::tickets::Outstanding;
use super::{CallStage, Dropped, Queue, status};
use crate::base::deadline::Deadline;
use crate::base::lock::Held;

impl Queue {
    /// Stops the queue, as [`Queue::stop`] does, and returns what was dropped, newest first, with
    /// the call that is running.
    pub(crate) fn stop_and_list(&self) -> Vec<Dropped> {
        let mut inner = self.inner.lock();
        let mut dropped = Vec::new();
        inner.stop = true;
        inner.purge();
        for runner in inner.lanes.iter_mut().flat_map(|lane| &mut lane.runners) {
            if let Some(running) = &mut runner.running {
                running.stop(&runner.turn.cells);
                running.list_left(&runner.turn.cells, &mut dropped);
            }
        }
        for (slot, tag) in inner.stuck.iter().flat_map(Stuck::entries) {
            dropped.push(Dropped {
                tag,
                record: slot.record(),
                stage: CallStage::Running,
            });
        }
        for lane in &inner.lanes {
            let draining = lane.draining.iter().rev();
            for waiting in draining.chain(lane.waiting.iter().rev()) {
                waiting.list(&mut dropped);
            }
        }
        inner.discard();
        self.gauge(&mut inner);
        self.work.notify_all();
        self.settled.notify_all();
        self.watch.notify_all();
        dropped
    }

    /// Stops the queue, and drops what waits. Draining ends at once if nothing is running, and
    /// otherwise after the call that is running.
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stop = true;
        inner.discard();
        for runner in inner.lanes.iter_mut().flat_map(|lane| &mut lane.runners) {
            if let Some(running) = &mut runner.running {
                running.stop(&runner.turn.cells);
            }
        }
        self.gauge(&mut inner);
        self.work.notify_all();
        self.settled.notify_all();
        self.watch.notify_all();
    }

    /// Waits until nothing is due or running and the goroutine is parked; once stopped, until
    /// nothing is running. If the deadline passes first, the error is the number of records still
    /// due; it is 0 if only the goroutine was not parked yet.
    pub(crate) fn wait_until_settled(&self, deadline: Deadline) -> Result<(), u64> {
        let settled = |inner: &mut Inner| {
            let status = self.status();
            let parked = status & status::WAIT != 0 || status & status::CREATED == 0;
            let rest = inner.is_at_rest();
            rest && (inner.is_empty() && parked || inner.stop)
        };
        let waited = self.wait_for(deadline, settled);
        waited.map_err(|inner| inner.due()).map(drop)
    }

    /// Waits until no record is running, after [`Queue::stop`]. If the deadline passes first, the
    /// error is the number of records still due.
    pub(crate) fn wait_until_ended(&self, deadline: Deadline) -> Result<(), u64> {
        let waited = self.wait_for(deadline, |inner| inner.is_at_rest());
        waited.map_err(|inner| inner.due()).map(drop)
    }

    /// What is left of the calls that a collection has queued.
    pub(crate) fn outstanding(&self, collection: u64) -> Outstanding {
        self.outstanding_of(&self.inner.lock(), collection)
    }

    /// What is left of these calls in each lane, for lanes with any. Those that were dropped are in
    /// no lane.
    pub(crate) fn outstanding_by_lane(&self, collection: u64) -> Vec<(LaneId, Outstanding)> {
        let mut inner = self.inner.lock();
        inner.purge();
        let of_lane = |lane: &Lane| {
            let mut left = Outstanding::default();
            for waiting in lane.blocks() {
                let parts = waiting.parts.iter().filter(|(of, _)| *of == collection);
                left.queued += parts.map(|(_, records)| records.len() as u64).sum::<u64>();
            }
            for (runner, running) in lane.running() {
                left.queued += running.part_of(collection);
                running.correct(collection, &mut left, &runner.turn.cells);
            }
            for stuck in inner.stuck.iter().filter(|stuck| stuck.lane() == lane.id) {
                left.queued += stuck.part_of(collection);
                stuck.correct(collection, &mut left);
            }
            (!left.is_nothing()).then_some((lane.id, left))
        };
        inner.lanes.iter().filter_map(of_lane).collect()
    }

    pub(super) fn outstanding_of(&self, inner: &Inner, collection: u64) -> Outstanding {
        let mut outstanding = inner.tickets.of(collection);
        for (runner, running) in inner.lanes.iter().flat_map(Lane::running) {
            running.correct(collection, &mut outstanding, &runner.turn.cells);
        }
        for stuck in inner.stuck.iter() {
            stuck.correct(collection, &mut outstanding);
        }
        outstanding
    }

    /// Waits until no call of this collection is left, or the deadline passes. Returns what is left
    /// then.
    pub(crate) fn wait_for_collection(&self, collection: u64, deadline: Deadline) -> Outstanding {
        let over = |inner: &mut Inner| {
            for runner in inner.lanes.iter_mut().flat_map(|lane| &mut lane.runners) {
                if let Some(running) = &mut runner.running {
                    running.mark(collection, &runner.turn.cells);
                }
            }
            self.outstanding_of(inner, collection).is_over()
        };
        match self.wait_for(deadline, over) {
            Ok(inner) | Err(inner) => self.outstanding_of(&inner, collection),
        }
    }

    fn wait_for(
        &self,
        deadline: Deadline,
        met: impl Fn(&mut Inner) -> bool,
    ) -> Result<Held<'_, Inner>, Held<'_, Inner>> {
        let mut inner = self.inner.lock();
        while !met(&mut inner) {
            let left = deadline.left();
            if left.is_zero() {
                return Err(inner);
            }
            inner = inner.wait_timeout(&self.settled, left);
        }
        Ok(inner)
    }
}
