//! Go's weak/pointer_test.go, rule by rule; each test has the name of Go's. And what Go has no word
//! for: weak pointers of another runtime, on other threads, into globals.

#[path = "support/vm.rs"]
mod vm;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use fing::error::{AccessErrorKind, DowngradeError};
use fing::{Handle, Weak};
use vm::{LONG, Vm, sent};

impl Vm {
    /// A weak pointer into a rooted object.
    fn weak(&self, handle: &Handle, offset: usize) -> Weak {
        self.enter(|m| m.downgrade(handle.addr() + offset).unwrap())
    }

    /// Where a weak pointer points.
    fn strong(&self, weak: &Weak) -> Option<usize> {
        self.enter(|m| m.upgrade(weak).unwrap().map(|object| object.addr()))
    }
}

#[test]
fn test_pointer() {
    let vm = Vm::new();
    assert_eq!(vm.strong(&Weak::default()), None);
    let nil = vm.enter(|m| m.downgrade(0usize).unwrap());
    assert_eq!(vm.strong(&nil), None);
    let bt = vm.rooted();
    let wt = vm.enter(|m| m.downgrade(m.get(&bt).unwrap()).unwrap());
    assert_eq!(vm.strong(&wt), Some(bt.addr()));
    vm.collect();
    assert_eq!(vm.strong(&wt), Some(bt.addr()), "bt is still referenced");
    drop(bt);
    vm.collect();
    assert_eq!(vm.strong(&wt), None, "bt is no longer referenced");
}

#[test]
fn test_pointer_equality() {
    let vm = Vm::new();
    let nil = vm.enter(|m| m.downgrade(0usize).unwrap());
    assert_eq!(nil, Weak::default());
    let bt: Vec<_> = (0..10).map(|_| vm.rooted()).collect();
    let wt: Vec<_> = bt.iter().map(|bt| vm.weak(bt, 0)).collect();
    let wo: Vec<_> = bt.iter().map(|bt| vm.weak(bt, 8)).collect();
    for round in 0..2 {
        for (i, bt) in bt.iter().enumerate() {
            assert_eq!(vm.strong(&wt[i]), Some(bt.addr()));
            assert_eq!(
                (vm.weak(bt, 0), vm.weak(bt, 8)),
                (wt[i].clone(), wo[i].clone())
            );
            let place = vm.enter(|m| m.upgrade_addr(&wo[i]).unwrap());
            assert_eq!(
                (place, wo[i].offset()),
                (Some(bt.addr() + 8), 8),
                "round {round}"
            );
        }
        vm.collect();
    }
    let different = wt.iter().chain(&wo).collect::<HashSet<_>>().len();
    assert_eq!(different, 20, "places are different weak pointers");
    drop(bt);
    vm.collect();
    for weak in wt.iter().chain(&wo) {
        assert_eq!(vm.strong(weak), None);
        assert_ne!(*weak, nil, "dead is not nil from the start");
    }
    assert_eq!(wt.iter().chain(&wo).collect::<HashSet<_>>().len(), 20);
    assert_eq!(wo[3].offset(), 8, "known when the object is gone");
}

#[test]
fn test_pointer_finalizer() {
    let vm = Vm::new();
    let bt = vm.rooted();
    let wt = vm.weak(&bt, 0);
    let (seen, runtime) = (Arc::new(OnceLock::new()), vm.runtime.clone());
    let (told, weak) = (seen.clone(), wt.clone());
    let finalizer = vm.function("func(*main.T)", move |[object, _]| {
        let state = runtime.enter(|m| {
            let own = m.adopt(object).unwrap();
            let again = m.downgrade(own).unwrap();
            let whole = m.upgrade(&again).unwrap() == Some(own);
            (m.upgrade(&weak).unwrap().is_some(), whole, again)
        });
        told.set(state.unwrap()).unwrap();
    });
    vm.enter(|m| {
        let bt = m.get(&bt).unwrap();
        m.set_finalizer(bt, &finalizer).unwrap();
    });
    vm.runtime.gc().unwrap();
    assert!(vm.strong(&wt).is_some(), "weak pointer went nil too soon");
    drop(bt);
    vm.runtime.gc().unwrap();
    assert_eq!(vm.strong(&wt), None, "nil when the finalizer is queued");
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    let (alive, whole, again) = seen.get().unwrap();
    assert!(!alive, "nil before the finalizer runs");
    assert!(
        whole,
        "a weak pointer made by the finalizer is to the revived object"
    );
    assert_ne!(
        *again, wt,
        "an object that came back has other weak pointers"
    );
    vm.collect();
    assert_eq!((vm.strong(&wt), vm.strong(again)), (None, None));
}

#[test]
fn test_pointer_cleanup() {
    let vm = Vm::new();
    let bt = vm.rooted();
    let wt = vm.weak(&bt, 0);
    let (cleanup, calls) = vm.cleanup_sender("func(bool)");
    vm.enter(|m| m.add_cleanup(bt.addr(), &cleanup, 1u64))
        .unwrap();
    vm.runtime.gc().unwrap();
    assert!(vm.strong(&wt).is_some(), "weak pointer went nil too soon");
    drop(bt);
    vm.runtime.gc().unwrap();
    assert_eq!(vm.strong(&wt), None, "nil when the cleanup is queued");
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(sent(&calls).len(), 1);
    vm.collect();
    assert_eq!(vm.strong(&wt), None);
}

#[test]
fn test_pointer_size() {
    assert_eq!(size_of::<Weak>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Handle>>(), size_of::<Handle>());
    fn shared<T: Clone + Send + Sync + Default>() {}
    shared::<Weak>();
}

/// golang/go#69210: threads turn weak pointers into strong ones while others collect. What they get
/// is whole.
#[test]
fn test_issue_69210() {
    let vm = Vm::new();
    const EACH: u64 = 100;
    let begun = Instant::now();
    let (alive, dead) = (AtomicU64::new(0), AtomicU64::new(0));
    let goes_on = || {
        let few = |count: &AtomicU64| count.load(Ordering::Relaxed) < EACH;
        (few(&alive) || few(&dead)) && begun.elapsed() < LONG
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while goes_on() {
                vm.runtime.gc().unwrap();
            }
        });
        for thread in 0..3u64 {
            let (vm, alive, dead, goes_on) = (&vm, &alive, &dead, &goes_on);
            scope.spawn(move || {
                let mut m = vm.runtime.attach().unwrap();
                for n in 0.. {
                    if !goes_on() {
                        break;
                    }
                    let number = thread << 32 | n;
                    let object = m.alloc(vm.t).unwrap();
                    m.store_word(object, 0, number).unwrap();
                    let weak = m.downgrade(object).unwrap();
                    m.native(|| {
                        if n % 3 == 0 {
                            std::thread::yield_now()
                        }
                    });
                    let strong = m
                        .upgrade(&weak)
                        .unwrap()
                        .map(|object| m.root(object).unwrap());
                    m.safepoint();
                    match strong {
                        None => dead.fetch_add(1, Ordering::Relaxed),
                        Some(strong) => {
                            let object = m.get(&strong).unwrap();
                            assert_eq!(m.load_word(object, 0), Ok(number));
                            m.store_ref(object, 8, Some(object)).unwrap();
                            alive.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
    });
    let counts = [alive, dead].map(AtomicU64::into_inner);
    assert!(
        counts.iter().all(|&count| count >= EACH),
        "alive, dead: {counts:?}"
    );
}

/// golang/go#70739: a place far inside a large object has one weak pointer.
#[test]
fn test_issue_70739() {
    let vm = Vm::new();
    let x = vm.runtime.types().id("[262144]*int").unwrap();
    let x = vm.enter(|m| m.root(m.alloc(x).unwrap()).unwrap());
    assert_eq!(vm.weak(&x, 8 << 16), vm.weak(&x, 8 << 16));
    assert_ne!(vm.weak(&x, 8 << 16), vm.weak(&x, 0));
    assert_eq!(vm.strong(&vm.weak(&x, 8 << 16)), Some(x.addr()));
}

#[test]
fn test_immortal_pointer() {
    static IMMORTAL: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
    let vm = Vm::new();
    let start = IMMORTAL.as_ptr().addr();
    let make = |addr: usize| vm.enter(|m| m.downgrade(addr));
    assert_eq!(make(start), Err(DowngradeError::NotInHeap { addr: start }));
    vm.runtime.add_global(start..start + 24);
    let places = [start, start + 8, start + 16];
    let weaks = places.map(|addr| make(addr).unwrap());
    assert_eq!(make(start).unwrap(), weaks[0]);
    assert_eq!(weaks.iter().collect::<HashSet<_>>().len(), 3);
    for _ in 0..3 {
        let found = weaks
            .each_ref()
            .map(|weak| vm.enter(|m| m.upgrade_addr(weak).unwrap()));
        assert_eq!(found, places.map(Some));
        vm.collect();
    }
    let error = vm.enter(|m| m.upgrade(&weaks[0]).unwrap_err());
    assert_eq!(
        *error.kind(),
        AccessErrorKind::NotInHeap { addr: start },
        "a global is no object"
    );
    // Objects without size never die either.
    let empty = vm.runtime.types().id("struct{}").unwrap();
    let zero = vm.enter(|m| m.downgrade(m.alloc(empty).unwrap()).unwrap());
    vm.collect();
    assert!(vm.strong(&zero).is_some());
}

/// An object without pointers of a few bytes is an object like any other.
#[test]
fn test_pointer_tiny() {
    let vm = Vm::new();
    let word = vm.runtime.types().id("int").unwrap();
    let weaks: Vec<Weak> = (0..1000)
        .map(|_| vm.enter(|m| m.downgrade(m.alloc(word).unwrap()).unwrap()))
        .collect();
    vm.collect();
    assert!(weaks.iter().all(|weak| vm.strong(weak).is_none()));
}

#[test]
fn weak_pointers_of_another_runtime_are_refused() {
    let (vm, other) = (Vm::new(), Vm::new());
    let object = vm.rooted();
    let weak = vm.weak(&object, 0);
    let error = other.enter(|m| m.upgrade(&weak).unwrap_err());
    assert_eq!(*error.kind(), AccessErrorKind::ForeignHandle);
    let error = other.enter(|m| m.downgrade(object.addr()).unwrap_err());
    assert!(matches!(error, DowngradeError::NotInHeap { .. }));
    assert!(error.go_text().is_some());
    // Nil belongs to nobody.
    assert_eq!(other.strong(&Weak::default()), None);
    drop((object, vm));
    assert_eq!(weak.offset(), 0, "it outlives its runtime");
}

/// Only the object's own state decides: a weak pointer to what a finalizable object refers to is
/// whole while that waits.
#[test]
fn what_a_dying_object_refers_to_is_not_nil() {
    let vm = Vm::new();
    let (finalizer, calls) = vm.sender("func(*main.T)");
    let child = vm.rooted();
    let weak = vm.weak(&child, 0);
    vm.doomed(1, |m, t| {
        m.store_ref(t, 8, Some(m.get(&child).unwrap())).unwrap();
        m.set_finalizer(t, &finalizer).unwrap();
    });
    drop(child);
    vm.collect();
    assert!(vm.strong(&weak).is_some());
    assert_eq!(sent(&calls).len(), 1);
    vm.collect();
    assert_eq!(vm.strong(&weak), None);
}
