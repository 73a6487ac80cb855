//! Waiting for what other threads do.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything takes, on any machine: only a hang ends a wait.
const LIMIT: Duration = Duration::from_secs(300);

/// A door that is shut until somebody opens it, and counts who waits at it.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Door {
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().0 = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.1 += 1;
        self.0.1.notify_all();
        drop(self.0.1.wait_while(state, |(open, _)| !*open).unwrap());
    }

    /// Waits until so many wait at it, or have passed.
    pub(crate) fn wait_for(&self, count: usize) {
        let state = self.0.0.lock().unwrap();
        let wait = self
            .0
            .1
            .wait_timeout_while(state, LIMIT, |(_, at)| *at < count);
        assert!(!wait.unwrap().1.timed_out(), "nobody came to the door");
    }
}

/// Waits until something is so. Only a hang ends it early.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let from = Instant::now();
    while !holds() {
        assert!(from.elapsed() < LIMIT, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
