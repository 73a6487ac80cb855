//! Taking calls back, as if they had never been queued: in topological order a collection does so
//! with the finalizers of objects that became reachable before their turn.
#![forbid(unsafe_code)]

use fing_stubs::Record;

use super::Queue;
use super::kinds::CallKind;
use super::lane::Lane;
use super::record::Tag;

/// A record that was taken back.
pub(crate) struct Withdrawn {
    /// The collection that queued it.
    pub(super) collection: Option<u64>,
    pub(crate) tag: Tag,
    pub(crate) record: Record,
    /// That of a watcher.
    pub(crate) number: u64,
}

/// Whether a record with this object is that of a finalizer, and `wanted` takes it.
pub(super) fn is_wanted(tag: Tag, object: u64, wanted: impl Fn(u64, Tag) -> bool) -> bool {
    tag.kind() == CallKind::Finalizer && wanted(object, tag)
}

impl Queue {
    /// Takes back the finalizers whose object and tag `wanted` takes and whose call has not begun,
    /// and returns them. They count as cancelled. What waits keeps its order.
    pub(crate) fn withdraw(&self, wanted: impl Fn(u64, Tag) -> bool) -> Vec<Withdrawn> {
        let mut inner = self.inner.lock();
        inner.purge();
        inner.cancelled.forget_index();
        let blocks = inner.lanes.iter_mut().flat_map(Lane::blocks_mut);
        let mut all: Vec<Withdrawn> = blocks.flat_map(|block| block.withdraw(&wanted)).collect();
        for runner in inner.lanes.iter_mut().flat_map(|lane| &mut lane.runners) {
            if let Some(running) = &mut runner.running {
                all.extend(running.withdraw(&wanted, &runner.turn.cells));
            }
        }
        for collection in all.iter().filter_map(|taken| taken.collection) {
            inner.tickets.done(collection, 1);
        }
        let cancelled = &mut inner.counts.fates.cancelled;
        cancelled.add(CallKind::Finalizer, all.len());
        for taken in &all {
            inner.ended.cancel(taken.tag.shape(), taken.tag.kind());
        }
        inner.weigh();
        inner.forget_cancelled();
        self.gauge(&mut inner);
        self.settled.notify_all();
        all
    }
}
