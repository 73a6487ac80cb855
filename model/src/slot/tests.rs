//! Models of a callback's slot: calls, closers, and the next callback that takes it.
//!
//! What the slot calls is a loom cell, so that a read beside a write is found in any order of
//! steps. Each of these changes to stubs/src/entry/state.rs was tried and fails the models named:
//!
//! | change | models that fail |
//! |---|---|
//! | `enter` does not compare the generations | `a_call_never_finds_the_next_callback` |
//! | `enter` does not look at CLOSED | all but `closed_once` |
//! | `leave` never returns `Free` | `freed_once_whoever_is_last`, `who_waits_is_told` |
//! | `close` returns `Free` whatever calls there are | these two, `a_call_never_finds_...` |
//! | `leave` with `Relaxed` | all but `closed_once` |
//! | `enter_alone` with `Relaxed`; `Slot::jump`, here, without code | `a_late_jump_leaves_...` |
#![forbid(unsafe_code)]

use std::sync::Arc as Count;
use std::sync::atomic::{AtomicU32 as Uncounted, Ordering::SeqCst};

use loom::cell::Cell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::state::{Ending, State, generation};

/// A slot: its state, what it calls, and how often that was freed.
struct Slot {
    state: State,
    /// Number of the code by which the callback is called.
    code: AtomicU64,
    /// The generation of the callback whose target is there; 0 for none. A cell: loom finds any
    /// access beside a write.
    target: Cell<u32>,
    /// Not a part of the model: looking adds no step.
    freed: Count<Uncounted>,
    told: AtomicBool,
}

impl Slot {
    fn open() -> Arc<Slot> {
        let slot = Slot {
            state: State::new(),
            code: AtomicU64::new(1),
            target: Cell::new(1),
            freed: Count::default(),
            told: AtomicBool::new(false),
        };
        assert_eq!(slot.state.open(), Some(1));
        Arc::new(slot)
    }

    fn end(&self, ending: Ending) {
        if ending == Ending::Free {
            self.target.set(0);
            self.freed.fetch_add(1, SeqCst);
            self.told.store(true, Ordering::Release);
        }
    }

    /// A call that saw `seen`; whether it was entered.
    fn call(&self, seen: u64) -> bool {
        let entered = self.state.enter(seen).is_ok();
        if entered {
            assert_eq!(
                self.target.get(),
                generation(seen),
                "another callback's target"
            );
            let ending = self.state.leave();
            self.end(ending);
        }
        entered
    }

    /// A call by code that jumps, which reads the state when it is there; whether it was entered.
    /// As `Slot::enter` of stubs/src/entry/slot.rs.
    fn jump(&self, code: u64) -> bool {
        let seen = self.state.word();
        if self.code.load(Ordering::Relaxed) != code {
            return false;
        }
        self.call(seen)
    }

    fn close(&self, of: u32) -> Ending {
        let ending = self.state.close(of);
        self.end(ending);
        ending
    }

    /// Takes the slot for the next callback, if the last is gone.
    fn take(&self, after: u32) -> bool {
        let is_free = self.freed.load(SeqCst) == after;
        if is_free {
            let next = after + 1;
            self.target.set(next);
            assert_eq!(self.state.open(), Some(next));
        }
        is_free
    }
}

/// With as many forced switches of threads as find every fault of the table.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// Two calls and a closer: the target is freed exactly once, after the last call.
#[test]
fn freed_once_whoever_is_last() {
    model(|| {
        let slot = Slot::open();
        let seen = slot.state.word();
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let slot = slot.clone();
                thread::spawn(move || slot.call(seen))
            })
            .collect();
        slot.close(1);
        callers.into_iter().for_each(|caller| drop(caller.join()));
        assert_eq!(slot.freed.load(SeqCst), 1);
        assert!(!slot.call(seen), "a late call");
    });
}

/// The slot is closed and given to another callback while a call of the first is on its way.
#[test]
fn a_call_never_finds_the_next_callback() {
    model(|| {
        let slot = Slot::open();
        let seen = slot.state.word();
        let caller = slot.clone();
        let caller = thread::spawn(move || caller.call(seen));
        if slot.close(1) == Ending::Free {
            assert!(slot.take(1));
            let own = slot.state.word();
            assert!(slot.call(own));
        }
        caller.join().unwrap();
    });
}

/// The slot is closed and given to a callback of one thread, which counts its calls alone, while a
/// call of the first is on its way that has not read the state.
#[test]
fn a_late_jump_leaves_the_next_callback_alone() {
    model(|| {
        let slot = Slot::open();
        let caller = slot.clone();
        let caller = thread::spawn(move || caller.jump(1));
        if slot.close(1) == Ending::Free {
            slot.code.store(2, Ordering::Relaxed);
            assert!(slot.take(1));
            for _ in 0..2 {
                let entered = slot.state.enter_alone(|| true).unwrap();
                assert_eq!(slot.state.leave_alone(entered), Ending::Busy(0));
            }
            let ending = slot.state.close_alone(2, false);
            assert_eq!(ending, Ending::Free);
            slot.end(ending);
        }
        caller.join().unwrap();
    });
}

/// Who closes and waits is told by the last call, after the target is gone.
#[test]
fn who_waits_is_told() {
    model(|| {
        let slot = Slot::open();
        let seen = slot.state.word();
        let caller = slot.clone();
        let caller = thread::spawn(move || caller.call(seen));
        if let Ending::Busy(calls) = slot.close(1) {
            assert_eq!(calls, 1);
            while !slot.told.load(Ordering::Acquire) {
                thread::yield_now();
            }
            assert_eq!(slot.target.get(), 0);
        }
        assert_eq!(slot.freed.load(SeqCst), 1);
        caller.join().unwrap();
    });
}

/// A refused close changes nothing; one that is not refused frees at once.
#[test]
fn idle_or_not_at_all() {
    model(|| {
        let slot = Slot::open();
        let seen = slot.state.word();
        let caller = slot.clone();
        let caller = thread::spawn(move || caller.call(seen));
        let ending = slot.state.close_idle(1);
        slot.end(ending);
        let entered = caller.join().unwrap();
        match ending {
            Ending::Busy(_) => assert!(entered && slot.freed.load(SeqCst) == 0),
            Ending::Free => assert_eq!(slot.freed.load(SeqCst), 1),
            Ending::Closed => unreachable!("closed by nobody"),
        }
    });
}

/// Two threads close at the same time: one of them frees.
#[test]
fn closed_once() {
    model(|| {
        let slot = Slot::open();
        let other = slot.clone();
        let other = thread::spawn(move || other.close(1));
        let endings = [slot.close(1), other.join().unwrap()];
        assert!(endings.contains(&Ending::Closed), "{endings:?}");
        assert_eq!(slot.freed.load(SeqCst), 1);
    });
}
