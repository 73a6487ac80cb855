//! The locks of this crate, and the rule that no code of the user's runs while one is held.
//!
//! A `tracing` event runs the user's subscriber, and Cranelift writes `log` records, which run the
//! user's logger. Both may use the very cache that sent them. In debug builds each thread counts
//! the locks that it holds, and code that is about to run such code checks the count with
//! [`none_held`].
//!
//! A panic while a lock is held leaves data that is whole: poisoning is ignored.
#![forbid(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What a lock protects, until it is dropped.
pub(crate) struct Guard<G> {
    data: G,
    _held: count::Held,
}

impl<G> Guard<G> {
    fn new(data: G) -> Guard<G> {
        let _held = count::Held::new();
        Guard { data, _held }
    }
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.data
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.data
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Guard<MutexGuard<'_, T>> {
    Guard::new(mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> Guard<RwLockReadGuard<'_, T>> {
    Guard::new(lock.read().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> Guard<RwLockWriteGuard<'_, T>> {
    Guard::new(lock.write().unwrap_or_else(PoisonError::into_inner))
}

/// To be called right before code of the user's may run.
///
/// # Panics
/// In debug builds, if this thread holds a lock.
pub(crate) fn none_held() {
    count::check();
}

#[cfg(debug_assertions)]
mod count {
    use std::cell::Cell;

    thread_local! {
        static HELD: Cell<u32> = const { Cell::new(0) };
    }

    /// One lock that this thread holds.
    pub(super) struct Held;

    impl Held {
        pub(super) fn new() -> Held {
            HELD.set(HELD.get() + 1);
            Held
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.set(HELD.get() - 1);
        }
    }

    pub(super) fn check() {
        assert_eq!(
            HELD.get(),
            0,
            "code of the user's would run with a lock held"
        );
    }
}

#[cfg(not(debug_assertions))]
mod count {
    pub(super) struct Held;

    impl Held {
        pub(super) fn new() -> Held {
            Held
        }
    }

    pub(super) fn check() {}
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::path::Path;

    use super::*;

    #[test]
    #[cfg(debug_assertions)]
    fn every_lock_counts_until_it_is_given_back() {
        let (mutex, shared) = (Mutex::new(1), RwLock::new(2));
        none_held();
        let guard = lock(&mutex);
        assert!(catch_unwind(none_held).is_err());
        drop(guard);
        none_held();
        for guards in [[true, false], [false, true], [true, true]] {
            let writes = guards == [false, true];
            let first = (!writes).then(|| read(&shared));
            let second = (guards[0] && guards[1]).then(|| read(&shared));
            let third = writes.then(|| write(&shared));
            assert!(catch_unwind(none_held).is_err());
            drop((first, second, third));
            none_held();
        }
    }

    /// Locks are taken through this module only, and events are sent right behind a check.
    #[test]
    fn no_lock_and_no_event_goes_around_the_count() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let (mut events, mut files) = (0, 0);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                files += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                if path.ends_with("src/lock.rs") {
                    continue;
                }
                let lines: Vec<&str> = text.lines().map(str::trim).collect();
                for (i, line) in lines.iter().enumerate() {
                    let name = format!("{}:{}", path.display(), i + 1);
                    for call in [".lock()", ".read()", ".write()", ".try_lock()"] {
                        assert!(!line.contains(call), "{name}: {call}");
                    }
                    if line.starts_with("tracing::") {
                        events += 1;
                        assert_eq!(lines[i - 1], "none_held();", "{name}");
                    }
                }
                let uses = text.matches("tracing::").count();
                let sent = lines
                    .iter()
                    .filter(|line| line.starts_with("tracing::"))
                    .count();
                assert_eq!(uses, sent, "{}: an event in another form", path.display());
            }
        }
        assert!(files > 30 && events > 0, "{files} files, {events} events");
    }
}
