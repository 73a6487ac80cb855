//! The same for a collector of the embedder's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::executor::{BacklogAction, BacklogBound};
use fing::foreign::{Finalizers, FinalizersBuilder, RegisterError, Scope};
use fing::{Abi, CleanupFn, CyclePolicy, Executor, FinalizerFn, HeldValue};

use super::{ALL, bounds};
use crate::numbers::NoneReached;

/// What each object owns.
const OBJECTS: NoneReached = NoneReached { external_bytes: 10 };

extern "C" fn nothing(_: usize) {}

fn finalizer() -> FinalizerFn {
    let builder = FinalizerFn::builder("func(uintptr)".parse().unwrap(), native());
    // SAFETY: I8: a C function of a number.
    unsafe { builder.at(nothing as *const ()) }
}

fn cleanup() -> CleanupFn {
    let builder = CleanupFn::builder("func(uintptr)".parse().unwrap(), native());
    // SAFETY: I8: a C function of a number.
    unsafe { builder.at(nothing as *const ()) }
}

fn native() -> Abi {
    Abi::host_native().unwrap()
}

fn manual() -> FinalizersBuilder<usize> {
    Finalizers::builder().executor(Executor::Manual)
}

/// Queues the calls of these objects.
fn queue(finalizers: &Finalizers<usize>, objects: std::ops::Range<usize>) {
    for object in objects {
        // SAFETY: I16: the object is not followed.
        unsafe { finalizers.set_finalizer(16 * object, &finalizer()) }.unwrap();
    }
    // SAFETY: I16: as above.
    unsafe { finalizers.collect(Scope::Full, &mut { OBJECTS }, |_| ()) }.unwrap();
    finalizers.finish();
}

#[test]
fn each_bound_with_each_action() {
    for bound in bounds(3)
        .into_iter()
        .chain([BacklogBound::Age(Duration::ZERO)])
    {
        for action in [
            BacklogAction::Tell,
            BacklogAction::Refuse,
            BacklogAction::Assist(ALL.calls(2)),
        ] {
            let told = Arc::new(Mutex::new(0));
            let count = told.clone();
            let finalizers = manual()
                .bound_backlog(bound, action)
                .on_pressure(move |exceeded| {
                    assert_eq!((exceeded.bound, exceeded.action), (bound, action));
                    *count.lock().unwrap() += 1;
                })
                .build()
                .unwrap();
            let prepared = finalizers
                .prepare_finalizer(&finalizer(), CyclePolicy::default())
                .unwrap();
            queue(&finalizers, 1..5);
            let backlog = finalizers.stats().backlog;
            assert_eq!((backlog.calls, backlog.external_bytes), (4, 40));
            assert_eq!(*told.lock().unwrap(), 1);
            let results = register_everything(&finalizers, &prepared);
            let stats = finalizers.stats();
            if action == BacklogAction::Refuse {
                for result in results {
                    assert!(
                        matches!(result, Err(RegisterError::Backlog(_))),
                        "{result:?}"
                    );
                }
                assert_eq!((stats.refused, stats.finalizers, stats.cleanups), (4, 0, 0));
            } else {
                results.into_iter().for_each(|result| result.unwrap());
                assert_eq!((stats.refused, stats.finalizers, stats.cleanups), (0, 4, 1));
            }
            let assists = matches!(action, BacklogAction::Assist(_));
            assert_eq!(finalizers.assist(), if assists { 2 } else { 0 });
            assert_eq!(
                finalizers.stats().backlog.calls,
                if assists { 2 } else { 4 }
            );
            finalizers.run_finalizers().unwrap();
            assert_eq!((finalizers.assist(), *told.lock().unwrap()), (0, 1));
            assert_eq!(finalizers.stats().backlog.external_bytes, 0);
            queue(&finalizers, 100..101);
        }
    }
}

fn register_everything(
    finalizers: &Finalizers<usize>,
    prepared: &fing::foreign::PreparedFinalizer<usize>,
) -> [Result<(), RegisterError>; 4] {
    // SAFETY: I16: the objects are not followed.
    unsafe {
        [
            finalizers.set_finalizer(0x1000, &finalizer()),
            finalizers
                .add_cleanup(0x1000, &cleanup(), HeldValue::Word(1))
                .map(drop),
            prepared.set(0x1010),
            prepared.set_all(&[0x1020, 0x1030]),
        ]
    }
}

/// Calls that were cancelled before or after they were handed over count no more.
#[test]
fn cancelled_calls_count_no_more() {
    let finalizers = manual().build().unwrap();
    for object in 1..=3 {
        // SAFETY: I16: the object is not followed.
        unsafe { finalizers.set_finalizer(16 * object, &finalizer()) }.unwrap();
    }
    // SAFETY: I16: as above.
    unsafe { finalizers.collect(Scope::Full, &mut { OBJECTS }, |_| ()) }.unwrap();
    assert!(finalizers.clear_finalizer(16).is_cancelled());
    finalizers.finish();
    let external = || finalizers.stats().backlog.external_bytes;
    assert_eq!(external(), 20);
    assert!(finalizers.clear_finalizer(32).is_cancelled());
    assert_eq!(external(), 10);
    finalizers.shutdown(false, crate::vm::LONG).unwrap();
    assert_eq!((external(), finalizers.assist()), (0, 0));
}
