//! Whether this process is a fork of the one that made something. A forked child has no code memory
//! (see [`code`](mod@crate::code)), and asking for the process's number at each callback would take
//! longer than the rest.
#![cfg_attr(
    unix,
    expect(unsafe_code, reason = "registers a function with the C library")
)]

#[cfg(unix)]
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many forks lead to this process, since the first [`generation`].
static FORKS: AtomicU64 = AtomicU64::new(0);

/// A number that differs in a forked child. Forks past the C library (`clone`) are not counted.
pub(super) fn generation() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Counts forks from now on.
#[cfg(unix)]
pub(super) fn watch() {
    static WATCHED: Once = Once::new();
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    WATCHED.call_once(|| {
        // SAFETY: I4: the function does nothing but count, which a forked child may do.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// Where no process forks there is nothing to count.
#[cfg(not(unix))]
pub(super) fn watch() {}
