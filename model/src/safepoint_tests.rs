//! Models of safepoints: threads that enter, park and leave, beside threads that stop the world.
//!
//! Each thread of a model tells what it does in a [`Heap`] that is no part of the model: nobody may
//! touch it while a collector does. A member that parks unseen leaves its collector waiting for
//! ever, which loom reports as a deadlock. Changes to src/world/safepoint.rs that were tried; each
//! fails the models named:
//!
//! | change | models that fail |
//! |---|---|
//! | `change` does not look at STOP | all |
//! | `stop_running` does not notify, or leaves RUNNING | `one_collector`, `two_collectors` |
//! | `enter_slowly` does not wait | all |
//! | `stop` does not set STOP | all |
//! | `stop` sets STOP when it has looked at the slots | `one_collector`, `two_collectors` |
//! | `stop` does not wait for a collector, or parks its own member unseen | `two_collectors` |
//! | `register` leaves out STOP | `a_slot_is_made` |
//! | `Stopped::drop` leaves STOP | `one_collector` |
//! | `Stopped::drop` does not notify | all |
//! | `stop` interrupts nothing, or before STOP, or without a fence | `calls_are_interrupted` |
//! | `revoke` does not notify | `a_revoked_member_is_not_waited_for` |
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loom::thread;

use crate::base::deadline::Deadline;
use crate::base::lock::WAITS_TOO_LATE;
use crate::base::sync::{AtomicU32, Ordering::*, fence};
use crate::base::trust::Trust;
use crate::safepoint::{Interrupt, Slot, World};

/// As the models of the queue.
const PREEMPTIONS: usize = 3;

/// Who touches the heap: the number of mutators, and whether a collector does.
#[derive(Default)]
struct Heap(Mutex<(usize, bool)>);

impl Heap {
    fn with(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn begin(&self) {
        self.with(|(mutators, collector)| {
            assert!(!*collector, "a mutator runs during a collection");
            *mutators += 1;
        });
    }

    fn end(&self) {
        self.with(|(mutators, _)| *mutators -= 1);
    }

    fn collect(&self) {
        self.with(|(mutators, collector)| {
            assert_eq!(
                (*mutators, *collector),
                (0, false),
                "a collection beside others"
            );
            *collector = true;
        });
        // A step during the collection.
        thread::yield_now();
        self.with(|(mutators, collector)| {
            assert_eq!(
                (*mutators, *collector),
                (0, true),
                "the world was not stopped"
            );
            *collector = false;
        });
    }
}

#[derive(Clone)]
struct Model {
    world: Arc<World>,
    heap: Arc<Heap>,
    key: usize,
}

impl Model {
    fn new() -> Model {
        Model {
            world: World::new(Trust::default(), Arc::default()),
            heap: Arc::default(),
            key: 1,
        }
    }

    /// Another thread of the model.
    fn spawn(&self, key: usize, part: impl FnOnce(Model) + 'static) -> thread::JoinHandle<()> {
        let model = Model {
            key,
            ..self.clone()
        };
        thread::spawn(move || part(model))
    }

    fn enter(&self, slot: &Slot) {
        self.world.enter(slot, self.key, true).unwrap();
        self.heap.begin();
    }

    fn park(&self, slot: &Slot) {
        self.heap.end();
        self.world.park(slot);
    }

    fn unpark(&self, slot: &Slot) {
        self.world.unpark(slot, self.key).unwrap();
        self.heap.begin();
    }

    fn leave(&self, slot: &Slot) {
        self.heap.end();
        self.world.leave(slot);
    }

    fn poll(&self, slot: &Slot) {
        self.heap.end();
        self.world.poll(slot, || self.key).unwrap();
        // It may have gone on without a stop only if there is none.
        self.heap.begin();
    }

    fn collect(&self, own: Option<&Slot>) {
        if own.is_some() {
            self.heap.end();
        }
        let never = Deadline::after(Duration::MAX);
        let stopped = self.world.stop(own, self.key, never).unwrap();
        self.heap.collect();
        drop(stopped);
        if own.is_some() {
            self.heap.begin();
        }
    }
}

fn join(thread: thread::JoinHandle<()>) {
    thread.join().expect("a thread of the model");
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// A mutator enters, parks, comes back and leaves, twice with one slot; another thread collects.
fn one() {
    let model = Model::new();
    let slot = model.world.register(model.key);
    let kept = slot.clone();
    let mutator = model.spawn(2, move |model| {
        model.enter(&slot);
        model.park(&slot);
        model.unpark(&slot);
        model.leave(&slot);
        model.enter(&slot);
        model.leave(&slot);
    });
    model.collect(None);
    join(mutator);
    assert_eq!(model.world.members(), (0, 0));
    model.collect(None);
    assert!(
        !kept.must_stop(),
        "the next one that enters would take the lock"
    );
}

#[test]
fn one_collector() {
    check(one);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_begins_too_late_is_found() {
    WAITS_TOO_LATE.set(true);
    check(one);
}

/// Two mutators, of which one polls; both collect.
#[test]
fn two_collectors() {
    check(|| {
        let model = Model::new();
        let (first, second) = (model.world.register(1), model.world.register(2));
        let other = model.spawn(2, move |model| {
            model.enter(&second);
            model.collect(Some(&second));
            model.leave(&second);
        });
        model.enter(&first);
        model.poll(&first);
        model.collect(Some(&first));
        model.leave(&first);
        join(other);
        assert_eq!(model.world.members(), (0, 0));
    });
}

/// A thread makes its first slot while another one stops the world.
#[test]
fn a_slot_is_made() {
    check(|| {
        let model = Model::new();
        let mutator = model.spawn(2, |model| {
            let slot = model.world.register(model.key);
            model.enter(&slot);
            model.leave(&slot);
            model.world.unregister(&slot);
        });
        model.collect(None);
        join(mutator);
        model.collect(None);
    });
}

/// Calls without end, each of which looks at one word in front of the next.
#[derive(Debug)]
struct Calls(AtomicU32);

impl Interrupt for Calls {
    fn interrupt(&self) {
        self.0.store(0, Relaxed);
    }
}

/// A thread that makes calls learns of a collector by its own word alone, however it begins them.
#[test]
fn calls_are_interrupted() {
    check(|| {
        let model = Model::new();
        let slot = model.world.register(model.key);
        let collected = Arc::new(AtomicU32::new(0));
        let seen = collected.clone();
        let caller = model.spawn(2, move |model| {
            let calls = Arc::new(Calls(AtomicU32::new(0)));
            model.enter(&slot);
            let interruptible = model.world.interrupts(&slot, calls.clone());
            while seen.load(Relaxed) == 0 {
                calls.0.store(1, Relaxed);
                fence(SeqCst);
                if !slot.runs_on() {
                    model.poll(&slot);
                }
                while calls.0.load(Relaxed) != 0 && seen.load(Relaxed) == 0 {
                    thread::yield_now();
                }
            }
            drop(interruptible);
            model.leave(&slot);
        });
        model.collect(None);
        collected.store(1, Relaxed);
        join(caller);
        assert_eq!(model.world.members(), (0, 0));
    });
}

/// A mutator that will never leave is revoked by its thread: a collection that waits for it begins.
#[test]
fn a_revoked_member_is_not_waited_for() {
    check(|| {
        let model = Model::new();
        let slot = model.world.register(model.key);
        let mutator = model.spawn(2, move |model| {
            model.enter(&slot);
            model.heap.end();
            model.world.revoke(&slot);
            assert!(slot.is_revoked() && !slot.is_running());
        });
        model.collect(None);
        join(mutator);
        model.collect(None);
        assert_eq!(model.world.members(), (0, 0));
    });
}
