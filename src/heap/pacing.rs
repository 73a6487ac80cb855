//! When the next collection is due.
//!
//! A collection is worth its time when the mutators have allocated about as much as was alive at
//! the end of the last one. *Alive* is what was reached from roots. What only finalization has kept
//! (objects that were revived, and objects that wait in the queue since an earlier collection) is
//! mostly garbage in the next collection: it does not count as alive, or a steady state would
//! collect less and less often. An eighth of it is a lower bound, so that while a finalizer is
//! stuck, a long queue is not traced again after every few megabytes of allocation.
//!
//! Memory outside the heap that objects own is counted separately, by the same rule. Two bounds
//! keep wrong figures from causing collections without end: such memory alone makes a collection
//! due only when at least [`HeapOptions::MIN_EXTERNAL_TRIGGER`] bytes were stated for at least
//! [`MIN_STATEMENTS`] objects since the last one.
#![forbid(unsafe_code)]

use super::HeapOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// External bytes alone make a collection due only after this many statements of them.
const MIN_STATEMENTS: usize = 32;

/// What only finalization has kept counts this part of what is alive. So the pace of a steady state
/// does not depend on it as long as finalizers run within so many collections.
const PENDING: usize = 8;

/// In the flag of [`Pacing`]: a collection is due.
const DUE: u32 = 2;
/// In the same flag: every safepoint collects.
const STRESSED: u32 = 4;

/// Bytes that a collection found alive, and bytes that it kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Reached from roots.
    pub(crate) live: usize,
    /// `live`, and bytes that only finalization has kept.
    pub(crate) all: usize,
}

#[derive(Debug)]
pub(super) struct Pacing {
    /// `None`: never due.
    percent: Option<u32>,
    /// Bytes of cells handed to mutators since the last collection.
    allocated: AtomicUsize,
    /// A collection is due when `allocated` passes it.
    trigger: AtomicUsize,
    /// External bytes stated since the last collection.
    external: AtomicUsize,
    statements: AtomicUsize,
    external_trigger: AtomicUsize,
    /// Whether `external` has made a collection due.
    external_due: AtomicBool,
    /// Bits [`DUE`] and [`STRESSED`], beside bits of others: for generated code to test.
    wanted: Arc<AtomicU32>,
}

impl Pacing {
    pub(super) fn new(percent: Option<u32>, stressed: bool) -> Pacing {
        let at_least = |bytes| percent.map_or(usize::MAX, |_| bytes);
        Pacing {
            percent,
            allocated: AtomicUsize::new(0),
            trigger: AtomicUsize::new(at_least(HeapOptions::MIN_TRIGGER)),
            external: AtomicUsize::new(0),
            statements: AtomicUsize::new(0),
            external_trigger: AtomicUsize::new(at_least(HeapOptions::MIN_EXTERNAL_TRIGGER)),
            external_due: AtomicBool::new(false),
            wanted: Arc::new(AtomicU32::new(if stressed { STRESSED } else { 0 })),
        }
    }

    /// The flag in which a bit is set while a collection is due.
    pub(super) fn wanted(&self) -> &Arc<AtomicU32> {
        &self.wanted
    }

    /// Sets or clears the bit that a collection is due.
    fn tell(&self) {
        match self.is_due() {
            true => self.wanted.fetch_or(DUE, Relaxed),
            false => self.wanted.fetch_and(!DUE, Relaxed),
        };
    }

    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.allocated() > self.trigger() || self.external_due.load(Relaxed)
    }

    pub(super) fn allocated(&self) -> usize {
        self.allocated.load(Relaxed)
    }

    pub(super) fn trigger(&self) -> usize {
        self.trigger.load(Relaxed)
    }

    pub(super) fn external_trigger(&self) -> usize {
        self.external_trigger.load(Relaxed)
    }

    /// Counts cells of this many bytes that were handed to a mutator.
    pub(super) fn add(&self, bytes: usize) {
        let before = self.allocated.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > self.trigger() {
            self.tell();
        }
    }

    /// Subtracts cells of this many bytes that a mutator gave back unused.
    pub(super) fn take_back(&self, bytes: usize) {
        let before = self.allocated.fetch_sub(bytes, Relaxed);
        if before > self.trigger() {
            self.tell();
        }
    }

    /// Counts this many external bytes that an object owns more than was stated before.
    pub(super) fn state_external(&self, bytes: usize) {
        let add = |before: usize| Some(before.saturating_add(bytes));
        let before = self.external.fetch_update(Relaxed, Relaxed, add);
        let stated = before.unwrap_or_default().saturating_add(bytes);
        let statements = self.statements.fetch_add(1, Relaxed) + 1;
        if statements >= MIN_STATEMENTS && stated > self.external_trigger() {
            self.external_due.store(true, Relaxed);
            self.tell();
        }
    }

    /// Starts anew after a collection. Returns the next trigger, in bytes.
    pub(super) fn restart(&self, heap: Kept, external: Kept) -> usize {
        let trigger = self.next(heap, HeapOptions::MIN_TRIGGER);
        self.trigger.store(trigger, Relaxed);
        self.allocated.store(0, Relaxed);
        let external = self.next(external, HeapOptions::MIN_EXTERNAL_TRIGGER);
        self.external_trigger.store(external, Relaxed);
        self.external.store(0, Relaxed);
        self.statements.store(0, Relaxed);
        self.external_due.store(false, Relaxed);
        self.tell();
        trigger
    }

    fn next(&self, kept: Kept, at_least: usize) -> usize {
        let Some(percent) = self.percent else {
            return usize::MAX;
        };
        let part = |bytes: usize| {
            let part = bytes as u128 * u128::from(percent) / 100;
            usize::try_from(part).unwrap_or(usize::MAX)
        };
        let pending = kept.all.saturating_sub(kept.live);
        part(kept.live).max(part(pending) / PENDING).max(at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn kept(live: usize, all: usize) -> Kept {
        Kept { live, all }
    }

    #[test]
    fn what_only_finalization_keeps_counts_an_eighth() {
        let pacing = Pacing::new(Some(100), false);
        let none = Kept::default();
        let next = |live, all| pacing.restart(kept(live * MIB, all * MIB), none) / MIB;
        assert_eq!(next(0, 0), 4);
        assert_eq!(next(100, 100), 100);
        assert_eq!(next(100, 200), 100, "revived as much as is alive");
        assert_eq!(next(100, 900), 100, "a queue of eight collections");
        assert_eq!(next(100, 1700), 200, "a long queue");
        // A steady state in which all that dies is still queued at the next collection.
        let mut trigger = 100;
        for _ in 0..50 {
            trigger = next(100, 100 + 6 * trigger);
        }
        assert_eq!(trigger, 100);
        let lazy = Pacing::new(Some(50), false);
        assert_eq!(lazy.restart(kept(100 * MIB, 100 * MIB), none), 50 * MIB);
        let never = Pacing::new(None, false);
        assert_eq!(never.restart(kept(MIB, MIB), none), usize::MAX);
    }

    #[test]
    fn external_bytes_make_a_collection_due_and_a_wrong_hint_no_storm() {
        // How many collections 10,000 objects make that own so much each, of which this many are
        // alive at a time.
        let collections = |bytes: usize, live: usize| {
            let pacing = Pacing::new(Some(100), false);
            let mut collections = 0;
            for object in 1..=10_000 {
                pacing.state_external(bytes);
                if pacing.is_due() {
                    collections += 1;
                    let live = live.min(object) * bytes;
                    pacing.restart(Kept::default(), kept(live, live));
                }
            }
            collections
        };
        for live in [1, 32, 100, 1000] {
            let (right, wrong) = (collections(MIB, live), collections(1000 * MIB, live));
            assert!(right >= 8, "{live} alive: {right} collections");
            assert!(wrong <= 2 * right, "{live} alive: {right}, then {wrong}");
        }
        assert_eq!(collections(0, 1), 0);
        let never = Pacing::new(None, false);
        (0..100).for_each(|_| never.state_external(usize::MAX));
        assert!(!never.is_due());
    }
}
