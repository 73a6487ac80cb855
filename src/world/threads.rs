//! What is known of the calling thread: its members in all worlds, and which call it is making.
//!
//! A thread keeps the slot of a mutator that has left, and uses it again for its next one. So
//! entering takes no lock but the first time; a thread that ends gives its slots back.
//!
//! A thread may have any number of mutators that are parked as values. Their slots are set aside,
//! so that what it does with one mutator does not depend on how many others there are.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::deadline::Deadline;
use crate::world::safepoint::{Interrupt, Refused, Slot, Stopped, World};
use crate::world::waiting::ThreadKey;

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
    /// The thread is ending: its thread-local values are being destroyed, and whether it has a
    /// mutator is not known any more.
    #[error("{operation}: this thread is ending, wanted one whose thread-local values exist")]
    ThreadEnds {
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
    /// A [root source](crate::Runtime::add_roots) panicked, or could not say what is alive: not all
    /// roots are known, so nothing was freed.
    #[error("collect: a source of roots failed with {found}, wanted all roots; nothing was freed")]
    Roots {
        /// What it said.
        found: String,
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

impl WorldError {
    fn of(refused: Refused, operation: &'static str) -> WorldError {
        match refused {
            Refused::StoppedByCaller => WorldError::Collecting { operation },
            Refused::Timeout => WorldError::Timeout { operation },
            Refused::Deadlock => WorldError::Deadlock { operation },
            Refused::Forked { owner, found } => WorldError::Forked {
                operation,
                owner,
                found,
            },
        }
    }
}

/// How a thread gets a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// It has none.
    Attach,
    /// It has parked ones at most.
    Enter,
    /// The same, to make calls: the thread can't be refused because others wait for it, as its
    /// calls would be lost. One of those others is.
    EnterForCalls,
}

impl Join {
    fn operation(self) -> &'static str {
        match self {
            Join::Attach => "attach",
            Join::Enter | Join::EnterForCalls => "enter",
        }
    }
}

/// One mutator's place in its world. It belongs to the thread that made it.
#[derive(Debug)]
pub(crate) struct Member {
    slot: Arc<Slot>,
    /// Tells it from the others that the thread has had.
    number: u64,
}

impl Member {
    #[inline]
    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

/// Calls that a thread makes. They are interrupted when a member of the thread comes or goes.
pub(crate) trait Calling: Interrupt {
    /// Which call it is making, as a number that its owner understands.
    fn call(&self) -> usize;
}

/// A call that a thread is making. A finalizer may itself run the finalizers of another runtime:
/// their calls are one deeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    depth: u32,
    number: usize,
}

#[derive(Debug)]
struct Place {
    world: Weak<World>,
    slot: Arc<Slot>,
    /// The number of the member that has the slot, or had it last.
    number: u64,
    /// The call during which the slot was taken.
    call: Option<Call>,
}

impl Place {
    fn is_in(&self, world: &Arc<World>) -> bool {
        std::ptr::eq(self.world.as_ptr(), Arc::as_ptr(world))
    }

    fn is_gone(&self) -> bool {
        self.world.strong_count() == 0
    }
}

/// Slots of one world that need not be looked at.
#[derive(Debug, Default)]
struct Aside {
    /// Those of mutators that are parked as values, by the numbers of the members.
    parked: BTreeMap<u64, Place>,
    /// Those that no mutator uses.
    free: Vec<Place>,
}

impl Aside {
    fn any(&self) -> Option<&Place> {
        self.parked.values().next().or(self.free.last())
    }

    /// Whether the world is gone. No world that is gone has a mutator.
    fn is_gone(&self) -> bool {
        self.any().is_none_or(Place::is_gone)
    }
}

/// The key of a world in [`Here::aside`], which no other one gets while a place of it is there.
fn key_of(world: &Arc<World>) -> usize {
    Arc::as_ptr(world).addr()
}

struct Here {
    /// Those in use but for the ones that are set aside, and a free one of each world.
    places: RefCell<Vec<Place>>,
    aside: RefCell<BTreeMap<usize, Aside>>,
    /// The number of the last member.
    last: Cell<u64>,
    calling: RefCell<Option<Arc<dyn Calling>>>,
    depth: Cell<u32>,
    /// The calls whose mutators were revoked because a later call wanted one.
    kept: RefCell<Vec<Call>>,
}

impl Here {
    fn key(&self) -> ThreadKey {
        std::ptr::from_ref(self).addr()
    }

    fn change(&self) {
        CHANGES.set(CHANGES.get() + 1);
        if let Some(calling) = &*self.calling.borrow() {
            calling.interrupt();
        }
    }

    fn has_stopped(&self, world: &Arc<World>) -> bool {
        let places = self.places.borrow();
        // Only a slot of this thread tells without the lock that the world is not stopped.
        let must_stop = |place: &Place| place.slot.must_stop();
        let own = places.iter().find(|place| place.is_in(world));
        let may_have = own.map_or_else(
            || {
                let aside = self.aside.borrow();
                let own = aside.get(&key_of(world)).and_then(Aside::any);
                own.is_none_or(must_stop)
            },
            must_stop,
        );
        may_have && world.is_stopped_by(self.key())
    }

    fn has_running(&self, world: &Arc<World>, but: Option<&Arc<Slot>>) -> bool {
        let is_but = |slot: &Arc<Slot>| but.is_some_and(|but| Arc::ptr_eq(but, slot));
        let places = self.places.borrow();
        let mut own = places.iter().filter(|place| place.is_in(world));
        own.any(|place| place.slot.is_running() && !is_but(&place.slot))
    }

    fn call(&self) -> Option<Call> {
        let calling = self.calling.borrow();
        let number = calling.as_deref()?.call();
        let depth = self.depth.get();
        Some(Call { depth, number })
    }

    /// Whether the thread may not join this world now.
    fn refuses(&self, world: &Arc<World>, join: Join) -> Option<WorldError> {
        let places = self.places.borrow();
        let mut own = places.iter().filter(|place| place.is_in(world));
        match join {
            Join::Attach => {
                let aside = self.aside.borrow();
                let aside = aside.get(&key_of(world));
                let parked = aside.is_some_and(|aside| !aside.parked.is_empty());
                let any = parked || own.any(|place| place.slot.is_in_use());
                any.then_some(WorldError::Attached)
            }
            Join::Enter | Join::EnterForCalls => own
                .any(|place| place.slot.is_running())
                .then_some(WorldError::Running),
        }
    }

    /// Revokes the mutators of this world that earlier calls have kept, which stand in the way of
    /// this one. Returns whether there was any.
    #[cold]
    fn revoke_kept(&self, world: &Arc<World>) -> bool {
        let Some(now) = self.call() else {
            return false;
        };
        let is_earlier = |call: Call| call.depth == now.depth && call.number != now.number;
        let which = |place: &Place| place.is_in(world) && place.call.is_some_and(is_earlier);
        let kept = self.take(0, which);
        self.kept.borrow_mut().extend(&kept);
        !kept.is_empty()
    }

    /// Revokes the members that `which` selects among those in use that came behind number `last`,
    /// and returns the calls in which they were made.
    fn take(&self, last: u64, which: impl Fn(&Place) -> bool) -> Vec<Call> {
        let (mut places, mut aside) = (self.places.borrow_mut(), self.aside.borrow_mut());
        let is_it = |place: &Place| place.slot.is_in_use() && place.number > last && which(place);
        let taken = places.extract_if(.., |place| is_it(place));
        let parked = aside.values_mut().flat_map(|aside| {
            let parked = aside.parked.extract_if(last.., |_, place| is_it(place));
            parked.map(|(_, place)| place)
        });
        let taken = taken.chain(parked);
        let revoke = |place: Place| {
            if let Some(world) = place.world.upgrade() {
                world.revoke(&place.slot);
            }
            place.call
        };
        taken.filter_map(revoke).collect()
    }

    /// A slot in this world that no mutator uses.
    fn free_slot(&self, world: &Arc<World>) -> Member {
        let (call, number) = (self.call(), self.last.get() + 1);
        self.last.set(number);
        let mut places = self.places.borrow_mut();
        let mut own = places.iter_mut().filter(|place| place.is_in(world));
        if let Some(free) = own.find(|place| !place.slot.is_in_use()) {
            (free.call, free.number) = (call, number);
            let slot = free.slot.clone();
            return Member { slot, number };
        }
        let mut aside = self.aside.borrow_mut();
        let free = aside
            .get_mut(&key_of(world))
            .and_then(|aside| aside.free.pop());
        let slot = match free {
            Some(free) => free.slot,
            None => {
                places.retain(|place| !place.is_gone());
                aside.retain(|_, aside| !aside.is_gone());
                world.register(self.key())
            }
        };
        places.push(Place {
            world: Arc::downgrade(world),
            slot: slot.clone(),
            number,
            call,
        });
        Member { slot, number }
    }

    /// Sets the place of a member aside that is parked as a value.
    fn set_aside(&self, world: &Arc<World>, member: &Member) {
        let mut places = self.places.borrow_mut();
        let at = places
            .iter()
            .position(|place| place.number == member.number);
        if let Some(at) = at {
            let mut aside = self.aside.borrow_mut();
            let own = aside.entry(key_of(world)).or_default();
            own.parked.insert(member.number, places.swap_remove(at));
        }
    }

    /// Takes the place of a member back, and sets a free one aside for it.
    fn take_back(&self, world: &Arc<World>, member: &Member) {
        let (mut places, mut aside) = (self.places.borrow_mut(), self.aside.borrow_mut());
        let Some(own) = aside.get_mut(&key_of(world)) else {
            return;
        };
        // One that was revoked is not there.
        let Some(place) = own.parked.remove(&member.number) else {
            return;
        };
        let is_free = |place: &Place| place.is_in(world) && !place.slot.is_in_use();
        if let Some(free) = places.iter().position(is_free) {
            own.free.push(places.swap_remove(free));
        }
        places.push(place);
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let key = self.key();
        let aside = self.aside.get_mut().values().filter_map(Aside::any);
        // A mutator that is destroyed after this gives its slot back itself.
        for place in self.places.get_mut().iter().chain(aside) {
            if let Some(world) = place.world.upgrade() {
                world.unregister_free(key);
            }
        }
    }
}

thread_local! {
    /// How many members came and went. By itself, as it is read after each call.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static HERE: Here = const {
        Here {
            places: RefCell::new(Vec::new()),
            aside: RefCell::new(BTreeMap::new()),
            last: Cell::new(0),
            calling: RefCell::new(None),
            depth: Cell::new(0),
            kept: RefCell::new(Vec::new()),
        }
    };
}

/// The key of this thread; 0 while it is ending.
pub(crate) fn key() -> ThreadKey {
    HERE.try_with(Here::key).unwrap_or_default()
}

impl World {
    /// Adds a running member for the calling thread, after any collection under way.
    pub(crate) fn join(self: &Arc<World>, join: Join) -> Result<Member, WorldError> {
        let operation = join.operation();
        let joined = HERE.try_with(|here| {
            if here.has_stopped(self) {
                return Err(WorldError::Collecting { operation });
            }
            if let Some(refusal) = here.refuses(self, join) {
                let now = here.revoke_kept(self).then(|| here.refuses(self, join));
                now.unwrap_or(Some(refusal)).map_or(Ok(()), Err)?;
            }
            let member = here.free_slot(self);
            let can_give_up = join != Join::EnterForCalls;
            let entered = self.enter(&member.slot, here.key(), can_give_up);
            entered.map_err(|refused| WorldError::of(refused, operation))?;
            here.change();
            Ok(member)
        });
        joined.unwrap_or(Err(WorldError::ThreadEnds { operation }))
    }

    /// Removes a member.
    pub(crate) fn leave_with(&self, member: &Member) {
        if member.slot.is_revoked() {
            return;
        }
        self.leave(&member.slot);
        if HERE.try_with(Here::change).is_err() {
            self.unregister(&member.slot);
        }
    }

    /// Lets a collection that waits for this member happen. Returns whether there was one.
    ///
    /// # Panics
    /// As [`World::unpark_with`].
    #[inline]
    pub(crate) fn poll_with(&self, member: &Member) -> bool {
        let polled = self.poll(&member.slot, key);
        polled.unwrap_or_else(|refused| cannot_go_on(refused))
    }

    /// Parks a member: it must not touch the heap until [`World::unpark_with`].
    pub(crate) fn park_with(&self, member: &Member) {
        self.park(&member.slot);
    }

    /// As [`World::park_with`], for a member that is parked as a value.
    pub(crate) fn set_aside_with(self: &Arc<World>, member: &Member) {
        self.park_with(member);
        let _ = HERE.try_with(|here| here.set_aside(self, member));
    }

    /// Makes a member that was set aside running again, as [`World::unpark_with`].
    pub(crate) fn resume_with(self: &Arc<World>, member: &Member) {
        self.unpark_with(member);
        let _ = HERE.try_with(|here| {
            here.take_back(self, member);
            here.change();
        });
    }

    /// Makes a member that was set aside ready to leave: it runs again, unless a thread stops the
    /// world.
    pub(crate) fn resume_to_leave(self: &Arc<World>, member: &Member) {
        self.unpark_at_once(&member.slot);
        let _ = HERE.try_with(|here| here.take_back(self, member));
    }

    /// Makes a parked member running again, after any collection under way.
    ///
    /// # Panics
    /// In a forked child, if another thread was collecting: it is not in the child.
    pub(crate) fn unpark_with(&self, member: &Member) {
        if let Err(refused) = self.unpark(&member.slot, key()) {
            cannot_go_on(refused);
        }
    }

    /// Stops the world: returns when no member is running. `member`: the running member of the
    /// calling thread, if any, which is parked meanwhile. Waits for a collection of another thread
    /// first.
    pub(crate) fn stop_with<'w>(
        self: &'w Arc<World>,
        member: Option<&'w Member>,
    ) -> Result<Stopped<'w>, WorldError> {
        self.stop_before(member, Deadline::after(Duration::MAX))
    }

    /// As [`World::stop_with`], but gives up at the deadline.
    pub(crate) fn stop_before<'w>(
        self: &'w Arc<World>,
        member: Option<&'w Member>,
        deadline: Deadline,
    ) -> Result<Stopped<'w>, WorldError> {
        let operation = "collect";
        let own = member.map(Member::slot);
        let checked = HERE.try_with(|here| {
            if here.has_stopped(self) {
                return Err(WorldError::Collecting { operation });
            }
            if here.has_running(self, own)
                && (!here.revoke_kept(self) || here.has_running(self, own))
            {
                return Err(WorldError::HoldsMutator);
            }
            Ok(here.key())
        });
        let thread = checked.unwrap_or(Err(WorldError::ThreadEnds { operation }))?;
        let stopped = self.stop(own.map(|slot| &**slot), thread, deadline);
        stopped.map_err(|refused| WorldError::of(refused, operation))
    }

    /// Whether this thread has stopped the world.
    pub(crate) fn is_stopped_here(self: &Arc<World>) -> bool {
        HERE.try_with(|here| here.has_stopped(self))
            .unwrap_or_default()
    }

    /// Whether this thread has a running member, or is ending, so that nobody knows.
    pub(crate) fn is_running_here(self: &Arc<World>) -> bool {
        HERE.try_with(|here| here.has_running(self, None))
            .unwrap_or(true)
    }
}

#[cold]
fn cannot_go_on(refused: Refused) -> ! {
    panic!("{}", WorldError::of(refused, "going on"))
}

/// What [`changes`] counts for a member that has come and gone.
pub(crate) const ONE_MUTATOR: u64 = 2;

/// How many members of this thread came and went, in all worlds: unchanged as long as nothing has.
#[inline]
pub(crate) fn changes() -> u64 {
    CHANGES.get()
}

/// Whether other threads may come to wait for this one: it makes calls, or runs with a mutator of
/// any runtime, or is ending, so that nobody knows.
pub(crate) fn is_needed() -> bool {
    let needed = |here: &Here| {
        let places = here.places.borrow();
        here.depth.get() > 0 || places.iter().any(|place| place.slot.is_running())
    };
    HERE.try_with(needed).unwrap_or(true)
}

/// States that this thread makes calls until the result is dropped, or with `None` that what it
/// does is no part of a call.
pub(crate) fn calling(by: Option<Arc<dyn Calling>>) -> CallingHere {
    let deeper = u32::from(by.is_some());
    let begin = |here: &Here| {
        here.depth.update(|depth| depth + deeper);
        here.calling.replace(by)
    };
    let before = HERE.try_with(begin).ok().flatten();
    CallingHere { before, deeper }
}

/// A thread makes calls. Dropping this restores what it did before.
pub(crate) struct CallingHere {
    before: Option<Arc<dyn Calling>>,
    deeper: u32,
}

impl Drop for CallingHere {
    fn drop(&mut self) {
        let before = self.before.take();
        let _ = HERE.try_with(|here| {
            here.depth.update(|depth| depth - self.deeper);
            // What came and went meanwhile did not interrupt it.
            if let Some(before) = &before {
                before.interrupt();
            }
            here.calling.replace(before)
        });
    }
}

/// The members that a thread has at some moment.
#[derive(Debug)]
pub(crate) struct Members {
    /// Those that are not set aside.
    slots: Vec<Arc<Slot>>,
    /// The number of the last one.
    last: u64,
}

impl Members {
    pub(crate) fn here() -> Members {
        let in_use = |here: &Here| {
            let places = here.places.borrow();
            let in_use = places.iter().filter(|place| place.slot.is_in_use());
            (
                in_use.map(|place| place.slot.clone()).collect(),
                here.last.get(),
            )
        };
        let (slots, last) = HERE.try_with(in_use).unwrap_or_default();
        Members { slots, last }
    }

    /// Whether no other one runs.
    pub(crate) fn run_alone(&self, slot: &Arc<Slot>) -> bool {
        let mut others = self.slots.iter().filter(|one| !Arc::ptr_eq(one, slot));
        others.all(|one| !one.is_running())
    }

    /// Whether this thread has members that it did not have then.
    pub(crate) fn has_later(&self) -> bool {
        let is_later = |place: &Place| place.slot.is_in_use() && place.number > self.last;
        let any = |here: &Here| {
            let aside = here.aside.borrow();
            let mut parked = aside.values().filter_map(|aside| {
                let (number, _) = aside.parked.last_key_value()?;
                Some(*number)
            });
            parked.any(|number| number > self.last) || here.places.borrow().iter().any(is_later)
        };
        HERE.try_with(any).unwrap_or_default()
    }

    /// Revokes the members that this thread has got since. Returns the calls that have kept a
    /// member, these and those whose member stood in the way of a later call, as [`Calling`] told
    /// them.
    pub(crate) fn revoke_later(&self) -> Vec<usize> {
        let take = |here: &Here| {
            let later = here.take(self.last, |_| true);
            let depth = here.depth.get();
            let mut kept = here.kept.borrow_mut();
            let kept = kept.extract_if(.., |call| call.depth == depth);
            let all = kept.chain(later);
            all.map(|call| call.number).collect()
        };
        HERE.try_with(take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::trust::Trust;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    #[test]
    fn a_thread_never_waits_for_itself() {
        let world = World::new(Trust::default(), Arc::default());
        let me = world.join(Join::Attach).unwrap();
        let stop = |member| world.stop_with(member).map(drop).unwrap_err();
        assert_eq!(world.join(Join::Attach).unwrap_err(), WorldError::Attached);
        assert_eq!(world.join(Join::Enter).unwrap_err(), WorldError::Running);
        assert_eq!(stop(None), WorldError::HoldsMutator);
        world.park_with(&me);
        assert_eq!(world.join(Join::Attach).unwrap_err(), WorldError::Attached);
        let inner = world.join(Join::Enter).unwrap();
        assert_eq!(stop(None), WorldError::HoldsMutator);
        assert_eq!(stop(Some(&me)), WorldError::HoldsMutator);
        let stopped = world.stop_with(Some(&inner)).unwrap();
        assert_eq!(world.members(), (2, 0));
        let collecting = |operation| WorldError::Collecting { operation };
        assert_eq!(world.join(Join::Attach).unwrap_err(), collecting("attach"));
        assert_eq!(world.join(Join::Enter).unwrap_err(), collecting("enter"));
        assert_eq!(stop(None), collecting("collect"));
        drop(stopped);
        assert_eq!(world.members(), (2, 1));
        world.leave_with(&inner);
        world.unpark_with(&me);
        world.leave_with(&me);
        assert_eq!((world.members(), world.slots()), ((0, 0), 2));
        let stopped = world.stop_with(None).unwrap();
        assert_eq!(world.join(Join::Attach).unwrap_err(), collecting("attach"));
        drop(stopped);
    }

    #[test]
    fn nobody_runs_while_the_world_is_stopped() {
        const THREADS: usize = 4;
        const STOPS: usize = 50;
        let (world, running, done) = (
            World::new(Trust::default(), Arc::default()),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        thread::scope(|scope| {
            for id in 0..THREADS {
                let (world, running, done) = (&world, &running, &done);
                scope.spawn(move || {
                    let me = world.join(Join::Attach).unwrap();
                    running.fetch_add(1, SeqCst);
                    for step in 0..STOPS {
                        running.fetch_sub(1, SeqCst);
                        if step % THREADS == id {
                            let stopped = world.stop_with(Some(&me)).unwrap();
                            assert_eq!(running.load(SeqCst), 0);
                            drop(stopped);
                        } else if step % 2 == 0 {
                            world.park_with(&me);
                            world.unpark_with(&me);
                        } else {
                            world.poll_with(&me);
                        }
                        running.fetch_add(1, SeqCst);
                    }
                    running.fetch_sub(1, SeqCst);
                    world.leave_with(&me);
                    done.fetch_add(1, SeqCst);
                });
            }
            while done.load(SeqCst) < THREADS {
                let stopped = world.stop_with(None).unwrap();
                drop(stopped);
                thread::yield_now();
            }
        });
        assert_eq!(world.members(), (0, 0));
    }

    #[test]
    fn a_thread_keeps_one_slot_and_gives_it_back_when_it_ends() {
        let world = World::new(Trust::default(), Arc::default());
        for _ in 0..3 {
            let one = world.join(Join::Attach).unwrap();
            assert_eq!((world.members(), world.slots()), ((1, 1), 1));
            world.leave_with(&one);
        }
        thread::spawn({
            let world = world.clone();
            move || world.leave_with(&world.join(Join::Attach).unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((world.members(), world.slots()), ((0, 0), 1));
    }

    #[test]
    fn worlds_that_are_gone_leave_nothing_behind() {
        for _ in 0..100 {
            let world = World::new(Trust::default(), Arc::default());
            world.leave_with(&world.join(Join::Attach).unwrap());
        }
        HERE.with(|here| assert!(here.places.borrow().len() <= 2));
    }

    /// A member outlives its thread's list of members, by a thread-local value that is destroyed
    /// later; then nobody can join or stop on that thread.
    #[test]
    fn a_thread_that_ends() {
        struct Last(Option<(Arc<World>, Option<Member>)>);
        impl Drop for Last {
            fn drop(&mut self) {
                let (world, member) = self.0.take().unwrap();
                let ends = |operation| WorldError::ThreadEnds { operation };
                assert_eq!(world.join(Join::Attach).unwrap_err(), ends("attach"));
                assert_eq!(world.join(Join::Enter).unwrap_err(), ends("enter"));
                assert_eq!(world.stop_with(None).map(drop), Err(ends("collect")));
                assert!(world.is_running_here());
                if let Some(member) = member {
                    world.leave_with(&member);
                }
                assert_eq!((world.members(), world.slots()), ((0, 0), 0));
            }
        }
        thread_local!(static LAST: RefCell<Last> = const { RefCell::new(Last(None)) });
        for keeps in [false, true] {
            let world = World::new(Trust::default(), Arc::default());
            let there = world.clone();
            let ended = thread::spawn(move || {
                // Values are destroyed in the order of their first use, the last one first here.
                LAST.with_borrow_mut(|last| last.0 = Some((there.clone(), None)));
                let member = there.join(Join::Attach).unwrap();
                if keeps {
                    LAST.with_borrow_mut(|last| last.0 = Some((there, Some(member))));
                } else {
                    there.leave_with(&member);
                }
            });
            ended.join().unwrap();
            drop(world.stop_with(None).unwrap());
            assert_eq!(world.slots(), 0);
        }
    }

    #[test]
    fn what_came_later_is_revoked() {
        #[derive(Debug)]
        struct Number(AtomicUsize, AtomicUsize);
        impl Interrupt for Number {
            fn interrupt(&self) {
                self.1.fetch_add(1, SeqCst);
            }
        }
        impl Calling for Number {
            fn call(&self) -> usize {
                self.0.load(SeqCst)
            }
        }
        let (first, second) = (
            World::new(Trust::default(), Arc::default()),
            World::new(Trust::default(), Arc::default()),
        );
        let kept = first.join(Join::Attach).unwrap();
        let (before, from) = (Members::here(), changes());
        let number = Arc::new(Number(AtomicUsize::new(7), AtomicUsize::new(0)));
        let calls = calling(Some(number.clone()));
        let later = second.join(Join::Attach).unwrap();
        // In the same call it stands in the way; in the next one it does not.
        assert_eq!(second.join(Join::Enter).unwrap_err(), WorldError::Running);
        number.0.store(8, SeqCst);
        first.park_with(&kept);
        let nested = first.join(Join::Enter).unwrap();
        let own = second.join(Join::Attach).unwrap();
        assert!(later.slot().is_revoked());
        second.leave_with(&own);
        assert_eq!(changes(), from + 4);
        {
            // One deeper, what calls have is left alone.
            let _deeper = calling(Some(number.clone()));
            number.0.store(9, SeqCst);
            assert_eq!(first.join(Join::Enter).unwrap_err(), WorldError::Running);
            assert!(Members::here().revoke_later().is_empty());
        }
        assert_eq!(before.revoke_later(), [7, 8]);
        assert!(before.revoke_later().is_empty());
        drop(calls);
        assert_eq!((first.members(), second.members()), ((1, 0), (0, 0)));
        assert!(later.slot().is_revoked() && nested.slot().is_revoked());
        // Nothing waits for them any more, and dropping them changes nothing.
        drop(second.stop_with(None).unwrap());
        second.leave_with(&later);
        first.leave_with(&nested);
        assert_eq!((first.slots(), second.slots()), (1, 1));
        first.unpark_with(&kept);
        first.leave_with(&kept);
    }
}
