//! Slots: what an entry leads to.
//!
//! A slot is the memory behind one entry. Its code never changes; what changes is which callback
//! the slot has, and [`State`] says whether that may be entered. Entering is what gives access to
//! the rest:
//!
//! * [`Slot::target`] is written by the thread that has the free slot to itself, read by calls that
//!   have entered, and taken out by the one that [`Ending::Free`] names.
//! * The code that a call came by may be another callback's, if the slot was freed and given away
//!   while the call was on its way: the veneer was read before the state. So a call also brings the
//!   number of its code, and is late unless that is the slot's.
//! * A veneer that jumps is read by the entry and reads nothing, so its number says it all. What it
//!   leads to reads the state late, so it compares the number before it writes to the state: the
//!   state of a callback of one thread is written by that thread alone.
//! * The handler is read after the state, which veneers load with acquire ordering. So it is that
//!   of the generation that the call has seen, or of a later one; and then the call is not entered.
#![expect(
    unsafe_code,
    reason = "is found by generated code, by its address; the target is in a cell"
)]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;

use super::call::Typed;
use super::entries::{EntryPoint, Landing};
use super::handler::Handler;
use super::held::Held;
use super::pool::Pool;
use super::report::{Described, Failure, Freed, OnFailure, Report, forget, message, tell};
use super::state::{Ending, Entered, Late, State, generation};
use super::thread::{ALL_THREADS, inside, is_inside, is_this_thread, thread_number};
use crate::inward::veneer::{HANDLER_OFFSET, STATE_OFFSET, VENEER_OFFSET};
use crate::lock::none_held;

/// What an entry leads to. The first three fields are read by its code.
#[repr(C)]
pub(super) struct Slot {
    /// Where the entry jumps to.
    veneer: AtomicUsize,
    state: State,
    /// Address of the [`Handler`].
    handler: AtomicUsize,
    /// Number of the thread that may call, or [`ALL_THREADS`].
    owner: AtomicU64,
    /// Number of the code at `veneer`.
    code: AtomicU64,
    target: UnsafeCell<MaybeUninit<Target>>,
    entry: AtomicUsize,
    /// Its place in its pool.
    number: AtomicU32,
    pool: Arc<Pool>,
}

const _: () = {
    assert!(std::mem::offset_of!(Slot, veneer) as i32 == VENEER_OFFSET);
    assert!(std::mem::offset_of!(Slot, state) as i32 == STATE_OFFSET);
    assert!(std::mem::offset_of!(Slot, handler) as i32 == HANDLER_OFFSET);
};

// SAFETY: I10: the target is reached as the module's head says; what is in it is of one thread's
// only where `owner` is that thread's number. Everything else is atomic or behind a lock.
unsafe impl Sync for Slot {}
// SAFETY: I10: a slot moves only while it is made, before it has a target.
unsafe impl Send for Slot {}

/// What is called. As long as a call may be under way, the handle of the callback keeps its point,
/// or the pool does for the last call.
pub(super) struct Target {
    /// Of the type that the handler is made for.
    pub(super) callee: Held,
    /// The point's.
    pub(super) typed: NonNull<Typed>,
    pub(super) on_panic: OnFailure,
}

/// What a callback that takes a slot brings with it.
pub(super) struct Opening {
    pub(super) target: Target,
    /// For the target's type of callee, and for `thread`.
    pub(super) handler: Handler,
    /// Number of the only thread that may call, or [`ALL_THREADS`].
    pub(super) thread: u64,
    pub(super) landing: Landing,
}

/// A slot, in memory that its pool keeps.
#[derive(Clone, Copy)]
pub(super) struct SlotRef(NonNull<Slot>);

// SAFETY: I10: as a shared reference to a slot.
unsafe impl Send for SlotRef {}
// SAFETY: I10: as above.
unsafe impl Sync for SlotRef {}

impl SlotRef {
    /// # Safety
    /// The slot stays as long as this is used.
    pub(super) unsafe fn new(slot: &Slot) -> SlotRef {
        SlotRef(NonNull::from(slot))
    }
}

impl Deref for SlotRef {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        // SAFETY: I10: the promise of `new`.
        unsafe { self.0.as_ref() }
    }
}

impl Slot {
    /// A slot whose entry is not written yet.
    pub(super) fn new(pool: Arc<Pool>) -> Slot {
        Slot {
            veneer: AtomicUsize::new(0),
            state: State::new(),
            handler: AtomicUsize::new(0),
            owner: AtomicU64::new(ALL_THREADS),
            code: AtomicU64::new(0),
            target: UnsafeCell::new(MaybeUninit::uninit()),
            entry: AtomicUsize::new(0),
            number: AtomicU32::new(0),
            pool,
        }
    }

    /// Address of the entry.
    pub(super) fn entry(&self) -> usize {
        self.entry.load(Ordering::Relaxed)
    }

    pub(super) fn set_entry(&self, entry: usize) {
        self.entry.store(entry, Ordering::Relaxed);
    }

    pub(super) fn number(&self) -> usize {
        self.number.load(Ordering::Relaxed) as usize
    }

    pub(super) fn set_number(&self, number: usize) {
        self.number.store(number as u32, Ordering::Relaxed);
    }

    /// Address of the slot, which its entry has.
    pub(super) fn address(&self) -> u64 {
        std::ptr::from_ref(self).expose_provenance() as u64
    }

    /// The state's word, as a veneer reads it.
    #[inline]
    pub(super) fn word(&self) -> u64 {
        self.state.word()
    }

    /// Number of callbacks that have had it, the one that has it included.
    pub(super) fn generation(&self) -> u32 {
        generation(self.state.word())
    }

    /// Whether no callback can have it any more.
    pub(super) fn is_used_up(&self) -> bool {
        self.generation() == u32::MAX
    }

    /// Gives the slot to a callback.
    ///
    /// Only by the thread that has taken the free slot from its pool, where none is used up.
    pub(super) fn open(&self, opening: Opening) {
        // SAFETY: I10: the slot is free: no call enters, and its last target was taken out.
        unsafe { (*self.target.get()).write(opening.target) };
        self.owner.store(opening.thread, Ordering::Relaxed);
        self.code.store(opening.landing.number, Ordering::Relaxed);
        let handler = opening.handler as *const () as usize;
        self.handler.store(handler, Ordering::Relaxed);
        self.veneer.store(opening.landing.veneer, Ordering::Relaxed);
        self.state.open();
    }

    /// Enters a call that saw `seen` and came by this code, by any thread, at the callback of all
    /// threads that the handler of the call is made for.
    ///
    /// # Safety
    /// What is entered is [left](Slot::leave).
    #[inline]
    pub(super) unsafe fn enter(&self, seen: u64, code: u64) -> Result<&Target, Late> {
        // Before anything is written: a function that was jumped to reads `seen` late, so that may
        // be the state of a callback of one thread that has taken the slot meanwhile, and that
        // thread alone counts its calls. Its code, which is stored before its state, is another.
        if self.code.load(Ordering::Relaxed) != code {
            return Err(Late);
        }
        self.state.enter(seen)?;
        // What was read before the state may have been another generation's.
        if self.code.load(Ordering::Relaxed) != code {
            self.leave();
            return Err(Late);
        }
        // SAFETY: I10: the call has entered, so the target stays until it leaves.
        Ok(unsafe { (*self.target.get()).assume_init_ref() })
    }

    /// As [`Slot::enter`], at the callback of one thread. If it is this one's, this thread has
    /// opened the slot before the call began, and nobody else can have closed it since: what the
    /// call came by is the callback's.
    ///
    /// # Safety
    /// What is entered is [left](Slot::leave_alone).
    #[inline]
    pub(super) unsafe fn enter_alone(&self) -> Result<(&Target, Entered), Late> {
        let is_own = || is_this_thread(self.owner.load(Ordering::Relaxed));
        let entered = self.state.enter_alone(is_own)?;
        // SAFETY: I10: as above.
        Ok((unsafe { (*self.target.get()).assume_init_ref() }, entered))
    }

    #[inline]
    pub(super) fn leave(&self) {
        if self.state.leave() == Ending::Free {
            self.free_after_call();
        }
    }

    #[inline]
    pub(super) fn leave_alone(&self, entered: Entered) {
        if self.state.leave_alone(entered) == Ending::Free {
            self.free_after_call();
        }
    }

    /// Closes a generation of callers of `point`; `idle` only if no call is under way, `waiter` is
    /// unparked when it is gone. Frees what the callback owns if no call is under way.
    ///
    /// # Panics
    /// If the closure's destructor does.
    pub(super) fn close(
        &self,
        of: u32,
        freed: Freed,
        idle: bool,
        waiter: Option<Thread>,
        point: &EntryPoint,
    ) -> Ending {
        // The lock makes one step of it for calls that are refused.
        let mut slots = self.pool.slots();
        // Of another generation's owner nothing follows.
        let alone = self.has_owner();
        let ending = match (alone, idle) {
            (true, _) => self.state.close_alone(of, idle),
            (false, true) => self.state.close_idle(of),
            (false, false) => self.state.close(of),
        };
        let info = slots.info(self);
        match ending {
            Ending::Busy(_) if idle => {}
            Ending::Busy(_) => {
                info.close(freed);
                info.keep(point);
                info.wait(of, waiter);
            }
            Ending::Closed => info.wait(of, waiter),
            Ending::Free => {
                info.close(freed);
                // SAFETY: I10: this is the one that `Ending::Free` names.
                let callee = unsafe { self.take_target() }.callee;
                if alone {
                    // Nobody can wait for it.
                    slots.give_back(self);
                    drop(slots);
                    none_held();
                    drop(callee);
                } else {
                    drop(slots);
                    if let Some(payload) = self.free(callee) {
                        resume_unwind(payload);
                    }
                }
            }
        }
        ending
    }

    /// Whether what a generation owned, which was closed, is gone.
    pub(super) fn is_gone(&self, of: u32) -> bool {
        self.pool.slots().info(self).is_gone(of)
    }

    /// Whether the callback belongs to one thread. Only that one closes it, so nobody waits.
    fn has_owner(&self) -> bool {
        self.owner.load(Ordering::Relaxed) != ALL_THREADS
    }

    /// Calls of a generation that are under way, and whether this thread is inside one of them.
    pub(super) fn calls(&self, of: u32) -> (u32, bool) {
        let calls = self.state.calls(of);
        let alone = self.owner.load(Ordering::Relaxed) == thread_number();
        (calls, alone && calls > 0 || is_inside(self))
    }

    /// # Safety
    /// Only once, by the one that [`Ending::Free`] names.
    unsafe fn take_target(&self) -> Target {
        // SAFETY: I10: all calls have left, and none enters a closed generation.
        unsafe { (*self.target.get()).assume_init_read() }
    }

    /// Drops what a callback owned, and gives the slot back to its pool: the panic of the closure's
    /// destructor.
    fn free(&self, callee: Held) -> Option<Box<dyn std::any::Any + Send>> {
        none_held();
        // Its destructor may close the callback, and is not to wait for itself.
        let free = || catch_unwind(AssertUnwindSafe(|| drop(callee))).err();
        let panic = inside(self, free);
        let waiters = self.pool.slots().give_back(self);
        for waiter in waiters {
            waiter.unpark();
        }
        panic
    }

    /// After a call: frees the callback, which was closed meanwhile. The caller is foreign code
    /// which runs in memory that the callback keeps.
    #[cold]
    fn free_after_call(&self) {
        // Who has closed it has put everything there, in one step.
        let (described, kept) = {
            let mut slots = self.pool.slots();
            let info = slots.info(self);
            (info.described(), info.kept())
        };
        // SAFETY: I10: this is the one that `Ending::Free` names.
        let target = unsafe { self.take_target() };
        if let Some(payload) = self.free(target.callee) {
            let failure = Failure::DropPanicked(message(&*payload));
            forget(payload);
            self.tell(failure, target.on_panic, described);
        }
        // The code that is being returned to must not be unmapped: if nobody else holds it, it
        // stays for ever.
        if let Some(point) = kept {
            let entries = point.0.entries.clone();
            drop(point);
            if let Some(last) = Arc::into_inner(entries) {
                std::mem::forget(last);
            }
        }
    }

    /// Reports a call that was entered and has no result.
    #[cold]
    pub(super) fn fail(&self, failure: Failure, on_panic: OnFailure) {
        let (callback, on_late) = {
            let mut slots = self.pool.slots();
            let info = slots.info(self);
            (info.described(), info.on_late())
        };
        let outcome = match failure {
            Failure::Refused(_) => on_late,
            _ => on_panic,
        };
        self.tell(failure, outcome, callback);
    }

    fn tell(&self, failure: Failure, outcome: OnFailure, callback: Option<Described>) {
        let report = Report {
            failure,
            outcome,
            entry: self.entry(),
            callback,
        };
        tell(&report, self.pool.observer.as_ref());
    }

    /// Reports a call that is not entered.
    #[cold]
    pub(super) fn refuse(&self, seen: u64, code: u64) {
        let (callback, outcome, same) = {
            let mut slots = self.pool.slots();
            let info = slots.info(self);
            let same = info.is_of(generation(seen)) && self.code.load(Ordering::Relaxed) == code;
            (info.described().filter(|_| same), info.on_late(), same)
        };
        let is_open = callback
            .as_ref()
            .is_some_and(|callback| callback.freed.is_none());
        let failure = match same && is_open {
            true => Failure::OtherThread,
            false => Failure::Late,
        };
        self.tell(failure, outcome, callback);
    }
}
