//! Calls apart from those of the executor: mailboxes that an owner's thread drains, and the pool.

#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/vm.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod vm;

#[path = "lanes/combined.rs"]
mod combined;
#[path = "lanes/foreign.rs"]
mod foreign;
#[path = "lanes/mailbox.rs"]
mod mailbox;
#[path = "lanes/pool.rs"]
mod pool;
#[path = "lanes/refused.rs"]
mod refused;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fing::executor::{Budget, Drained, Lane, Mailbox, Pool};
use fing::{Finalized, FinalizerFn, FinalizerOptions, Mutator, Runtime, RuntimeBuilder};
use vm::{LONG, Vm};

const ALL: Budget = Budget::unlimited();

/// The numbers of the objects that were finalized, in order.
type Log = Arc<Mutex<Vec<u64>>>;

/// A door that is shut until somebody opens it, and counts who waits at it.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Door {
    fn open(&self) {
        self.0.0.lock().unwrap().0 = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.1 += 1;
        self.0.1.notify_all();
        drop(self.0.1.wait_while(state, |(open, _)| !*open).unwrap());
    }

    /// Waits until so many wait at it, or have passed.
    fn wait_for(&self, count: usize) {
        let state = self.0.0.lock().unwrap();
        let wait = self
            .0
            .1
            .wait_timeout_while(state, LONG, |(_, at)| *at < count);
        assert!(!wait.unwrap().1.timed_out(), "nobody came to the door");
    }
}

/// Waits until something is so. Only a hang ends it early.
fn until(what: &str, holds: impl Fn() -> bool) {
    let from = std::time::Instant::now();
    while !holds() {
        assert!(from.elapsed() < LONG, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn with_pool(builder: RuntimeBuilder, threads: usize) -> RuntimeBuilder {
    builder.pool(Pool::new(threads.try_into().unwrap()))
}

/// A finalizer that is a closure.
fn rust(
    vm: &Vm,
    body: impl Fn(&mut Mutator, Finalized<'_>) + Send + Sync + 'static,
) -> FinalizerFn {
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    FinalizerFn::from_rust(signature, body)
}

fn number(mutator: &Mutator, object: Finalized<'_>) -> u64 {
    mutator.load_word(object.get(mutator).unwrap(), 0).unwrap()
}

/// A finalizer that logs the numbers of its objects.
fn logging(vm: &Vm) -> (FinalizerFn, Log) {
    let log = Log::default();
    let to = log.clone();
    let finalizer = rust(vm, move |m, object| {
        let number = number(m, object);
        to.lock().unwrap().push(number);
    });
    (finalizer, log)
}

/// Drops objects of these numbers, whose finalizer is called in this lane.
fn doom(vm: &Vm, numbers: impl IntoIterator<Item = u64>, finalizer: &FinalizerFn, lane: Lane) {
    for number in numbers {
        vm.doomed(number, |m, object| {
            let options = FinalizerOptions::new().lane(lane);
            m.set_finalizer_with(object, finalizer, options).unwrap();
        });
    }
}

fn drained(mailbox: &Mailbox, budget: Budget) -> (u64, u64) {
    let Drained { calls, left, .. } = mailbox.drain(budget).unwrap();
    (calls, left)
}

fn sorted(log: &Log) -> Vec<u64> {
    let mut numbers = log.lock().unwrap().clone();
    numbers.sort_unstable();
    numbers
}

fn manual() -> RuntimeBuilder {
    Runtime::builder().executor(fing::Executor::Manual)
}
