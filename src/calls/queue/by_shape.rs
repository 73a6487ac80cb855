//! The counts of a queue's calls by their shape. Calls that have ended are counted a block at a
//! time; those that have not are counted when somebody asks.
#![forbid(unsafe_code)]

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use fing_stubs::Record;

use super::block::Block;
use super::inner::Inner;
use super::kinds::{Backlog, ByKind, CallKind, Fates};
use super::lane::Lane;
use super::record::Tag;
use super::{Queue, Slot};

/// What has become of the calls of one shape.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OfShape {
    pub(crate) fates: Fates,
    pub(crate) backlog: Backlog,
}

/// Calls that have ended, by the index of their shape.
#[derive(Debug, Default)]
pub(super) struct Ended(Vec<Fates>);

impl Ended {
    fn of(&mut self, shape: u32) -> &mut Fates {
        let at = shape as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, Fates::default());
        }
        &mut self.0[at]
    }

    /// Counts a call with each of these tags.
    pub(super) fn add(&mut self, tags: &[Tag], fate: fn(&mut Fates) -> &mut ByKind) {
        for same in tags.chunk_by(|a, b| a == b) {
            self.add_equal(same[0], same.len(), fate);
        }
    }

    /// Counts so many calls with this tag.
    pub(super) fn add_equal(
        &mut self,
        tag: Tag,
        calls: usize,
        fate: fn(&mut Fates) -> &mut ByKind,
    ) {
        fate(self.of(tag.shape())).add(tag.kind(), calls);
    }

    /// Counts a call that was cancelled.
    pub(super) fn cancel(&mut self, shape: u32, kind: CallKind) {
        self.of(shape).cancelled.add(kind, 1);
    }

    /// Counts some calls no longer.
    pub(super) fn take(&mut self, tag: Tag, calls: usize, fate: fn(&mut Fates) -> &mut ByKind) {
        let mut some = ByKind::default();
        some.add(tag.kind(), calls);
        fate(self.of(tag.shape())).take(some);
    }
}

impl Inner {
    /// Adds what has not ended to what has.
    fn by_shape(&self) -> HashMap<u32, OfShape> {
        let ended = (0..).zip(&self.ended.0);
        let ended = ended.filter(|(_, fates)| **fates != Fates::default());
        let mut all: HashMap<u32, OfShape> = ended
            .map(|(shape, &fates)| {
                let backlog = Backlog::default();
                (shape, OfShape { fates, backlog })
            })
            .collect();
        let now = Instant::now();
        for waiting in self.blocks() {
            let age = now.saturating_duration_since(waiting.since);
            let tags = waiting.tags();
            let (each, bytes) = match waiting.is_packed() {
                true => (waiting.len(), size_of::<u64>()),
                false => (1, size_of::<Slot>() + size_of::<Tag>()),
            };
            for (n, tag) in tags.iter().enumerate() {
                let records = n..n + each;
                let external = records.map(|n| u128::from(waiting.owned(n).external)).sum();
                let of = all.entry(tag.shape()).or_default();
                of.fates.waiting.add(tag.kind(), each);
                of.wait(each, age, each * bytes, external);
            }
        }
        for (runner, running) in self.lanes.iter().flat_map(Lane::running) {
            let at = running.progress(&runner.turn.cells);
            let age = now.saturating_duration_since(running.since);
            for (n, tag) in running.block.tags().iter().enumerate() {
                if running.is_taken(n) {
                    continue;
                }
                let of = all.entry(tag.shape()).or_default();
                let external = u128::from(running.block.owned(n).external);
                match n.cmp(&at) {
                    Less => of.fates.executed.add(tag.kind(), 1),
                    Equal => {
                        of.fates.running.add(tag.kind(), 1);
                        of.wait(0, age, 0, external);
                    }
                    Greater => {
                        of.fates.waiting.add(tag.kind(), 1);
                        let bytes = size_of::<Record>() + size_of::<Tag>();
                        of.wait(1, age, bytes, external);
                    }
                }
            }
            for &(tag, calls, lost) in &runner.skipped {
                let of = all.entry(tag.shape()).or_default();
                let mut some = ByKind::default();
                some.add(tag.kind(), calls);
                of.fates.executed.take(some);
                let fate = match lost {
                    true => &mut of.fates.discarded,
                    false => &mut of.fates.quarantined,
                };
                fate.add_all(some);
            }
        }
        for stuck in self.stuck.iter() {
            for (n, (_, tag)) in stuck.entries().enumerate() {
                let of = all.entry(tag.shape()).or_default();
                of.fates.running.add(tag.kind(), 1);
                of.wait(0, Duration::ZERO, 0, stuck.external_of(n).into());
            }
        }
        all
    }

    /// Counts the calls of the block at this place, which has ended: those in front of number
    /// `reached` as executed, those behind it as discarded, but for those that were cancelled or
    /// are another thread's.
    pub(super) fn end_by_shape(&mut self, (lane, seat): (usize, usize), reached: usize) {
        let Inner { ended, lanes, .. } = self;
        let runner = &lanes[lane].runners[seat];
        let Some(running) = &runner.running else {
            return;
        };
        let tags = running.block.tags();
        let (done, dropped) = tags.split_at(reached.min(tags.len()));
        count(ended, &running.block, done, |fates| &mut fates.executed);
        count(ended, &running.block, dropped, |fates| &mut fates.discarded);
        for n in running.taken() {
            match n < done.len() {
                true => ended.take(tags[n], 1, |fates| &mut fates.executed),
                false => ended.take(tags[n], 1, |fates| &mut fates.discarded),
            }
        }
        for &(tag, calls, lost) in &runner.skipped {
            ended.take(tag, calls, |fates| &mut fates.executed);
            match lost {
                true => ended.add_equal(tag, calls, |fates| &mut fates.discarded),
                false => ended.add_equal(tag, calls, |fates| &mut fates.quarantined),
            }
        }
    }
}

fn count(ended: &mut Ended, block: &Block, tags: &[Tag], fate: fn(&mut Fates) -> &mut ByKind) {
    match tags.first() {
        Some(&first) if block.is_uniform() => ended.add_equal(first, tags.len(), fate),
        _ => ended.add(tags, fate),
    }
}

impl OfShape {
    /// Adds calls that have not ended, of which so many have not begun.
    fn wait(&mut self, waiting: usize, age: Duration, bytes: usize, external: u128) {
        let external = usize::try_from(external).unwrap_or(usize::MAX);
        let backlog = &mut self.backlog;
        backlog.calls += waiting as u64;
        backlog.age = backlog.age.max(age);
        backlog.bytes += bytes;
        backlog.external_bytes = backlog.external_bytes.saturating_add(external);
    }
}

impl Queue {
    /// What has become of the calls of each shape that has or had any.
    pub(crate) fn by_shape(&self) -> HashMap<u32, OfShape> {
        let mut inner = self.inner.lock();
        inner.purge();
        inner.by_shape()
    }

    /// Forgets the calls of shapes that are no more, whose indices others will have.
    pub(crate) fn forget_shapes(&self, shapes: &[u32]) {
        let mut inner = self.inner.lock();
        for &shape in shapes {
            if let Some(fates) = inner.ended.0.get_mut(shape as usize) {
                *fates = Fates::default();
            }
        }
    }
}
