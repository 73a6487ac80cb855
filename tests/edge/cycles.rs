//! Cycles that are reported, on the embedded heap: once, unless the finalizer is set anew.

use std::sync::{Arc, Mutex};

use fing::{
    CallStage, CyclePolicy, FinalizerFn, FinalizerOptions, FinalizerState, Handle, Mutator, Obj,
    Order, Pointer, PreparedFinalizer, Runtime,
};

use super::World;

struct Ring {
    world: World,
    reports: Arc<Mutex<Vec<Vec<usize>>>>,
    function: FinalizerFn,
    prepared: PreparedFinalizer,
    /// A finalizer of the object's number.
    of_number: FinalizerFn,
}

impl Ring {
    fn new() -> Ring {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let told = reports.clone();
        let builder = Runtime::builder()
            .order(Order::Topological)
            .on_cycle(move |cycle| told.lock().unwrap().push(cycle.path.clone()));
        let world = World::with(builder);
        let function = world.note("func(*main.T)");
        let report = CyclePolicy::Report;
        let prepared = world
            .runtime
            .prepare_finalizer_with(world.t, &function, report);
        Ring {
            prepared: prepared.unwrap(),
            function,
            of_number: world.note("func(*uint64)"),
            reports,
            world,
        }
    }

    /// Two objects that refer to each other.
    fn pair<'m>(&self, m: &'m Mutator) -> [Obj<'m>; 2] {
        let [a, b] = [0; 2].map(|_| m.alloc(self.world.t).unwrap());
        m.store_ref(a, 0, Some(b)).unwrap();
        m.store_ref(b, 0, Some(a)).unwrap();
        [a, b]
    }

    fn set<'a>(&self, m: &Mutator, object: impl Into<Pointer<'a>>, function: &FinalizerFn) {
        let options = FinalizerOptions::new().cycle(CyclePolicy::Report);
        let set = m.set_finalizer_with(object, function, options).unwrap();
        assert_eq!(set, FinalizerState::Set);
    }

    /// What a collection reports.
    fn collect(&self) -> Vec<Vec<usize>> {
        assert_eq!(self.world.collect(), [[0; 2]; 0], "none is finalized");
        std::mem::take(&mut self.reports.lock().unwrap())
    }

    fn enter<R>(&self, body: impl FnOnce(&mut Mutator) -> R) -> R {
        self.world.runtime.enter(body).unwrap()
    }
}

/// Clears a finalizer of the object at an address, and sets it again.
type SetAnew = fn(&Ring, &Mutator, usize);

/// Every way of doing so.
const WAYS: [(&str, SetAnew); 4] = [
    ("object", |ring, m, addr| {
        let object = m.adopt(addr).unwrap();
        let cleared = m.clear_finalizer(object).unwrap();
        assert_eq!(cleared, FinalizerState::Cleared(CallStage::Registered));
        ring.set(m, object, &ring.function);
    }),
    ("pointer", |ring, m, addr| {
        let pointer = Pointer::typed(ring.world.id("*main.T"), addr);
        let cleared = m.clear_finalizer(pointer).unwrap();
        assert_eq!(cleared, FinalizerState::Cleared(CallStage::Registered));
        ring.set(m, pointer, &ring.function);
    }),
    ("prepared", |ring, m, addr| {
        let object = m.adopt(addr).unwrap();
        assert!(ring.prepared.clear(object).unwrap().is_cancelled());
        ring.prepared.set(object).unwrap();
    }),
    ("another function", |ring, m, addr| {
        let object = m.adopt(addr).unwrap();
        assert!(ring.prepared.clear(object).unwrap().is_cancelled());
        ring.set(m, object, &ring.world.note("func(any)"));
    }),
];

/// Red with the mutant that F1 names: a clear that leaves the object among those reported.
#[test]
fn a_cycle_is_reported_anew_when_its_finalizer_is_set_anew() {
    for (way, set_anew) in WAYS {
        let ring = Ring::new();
        let path = ring.enter(|m| {
            let [a, b] = ring.pair(m);
            ring.set(m, a, &ring.function);
            vec![a.addr(), b.addr()]
        });
        for _ in 0..3 {
            assert_eq!(ring.collect(), [&path[..]], "{way}");
            assert_eq!(ring.collect(), [[0; 2]; 0], "{way}: once");
            ring.enter(|m| set_anew(&ring, m, path[0]));
            if way == "another function" {
                break;
            }
        }
        assert_eq!(ring.collect(), [&path[..]], "{way}");
        assert_eq!(ring.world.runtime.stats().finalizers, 1);
    }
}

/// The finalizer of a pointer into an object: the object's cycle is reported.
#[test]
fn a_cycle_of_an_interior_pointer_is_reported_anew() {
    let ring = Ring::new();
    let path = ring.enter(|m| {
        let [a, b] = ring.pair(m);
        let number = Pointer::typed(ring.world.id("*uint64"), a.addr() + 8);
        ring.set(m, number, &ring.of_number);
        vec![a.addr(), b.addr()]
    });
    for _ in 0..3 {
        assert_eq!(ring.collect(), [&path[..]]);
        assert_eq!(ring.collect(), [[0; 2]; 0]);
        ring.enter(|m| {
            let number = Pointer::typed(ring.world.id("*uint64"), path[0] + 8);
            let cleared = m.clear_finalizer(number).unwrap();
            assert_eq!(cleared, FinalizerState::Cleared(CallStage::Registered));
            ring.set(m, number, &ring.of_number);
        });
    }
}

/// What clears nothing changes nothing: the cycle stays reported.
#[test]
fn a_clear_of_nothing_does_not_report_anew() {
    let ring = Ring::new();
    let other = ring.world.prepared(&ring.world.note("func(any)"));
    let path = ring.enter(|m| {
        let [a, b] = ring.pair(m);
        ring.set(m, a, &ring.function);
        vec![a.addr(), b.addr()]
    });
    assert_eq!(ring.collect(), [&path[..]]);
    ring.enter(|m| {
        let [a, b] = [0, 1].map(|n| m.adopt(path[n]).unwrap());
        assert!(!other.clear(a).unwrap().is_cancelled(), "another finalizer");
        let nothing = m.clear_finalizer(b).unwrap();
        assert_eq!(nothing, FinalizerState::Cleared(CallStage::Done));
        let number = Pointer::typed(ring.world.id("*uint64"), path[0] + 8);
        let nothing = m.clear_finalizer(number).unwrap();
        assert_eq!(nothing, FinalizerState::Cleared(CallStage::Done));
        assert!(m.set_finalizer(a, &ring.function).is_err());
    });
    assert_eq!(ring.collect(), [[0; 2]; 0]);
}

/// A cycle lies where a reported one was: it is reported as well.
#[test]
fn a_report_is_forgotten_with_its_objects() {
    let ring = Ring::new();
    let mut kept: Vec<Handle> = Vec::new();
    let path = ring.enter(|m| {
        let [a, b] = ring.pair(m);
        ring.set(m, a, &ring.function);
        vec![a.addr(), b.addr()]
    });
    assert_eq!(ring.collect(), [&path[..]]);
    // The cycle is opened at its other object, and finalized; the next collection frees it.
    ring.enter(|m| {
        let b = m.adopt(path[1]).unwrap();
        m.store_ref(b, 0, None).unwrap();
    });
    assert_eq!(ring.world.collect(), [[path[0], 0]]);
    assert_eq!(ring.collect(), [[0; 2]; 0]);
    assert_eq!(ring.world.runtime.stats().heap.objects, 0);
    let next = ring.enter(|m| {
        loop {
            let [a, b] = ring.pair(m);
            if a.addr() == path[0] {
                ring.set(m, a, &ring.function);
                return vec![a.addr(), b.addr()];
            }
            kept.extend([m.root(a).unwrap(), m.root(b).unwrap()]);
        }
    });
    assert_eq!(ring.collect(), [next]);
}

/// An object that was finalized is back on a cycle before the next collection: that is another one.
#[test]
fn a_report_is_forgotten_when_its_object_is_finalized() {
    let ring = Ring::new();
    let path = ring.enter(|m| {
        let [a, b] = ring.pair(m);
        ring.set(m, a, &ring.function);
        vec![a.addr(), b.addr()]
    });
    for _ in 0..3 {
        assert_eq!(ring.collect(), [&path[..]]);
        assert_eq!(ring.collect(), [[0; 2]; 0]);
        let refer = |m: &Mutator, to: usize| {
            m.store_addr(m.adopt(path[1]).unwrap(), 0, to).unwrap();
        };
        ring.enter(|m| refer(m, 0));
        assert_eq!(ring.world.collect(), [[path[0], 0]]);
        ring.enter(|m| {
            refer(m, path[0]);
            ring.set(m, m.adopt(path[0]).unwrap(), &ring.function);
        });
    }
}
