//! Locks with a rank. This module defines the lock order of the whole crate, and checks it in debug
//! builds.
//!
//! A thread takes locks in ascending [`Rank`] only (I11). While the world is stopped, the thread
//! that stopped it holds no lock of rank [`Rank::World`]; having stopped it counts as that rank, so
//! locks of all later ranks may be taken. No lock is held while user code runs (I7).
#![forbid(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

pub(crate) use std::sync::Condvar;

/// The order in which a thread may take locks: a later one while it holds earlier ones, never the
/// other way round.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rank {
    /// Which threads are attached, which are running, and which one collects.
    World,
    /// Which thread waits for which others, in all runtimes.
    Waiting,
    /// Registrations: finalizers, cleanups, weak pointers.
    Registry,
    /// The threads that run finalizers.
    Workers,
    /// The mailboxes of a runtime, and which thread drains one.
    Posts,
    /// The queue of the finalizer goroutine.
    Queue,
    /// Times of sampled calls.
    Samples,
    /// Functions prepared for a type of object.
    Shapes,
    /// Shapes that a sweep has removed, to be dropped once the world goes on.
    Removed,
    /// What was attached to dead objects, likewise.
    Orphaned,
    /// The table of rooted handles.
    Roots,
    /// The windows of the heap.
    Windows,
    /// The block of one window.
    Window,
    /// The heap's blocks: free ones, and those with free cells.
    Heap,
    /// What says when collections are due.
    Pace,
    /// Names, types, method sets.
    Types,
}

/// A mutex that knows its rank. Poisoning is ignored: no user code runs under a lock, and the data
/// of every lock of this crate is consistent at each point where our own code could panic.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    rank: Rank,
    /// The process that made it.
    owner: u32,
    inner: Mutex<T>,
}

impl<T> Lock<T> {
    pub(crate) fn new(rank: Rank, value: T) -> Lock<T> {
        Lock {
            rank,
            owner: std::process::id(),
            inner: Mutex::new(value),
        }
    }

    /// Takes the lock.
    ///
    /// # Panics
    /// In debug builds, when the thread holds a lock of this rank or a later one: always a bug of
    /// this crate. In a forked child, when a thread that is not in it held the lock.
    pub(crate) fn lock(&self) -> Held<'_, T> {
        let entered = order::enter(self.rank);
        let guard = match self.inner.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait(),
        };
        Held {
            guard,
            _entered: entered,
        }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, T> {
        let found = std::process::id();
        assert!(
            found == self.owner,
            "process {found} is a fork of {}, whose other threads are not in it: it waits for a \
             lock that one of them holds, wanted a runtime of its own",
            self.owner
        );
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks in debug builds that the thread holds no lock, because user code is about to run.
///
/// # Panics
/// In debug builds, when it holds one: always a bug of this crate.
pub(crate) fn assert_none_held() {
    order::assert_none_held();
}

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct Held<'a, T> {
    // Dropped first: the lock is released before its rank.
    guard: MutexGuard<'a, T>,
    _entered: order::Entered,
}

impl<'a, T> Held<'a, T> {
    /// Releases the lock, waits for `changed`, and takes the lock again. May wake spuriously.
    pub(crate) fn wait(self, changed: &Condvar) -> Held<'a, T> {
        let Held { guard, _entered } = self;
        let guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        Held { guard, _entered }
    }

    /// As [`Held::wait`], but waits at most `timeout`.
    pub(crate) fn wait_timeout(self, changed: &Condvar, timeout: Duration) -> Held<'a, T> {
        let Held { guard, _entered } = self;
        let (guard, _) = changed
            .wait_timeout(guard, timeout)
            .unwrap_or_else(PoisonError::into_inner);
        Held { guard, _entered }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(debug_assertions)]
mod order {
    use super::Rank;
    use std::cell::RefCell;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn assert_none_held() {
        let held = HELD.try_with(|held| held.borrow().last().copied());
        if let Ok(Some(rank)) = held {
            panic!("user code runs while a lock is held: {rank:?}");
        }
    }

    #[derive(Debug)]
    pub(super) struct Entered(Rank);

    pub(super) fn enter(rank: Rank) -> Entered {
        // A thread that is ending has destroyed its list, and is not checked.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(last) = held.iter().copied().max() {
                assert!(
                    last < rank,
                    "lock order: taking {rank:?} while holding {last:?}"
                );
            }
            held.push(rank);
        });
        Entered(rank)
    }

    impl Drop for Entered {
        fn drop(&mut self) {
            let _ = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                if let Some(at) = held.iter().rposition(|&rank| rank == self.0) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(not(debug_assertions))]
mod order {
    #[derive(Debug)]
    pub(super) struct Entered;

    pub(super) fn enter(_: super::Rank) -> Entered {
        Entered
    }

    pub(super) fn assert_none_held() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending_is_fine_and_out_of_order_release_too() {
        let (a, b, c) = (
            Lock::new(Rank::World, 1),
            Lock::new(Rank::Heap, 2),
            Lock::new(Rank::Types, 3),
        );
        let (x, y) = (a.lock(), b.lock());
        drop(x);
        let z = c.lock();
        assert_eq!(*y + *z, 5);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order: taking World while holding Heap")]
    fn descending_is_caught() {
        let (a, b) = (Lock::new(Rank::World, ()), Lock::new(Rank::Heap, ()));
        let _held = b.lock();
        let _never = a.lock();
    }
}
