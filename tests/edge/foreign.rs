//! What is handed to `foreign::Finalizers`, whose collector is the test: ids of other ones, reports
//! of cycles, and roots that were made early.

use std::collections::{BTreeMap, BTreeSet};

use fing::foreign::{Cleanup, Collection, Finalizers, Finished, Scope, Tracer, Weak};
use fing::stubs::Type;
use fing::{
    Abi, CallStage, CleanupFn, CyclePolicy, FinalizerFn, FinalizerOptions, HeldValue, Order,
};

use super::nothing;

fn finalizer() -> FinalizerFn {
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: it looks at no argument.
    unsafe { builder.at(nothing as *const ()) }
}

fn finalizer_with_context() -> FinalizerFn {
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    let builder = builder.context_object(Type::unsafe_pointer());
    // SAFETY: as above.
    unsafe { builder.at(nothing as *const ()) }
}

fn cleanup() -> CleanupFn {
    let builder = CleanupFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: as above.
    unsafe { builder.at(nothing as *const ()) }
}

/// Objects are numbers, which stay where they are.
#[derive(Default)]
struct Graph {
    references: BTreeMap<u64, Vec<u64>>,
    reached: BTreeSet<u64>,
    /// Reached, and not followed yet.
    pending: Vec<u64>,
}

// SAFETY: nobody follows the references.
unsafe impl Tracer for Graph {
    type Ref = u64;

    fn is_reached(&mut self, object: u64) -> bool {
        self.reached.contains(&object)
    }

    fn trace(&mut self, object: u64) -> u64 {
        if self.reached.insert(object) {
            self.pending.push(object);
        }
        object
    }

    fn children(&mut self, object: u64, visit: &mut dyn FnMut(&mut Self, u64)) {
        for child in self.references.get(&object).cloned().unwrap_or_default() {
            visit(self, child);
        }
    }
}

impl Graph {
    /// Every two objects refer to each other.
    fn ring(a: u64, b: u64) -> Graph {
        Graph {
            references: BTreeMap::from([(a, vec![b]), (b, vec![a])]),
            ..Graph::default()
        }
    }

    fn follow(&mut self) {
        while let Some(object) = self.pending.pop() {
            for child in self.references.get(&object).cloned().unwrap_or_default() {
                self.trace(child);
            }
        }
    }

    /// Begins a collection in which the program refers to these.
    fn begin(&mut self, finalizers: &Finalizers<u64>, referred: &[u64]) -> Collection<u64> {
        self.reached.clear();
        // SAFETY: this is the collector, and there is one thread.
        let collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
        for &object in referred {
            self.trace(object);
        }
        self.follow();
        collection
    }

    /// Its steps.
    fn decide(&mut self, collection: &mut Collection<u64>) {
        while collection.step(self) {
            self.follow();
        }
        self.follow();
    }

    fn collect(&mut self, finalizers: &Finalizers<u64>, referred: &[u64]) -> Finished<u64> {
        let mut collection = self.begin(finalizers, referred);
        self.decide(&mut collection);
        collection.finish()
    }
}

/// Finalizers, and an object of theirs with a weak handle and a cleanup.
fn registered() -> (Finalizers<u64>, Weak, Cleanup) {
    let finalizers = Finalizers::new().unwrap();
    // SAFETY: the functions follow nothing.
    unsafe {
        let weak = finalizers.downgrade(16);
        let added = finalizers.add_cleanup(16, &cleanup(), HeldValue::Word(7));
        (finalizers, weak, added.unwrap())
    }
}

/// Red before ids knew whose they are: those of one were taken for another's.
#[test]
fn weak_handles_and_cleanups_of_other_finalizers_name_nothing() {
    for gone in [false, true] {
        let (a, weak, cleanup) = registered();
        let a = (!gone).then_some(a);
        let (b, own_weak, own_cleanup) = registered();
        assert_ne!(weak, own_weak);
        assert_ne!(cleanup, own_cleanup);
        assert_eq!((b.upgrade(weak), b.upgrade(own_weak)), (None, Some(16)));
        assert!(!b.stop_cleanup(cleanup).is_cancelled());
        assert_eq!(b.stats().cleanups, 1);
        assert!(
            b.stop_cleanup(own_cleanup).is_cancelled()
                && !b.stop_cleanup(own_cleanup).is_cancelled()
        );
        if let Some(a) = a {
            assert_eq!(a.upgrade(weak), Some(16));
            assert!(
                a.clone().stop_cleanup(cleanup).is_cancelled(),
                "a clone is a handle to the same"
            );
        }
    }
}

/// What a collection has ended names nothing, also when the object's word is used again.
#[test]
fn weak_handles_and_cleanups_of_dead_objects_name_nothing() {
    let (finalizers, weak, clean) = registered();
    let mut graph = Graph::default();
    assert_eq!(graph.collect(&finalizers, &[]).queued, 1);
    // SAFETY: the functions follow nothing.
    let (new, added) = unsafe {
        let added = finalizers.add_cleanup(16, &cleanup(), HeldValue::Word(8));
        (finalizers.downgrade(16), added.unwrap())
    };
    assert_ne!((weak, clean), (new, added));
    assert_eq!(
        (finalizers.upgrade(weak), finalizers.upgrade(new)),
        (None, Some(16))
    );
    assert_eq!(finalizers.stop_cleanup(clean), CallStage::Queued);
    assert_eq!(finalizers.stop_cleanup(clean), CallStage::Done);
    assert_eq!(finalizers.stop_cleanup(added), CallStage::Registered);
    assert_eq!(finalizers.run_finalizers(), Ok(0));
}

/// Finalizers in topological order, and the one of a ring of two that is to be reported.
fn ring() -> (Finalizers<u64>, FinalizerFn, Graph) {
    let finalizers = Finalizers::builder().order(Order::Topological).build();
    let (finalizers, function) = (finalizers.unwrap(), finalizer());
    set(&finalizers, &function);
    (finalizers, function, Graph::ring(16, 32))
}

fn set(finalizers: &Finalizers<u64>, function: &FinalizerFn) {
    let options = FinalizerOptions::new().cycle(CyclePolicy::Report);
    // SAFETY: the function follows nothing.
    unsafe { finalizers.set_finalizer_with(16, function, options) }.unwrap();
}

const NO_CYCLES: [Vec<u64>; 0] = [];

#[test]
fn a_foreign_cycle_is_reported_anew_when_its_finalizer_is_set_anew() {
    let (finalizers, function, mut graph) = ring();
    let prepared = finalizers
        .prepare_finalizer(&function, CyclePolicy::Report)
        .unwrap();
    for way in 0..4 {
        assert_eq!(graph.collect(&finalizers, &[]).cycles, [[16, 32]], "{way}");
        assert_eq!(graph.collect(&finalizers, &[]).cycles, NO_CYCLES, "{way}");
        // SAFETY: the function follows nothing.
        unsafe {
            match way {
                0 => {
                    assert!(finalizers.clear_finalizer(16).is_cancelled());
                    set(&finalizers, &function);
                }
                1 => {
                    assert!(prepared.clear(16).is_cancelled());
                    prepared.set(16).unwrap();
                }
                2 => {
                    assert_eq!(prepared.clear_all(&[16, 32]), 1);
                    prepared.set_all(&[16]).unwrap();
                }
                _ => assert!(
                    !prepared.clear(32).is_cancelled()
                        && !finalizers.clear_finalizer(32).is_cancelled()
                ),
            }
        }
    }
    assert_eq!(
        graph.collect(&finalizers, &[]).cycles,
        NO_CYCLES,
        "nothing was cleared"
    );
}

/// Red with the mutant that F1 names: a report that nobody has fetched named objects that are gone.
#[test]
fn reports_of_dead_cycles_are_not_kept() {
    for dies in [false, true] {
        let (finalizers, _function, mut graph) = ring();
        let mut collection = graph.begin(&finalizers, &[]);
        graph.decide(&mut collection);
        drop(collection);
        // Not finished yet.
        if dies {
            assert!(finalizers.clear_finalizer(16).is_cancelled());
        }
        let finished = graph.collect(&finalizers, &[]);
        let alive = graph.reached.contains(&16);
        assert_eq!((finished.queued, alive), (0, !dies));
        match dies {
            true => assert_eq!(finished.cycles, NO_CYCLES),
            false => assert_eq!(finished.cycles, [[16, 32]]),
        }
        assert_eq!(graph.collect(&finalizers, &[]).cycles, NO_CYCLES);
    }
}

/// Registrations whose contexts and arguments are roots: registered, due and queued ones.
fn with_roots() -> (Finalizers<u64>, Vec<u64>) {
    let finalizers = Finalizers::new().unwrap();
    let function = finalizer_with_context();
    // SAFETY: the functions follow nothing.
    let register = |object: u64| unsafe {
        let context = FinalizerOptions::new().context(HeldValue::Object(object + 1));
        finalizers
            .set_finalizer_with(object, &function, context)
            .unwrap();
        let argument = HeldValue::Object(object + 2);
        finalizers
            .add_cleanup(object + 3, &cleanup(), argument)
            .unwrap();
    };
    let mut graph = Graph::default();
    // Queued, ...
    register(100);
    assert_eq!(graph.collect(&finalizers, &[]).queued, 2);
    // ... due, ...
    register(200);
    let mut collection = graph.begin(&finalizers, &[]);
    graph.decide(&mut collection);
    drop(collection);
    // ... and registered of objects that are alive.
    register(300);
    let roots = vec![100, 101, 102, 200, 201, 202, 301, 302];
    (finalizers, roots)
}

/// Red with the mutant that F1 names: what was a root early was none in the next collection.
#[test]
fn roots_made_early_are_roots_in_the_next_collection() {
    for pattern in 0..16_u32 {
        let (finalizers, roots) = with_roots();
        let mut graph = Graph::default();
        for round in 0..4 {
            let what = format!("collection {round} of pattern {pattern:#b}");
            let mut collection = graph.begin(&finalizers, &[300, 303]);
            if pattern >> round & 1 != 0 {
                collection.early_roots(&mut graph).unwrap();
                graph.follow();
                assert!(
                    roots.iter().all(|root| graph.reached.contains(root)),
                    "{what}"
                );
            }
            graph.decide(&mut collection);
            assert!(
                roots.iter().all(|root| graph.reached.contains(root)),
                "{what}"
            );
        }
        let finished = finalizers.finish();
        assert_eq!((finished.queued, finalizers.run_finalizers()), (2, Ok(4)));
    }
}

/// The same when a collection is given up after its roots were made.
#[test]
fn roots_made_early_by_a_collection_that_was_given_up_are_roots() {
    let (finalizers, roots) = with_roots();
    let mut graph = Graph::default();
    for _ in 0..2 {
        let mut collection = graph.begin(&finalizers, &[300, 303]);
        collection.early_roots(&mut graph).unwrap();
        drop(collection);
    }
    graph.collect(&finalizers, &[300, 303]);
    assert!(roots.iter().all(|root| graph.reached.contains(root)));
}
