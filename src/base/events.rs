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

/// A `tracing` span that this thread is in until the value is dropped.
pub(crate) struct Span(Option<tracing::span::EnteredSpan>);

/// Enters the span that `make` returns. Subscribers run when it is made, entered and left, so no
/// lock may be held at either end; their panics are caught.
pub(crate) fn span(make: impl FnOnce() -> tracing::Span) -> Span {
    let mut span = Span(None);
    tell(|| span.0 = Some(make().entered()));
    span
}

/// Whether a subscriber wants the span of each call.
pub(crate) fn wants_calls() -> bool {
    let mut wanted = false;
    tell(|| wanted = tracing::enabled!(target: "fing::calls", tracing::Level::TRACE));
    wanted
}

impl Drop for Span {
    fn drop(&mut self) {
        let span = self.0.take();
        if span.is_some() {
            tell(|| drop(span));
        }
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
