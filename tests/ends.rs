//! How finalization ends: shutdowns, tickets of collections, cancelled calls.

#[path = "support/blocking.rs"]
mod blocking;
#[path = "ends/cancel.rs"]
mod cancel;
#[path = "ends/deadlocks.rs"]
mod deadlocks;
#[path = "support/door.rs"]
mod door;
#[path = "ends/exit.rs"]
mod exit;
#[path = "ends/foreign.rs"]
mod foreign;
#[path = "ends/late_exit.rs"]
mod late_exit;
#[path = "ends/ledger.rs"]
mod ledger;
#[path = "ends/order.rs"]
mod order;
#[path = "support/reaching.rs"]
mod reaching;
#[path = "ends/revival.rs"]
mod revival;
#[path = "support/runner.rs"]
mod runner;
#[path = "ends/shutdown.rs"]
mod shutdown;
#[path = "ends/steps.rs"]
mod steps;
#[path = "ends/tickets.rs"]
mod tickets;
#[path = "support/vm.rs"]
mod vm;
#[path = "ends/weak.rs"]
mod weak;

use fing::foreign::Finalizers;
use fing::stubs::CodePolicy;
use fing::{CleanupFn, HeldValue, Runtime, RuntimeBuilder};

use blocking::Blocking;
use reaching::{Reaching, collect_foreign, set_foreign};

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
