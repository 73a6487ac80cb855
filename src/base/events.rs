//! The only module that runs user code other than finalizers and cleanups: hooks, observers,
//! destructors of what a function kept alive, and subscribers of `tracing`.
//!
//! Such code may panic, and may call back into this crate. So none of it runs while a lock of this
//! crate is held, which debug builds check, and its panics are caught.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::lock;

/// Sends a `tracing` event: `body` calls one of its macros. A panic of the subscriber is caught.
pub(crate) fn tell(body: impl FnOnce()) {
    lock::assert_none_held();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        // Dropping it may panic again, and there is no other place to report that.
        std::mem::forget(payload);
    }
}

/// Runs user code. A panic, even one whose payload panics when dropped, is caught and reported as a
/// `tracing` event that names `what`.
pub(crate) fn guarded(what: &str, body: impl FnOnce()) {
    lock::assert_none_held();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        std::mem::forget(payload);
        tell(|| tracing::error!("{what} panicked"));
    }
}

/// Drops a value whose destructor may be user code, as [`guarded`] runs it.
pub(crate) fn drop_guarded<T>(what: &str, value: T) {
    guarded(what, || drop(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }

    #[test]
    fn panics_end_nothing() {
        tell(|| panic!("a subscriber"));
        guarded("a hook", || panic!("a hook"));
        guarded("a hook with a bad payload", || {
            std::panic::panic_any(Bomb);
        });
        drop_guarded("an owner", Bomb);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "user code runs while a lock is held")]
    fn nothing_runs_under_a_lock() {
        let lock = lock::Lock::new(lock::Rank::Queue, ());
        let _held = lock.lock();
        tell(|| {});
    }
}
