//! Stopping the world: which members may touch the heap now, and which thread collects.
//!
//! A member (one `Mutator`) is *running* or *parked*. Running members may touch objects; a
//! collection starts when none is running, and none starts to run before it has ended. A running
//! member parks at safepoints and for the length of a native call.
//!
//! Each member has a [`Slot`], one word that its own thread and a collector change by atomic
//! exchanges. A thread enters and parks by one exchange on its own slot, without a lock. A
//! collector sets [`STOP`] in every slot. That makes the exchange of a thread that wants to enter
//! fail, so that it waits; and that of one that parks, so that it wakes the collector. As both
//! sides use one word, neither can miss the other.
//!
//! This file knows a thread only by the key that it is given, so that a model checker can run it;
//! `threads` keeps what is known of the calling thread.
#![forbid(unsafe_code)]

use std::sync::Arc;
// Not `sync`'s: read by the thread that wrote it only.
use std::sync::atomic::AtomicBool;

use crate::base::lock::{Condvar, Held, Lock, Rank};
use crate::base::sync::{AtomicU32, Ordering};

/// Identifies a thread as long as it lives.
pub(crate) type ThreadKey = usize;

/// No mutator uses the slot.
const FREE: u32 = 0;
/// Its mutator is in a native region.
const PARKED: u32 = 1;
/// Its mutator may touch objects.
const RUNNING: u32 = 2;
/// Its mutator lost its right to touch objects; see [`World::revoke`].
const REVOKED: u32 = 4;
/// Added to one of the others: a thread stops the world, or has stopped it.
const STOP: u32 = 8;

/// The state of one member. Its own thread changes all bits but [`STOP`], collectors that one.
#[derive(Debug)]
pub(crate) struct Slot(AtomicU32);

impl Slot {
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.0.load(Ordering::Acquire) & RUNNING != 0
    }

    /// Whether a mutator uses the slot.
    pub(crate) fn is_in_use(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (RUNNING | PARKED) != 0
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.0.load(Ordering::Relaxed) & REVOKED != 0
    }

    /// Whether the world is stopped or about to be.
    pub(crate) fn must_stop(&self) -> bool {
        self.0.load(Ordering::Relaxed) & STOP != 0
    }

    /// Whether it runs, and no thread waits for it to park.
    #[inline]
    pub(crate) fn runs_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) == RUNNING
    }

    /// Replaces the state, and leaves [`STOP`] as it is. Returns the state before.
    fn set(&self, state: u32) -> u32 {
        let keep = |now: u32| Some(now & STOP | state);
        let before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, keep);
        before.unwrap_or_else(|now| now)
    }

    /// Changes the state unless [`STOP`] is set. Returns whether it did.
    #[inline]
    fn change(&self, from: u32, to: u32) -> bool {
        let changed = self
            .0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        changed.is_ok()
    }
}

/// The calling thread has stopped the world, and would wait for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoppedByCaller;

#[derive(Debug, Default)]
struct State {
    slots: Vec<Arc<Slot>>,
    collector: Option<ThreadKey>,
}

/// The members of one runtime.
#[derive(Debug)]
pub(crate) struct World {
    state: Lock<State>,
    changed: Condvar,
    /// Whether a member was revoked.
    revoked: Arc<AtomicBool>,
}

impl World {
    /// A world without members, that sets `revoked` before it revokes one.
    pub(crate) fn new(revoked: Arc<AtomicBool>) -> Arc<World> {
        Arc::new(World {
            state: Lock::new(Rank::World, State::default()),
            changed: Condvar::new(),
            revoked,
        })
    }

    /// Adds a slot that no mutator uses.
    pub(crate) fn register(&self) -> Arc<Slot> {
        let mut state = self.state.lock();
        let stop = if state.collector.is_some() { STOP } else { 0 };
        let slot = Arc::new(Slot(AtomicU32::new(FREE | stop)));
        state.slots.push(slot.clone());
        slot
    }

    /// Removes a slot.
    pub(crate) fn unregister(&self, slot: &Arc<Slot>) {
        let mut state = self.state.lock();
        state.slots.retain(|other| !Arc::ptr_eq(other, slot));
        drop(state);
        self.changed.notify_all();
    }

    /// Makes the member of a free or parked slot running, after any collection under way.
    #[inline]
    pub(crate) fn enter(&self, slot: &Slot, thread: ThreadKey) -> Result<(), StoppedByCaller> {
        if slot.change(FREE, RUNNING) {
            return Ok(());
        }
        self.enter_slowly(slot, thread)
    }

    /// As [`World::enter`], for a member that is parked.
    #[inline]
    pub(crate) fn unpark(&self, slot: &Slot, thread: ThreadKey) -> Result<(), StoppedByCaller> {
        if slot.change(PARKED, RUNNING) {
            return Ok(());
        }
        self.enter_slowly(slot, thread)
    }

    #[cold]
    fn enter_slowly(&self, slot: &Slot, thread: ThreadKey) -> Result<(), StoppedByCaller> {
        let state = self.state.lock();
        if state.collector == Some(thread) {
            return Err(StoppedByCaller);
        }
        // The next collector needs the lock, which is held until the member runs.
        let _state = self.wait_for_no_collector(state);
        slot.set(RUNNING);
        Ok(())
    }

    /// Parks a running member: it must not touch the heap until [`World::unpark`].
    #[inline]
    pub(crate) fn park(&self, slot: &Slot) {
        if !slot.change(RUNNING, PARKED) {
            self.stop_running(slot, PARKED);
        }
    }

    /// Ends a running member. Its slot is free then.
    #[inline]
    pub(crate) fn leave(&self, slot: &Slot) {
        if !slot.change(RUNNING, FREE) {
            self.stop_running(slot, FREE);
        }
    }

    #[cold]
    fn stop_running(&self, slot: &Slot, to: u32) {
        // A collector looks at the slots with the lock held, until it waits for `changed`.
        let state = self.state.lock();
        slot.set(to);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes the right to touch objects from a member for good, and removes its slot. Only on the
    /// member's own thread.
    pub(crate) fn revoke(&self, slot: &Arc<Slot>) {
        self.revoked.store(true, Ordering::Relaxed);
        slot.set(REVOKED);
        self.unregister(slot);
    }

    /// Parks if a thread waits for that, until the collection is over. Returns whether it did.
    #[inline]
    pub(crate) fn poll(&self, slot: &Slot, thread: impl FnOnce() -> ThreadKey) -> bool {
        let stop = slot.must_stop();
        if stop {
            self.park(slot);
            let unparked = self.unpark(slot, thread());
            debug_assert_eq!(
                unparked,
                Ok(()),
                "a running member's thread has stopped nothing"
            );
        }
        stop
    }

    /// Stops the world: returns when no member is running. `own`: the running member of the calling
    /// thread, if any, which is parked meanwhile. Waits for a collection of another thread first.
    /// The caller has checked that it has no other running member and has not stopped the world.
    pub(crate) fn stop<'w>(&'w self, own: Option<&'w Slot>, thread: ThreadKey) -> Stopped<'w> {
        let mut state = self.state.lock();
        if let Some(own) = own {
            own.set(PARKED);
            self.changed.notify_all();
        }
        state = self.wait_for_no_collector(state);
        state.collector = Some(thread);
        for slot in &state.slots {
            slot.0.fetch_or(STOP, Ordering::AcqRel);
        }
        while state.slots.iter().any(|slot| slot.is_running()) {
            state = state.wait(&self.changed);
        }
        Stopped { world: self, own }
    }

    /// Whether this thread has stopped the world.
    pub(crate) fn is_stopped_by(&self, thread: ThreadKey) -> bool {
        self.state.lock().collector == Some(thread)
    }

    fn wait_for_no_collector<'a>(&self, mut state: Held<'a, State>) -> Held<'a, State> {
        while state.collector.is_some() {
            state = state.wait(&self.changed);
        }
        state
    }

    /// The number of members, and how many of them are running.
    pub(crate) fn members(&self) -> (usize, usize) {
        let state = self.state.lock();
        let count = |is: fn(&Slot) -> bool| state.slots.iter().filter(|slot| is(slot)).count();
        (count(Slot::is_in_use), count(Slot::is_running))
    }

    /// The number of slots, free ones included.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.state.lock().slots.len()
    }
}

/// The stopped world. Dropping this lets the members run again.
#[derive(Debug)]
pub(crate) struct Stopped<'w> {
    world: &'w World,
    own: Option<&'w Slot>,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let mut state = self.world.state.lock();
        state.collector = None;
        for slot in &state.slots {
            slot.0.fetch_and(!STOP, Ordering::AcqRel);
        }
        if let Some(own) = self.own {
            own.set(RUNNING);
        }
        drop(state);
        self.world.changed.notify_all();
    }
}
