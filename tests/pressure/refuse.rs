//! While a bound is exceeded whose action is to refuse, nothing is registered, by any way.

use std::time::Duration;

use fing::error::{AddCleanupError, SetFinalizerError};
use fing::executor::{BacklogAction, BacklogBound};
use fing::{FinalizerOptions, HeldValue};

use super::{bounds, make, manual, queue};
use crate::vm::Vm;

#[test]
fn every_way_to_register_is_refused_and_changes_nothing() {
    for bound in bounds(3)
        .into_iter()
        .chain([BacklogBound::Age(Duration::ZERO)])
    {
        let vm = Vm::with(manual().bound_backlog(bound, BacklogAction::Refuse));
        let nothing = vm.function("func(*main.T)", |_| ());
        let cleanup = vm.cleanup("func(int)", |_| ());
        let number = vm.cleanup("func(uint8)", |_| ());
        let prepared = vm.runtime.prepare_finalizer(vm.t, &nothing).unwrap();
        // The mutator that is used below knows the functions already, and one does not.
        let mut known = vm.runtime.attach().unwrap();
        let objects = [(); 8].map(|()| known.alloc_collecting(vm.t).unwrap());
        known
            .set_finalizer(known.get(&objects[0]).unwrap(), &nothing)
            .unwrap();
        known
            .add_cleanup(known.get(&objects[0]).unwrap(), &cleanup, 1)
            .unwrap();
        known.native(|| queue(&vm, &nothing, 4));
        let before = vm.runtime.stats();
        let mut refused = 0;
        let mut all = |m: &fing::Mutator| {
            let object = |n: usize| m.get(&objects[n]).unwrap();
            let options = FinalizerOptions::new().external_bytes(1).record_site();
            let sets = [
                m.set_finalizer(object(1), &nothing).map(drop),
                m.set_finalizer_with(object(2), &nothing, options).map(drop),
                prepared.set(object(3)),
                prepared.set_with(object(4), HeldValue::Word(1)),
            ];
            for set in sets {
                let text = set.as_ref().unwrap_err().to_string();
                let Err(SetFinalizerError::Backlog(exceeded)) = set else {
                    panic!("{text}");
                };
                assert!(text.starts_with("set_finalizer: the backlog of finalization has "));
                assert_eq!(
                    (exceeded.bound, exceeded.action),
                    (bound, BacklogAction::Refuse)
                );
            }
            for added in [
                m.add_cleanup(object(5), &cleanup, 1),
                m.add_cleanup(object(6), &number, 1),
            ] {
                assert!(
                    matches!(added, Err(AddCleanupError::Backlog(_))),
                    "{added:?}"
                );
            }
            refused += 6;
        };
        all(&known);
        std::thread::scope(|scope| {
            known.native(|| scope.spawn(|| vm.enter(|m| all(m))).join().unwrap());
        });
        let after = vm.runtime.stats();
        assert_eq!(
            (after.finalizers, after.cleanups),
            (before.finalizers, before.cleanups)
        );
        assert_eq!(after.refused, refused);
        // What needs no call is not refused, nor is clearing.
        let object = known.get(&objects[0]).unwrap();
        known.downgrade(object).unwrap();
        known.clear_finalizer(object).unwrap();
        vm.runtime.prepare_finalizer(vm.t, &nothing).unwrap();
        // Once the backlog is made smaller, all is as before.
        known.native(|| {
            make(
                &vm,
                if matches!(bound, BacklogBound::Age(_)) {
                    4
                } else {
                    1
                },
            )
        });
        let object = |n: usize| known.get(&objects[n]).unwrap();
        known.set_finalizer(object(1), &nothing).unwrap();
        prepared.set(object(3)).unwrap();
        known.add_cleanup(object(5), &cleanup, 1).unwrap();
        assert_eq!(vm.runtime.stats().refused, refused);
    }
}

/// A wrong argument is told as such by a function that is known, once the bound is kept; allocating
/// is never refused.
#[test]
fn allocating_is_not_refused() {
    let vm = Vm::with(manual().bound_backlog(BacklogBound::Calls(0), BacklogAction::Refuse));
    let nothing = vm.function("func(*main.T)", |_| ());
    queue(&vm, &nothing, 2);
    let object = vm.enter(|m| m.alloc_collecting(vm.t).unwrap());
    vm.enter(|m| {
        let object = m.get(&object).unwrap();
        let refused = m.set_finalizer(object, &nothing);
        assert!(matches!(refused, Err(SetFinalizerError::Backlog(_))));
    });
    make(&vm, 2);
    vm.enter(|m| {
        let object = m.get(&object).unwrap();
        m.set_finalizer(object, &nothing).unwrap();
        let again = m.set_finalizer(object, &nothing);
        assert!(matches!(again, Err(SetFinalizerError::AlreadySet { .. })));
    });
}

/// After a shutdown, or in a finalizer, a registration says what is the matter.
#[test]
fn refusals_in_finalizers_and_after_the_end() {
    let vm = Vm::with(manual().bound_backlog(BacklogBound::Calls(0), BacklogAction::Refuse));
    let runtime = vm.runtime.downgrade();
    let nothing = vm.function("func(*main.T)", |_| ());
    let registers = nothing.clone();
    let refused = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = refused.clone();
    let finalizer = vm.function("func(*main.T)", move |[object, _]| {
        let set = runtime.upgrade().unwrap().enter(|m| {
            m.set_finalizer(m.adopt(object).unwrap(), &registers)
                .is_err()
        });
        note.lock().unwrap().push(set.unwrap());
    });
    queue(&vm, &finalizer, 3);
    vm.runtime.run_finalizers().unwrap();
    // The last one leaves nothing that waits behind it.
    assert_eq!(*refused.lock().unwrap(), [true, true, false]);
    queue(&vm, &finalizer, 0);
    vm.runtime.shutdown(false, crate::vm::LONG).unwrap();
    let late = vm.doomed(0, |m, object| {
        m.set_finalizer(object, &nothing).unwrap_err()
    });
    assert!(matches!(late, SetFinalizerError::Closed(_)), "{late}");
}
