//! In place of the runtime's room of the same name: the same locks without ranks, over loom's.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use loom::sync::{Mutex, MutexGuard};

pub(crate) use loom::sync::Condvar;

thread_local! {
    /// A fault to be found: a wait that lets go of the lock before it begins to wait. Loom runs all
    /// threads of a model on the thread that called it, so each test has its own.
    pub(crate) static WAITS_TOO_LATE: Cell<bool> = const { Cell::new(false) };
}

#[derive(Copy, Clone, Debug)]
pub(crate) enum Rank {
    World,
    Queue,
}

#[derive(Debug)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(_: Rank, value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Held<'_, T> {
        Held {
            lock: &self.0,
            guard: take(&self.0),
        }
    }
}

fn take<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    match lock.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

pub(crate) struct Held<'a, T> {
    lock: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
}

impl<T> Held<'_, T> {
    pub(crate) fn wait(self, changed: &Condvar) -> Self {
        let Held { lock, guard } = self;
        let guard = if WAITS_TOO_LATE.get() {
            drop(guard);
            take(lock)
        } else {
            guard
        };
        let guard = match changed.wait(guard) {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        Held { lock, guard }
    }

    /// No time passes in a model: a wait ends when it is notified.
    pub(crate) fn wait_timeout(self, changed: &Condvar, _: Duration) -> Self {
        self.wait(changed)
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
