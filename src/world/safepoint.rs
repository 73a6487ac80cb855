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
//! A thread that makes many calls with its member, and looks between two of them at a word of its
//! own, can have that word changed by who stops the world: [`World::interrupts`].
//!
//! A thread that has to wait states for whom, in the table of `waiting`, and is refused if one of
//! those waits for it, in whatever runtime.
//!
//! This file knows a thread only by the key that it is given, so that a model checker can run it;
//! `threads` keeps what is known of the calling thread.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;
// Not `sync`'s: it orders nothing.
use std::sync::atomic::AtomicU32 as Flag;

use super::waiting::{ThreadKey, Waiting};
use crate::base::deadline::Deadline;
use crate::base::lock::{Condvar, Held, Lock, Rank};
use crate::base::sync::{AtomicU32, Ordering, fence};
use crate::base::trust::Trust;

/// How often a thread that waits looks whether it has to give up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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

/// In the flag of [`World::new`]: a thread stops the world, or has stopped it.
pub(crate) const STOP_WANTED: u32 = 1;

/// The state of one member. Its own thread changes all bits but [`STOP`], collectors that one.
#[derive(Debug)]
pub(crate) struct Slot {
    state: AtomicU32,
    /// The thread that made it, whose mutators use it.
    thread: ThreadKey,
}

impl Slot {
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) & RUNNING != 0
    }

    /// Whether a mutator uses the slot.
    pub(crate) fn is_in_use(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (RUNNING | PARKED) != 0
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & REVOKED != 0
    }

    /// Whether the world is stopped or about to be.
    pub(crate) fn must_stop(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STOP != 0
    }

    /// Whether it runs, and no thread waits for it to park.
    #[inline]
    pub(crate) fn runs_on(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNNING
    }

    /// Replaces the state, and leaves [`STOP`] as it is. Returns the state before.
    fn set(&self, state: u32) -> u32 {
        let keep = |now: u32| Some(now & STOP | state);
        let before = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, keep);
        before.unwrap_or_else(|now| now)
    }

    /// Changes the state unless [`STOP`] is set. Returns whether it did.
    #[inline]
    fn change(&self, from: u32, to: u32) -> bool {
        let changed = self
            .state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        changed.is_ok()
    }
}

/// Calls that a thread makes one after another.
pub(crate) trait Interrupt: std::fmt::Debug + Send + Sync {
    /// Has the thread look at its member in front of the next call.
    fn interrupt(&self);
}

/// Why a thread does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has stopped the world, and would wait for itself.
    StoppedByCaller,
    /// It would wait for threads that wait for it.
    Deadlock,
    /// The deadline has passed.
    Timeout,
    /// It would wait for threads that are not in this process.
    Forked {
        /// The process that made the world.
        owner: u32,
        /// This process.
        found: u32,
    },
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Arc<Slot>>,
    collector: Option<ThreadKey>,
    /// Whether the collector waits no more: no member is running.
    stopped: bool,
    /// Calls that members make, to be interrupted by who stops the world.
    calls: Vec<(Arc<Slot>, Arc<dyn Interrupt>)>,
}

/// The members of one runtime.
#[derive(Debug)]
pub(crate) struct World {
    state: Lock<State>,
    changed: Condvar,
    /// Lost before a member is revoked.
    trust: Trust,
    /// Bit [`STOP_WANTED`], for code that looks at one word for all members.
    wanted: Arc<Flag>,
    /// The process that made it.
    owner: u32,
}

impl World {
    /// A world without members, whose heap is trusted until it revokes one, and that has
    /// [`STOP_WANTED`] set in `wanted` from when a thread begins to stop it until it goes on.
    pub(crate) fn new(trust: Trust, wanted: Arc<Flag>) -> Arc<World> {
        Arc::new(World {
            state: Lock::new(Rank::World, State::default()),
            changed: Condvar::new(),
            trust,
            wanted,
            owner: std::process::id(),
        })
    }

    /// Tells this world from others.
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// This thread begins to wait. `can_give_up`: whether a refusal can be returned.
    fn waiting(&self, thread: ThreadKey, can_give_up: bool) -> Result<Waiting, Refused> {
        let (owner, found) = (self.owner, std::process::id());
        match found == owner {
            true => Ok(Waiting::begin(self.key(), thread, can_give_up)),
            false => Err(Refused::Forked { owner, found }),
        }
    }

    /// This thread runs no more: those who wait here don't wait for it.
    fn is_no_obstacle(&self, state: &State, thread: ThreadKey) {
        if state.collector.is_some() {
            Waiting::resolve(self.key(), thread);
        }
    }

    /// Adds a slot of this thread, that no mutator uses.
    pub(crate) fn register(&self, thread: ThreadKey) -> Arc<Slot> {
        let mut state = self.state.lock();
        let stop = if state.collector.is_some() { STOP } else { 0 };
        let state_of_slot = AtomicU32::new(FREE | stop);
        let slot = Arc::new(Slot {
            state: state_of_slot,
            thread,
        });
        state.slots.push(slot.clone());
        slot
    }

    /// Removes a slot.
    pub(crate) fn unregister(&self, slot: &Arc<Slot>) {
        let mut state = self.state.lock();
        state.slots.retain(|other| !Arc::ptr_eq(other, slot));
        self.is_no_obstacle(&state, slot.thread);
        drop(state);
        self.changed.notify_all();
    }

    /// Removes the slots of a thread that no mutator uses.
    pub(crate) fn unregister_free(&self, thread: ThreadKey) {
        let mut state = self.state.lock();
        let is_other = |slot: &Arc<Slot>| slot.thread != thread || slot.is_in_use();
        state.slots.retain(is_other);
        self.is_no_obstacle(&state, thread);
        drop(state);
        self.changed.notify_all();
    }

    /// Makes the member of a free slot running, after any collection under way. `can_give_up`:
    /// whether the thread may be refused because others wait for it; if not, one of those is.
    #[inline]
    pub(crate) fn enter(
        &self,
        slot: &Slot,
        thread: ThreadKey,
        can_give_up: bool,
    ) -> Result<(), Refused> {
        if slot.change(FREE, RUNNING) {
            return Ok(());
        }
        self.enter_slowly(slot, thread, can_give_up)
    }

    /// As [`World::enter`], for a member that is parked. Its thread can't give up.
    #[inline]
    pub(crate) fn unpark(&self, slot: &Slot, thread: ThreadKey) -> Result<(), Refused> {
        if slot.change(PARKED, RUNNING) {
            return Ok(());
        }
        self.enter_slowly(slot, thread, false)
    }

    #[cold]
    fn enter_slowly(
        &self,
        slot: &Slot,
        thread: ThreadKey,
        can_give_up: bool,
    ) -> Result<(), Refused> {
        let state = self.state.lock();
        if state.collector == Some(thread) {
            return Err(Refused::StoppedByCaller);
        }
        // The next collector needs the lock, which is held until the member runs.
        let never = Deadline::after(Duration::MAX);
        let waited = self.wait_for_no_collector(state, slot.thread, can_give_up, never);
        let _state = waited.map_err(|(_, refused)| refused)?;
        slot.set(RUNNING);
        Ok(())
    }

    /// As [`World::unpark`], unless a thread stops the world: then the member stays parked. Returns
    /// whether it runs.
    pub(crate) fn unpark_at_once(&self, slot: &Slot) -> bool {
        slot.change(PARKED, RUNNING)
    }

    /// Parks a running member: it must not touch the heap until [`World::unpark`].
    #[inline]
    pub(crate) fn park(&self, slot: &Slot) {
        if !slot.change(RUNNING, PARKED) {
            self.stop_running(slot, PARKED);
        }
    }

    /// Ends a member, which runs or is parked. Its slot is free then.
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
        self.is_no_obstacle(&state, slot.thread);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes the right to touch objects from a member for good, and removes its slot. Only on the
    /// member's own thread.
    pub(crate) fn revoke(&self, slot: &Arc<Slot>) {
        self.trust.lose();
        slot.set(REVOKED);
        self.unregister(slot);
    }

    /// Parks if a thread waits for that, until the collection is over. Returns whether it did.
    #[inline]
    pub(crate) fn poll(
        &self,
        slot: &Slot,
        thread: impl FnOnce() -> ThreadKey,
    ) -> Result<bool, Refused> {
        let stop = slot.must_stop();
        if stop {
            self.park(slot);
            self.unpark(slot, thread())?;
        }
        Ok(stop)
    }

    /// Stops the world: returns when no member is running. `own`: the running member of the calling
    /// thread, if any, which is parked meanwhile. Waits for a collection of another thread first.
    /// The caller has checked that it has no other running member and has not stopped the world.
    ///
    /// # Errors
    /// All but [`Refused::StoppedByCaller`]; the member runs then.
    pub(crate) fn stop<'w>(
        &'w self,
        own: Option<&'w Slot>,
        thread: ThreadKey,
        deadline: Deadline,
    ) -> Result<Stopped<'w>, Refused> {
        let mut state = self.state.lock();
        if let Some(own) = own {
            own.set(PARKED);
            self.is_no_obstacle(&state, thread);
            self.changed.notify_all();
        }
        state = match self.wait_for_no_collector(state, thread, true, deadline) {
            Ok(state) => state,
            Err((state, refused)) => {
                self.go_on(state, own, refused);
                return Err(refused);
            }
        };
        state.collector = Some(thread);
        self.wanted.fetch_or(STOP_WANTED, Ordering::Relaxed);
        for slot in &state.slots {
            slot.state.fetch_or(STOP, Ordering::AcqRel);
        }
        // Whoever does not see STOP behind its own fence is interrupted after it has begun.
        fence(Ordering::SeqCst);
        state.calls.iter().for_each(|(_, calls)| calls.interrupt());
        let stopped = Stopped { world: self, own };
        let waited = self.wait_for_members(state, thread, deadline);
        waited.map(|()| stopped)
    }

    /// Has the calling thread's member run again, although another thread collects, unless that has
    /// begun.
    ///
    /// # Panics
    /// In a forked child, in which no collection that has begun ever ends.
    fn go_on(&self, mut state: Held<'_, State>, own: Option<&Slot>, refused: Refused) {
        let Some(own) = own else {
            return;
        };
        let is_forked = matches!(refused, Refused::Forked { .. });
        assert!(!(is_forked && state.stopped), "going on: {refused:?}");
        while state.stopped {
            state = state.wait(&self.changed);
        }
        own.set(RUNNING);
        self.changed.notify_all();
    }

    /// Waits until no member is running.
    fn wait_for_members(
        &self,
        mut state: Held<'_, State>,
        thread: ThreadKey,
        deadline: Deadline,
    ) -> Result<(), Refused> {
        let mut waiting = None;
        loop {
            let running = state.slots.iter().filter(|slot| slot.is_running());
            let running: Vec<ThreadKey> = running.map(|slot| slot.thread).collect();
            if running.is_empty() {
                state.stopped = true;
                return Ok(());
            }
            if deadline.left().is_zero() {
                return Err(Refused::Timeout);
            }
            if waiting.is_none() {
                waiting = Some(self.waiting(thread, true)?);
            }
            if waiting
                .as_ref()
                .is_some_and(|begun| !begun.wait_for(running))
            {
                return Err(Refused::Deadlock);
            }
            // Another thread may have chosen this one to give up, and has no way to wake it.
            state = state.wait_timeout(&self.changed, LOOK_AGAIN.min(deadline.left()));
        }
    }

    /// Has `calls`, which the slot's member makes, be interrupted by whoever begins to stop the
    /// world, until the result is dropped. A stop that has begun before the thread's last
    /// [`fence`] may not interrupt them: behind that the thread looks whether it
    /// [runs on](Slot::runs_on).
    pub(crate) fn interrupts(
        self: &Arc<World>,
        slot: &Arc<Slot>,
        calls: Arc<dyn Interrupt>,
    ) -> Interruptible {
        self.state.lock().calls.push((slot.clone(), calls));
        Interruptible {
            world: self.clone(),
            slot: slot.clone(),
        }
    }

    /// Whether this thread has stopped the world.
    pub(crate) fn is_stopped_by(&self, thread: ThreadKey) -> bool {
        self.state.lock().collector == Some(thread)
    }

    fn wait_for_no_collector<'a>(
        &self,
        mut state: Held<'a, State>,
        thread: ThreadKey,
        can_give_up: bool,
        deadline: Deadline,
    ) -> Result<Held<'a, State>, (Held<'a, State>, Refused)> {
        if state.collector.is_none() {
            return Ok(state);
        }
        let waiting = match self.waiting(thread, can_give_up) {
            Ok(waiting) => waiting,
            Err(refused) => return Err((state, refused)),
        };
        while let Some(collector) = state.collector {
            if deadline.left().is_zero() {
                return Err((state, Refused::Timeout));
            }
            if !waiting.wait_for(vec![collector]) {
                return Err((state, Refused::Deadlock));
            }
            state = state.wait_timeout(&self.changed, LOOK_AGAIN.min(deadline.left()));
        }
        Ok(state)
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

/// Calls are interrupted when the world is stopped. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Interruptible {
    world: Arc<World>,
    slot: Arc<Slot>,
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        let mut state = self.world.state.lock();
        state
            .calls
            .retain(|(slot, _)| !Arc::ptr_eq(slot, &self.slot));
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
        if let Some(collector) = state.collector {
            self.world.is_no_obstacle(&state, collector);
        }
        (state.collector, state.stopped) = (None, false);
        let wanted = &self.world.wanted;
        wanted.fetch_and(!STOP_WANTED, Ordering::Relaxed);
        for slot in &state.slots {
            slot.state.fetch_and(!STOP, Ordering::AcqRel);
        }
        if let Some(own) = self.own {
            own.set(RUNNING);
        }
        drop(state);
        self.world.changed.notify_all();
    }
}
