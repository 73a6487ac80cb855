//! How finalization ends: shutdowns, tickets of collections, cancelled calls.

#[path = "ends/cancel.rs"]
mod cancel;
#[path = "ends/deadlocks.rs"]
mod deadlocks;
#[path = "ends/exit.rs"]
mod exit;
#[path = "ends/foreign.rs"]
mod foreign;
#[cfg(target_os = "linux")]
#[path = "ends/fork.rs"]
mod fork;
#[path = "ends/ledger.rs"]
mod ledger;
#[path = "ends/order.rs"]
mod order;
#[path = "ends/revival.rs"]
mod revival;
#[path = "support/runner.rs"]
mod runner;
#[path = "ends/shutdown.rs"]
mod shutdown;
#[path = "ends/tickets.rs"]
mod tickets;
#[path = "support/vm.rs"]
mod vm;
#[path = "ends/weak.rs"]
mod weak;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use fing::foreign::{Finalizers, Scope, Tracer};
use fing::stubs::CodePolicy;
use fing::{CleanupFn, FinalizerFn, HeldValue, Runtime, RuntimeBuilder};

use vm::{LONG, Vm};

/// A collector of numbers that follows nothing and reaches what it is told.
struct Reaching(Vec<u64>);

// SAFETY: I16: there are no objects, only numbers, which finalizers do not follow.
unsafe impl Tracer for Reaching {
    type Ref = u64;

    fn is_reached(&mut self, object: u64) -> bool {
        self.0.contains(&object)
    }

    fn trace(&mut self, object: u64) -> u64 {
        self.0.push(object);
        object
    }

    fn children(&mut self, _: u64, _: &mut dyn FnMut(&mut Self, u64)) {}

    fn moves(&self) -> bool {
        false
    }
}

/// Collects with only these objects reached, and hands over what is due.
fn collect_foreign(finalizers: &Finalizers<u64>, reached: &[u64]) -> fing::foreign::Finished<u64> {
    let mut tracer = Reaching(reached.to_vec());
    // SAFETY: I16: as above.
    unsafe { finalizers.collect(Scope::Full, &mut tracer, |_| ()) }.unwrap();
    finalizers.finish()
}

fn set_foreign(finalizers: &Finalizers<u64>, object: u64, function: &FinalizerFn) {
    // SAFETY: I16: the functions of these tests follow no word.
    unsafe { finalizers.set_finalizer(object, function) }.unwrap();
}

fn clean_foreign(
    finalizers: &Finalizers<u64>,
    object: u64,
    cleanup: &CleanupFn,
) -> fing::foreign::Cleanup {
    // SAFETY: I16: as above.
    unsafe { finalizers.add_cleanup(object, cleanup, HeldValue::Word(object)) }.unwrap()
}

/// A runtime whose stubs are interpreted, or not, and one that has an observer.
fn builders() -> Vec<RuntimeBuilder> {
    struct Watch;
    impl fing::observe::Observer for Watch {}
    let interpreted = fing::stubs::CacheOptions::default().policy(CodePolicy::Interpret);
    vec![
        Runtime::builder(),
        Runtime::builder().code(interpreted),
        Runtime::builder().observer(Watch),
    ]
}

/// Finalizers that note the number of their object, and block at one of them until told to go on.
struct Blocking {
    function: FinalizerFn,
    ran: Arc<Mutex<Vec<u64>>>,
    running: Receiver<()>,
    go_on: Sender<()>,
}

impl Blocking {
    /// `blocks`: at which call, counted from 0.
    fn new(vm: &Vm, blocks: usize) -> Blocking {
        let ran: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (tell, running) = channel();
        let (go_on, wait) = channel();
        let wait = Mutex::new(wait);
        let runtime = vm.runtime.downgrade();
        let notes = ran.clone();
        let function = vm.function("func(*main.T)", move |[object, _]| {
            let runtime = runtime.upgrade().unwrap();
            let number = runtime
                .enter(|m| m.load_word(m.adopt(object).unwrap(), 0).unwrap())
                .unwrap();
            let mut ran = notes.lock().unwrap();
            ran.push(number);
            if ran.len() == blocks + 1 {
                drop(ran);
                tell.send(()).unwrap();
                wait.lock().unwrap().recv().unwrap();
            }
        });
        Blocking {
            function,
            ran,
            running,
            go_on,
        }
    }

    /// Objects of these numbers that nothing refers to. Returns their addresses.
    fn doom(&self, vm: &Vm, numbers: impl IntoIterator<Item = u64>) -> Vec<usize> {
        vm.enter(|m| {
            let doomed = numbers.into_iter().map(|number| {
                let object = m.alloc(vm.t).unwrap();
                m.store_word(object, 0, number).unwrap();
                m.set_finalizer(object, &self.function).unwrap();
                object.addr()
            });
            doomed.collect()
        })
    }

    fn wait_until_blocked(&self) {
        self.running.recv_timeout(LONG).unwrap();
    }

    fn ran(&self) -> Vec<u64> {
        self.ran.lock().unwrap().clone()
    }
}
