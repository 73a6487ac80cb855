//! Declared order: an object is finalized after another, though no reference shows it.

use std::sync::{Arc, Mutex};

use fing::error::{AfterError, Closed};
use fing::failure::FailurePolicy;
use fing::{Executor, HeapOptions, Mutator, Obj, Order, Runtime};

use super::vm::{LONG, Vm};

/// A runtime whose finalizers note the number of their object.
struct World {
    vm: Vm,
    function: fing::FinalizerFn,
    ran: Arc<Mutex<Vec<u64>>>,
}

impl World {
    fn new(order: Order) -> World {
        let builder = Runtime::builder().order(order).executor(Executor::Inline);
        let vm = Vm::with(builder.heap(HeapOptions::default().limit(4 << 30)));
        let ran: Arc<Mutex<Vec<u64>>> = Arc::default();
        let notes = ran.clone();
        let function = vm.function("func(*main.T)", move |[object, _]| {
            // SAFETY: I6: a finalizer's object is whole until it returns.
            let number = unsafe { *std::ptr::with_exposed_provenance::<u64>(object) };
            notes.lock().unwrap().push(number);
        });
        World { vm, function, ran }
    }

    /// An object of this number with a finalizer.
    fn object<'m>(&self, m: &'m Mutator, number: u64) -> Obj<'m> {
        let object = m.alloc(self.vm.t).unwrap();
        m.store_word(object, 0, number).unwrap();
        m.set_finalizer(object, &self.function).unwrap();
        object
    }

    /// Collects, and returns what ran.
    fn collect(&self) -> Vec<u64> {
        self.vm.collect();
        std::mem::take(&mut *self.ran.lock().unwrap())
    }
}

#[test]
fn one_after_another_in_one_collection() {
    let world = World::new(Order::Topological);
    // Both ways round: it is not the order of allocation.
    world.vm.enter(|m| {
        let all: Vec<_> = (0..6).map(|n| world.object(m, n)).collect();
        for (object, parent) in [(3, 5), (0, 3), (4, 0), (1, 4), (2, 1)] {
            m.finalize_after(all[object], all[parent]).unwrap();
            m.finalize_after(all[object], all[parent]).unwrap();
        }
    });
    assert_eq!(world.collect(), [5, 3, 0, 4, 1, 2]);
    assert_eq!(world.vm.runtime.gc().unwrap().live_objects, 0);
    let world = World::new(Order::Go);
    world.vm.enter(|m| {
        let all: Vec<_> = (0..3).map(|n| world.object(m, n)).collect();
        m.finalize_after(all[0], all[2]).unwrap();
        m.finalize_after(all[1], all[0]).unwrap();
    });
    // One each time, as with references.
    let each = [(); 4].map(|()| world.collect());
    assert_eq!(each, [vec![2], vec![0], vec![1], vec![]]);
}

/// The parent is alive: the object waits, with what it refers to, through objects that have no
/// finalizer, and however long the chain is.
#[test]
fn who_is_finalized_after_a_living_object_waits() {
    const LENGTH: u64 = 500;
    for order in [Order::Go, Order::Topological] {
        let world = World::new(order);
        let root = world.vm.enter(|m| {
            let first = world.object(m, 0);
            let mut before = first;
            for number in 1..=LENGTH {
                // By a declaration and by a reference, in turn; every third without a finalizer.
                let object = m.alloc(world.vm.t).unwrap();
                m.store_word(object, 0, number).unwrap();
                if number % 3 != 0 {
                    m.set_finalizer(object, &world.function).unwrap();
                }
                match number % 2 {
                    0 => m.store_ref(before, 8, Some(object)).unwrap(),
                    _ => m.finalize_after(object, before).unwrap(),
                }
                before = object;
            }
            m.root(first).unwrap()
        });
        assert_eq!(world.collect(), [0; 0]);
        assert_eq!(
            world.vm.runtime.gc().unwrap().live_objects as u64,
            LENGTH + 1
        );
        drop(root);
        let ran = match order {
            Order::Topological => world.collect(),
            Order::Go => {
                let first = world.collect();
                assert_eq!(first, [0]);
                let more = (0..LENGTH).flat_map(|_| world.collect());
                first.into_iter().chain(more.collect::<Vec<_>>()).collect()
            }
        };
        let wanted: Vec<u64> = (0..=LENGTH).filter(|n| *n == 0 || n % 3 != 0).collect();
        assert_eq!(ran, wanted);
        assert_eq!(world.vm.runtime.gc().unwrap().live_objects, 0);
        world.vm.runtime.verify_heap().unwrap();
    }
}

/// A parent that nobody finalizes, and one that dies alone.
#[test]
fn a_parent_without_finalizer_is_kept_no_longer() {
    for order in [Order::Go, Order::Topological] {
        let world = World::new(order);
        let root = world.vm.enter(|m| {
            let parent = m.alloc(world.vm.t).unwrap();
            let (dead, alive) = (world.object(m, 1), world.object(m, 2));
            m.finalize_after(dead, parent).unwrap();
            m.finalize_after(alive, parent).unwrap();
            m.root(alive).unwrap()
        });
        assert_eq!(world.collect(), [1]);
        // The parent was freed with this; `dead` is freed with the next.
        assert_eq!(world.vm.runtime.gc().unwrap().live_objects, 1);
        drop(root);
        assert_eq!(world.collect(), [2]);
    }
}

/// A call that fails is made again, behind what is declared to come after it: what was queued with
/// it does not wait for it. Each is finalized, and nothing is left.
#[test]
fn a_failed_call_is_made_again_behind_what_comes_after_it() {
    let ran: Arc<Mutex<Vec<u64>>> = Arc::default();
    let builder = Runtime::builder()
        .order(Order::Topological)
        .executor(Executor::Inline)
        .failure_policy(FailurePolicy::Requeue(1))
        .on_failure(|_| {});
    let vm = Vm::with(builder);
    let notes = ran.clone();
    let function = vm.function("func(*main.T)", move |[object, _]| {
        // SAFETY: I6: a finalizer's object is whole until it returns.
        let number = unsafe { *std::ptr::with_exposed_provenance::<u64>(object) };
        let mut ran = notes.lock().unwrap();
        let first = !ran.contains(&number);
        ran.push(number);
        drop(ran);
        if number == 1 && first {
            std::panic::resume_unwind(Box::new("once"));
        }
    });
    let world = World { vm, function, ran };
    world.vm.enter(|m| {
        let all: Vec<_> = (0..4).map(|n| world.object(m, n)).collect();
        for pair in all.windows(2) {
            m.finalize_after(pair[1], pair[0]).unwrap();
        }
    });
    assert_eq!(world.collect(), [0, 1, 2, 3, 1]);
    let stats = world.vm.runtime.stats();
    assert_eq!((stats.executed, stats.requeued, stats.failed), (5, 1, 1));
    assert_eq!(world.vm.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn a_declared_cycle_is_named() {
    let world = World::new(Order::Topological);
    world.vm.enter(|m| {
        let all: Vec<_> = (0..4).map(|n| world.object(m, n)).collect();
        m.finalize_after(all[1], all[0]).unwrap();
        m.finalize_after(all[2], all[1]).unwrap();
        m.finalize_after(all[3], all[1]).unwrap();
        let error = m.finalize_after(all[0], all[2]).unwrap_err();
        let addresses: Vec<usize> = all.iter().map(|object| object.addr()).collect();
        let AfterError::Cycle { path, types } = &error else {
            panic!("{error}");
        };
        assert_eq!((&path[..], types.len()), (&addresses[..3], 3));
        let text = format!(
            "finalize_after: found a cycle of declared orders: main.T {:#x} before main.T {:#x} \
             before main.T {:#x} before main.T {:#x}",
            path[0], path[1], path[2], path[0]
        );
        assert_eq!(error.to_string(), text);
        let own = m.finalize_after(all[3], all[3]).unwrap_err();
        assert!(matches!(own, AfterError::Cycle { path, .. } if path == [addresses[3]]));
        // Nothing was changed, and the other way is still possible.
        m.finalize_after(all[2], all[0]).unwrap();
    });
    let ran = world.collect();
    assert_eq!((ran[..2].to_vec(), ran.len()), (vec![0, 1], 4));
}

#[test]
fn what_cannot_be_declared_is_said() {
    let world = World::new(Order::Topological);
    let other = World::new(Order::Topological);
    let empty = world
        .vm
        .runtime
        .types()
        .define("main.Empty", "struct {}")
        .unwrap();
    let foreign = other.vm.runtime.attach().unwrap();
    let mut m = world.vm.runtime.attach().unwrap();
    {
        let own = world.object(&m, 1);
        let theirs = other.object(&foreign, 1);
        let sizeless = m.alloc(empty).unwrap();
        for (bad, is_it) in [
            (
                theirs,
                AfterError::NotInHeap {
                    argument: 0,
                    addr: theirs.addr(),
                },
            ),
            (
                sizeless,
                AfterError::Shared {
                    argument: 0,
                    addr: sizeless.addr(),
                },
            ),
        ] {
            assert_eq!(m.finalize_after(bad, own), Err(is_it));
            assert!(m.finalize_after(own, bad).is_err());
        }
    }
    m.native(|| world.vm.runtime.shutdown(false, LONG)).unwrap();
    let (a, b) = (world.object_only(&m), world.object_only(&m));
    assert_eq!(
        m.finalize_after(a, b),
        Err(AfterError::Closed(Closed::ShutDown))
    );
}

impl World {
    /// An object without a finalizer.
    fn object_only<'m>(&self, m: &'m Mutator) -> Obj<'m> {
        m.alloc(self.vm.t).unwrap()
    }
}

/// Random graphs without cycles whose references and declarations are mixed: one collection, each
/// once, in an order that violates none. `FING_ORDER_OBJECTS` sets how many objects.
#[test]
fn random_graphs_are_finalized_in_one_collection() {
    let objects: usize = std::env::var("FING_ORDER_OBJECTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000);
    for (seed, way) in [(1, "forward"), (2, "backward"), (3, "mixed")] {
        let world = World::new(Order::Topological);
        let mut rng = fing::stubs::fuzzing::Rng::new(seed);
        // Each edge leads from a lower rank to a higher one.
        let mut edges: Vec<[u32; 2]> = Vec::new();
        world.vm.enter(|m| {
            let all: Vec<_> = (0..objects).map(|n| world.object(m, n as u64)).collect();
            for nth in 0..objects {
                let n = match way {
                    "backward" => objects - 1 - nth,
                    _ => nth,
                };
                for _ in 0..rng.below(3) {
                    let other = match way {
                        // Near ones, so that old objects are between few others.
                        "mixed" => n.saturating_sub(1 + rng.below(50)),
                        "backward" => (n + 1 + rng.below(objects)).min(objects - 1),
                        _ => rng.below(n.max(1)),
                    };
                    let (from, to) = (n.min(other), n.max(other));
                    if from == to {
                        continue;
                    }
                    m.finalize_after(all[to], all[from]).unwrap();
                    edges.push([from as u32, to as u32]);
                }
                if rng.below(4) == 0 && n + 1 < objects {
                    let to = n + 1 + rng.below(objects - n - 1);
                    m.store_ref(all[n], 8, Some(all[to])).unwrap();
                    edges.push([n as u32, to as u32]);
                }
            }
        });
        let ran = world.collect();
        assert_eq!(ran.len(), objects, "{way}: all in one collection");
        let mut when = vec![u32::MAX; objects];
        for (at, number) in (0..).zip(ran) {
            assert_eq!(std::mem::replace(&mut when[number as usize], at), u32::MAX);
        }
        let violated = |[from, to]: &&[u32; 2]| when[*from as usize] > when[*to as usize];
        assert_eq!(edges.iter().filter(violated).count(), 0, "{way}");
        assert_eq!(world.vm.runtime.gc().unwrap().live_objects, 0);
    }
}
