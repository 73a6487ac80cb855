//! Stopping the world: which threads are attached, which may touch the heap now, and which one
//! collects.
//!
//! A member (one `Mutator`) is *running* or *parked*. Running members may touch objects; a
//! collection starts when none is running and none starts to run before it has ended. A running
//! member parks at safepoints and for the length of a native call; a member that leaves is removed.
//! A thread whose members are all parked may add another one; a thread with a running member may
//! not.
#![forbid(unsafe_code)]

use crate::base::deadline::Deadline;
use crate::base::lock::{Condvar, Held, Lock, Rank};
use crate::world::waiting::Waiting;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// An operation that the calling thread must not start now, because it would wait for itself for
/// ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// The thread has a mutator already, and a thread attaches at most one.
    #[error(
        "attach: this thread has a mutator of this runtime already, wanted a thread without one"
    )]
    Attached,
    /// The thread runs with a mutator; it may enter again only from a native region of that.
    #[error(
        "enter: this thread runs with a mutator of this runtime, wanted a thread without one or \
         in a native region"
    )]
    Running,
    /// The thread runs with another mutator, for which the collection would wait for ever.
    #[error(
        "collect: this thread runs with another mutator of this runtime, wanted that one to \
         collect, or to be in a native region"
    )]
    HoldsMutator,
    /// The thread is in the middle of a collection, for whose end the operation would wait.
    #[error("{operation}: this thread is in the middle of a collection of this runtime")]
    Collecting {
        /// The operation: "attach", "enter" or "collect".
        operation: &'static str,
    },
    /// The mutators did not stop in time.
    #[error("{operation}: found running mutators when the time was over, wanted all stopped")]
    Timeout {
        /// What was tried.
        operation: &'static str,
    },
    /// The thread would wait for threads that wait for it: it runs with a mutator of another
    /// runtime, for whose collection another thread waits, which runs with a mutator of this one.
    #[error(
        "{operation}: would wait for threads that wait for a mutator of another runtime, with \
         which this thread runs, wanted that one in a native region, or dropped"
    )]
    Deadlock {
        /// What was tried.
        operation: &'static str,
    },
    /// This process is a fork of the one that made the runtime, and would wait for threads that are
    /// not in it.
    #[error(
        "{operation}: made by process {owner}, used by its fork {found}, would wait for threads \
         that are not in it; a forked child needs a runtime of its own"
    )]
    Forked {
        /// What was tried.
        operation: &'static str,
        /// The process that made the runtime.
        owner: u32,
        /// This process.
        found: u32,
    },
}

/// How often a thread that waits looks whether it has to give up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Identifies one member of a world.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member(u64);

#[derive(Debug)]
struct Entry {
    member: Member,
    thread: ThreadId,
    running: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    next: u64,
    collector: Option<ThreadId>,
    /// Whether the collector waits no more: no member is running.
    stopped: bool,
}

impl State {
    fn of(&mut self, member: Member) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.member == member)
    }

    fn set_running(&mut self, member: Member, running: bool) {
        if let Some(entry) = self.of(member) {
            entry.running = running;
        }
    }
}

/// The members of one runtime and the threads they belong to.
#[derive(Debug)]
pub(crate) struct World {
    /// Whether a thread waits for the others to park. A hint; the state under the lock decides.
    stop: AtomicBool,
    state: Lock<State>,
    changed: Condvar,
    /// The process that made it.
    owner: u32,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            stop: AtomicBool::new(false),
            state: Lock::new(Rank::World, State::default()),
            changed: Condvar::new(),
            owner: std::process::id(),
        }
    }

    /// Begins to wait in this world. `can_give_up`: whether a refusal can be returned.
    fn waiting(&self, operation: &'static str, can_give_up: bool) -> Result<Waiting, WorldError> {
        let found = std::process::id();
        if found != self.owner {
            return Err(WorldError::Forked {
                operation,
                owner: self.owner,
                found,
            });
        }
        Ok(Waiting::begin(self.key(), can_give_up))
    }

    /// Tells this world from others.
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Adds a running member for the calling thread, after any collection under way. With `nested`
    /// the thread may have parked members, else none.
    pub(crate) fn join(&self, nested: bool) -> Result<Member, WorldError> {
        let thread = thread::current().id();
        let state = self.state.lock();
        if state.collector == Some(thread) {
            return Err(WorldError::Collecting {
                operation: if nested { "enter" } else { "attach" },
            });
        }
        let mut mine = state
            .entries
            .iter()
            .filter(|entry| entry.thread == thread)
            .map(|entry| entry.running);
        if nested && mine.clone().any(|running| running) {
            return Err(WorldError::Running);
        }
        if !nested && mine.next().is_some() {
            return Err(WorldError::Attached);
        }
        let operation = if nested { "enter" } else { "attach" };
        let mut state = self
            .wait_for_no_collector(state, operation, true)
            .map_err(|(_, error)| error)?;
        let member = Member(state.next);
        state.next += 1;
        state.entries.push(Entry {
            member,
            thread,
            running: true,
        });
        Ok(member)
    }

    /// Removes a member.
    pub(crate) fn leave(&self, member: Member) {
        let mut state = self.state.lock();
        state.entries.retain(|entry| entry.member != member);
        self.is_no_obstacle(&state);
        drop(state);
        self.changed.notify_all();
    }

    /// Parks if a thread waits for that, until the collection is over. Returns whether it did.
    #[inline]
    pub(crate) fn poll(&self, member: Member) -> bool {
        let stop = self.stop.load(Relaxed);
        if stop {
            self.park(member);
            self.unpark(member);
        }
        stop
    }

    /// Parks a member: it must not touch the heap until [`World::unpark`].
    #[cold]
    pub(crate) fn park(&self, member: Member) {
        let mut state = self.state.lock();
        state.set_running(member, false);
        self.is_no_obstacle(&state);
        drop(state);
        self.changed.notify_all();
    }

    /// Makes a member running again, after any collection under way.
    ///
    /// # Panics
    /// In a forked child, if another thread was collecting: it is not in the child.
    pub(crate) fn unpark(&self, member: Member) {
        let state = self.state.lock();
        match self.wait_for_no_collector(state, "going on", false) {
            Ok(mut state) => state.set_running(member, true),
            Err((_, error)) => panic!("{error}"),
        }
    }

    /// The calling thread runs no more in this world: those who wait here don't wait for it.
    fn is_no_obstacle(&self, state: &State) {
        if state.collector.is_some() {
            Waiting::resolve(self.key(), thread::current().id());
        }
    }

    /// Stops the world: returns when no member is running. `member`: the running member of the
    /// calling thread, if any, which counts as parked meanwhile. Waits for a collection of another
    /// thread first.
    pub(crate) fn stop(&self, member: Option<Member>) -> Result<Stopped<'_>, WorldError> {
        self.stop_before(member, Deadline::after(Duration::MAX))
    }

    /// As [`World::stop`], but gives up at the deadline.
    pub(crate) fn stop_before(
        &self,
        member: Option<Member>,
        deadline: Deadline,
    ) -> Result<Stopped<'_>, WorldError> {
        let thread = thread::current().id();
        let mut state = self.state.lock();
        if state.collector == Some(thread) {
            return Err(WorldError::Collecting {
                operation: "collect",
            });
        }
        let other =
            |entry: &Entry| entry.thread == thread && entry.running && Some(entry.member) != member;
        if state.entries.iter().any(other) {
            return Err(WorldError::HoldsMutator);
        }
        if let Some(member) = member {
            state.set_running(member, false);
            self.is_no_obstacle(&state);
            self.changed.notify_all();
        }
        state = match self.wait_for_no_collector(state, "collect", true) {
            Ok(state) => state,
            Err((mut state, error)) => {
                // A collection that has begun ends by itself. Until then the member may not run.
                while state.stopped {
                    state = state.wait(&self.changed);
                }
                if let Some(member) = member {
                    state.set_running(member, true);
                    self.changed.notify_all();
                }
                return Err(error);
            }
        };
        state.collector = Some(thread);
        self.stop.store(true, Relaxed);
        let stopped = Stopped {
            world: self,
            member,
        };
        let mut waiting = None;
        loop {
            let running = state.entries.iter().filter(|entry| entry.running);
            let running: Vec<ThreadId> = running.map(|entry| entry.thread).collect();
            if running.is_empty() {
                state.stopped = true;
                drop(state);
                return Ok(stopped);
            }
            if deadline.left().is_zero() {
                drop(state);
                drop(stopped);
                return Err(WorldError::Timeout {
                    operation: "collect",
                });
            }
            let begun = match waiting.take() {
                Some(begun) => Ok(begun),
                None => self.waiting("collect", true),
            };
            let begun = begun.and_then(|begun: Waiting| match begun.wait_for(running) {
                true => Ok(begun),
                false => Err(WorldError::Deadlock {
                    operation: "collect",
                }),
            });
            match begun {
                Ok(begun) => waiting = Some(begun),
                Err(error) => {
                    drop(state);
                    drop(stopped);
                    return Err(error);
                }
            }
            // Another thread may have chosen this one to give up, and has no way to wake it.
            state = state.wait_timeout(&self.changed, LOOK_AGAIN.min(deadline.left()));
        }
    }

    /// Whether this thread has a running member.
    pub(crate) fn is_running_here(&self) -> bool {
        let thread = thread::current().id();
        let state = self.state.lock();
        state
            .entries
            .iter()
            .any(|entry| entry.thread == thread && entry.running)
    }

    fn wait_for_no_collector<'a>(
        &self,
        mut state: Held<'a, State>,
        operation: &'static str,
        can_give_up: bool,
    ) -> Result<Held<'a, State>, (Held<'a, State>, WorldError)> {
        if state.collector.is_none() {
            return Ok(state);
        }
        let waiting = match self.waiting(operation, can_give_up) {
            Ok(waiting) => waiting,
            Err(error) => return Err((state, error)),
        };
        while let Some(collector) = state.collector {
            if !waiting.wait_for(vec![collector]) {
                return Err((state, WorldError::Deadlock { operation }));
            }
            state = state.wait_timeout(&self.changed, LOOK_AGAIN);
        }
        Ok(state)
    }

    /// The number of members, and how many of them are running.
    pub(crate) fn members(&self) -> (usize, usize) {
        let state = self.state.lock();
        (
            state.entries.len(),
            state.entries.iter().filter(|entry| entry.running).count(),
        )
    }
}

/// The stopped world. Dropping this lets the members run again.
#[derive(Debug)]
pub(crate) struct Stopped<'w> {
    world: &'w World,
    member: Option<Member>,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let mut state = self.world.state.lock();
        self.world.is_no_obstacle(&state);
        (state.collector, state.stopped) = (None, false);
        self.world.stop.store(false, Relaxed);
        if let Some(member) = self.member {
            state.set_running(member, true);
        }
        drop(state);
        self.world.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_thread_never_waits_for_itself() {
        let world = World::new();
        let me = world.join(false).unwrap();
        assert_eq!(world.join(false), Err(WorldError::Attached));
        assert_eq!(world.join(true), Err(WorldError::Running));
        assert_eq!(world.stop(None).map(drop), Err(WorldError::HoldsMutator));
        world.park(me);
        assert_eq!(world.join(false), Err(WorldError::Attached));
        let inner = world.join(true).unwrap();
        assert_eq!(world.stop(None).map(drop), Err(WorldError::HoldsMutator));
        assert_eq!(
            world.stop(Some(me)).map(drop),
            Err(WorldError::HoldsMutator)
        );
        let stopped = world.stop(Some(inner)).unwrap();
        assert_eq!(world.members(), (2, 0));
        let collecting = |operation| WorldError::Collecting { operation };
        assert_eq!(world.join(false), Err(collecting("attach")));
        assert_eq!(world.join(true), Err(collecting("enter")));
        assert_eq!(world.stop(None).map(drop), Err(collecting("collect")));
        drop(stopped);
        assert_eq!(world.members(), (2, 1));
        world.leave(inner);
        world.unpark(me);
        world.leave(me);
        assert_eq!(world.members(), (0, 0));
        drop(world.stop(None).unwrap());
    }

    #[test]
    fn nobody_runs_while_the_world_is_stopped() {
        const THREADS: usize = 4;
        const STOPS: usize = 50;
        let (world, running, done) = (World::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for id in 0..THREADS {
                let (world, running, done) = (&world, &running, &done);
                scope.spawn(move || {
                    let me = world.join(false).unwrap();
                    running.fetch_add(1, SeqCst);
                    for step in 0..STOPS {
                        running.fetch_sub(1, SeqCst);
                        if step % THREADS == id {
                            let stopped = world.stop(Some(me)).unwrap();
                            assert_eq!(running.load(SeqCst), 0);
                            drop(stopped);
                        } else if step % 2 == 0 {
                            world.park(me);
                            world.unpark(me);
                        } else {
                            world.poll(me);
                        }
                        running.fetch_add(1, SeqCst);
                    }
                    running.fetch_sub(1, SeqCst);
                    world.leave(me);
                    done.fetch_add(1, SeqCst);
                });
            }
            while done.load(SeqCst) < THREADS {
                let stopped = world.stop(None).unwrap();
                drop(stopped);
                thread::yield_now();
            }
        });
        assert_eq!(world.members(), (0, 0));
    }
}
