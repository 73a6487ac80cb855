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
//!
//! Released types are a third reason, which the universe of types knows.
//!
//! All reasons are bits of one flag, which generated code tests too.
#![forbid(unsafe_code)]

use super::HeapOptions;
use crate::base::lock::{Lock, Rank};
use crate::types::{ReleasedFlag, Types};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};

/// External bytes alone make a collection due only after this many statements of them.
const MIN_STATEMENTS: usize = 32;

/// What only finalization has kept counts this part of what is alive. So the pace of a steady state
/// does not depend on it as long as finalizers run within so many collections.
const PENDING: usize = 8;

/// In the flag of [`Pacing`]: a collection is due for what was allocated or stated.
const DUE: u32 = 2;
/// In the same flag: every safepoint collects.
const STRESSED: u32 = 4;
/// In the same flag: a collection is due for types that were released.
const RELEASED: u32 = 8;

/// Bytes that a collection found alive, and bytes that it kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Reached from roots.
    pub(crate) live: usize,
    /// `live`, and bytes that only finalization has kept.
    pub(crate) all: usize,
}

/// What triggers are computed from.
#[derive(Debug)]
struct Rule {
    /// `None`: never due.
    percent: Option<u32>,
    /// What the last collection has found, in the heap and outside.
    heap: Kept,
    external: Kept,
}

#[derive(Debug)]
pub(super) struct Pacing {
    rule: Lock<Rule>,
    stressed: bool,
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
    /// Bits [`DUE`], [`STRESSED`] and [`RELEASED`], beside bits of others.
    wanted: Arc<AtomicU32>,
}

impl Pacing {
    pub(super) fn new(percent: Option<u32>, stressed: bool, types: &Types) -> Pacing {
        let rule = Rule {
            percent: None,
            heap: Kept::default(),
            external: Kept::default(),
        };
        let pacing = Pacing {
            rule: Lock::new(Rank::Pace, rule),
            stressed,
            allocated: AtomicUsize::new(0),
            trigger: AtomicUsize::new(usize::MAX),
            external: AtomicUsize::new(0),
            statements: AtomicUsize::new(0),
            external_trigger: AtomicUsize::new(usize::MAX),
            external_due: AtomicBool::new(false),
            wanted: Arc::new(AtomicU32::new(0)),
        };
        pacing.set_percent(percent, types);
        pacing
    }

    /// Sets the percentage of the universe's heap, from now on. Returns the one before.
    pub(super) fn set_percent(&self, percent: Option<u32>, types: &Types) -> Option<u32> {
        let mut rule = self.rule.lock();
        let before = std::mem::replace(&mut rule.percent, percent);
        self.compute(&rule);
        self.set_bit(STRESSED, self.stressed && percent.is_some());
        types.tell_released(percent.map(|_| ReleasedFlag {
            word: self.wanted.clone(),
            bit: RELEASED,
        }));
        before
    }

    fn set_bit(&self, bit: u32, on: bool) {
        match on {
            true => self.wanted.fetch_or(bit, AcqRel),
            false => self.wanted.fetch_and(!bit, AcqRel),
        };
    }

    /// The flag in which a bit is set while a collection is due.
    pub(super) fn wanted(&self) -> &Arc<AtomicU32> {
        &self.wanted
    }

    /// Sets or clears the bit for what was allocated or stated. Threads do so at the same time: the
    /// one that changed the flag last has seen what the others changed before.
    fn tell(&self) {
        let passed = || self.allocated() > self.trigger() || self.external_due.load(Relaxed);
        let mut due = passed();
        loop {
            self.set_bit(DUE, due);
            match passed() {
                now if now == due => return,
                now => due = now,
            }
        }
    }

    /// Whether a collection is due, for whichever reason.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.wanted.load(Relaxed) & (DUE | STRESSED | RELEASED) != 0
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

    /// Starts anew after a collection, with the world stopped. Returns the next trigger, in bytes.
    pub(super) fn restart(&self, heap: Kept, external: Kept) -> usize {
        let mut rule = self.rule.lock();
        (rule.heap, rule.external) = (heap, external);
        self.allocated.store(0, Relaxed);
        self.external.store(0, Relaxed);
        self.statements.store(0, Relaxed);
        self.compute(&rule);
        self.trigger()
    }

    /// Computes the triggers, and whether a collection is due by them.
    fn compute(&self, rule: &Rule) {
        let trigger = rule.next(rule.heap, HeapOptions::MIN_TRIGGER);
        self.trigger.store(trigger, Relaxed);
        let external = rule.next(rule.external, HeapOptions::MIN_EXTERNAL_TRIGGER);
        self.external_trigger.store(external, Relaxed);
        let enough = self.statements.load(Relaxed) >= MIN_STATEMENTS;
        let passed = enough && self.external.load(Relaxed) > external;
        self.external_due.store(passed, Relaxed);
        self.tell();
    }
}

impl Rule {
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

    fn pacing_of(percent: Option<u32>) -> Pacing {
        Pacing::new(percent, false, &Types::new())
    }

    fn kept(live: usize, all: usize) -> Kept {
        Kept { live, all }
    }

    #[test]
    fn what_only_finalization_keeps_counts_an_eighth() {
        let pacing = pacing_of(Some(100));
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
        let lazy = pacing_of(Some(50));
        assert_eq!(lazy.restart(kept(100 * MIB, 100 * MIB), none), 50 * MIB);
        let never = pacing_of(None);
        assert_eq!(never.restart(kept(MIB, MIB), none), usize::MAX);
    }

    #[test]
    fn external_bytes_make_a_collection_due_and_a_wrong_hint_no_storm() {
        // How many collections 10,000 objects make that own so much each, of which this many are
        // alive at a time.
        let collections = |bytes: usize, live: usize| {
            let pacing = pacing_of(Some(100));
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
        let never = pacing_of(None);
        (0..100).for_each(|_| never.state_external(usize::MAX));
        assert!(!never.is_due());
    }

    #[test]
    fn a_new_percentage_holds_at_once() {
        let (types, none) = (Types::new(), Kept::default());
        let pacing = Pacing::new(Some(100), false, &types);
        pacing.restart(kept(100 * MIB, 100 * MIB), none);
        pacing.add(60 * MIB);
        let steps = [
            (Some(50), true),
            (Some(100), false),
            (None, false),
            (Some(0), true),
            (Some(u32::MAX), false),
        ];
        let mut before = Some(100);
        for (percent, due) in steps {
            assert_eq!(pacing.set_percent(percent, &types), before);
            assert_eq!(pacing.is_due(), due, "{percent:?}");
            before = percent;
        }
        (0..MIN_STATEMENTS).for_each(|_| pacing.state_external(MIB));
        pacing.state_external(MIB);
        assert!(pacing.is_due());
        pacing.set_percent(None, &types);
        assert!(!pacing.is_due());
        pacing.set_percent(Some(u32::MAX), &types);
        assert!(pacing.is_due(), "what was stated is not forgotten");
    }

    #[test]
    fn stress_is_over_while_nothing_is_ever_due() {
        let types = Types::new();
        let pacing = Pacing::new(None, true, &types);
        assert!(!pacing.is_due());
        pacing.set_percent(Some(100), &types);
        assert!(pacing.is_due());
        pacing.set_percent(None, &types);
        assert!(!pacing.is_due());
    }
}
