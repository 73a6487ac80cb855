//! Slots: what an entry leads to, and the function that every call comes through.
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
#![expect(
    unsafe_code,
    reason = "is called by generated code, with addresses; the target is in a cell"
)]

use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;

use super::call::{Call, Typed};
use super::entries::{EntryPoint, SlotRef};
use super::lower::HANDLER_OFFSET;
use super::report::{
    Described, Failure, Freed, Observer, OnFailure, Report, forget, message, tell,
};
use super::state::{Ending, State, generation};
use super::veneer::{STATE_OFFSET, VENEER_OFFSET};
use crate::lock::{lock, none_held};
use crate::{CallStub, Family, GBlock};

/// The type of [`handle`].
type Handler = unsafe extern "C" fn(*const Slot, u64, *const u8, *mut u8, u64);

/// What an entry leads to. The first three fields are read by its code.
#[repr(C)]
pub(super) struct Slot {
    /// Where the entry jumps to.
    veneer: AtomicUsize,
    state: State,
    handler: Handler,
    /// Number of the thread that may call, or 0: every thread.
    owner: AtomicU64,
    /// Number of the code at `veneer`.
    code: AtomicU64,
    target: UnsafeCell<Option<Target>>,
    info: Mutex<Info>,
    entry: AtomicUsize,
    pub(super) family: Family,
    observer: Option<Observer>,
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

/// What is called.
pub(super) struct Target {
    pub(super) callee: Callee,
    pub(super) on_panic: OnFailure,
    /// The memory of the slot and its code.
    pub(super) slot: SlotRef,
    pub(super) point: EntryPoint,
}

pub(super) enum Callee {
    Closure(Box<dyn Fn(&mut Call<'_>)>),
    Function {
        stub: Arc<CallStub>,
        code: usize,
        context: usize,
    },
}

/// What is told of a slot's callback, also after it.
#[derive(Default)]
struct Info {
    generation: u32,
    callback: Option<Known>,
    /// The target is gone.
    is_free: bool,
    waiters: Vec<Thread>,
}

/// A callback, for reports.
struct Known {
    typed: Arc<Typed>,
    owner: Option<Arc<str>>,
    created: &'static Location<'static>,
    freed: Option<Freed>,
    on_late: OnFailure,
}

impl Info {
    fn described(&self) -> Option<Described> {
        self.callback.as_ref().map(|known| Described {
            signature: known.typed.signature.clone(),
            abi: known.typed.abi,
            owner: known.owner.clone(),
            created: known.created,
            freed: known.freed,
        })
    }
}

/// What a callback that takes a slot brings with it.
pub(super) struct Opening {
    pub(super) target: Target,
    pub(super) on_late: OnFailure,
    pub(super) owner: Option<Arc<str>>,
    pub(super) created: &'static Location<'static>,
    /// Number of the only thread that may call, or 0.
    pub(super) thread: u64,
    pub(super) veneer: usize,
    pub(super) code: u64,
}

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static INNERMOST: Cell<*const Frame> = const { Cell::new(std::ptr::null()) };
    /// What stands in for Go's goroutine in calls of Go functions.
    static G: GBlock = const { GBlock::zeroed() };
}

/// A call of a free-threaded callback that is under way on this thread.
struct Frame {
    slot: *const Slot,
    outer: *const Frame,
}

/// This thread's number, from 1 on; no two threads of the process have had the same.
pub(super) fn thread_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    match NUMBER.get() {
        0 => {
            let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            NUMBER.set(number);
            number
        }
        number => number,
    }
}

impl Slot {
    /// A slot whose entry is not written yet.
    pub(super) fn new(family: Family, observer: Option<Observer>) -> Slot {
        Slot {
            veneer: AtomicUsize::new(0),
            state: State::new(),
            handler: handle,
            owner: AtomicU64::new(0),
            code: AtomicU64::new(0),
            target: UnsafeCell::new(None),
            info: Mutex::default(),
            entry: AtomicUsize::new(0),
            family,
            observer,
        }
    }

    /// Address of the entry.
    pub(super) fn entry(&self) -> usize {
        self.entry.load(Ordering::Relaxed)
    }

    /// Address of the slot, which its entry has.
    pub(super) fn address(&self) -> u64 {
        std::ptr::from_ref(self).expose_provenance() as u64
    }

    /// Whether no callback has had it yet.
    pub(super) fn is_fresh(&self) -> bool {
        generation(self.state.word()) == 0
    }

    pub(super) fn set_entry(&self, entry: usize) {
        self.entry.store(entry, Ordering::Relaxed);
    }

    /// Whether no callback can have it any more.
    pub(super) fn is_used_up(&self) -> bool {
        generation(self.state.word()) == u32::MAX
    }

    /// Gives the slot to a callback; its generation.
    ///
    /// Only by the thread that has taken the free slot from its pool, where none is used up.
    pub(super) fn open(&self, opening: Opening) -> u32 {
        let next = generation(self.state.word()) + 1;
        let mut info = lock(&self.info);
        let typed = &opening.target.point.0.typed;
        // Mostly it is the last one's.
        let before = info.callback.take().map(|known| known.typed);
        let same = before.filter(|before| Arc::ptr_eq(before, typed));
        let known = Known {
            typed: same.unwrap_or_else(|| typed.clone()),
            owner: opening.owner,
            created: opening.created,
            freed: None,
            on_late: opening.on_late,
        };
        *info = Info {
            generation: next,
            callback: Some(known),
            is_free: false,
            waiters: Vec::new(),
        };
        drop(info);
        // SAFETY: I10: the slot is free: no call enters, and its last target was taken out.
        unsafe { *self.target.get() = Some(opening.target) };
        self.owner.store(opening.thread, Ordering::Relaxed);
        self.code.store(opening.code, Ordering::Relaxed);
        self.veneer.store(opening.veneer, Ordering::Relaxed);
        self.state.open();
        next
    }

    /// Closes a generation; `idle` only if no call is under way, `waiter` is told when the last one
    /// has ended. Frees what the callback owns if none is.
    pub(super) fn close(
        &self,
        of: u32,
        freed: Freed,
        idle: bool,
        waiter: Option<Thread>,
    ) -> Ending {
        let ending = {
            // The lock makes one step of it for those that are refused.
            let mut info = lock(&self.info);
            let ending = if idle {
                self.state.close_idle(of)
            } else {
                self.state.close(of)
            };
            let is_closed = match ending {
                Ending::Free => true,
                Ending::Busy(_) => !idle,
                Ending::Closed => false,
            };
            if is_closed && let Some(known) = &mut info.callback {
                known.freed = Some(freed);
            }
            if info.generation == of && !info.is_free && !self.has_owner() {
                info.waiters.extend(waiter);
            }
            ending
        };
        if let Ending::Free = ending
            && let Some(end) = self.free()
            && let Some(payload) = end.panic
        {
            resume_unwind(payload);
        }
        ending
    }

    /// Whether what a generation owned, which was closed, is gone.
    pub(super) fn is_free(&self, of: u32) -> bool {
        let info = lock(&self.info);
        let has_ended = self.has_owner() && self.state.calls(of) == 0;
        info.generation != of || info.is_free || has_ended
    }

    /// Whether the callback belongs to one thread. Only that one closes it, so nobody waits.
    fn has_owner(&self) -> bool {
        self.owner.load(Ordering::Relaxed) != 0
    }

    /// Calls of a generation that are under way, and whether this thread is inside one of them.
    pub(super) fn calls(&self, of: u32) -> (u32, bool) {
        let calls = self.state.calls(of);
        let alone = self.owner.load(Ordering::Relaxed) == thread_number();
        let mut frame = INNERMOST.get();
        let mut inside = alone && calls > 0;
        while !frame.is_null() && !inside {
            // SAFETY: I10: frames of this thread's own stack, of calls that have not returned.
            let Frame { slot, outer } = unsafe { &*frame };
            inside = std::ptr::eq(*slot, self);
            frame = *outer;
        }
        (calls, inside)
    }

    /// Drops what the callback owns, and gives the slot back to its pool. The memory of the slot
    /// lives as long as what is returned.
    ///
    /// Only by the one that `Ending::Free` names.
    fn free(&self) -> Option<End> {
        // SAFETY: I10: all calls have left, and none enters a closed generation.
        let target = unsafe { (*self.target.get()).take() }?;
        let Target {
            callee,
            on_panic,
            slot,
            point,
        } = target;
        none_held();
        let panic = catch_unwind(AssertUnwindSafe(|| drop(callee))).err();
        let waiters = if self.has_owner() {
            Vec::new()
        } else {
            let mut info = lock(&self.info);
            info.is_free = true;
            std::mem::take(&mut info.waiters)
        };
        point.0.entries.give_back(slot);
        for waiter in waiters {
            waiter.unpark();
        }
        Some(End {
            point,
            panic,
            on_panic,
        })
    }

    /// After a call: frees the callback if it was closed meanwhile. The caller is foreign code
    /// which runs in memory that the callback keeps.
    #[cold]
    fn free_after_call(&self) {
        let described = lock(&self.info).described();
        let Some(end) = self.free() else { return };
        if let Some(payload) = end.panic {
            let failure = Failure::DropPanicked(message(&*payload));
            forget(payload);
            self.tell(failure, end.on_panic, described);
        }
        // The code that is being returned to must not be unmapped: if nobody else holds it, it
        // stays for ever.
        let keep = end.point.0.entries.clone();
        drop(end.point);
        if let Some(last) = Arc::into_inner(keep) {
            std::mem::forget(last);
        }
    }

    /// Reports a call that was entered and has no result.
    #[cold]
    fn fail(&self, failure: Failure, on_panic: OnFailure) {
        let (described, on_late) = {
            let info = lock(&self.info);
            let on_late = info.callback.as_ref().map(|known| known.on_late);
            (info.described(), on_late.unwrap_or(OnFailure::Abort))
        };
        let outcome = match failure {
            Failure::Refused(_) => on_late,
            _ => on_panic,
        };
        self.tell(failure, outcome, described);
    }

    fn tell(&self, failure: Failure, outcome: OnFailure, callback: Option<Described>) {
        let report = Report {
            failure,
            outcome,
            entry: self.entry(),
            callback,
        };
        tell(&report, self.observer.as_ref());
    }

    /// A call that is not entered.
    #[cold]
    fn refuse(&self, seen: u64, code: u64) {
        let (callback, outcome, same) = {
            let info = lock(&self.info);
            let same =
                info.generation == generation(seen) && self.code.load(Ordering::Relaxed) == code;
            let on_late = info.callback.as_ref().map(|known| known.on_late);
            let callback = info.described().filter(|_| same);
            (callback, on_late.unwrap_or(OnFailure::Abort), same)
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

/// What is left of a callback that was freed.
struct End {
    point: EntryPoint,
    /// Of the closure's destructor.
    panic: Option<Box<dyn std::any::Any + Send>>,
    on_panic: OnFailure,
}

/// Every call of every callback: what the body of an entry calls, with addresses in its frame.
///
/// # Safety
/// `slot` is a slot of a pool that is still there, `arguments` and `results` are blocks of the
/// signature for which the code of this number was made.
unsafe extern "C" fn handle(
    slot: *const Slot,
    seen: u64,
    arguments: *const u8,
    results: *mut u8,
    code: u64,
) {
    // SAFETY: I10: the address stands in the entry, which lives as long as the slot.
    let slot = unsafe { &*slot };
    let owner = slot.owner.load(Ordering::Relaxed);
    let (ending, is_ours) = match owner {
        0 => {
            if slot.state.enter(seen).is_err() {
                return slot.refuse(seen, code);
            }
            // What was read before the call had entered may have been another generation's.
            let is_ours = !slot.has_owner() && slot.code.load(Ordering::Relaxed) == code;
            if is_ours {
                let frame = Frame {
                    slot,
                    outer: INNERMOST.get(),
                };
                INNERMOST.set(&raw const frame);
                // SAFETY: I10: the call has entered, so the target stays until it leaves; the
                // blocks are of the signature of this code, which is the target's.
                unsafe { run(slot, arguments, results) };
                INNERMOST.set(frame.outer);
            }
            (slot.state.leave(), is_ours)
        }
        number if number == NUMBER.get() => {
            // This thread has opened the slot, before the call began, and nobody else can have
            // closed it since: what the call came by is this generation's.
            if slot.state.enter_alone(seen).is_err() {
                return slot.refuse(seen, code);
            }
            // SAFETY: I10: as above.
            unsafe { run(slot, arguments, results) };
            (slot.state.leave_alone(), true)
        }
        _ => return slot.refuse(seen, code),
    };
    if let Ending::Free = ending {
        slot.free_after_call();
    }
    if !is_ours {
        slot.refuse(seen, code);
    }
}

/// Calls the target of a slot that was entered. A panic ends here.
///
/// # Safety
/// As [`handle`].
#[inline]
unsafe fn run(slot: &Slot, arguments: *const u8, results: *mut u8) {
    // SAFETY: I10: as the caller says.
    let Some(target) = (unsafe { &*slot.target.get() }) else {
        return;
    };
    let typed = &*target.point.0.typed;
    let outcome = catch_unwind(AssertUnwindSafe(|| match &target.callee {
        Callee::Closure(closure) => {
            // SAFETY: I5, I10: the body's block of arguments, whole and of this size; all its bytes
            // were written or zeroed.
            let arguments =
                unsafe { std::slice::from_raw_parts(arguments, typed.argument_bytes()) };
            // SAFETY: I5, I10: the body's block of results, zeroed, of this size, and nobody
            // else's.
            let results = unsafe { std::slice::from_raw_parts_mut(results, typed.result_bytes()) };
            let mut call = Call::new(typed, arguments, results);
            closure(&mut call);
            call.refused()
        }
        Callee::Function {
            stub,
            code,
            context,
        } => {
            // SAFETY: I5: the promise of who made the callback; both blocks are of the function's
            // signature, and at multiples of 16.
            unsafe { call_function(stub, *code, *context, arguments, results) };
            None
        }
    }));
    let failure = match outcome {
        Ok(None) => return,
        Ok(Some(why)) => Failure::Refused(why.into()),
        Err(payload) => {
            let failure = Failure::Panicked(message(&*payload));
            forget(payload);
            failure
        }
    };
    // SAFETY: I5: the block of results again; the closure is over.
    unsafe { results.write_bytes(0, typed.result_bytes()) };
    slot.fail(failure, target.on_panic);
}

/// # Safety
/// As [`CallStub::call`].
#[inline(never)]
unsafe fn call_function(
    stub: &CallStub,
    code: usize,
    context: usize,
    arguments: *const u8,
    results: *mut u8,
) {
    G.with(|g| {
        // SAFETY: I5: as the caller says.
        let called = unsafe { stub.call(code, context, arguments, results, g) };
        debug_assert_eq!(called, Ok(()));
    });
}
