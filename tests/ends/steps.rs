//! What happens to registrations between the steps of a collection of the embedder's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fing::foreign::{Finalizers, Scope};
use fing::{CallStage, Order};

use super::vm::{Vm, sent};
use super::{Reaching, set_foreign};

/// A thread that takes no part in collections clears a finalizer and sets another one: the second
/// object is alive, whatever was planned for the first.
#[test]
fn what_is_registered_between_two_steps_is_not_in_the_plan() {
    let vm = Vm::new();
    let (function, calls) = vm.sender("func(uintptr)");
    let finalizers = Finalizers::<u64>::builder().order(Order::Topological);
    let finalizers = finalizers.build().unwrap();
    set_foreign(&finalizers, 16, &function);
    let mut tracer = Reaching(vec![32]);
    // SAFETY: I16: there are no objects, only numbers.
    let mut collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
    for _ in 0..3 {
        assert!(collection.step(&mut tracer));
    }
    assert_eq!(finalizers.clear_finalizer(16), CallStage::Registered);
    set_foreign(&finalizers, 32, &function);
    assert!(!collection.step(&mut tracer));
    assert_eq!(collection.finish().queued, 0);
    assert_eq!(sent(&calls).len(), 0);
    assert_eq!(finalizers.clear_finalizer(32), CallStage::Registered);
}

/// The closure that says where objects are now panics.
#[test]
fn what_was_forwarded_before_a_panic_is_found() {
    let vm = Vm::new();
    let (function, _calls) = vm.sender("func(uintptr)");
    let finalizers = Finalizers::<u64>::new().unwrap();
    for object in [16, 32, 48] {
        set_foreign(&finalizers, object, &function);
    }
    // SAFETY: I16: as above.
    let mut collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
    while collection.step(&mut Reaching(vec![16, 32, 48])) {}
    let forward = |object: u64| match object {
        48 => std::panic::resume_unwind(Box::new("a collector's fault")),
        _ => object + 1024,
    };
    let done = catch_unwind(AssertUnwindSafe(|| collection.forward(forward)));
    assert!(done.is_err());
    drop(collection);
    let stages = [1040, 1056, 48].map(|object| finalizers.clear_finalizer(object));
    assert_eq!(stages, [CallStage::Registered; 3]);
}
