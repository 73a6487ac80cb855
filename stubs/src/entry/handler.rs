//! Handlers: the functions that every call of a callback comes through, one for each type of what
//! is called, so that this is compiled into it; and one each for callbacks of one thread and of
//! all.
#![expect(unsafe_code, reason = "is called by generated code, with addresses")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::call::{Call, Typed};
use super::report::{Failure, forget, message};
use super::slot::{Slot, Target};
use super::thread::inside;

/// What the body of an entry calls: with the slot, the state that its veneer saw, addresses of
/// blocks in its frame, and the number of the code.
///
/// # Safety
/// The slot is of a pool that is still there, its handler was read after the state, and the blocks
/// are of the signature for which the code of this number was made.
pub(super) type Handler = unsafe extern "C" fn(*const Slot, u64, *const u8, *mut u8, u64);

/// What can be behind a callback.
pub(super) trait Callee: 'static {
    /// Calls it. Returns why the call was refused, if it was.
    ///
    /// # Safety
    /// The blocks are of the signature of `typed`, at multiples of 16, that of results zeroed and
    /// nobody else's.
    unsafe fn call(
        &self,
        typed: &Typed,
        arguments: *const u8,
        results: *mut u8,
    ) -> Option<Box<str>>;
}

/// The handler of a callback of one thread.
///
/// # Safety
/// As [`Handler`]; the slot's last callback with this handler is of a `C`.
pub(super) unsafe extern "C" fn owned<C: Callee>(
    slot: *const Slot,
    seen: u64,
    arguments: *const u8,
    results: *mut u8,
    code: u64,
) {
    // SAFETY: I10: the address stands in the entry, which lives as long as the slot.
    let slot = unsafe { &*slot };
    // SAFETY: I10: left below.
    let Ok((target, entered)) = (unsafe { slot.enter_alone() }) else {
        return slot.refuse(seen, code);
    };
    // SAFETY: I10: entered, so target and handler are of one callback, and the code is its.
    unsafe { run::<C>(slot, target, arguments, results) };
    slot.leave_alone(entered);
}

/// The handler of a callback of all threads.
///
/// # Safety
/// As [`owned`].
pub(super) unsafe extern "C" fn shared<C: Callee>(
    slot: *const Slot,
    seen: u64,
    arguments: *const u8,
    results: *mut u8,
    code: u64,
) {
    // SAFETY: I10: as above.
    let slot = unsafe { &*slot };
    // SAFETY: I10: left below.
    let Ok(target) = (unsafe { slot.enter(seen, code) }) else {
        return slot.refuse(seen, code);
    };
    inside(slot, || {
        // SAFETY: I10: as above; the code's number was compared.
        unsafe { run::<C>(slot, target, arguments, results) }
    });
    slot.leave();
}

/// Calls the target of a slot that was entered. A panic ends here.
///
/// # Safety
/// As [`Handler`], and the target's callee is a `C`.
#[inline]
unsafe fn run<C: Callee>(slot: &Slot, target: &Target, arguments: *const u8, results: *mut u8) {
    // SAFETY: I10: the caller's promise.
    let why = unsafe {
        guarded(slot, target, |callee: &C, typed| {
            // SAFETY: I5, I10: the caller's promise.
            callee.call(typed, arguments, results)
        })
    };
    if let Some(None) = why {
        return;
    }
    if let Some(Some(why)) = why {
        slot.fail(Failure::Refused(why.into()), target.on_panic);
    }
    // SAFETY: I5, I10: the block of results of the call; what was called is over. Who keeps the
    // target keeps its point.
    unsafe { results.write_bytes(0, target.typed.as_ref().result_bytes()) };
}

/// Runs `call` with the callee of a slot that was entered. A panic is reported, and returns `None`.
///
/// # Safety
/// The target's callee is a `C`.
#[inline]
pub(super) unsafe fn guarded<C: 'static, R>(
    slot: &Slot,
    target: &Target,
    call: impl FnOnce(&C, &Typed) -> R,
) -> Option<R> {
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: I10: the caller's promise; who keeps the target keeps its point.
        unsafe { call(target.callee.get::<C>(), target.typed.as_ref()) }
    }));
    called
        .map_err(|payload| panicked(slot, target, payload))
        .ok()
}

/// Reports a call that was entered and panicked.
#[cold]
#[inline(never)]
fn panicked(slot: &Slot, target: &Target, payload: Box<dyn std::any::Any + Send>) {
    let failure = Failure::Panicked(message(&*payload));
    forget(payload);
    slot.fail(failure, target.on_panic);
}

/// A closure that sees its [`Call`].
pub(super) struct Closure<F>(pub(super) F);

impl<F: Fn(&mut Call<'_>) + 'static> Callee for Closure<F> {
    #[inline]
    unsafe fn call(
        &self,
        typed: &Typed,
        arguments: *const u8,
        results: *mut u8,
    ) -> Option<Box<str>> {
        // SAFETY: I5, I10: the body's block of arguments, whole and of this size; all its bytes
        // were written or zeroed.
        let arguments = unsafe { std::slice::from_raw_parts(arguments, typed.argument_bytes()) };
        // SAFETY: I5, I10: the body's block of results, zeroed, of this size, and nobody else's.
        let results = unsafe { std::slice::from_raw_parts_mut(results, typed.result_bytes()) };
        let mut call = Call::new(typed, arguments, results);
        (self.0)(&mut call);
        call.refused()
    }
}
