//! Calls apart from those of the executor: mailboxes that an owner's thread drains, and the pool.

#[path = "support/door.rs"]
mod door;
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

use std::sync::{Arc, Mutex};

use door::{Door, until};
use fing::executor::{Budget, Drained, Lane, Mailbox, Pool};
use fing::{Finalized, FinalizerFn, FinalizerOptions, Mutator, Runtime, RuntimeBuilder};
use vm::Vm;

const ALL: Budget = Budget::unlimited();

/// The numbers of the objects that were finalized, in order.
type Log = Arc<Mutex<Vec<u64>>>;

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
