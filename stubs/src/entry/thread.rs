//! What each thread knows of the calls that it is in.
#![expect(
    unsafe_code,
    reason = "follows the calls of a thread through its stack"
)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::slot::Slot;

/// In place of a thread's number: every thread.
pub(super) const ALL_THREADS: u64 = u64::MAX;

thread_local! {
    /// 0 before the thread has asked for it.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static INNERMOST: Cell<*const Frame> = const { Cell::new(std::ptr::null()) };
}

/// A call of a callback of all threads that is under way on this one.
struct Frame {
    slot: *const Slot,
    outer: *const Frame,
}

/// This thread's number, from 1 on; no two threads of the process have had the same.
#[inline]
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

/// Whether a number, which is not 0, is this thread's. [`ALL_THREADS`] is nobody's.
#[inline]
pub(super) fn is_this_thread(number: u64) -> bool {
    number == NUMBER.get()
}

/// Runs a call of a slot, which must not unwind. Meanwhile [`is_inside`] knows of it.
#[inline]
pub(super) fn inside<R>(slot: &Slot, call: impl FnOnce() -> R) -> R {
    let frame = Frame {
        slot,
        outer: INNERMOST.get(),
    };
    INNERMOST.set(&raw const frame);
    let result = call();
    INNERMOST.set(frame.outer);
    result
}

/// Whether this thread is inside a call of a slot.
pub(super) fn is_inside(slot: &Slot) -> bool {
    let mut frame = INNERMOST.get();
    while !frame.is_null() {
        // SAFETY: I10: frames of this thread's own stack, of calls that have not returned.
        let Frame { slot: own, outer } = unsafe { &*frame };
        if std::ptr::eq(*own, slot) {
            return true;
        }
        frame = *outer;
    }
    false
}
