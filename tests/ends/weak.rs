//! Weak handles: code that a runtime owns does not keep it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fing::Runtime;
use fing::ends::WeakRuntime;
use fing::foreign::Finalizers;
use fing::observe::{Observer, ParkReason};

use super::door::until;
use super::vm::{LONG, Vm};
use super::{collect_foreign, set_foreign};

/// Counts itself, and is counted down when it is dropped.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(count: &Arc<AtomicU32>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A finalizer that is registered for good, a hook and an observer, each with a handle.
#[test]
fn a_runtime_is_given_back_though_its_own_code_has_handles() {
    struct Watch {
        runtime: WeakRuntime,
        seen: Arc<AtomicU32>,
        _alive: Counted,
    }
    impl Observer for Watch {
        fn parked(&self, _: ParkReason) {
            // Before the runtime is built, and while it goes away, there is none.
            if let Some(runtime) = self.runtime.upgrade() {
                let _ = runtime.stats();
                self.seen.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    let (alive, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for _ in 0..5 {
        let builder = Runtime::builder();
        assert!(builder.weak().upgrade().is_none(), "not yet");
        let (hook, kept) = (builder.weak(), Counted::new(&alive));
        let watch = Watch {
            runtime: builder.weak(),
            seen: seen.clone(),
            _alive: Counted::new(&alive),
        };
        let count = seen.clone();
        let builder = builder.observer(watch).on_failure(move |_| {
            let _kept = &kept;
            assert_eq!(hook.upgrade().unwrap().stats().failed, 1);
            count.fetch_add(1000, Ordering::Relaxed);
        });
        let vm = Vm::with(builder);
        // The goroutine parks while the runtime is there: the observer sees it.
        let (sent, _sent) = vm.sender("func(*main.T)");
        vm.doomed(1, |m, object| m.set_finalizer(object, &sent).unwrap());
        let before = seen.load(Ordering::Relaxed);
        vm.collect();
        until("it parks", || seen.load(Ordering::Relaxed) > before);
        let (runtime, kept) = (vm.runtime.downgrade(), Counted::new(&alive));
        let f = vm.function("func(*main.T)", move |_| {
            let _kept = &kept;
            let _ = runtime.upgrade().unwrap().gc().unwrap();
            panic!("told to the hook");
        });
        let root = vm.rooted();
        vm.enter(|m| m.set_finalizer(m.get(&root).unwrap(), &f).unwrap());
        vm.doomed(1, |m, object| m.set_finalizer(object, &f).unwrap());
        vm.collect();
        let weak = vm.runtime.downgrade();
        let upgraded = weak.upgrade().unwrap();
        drop((vm, f, root));
        assert!(weak.upgrade().is_some());
        drop(upgraded);
        // The observer may have one for a moment.
        until("the last handle is gone", || weak.upgrade().is_none());
        // The thread ends by itself, and gives everything back.
        until("all is given back", || alive.load(Ordering::Relaxed) == 0);
    }
    assert!(seen.load(Ordering::Relaxed) >= 5000);
    assert_ne!(
        seen.load(Ordering::Relaxed) % 1000,
        0,
        "the observer saw a runtime"
    );
}

/// The handle that a finalizer makes may be the last one.
#[test]
fn the_last_handle_may_go_in_a_finalizer() {
    let vm = Vm::new();
    let (tell, told) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let weak = vm.runtime.downgrade();
    let f = vm.function("func(*main.T)", move |_| {
        let runtime = weak.upgrade().unwrap();
        tell.send(weak.clone()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        drop(runtime);
    });
    for _ in 0..3 {
        vm.doomed(1, |m, object| m.set_finalizer(object, &f).unwrap());
    }
    let ticket = vm.runtime.gc().unwrap().ticket().clone();
    let weak = told.recv_timeout(LONG).unwrap();
    drop((vm, f));
    assert!(weak.upgrade().is_some());
    // Nobody makes a handle from here on, as waiting does: the finalizer's is the last one.
    go_on.send(()).unwrap();
    until("its calls are over", || {
        let left = ticket.outstanding();
        (left.queued, left.running) == (0, 0)
    });
    let dropped = fing::error::ExecutorError::Discarded { calls: 2 };
    assert_eq!(ticket.wait(LONG), Err(dropped));
    assert!(weak.upgrade().is_none());
}

#[test]
fn foreign_finalizers_are_given_back() {
    let alive = Arc::new(AtomicU32::new(0));
    let vm = Vm::new();
    let finalizers = Finalizers::<u64>::new().unwrap();
    let (weak, kept) = (finalizers.to_weak(), Counted::new(&alive));
    let f = vm.function("func(uintptr)", move |_| {
        let _kept = &kept;
        assert_eq!(weak.upgrade().unwrap().stats().finalizers, 1);
    });
    set_foreign(&finalizers, 8, &f);
    set_foreign(&finalizers, 16, &f);
    collect_foreign(&finalizers, &[16]);
    assert_eq!(finalizers.run_finalizers(), Ok(1));
    assert_eq!(finalizers.stats().failed, 0);
    let weak = finalizers.to_weak();
    drop((finalizers, f));
    assert!(weak.clone().upgrade().is_none());
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}
