//! When collections are due: a steady state stays steady, and memory outside the heap counts.

use std::collections::VecDeque;

use fing::{Abi, Executor, FinalizerFn, FinalizerOptions, Handle, HeapOptions, Runtime, TypeId};

extern "C" fn nothing(_: usize) {}

struct World {
    runtime: Runtime,
    ty: TypeId,
    finalizer: FinalizerFn,
}

fn world(definition: &str) -> World {
    let runtime = Runtime::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let ty = runtime.types().define("main.T", definition).unwrap();
    let signature = runtime.types().parse_signature("func(*main.T)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap());
    // SAFETY: I8: a System V function of one pointer, which does not follow it.
    let finalizer = unsafe { builder.at(nothing as *const ()) };
    World {
        runtime,
        ty,
        finalizer,
    }
}

/// Objects made between each of 20 collections, with so many alive at a time, the oldest replaced
/// by a new one all the time. Finalizers run `late` collections after they were queued.
fn steady(late: usize) -> Vec<u64> {
    const LIVE: usize = 4000;
    let World {
        runtime,
        ty,
        finalizer,
    } = world("[250]uint64");
    let mut mutator = runtime.attach().unwrap();
    let mut live: VecDeque<Handle> = VecDeque::new();
    let (mut between, mut made, mut waiting) = (Vec::new(), 0, 0);
    while between.len() < 20 {
        let collections = runtime.stats().heap.collections;
        for _ in 0..32 {
            let object = mutator.alloc_collecting(ty).unwrap();
            mutator
                .set_finalizer(mutator.get(&object).unwrap(), &finalizer)
                .unwrap();
            live.push_back(object);
            made += 1;
            if live.len() > LIVE {
                live.pop_front();
            }
        }
        if runtime.stats().heap.collections > collections && live.len() == LIVE {
            between.push(made);
            made = 0;
            waiting += 1;
            if waiting > late {
                mutator.native(|| runtime.run_finalizers()).unwrap();
                waiting = 0;
            }
        }
    }
    between
}

fn mean(figures: &[u64]) -> f64 {
    figures.iter().sum::<u64>() as f64 / figures.len() as f64
}

#[test]
fn a_steady_state_is_steady() {
    let between = steady(0);
    let growth = mean(&between[15..]) / mean(&between[5..10]);
    assert!(growth <= 1.1, "{growth}: {between:?}");
    // About as many as are alive: 100 percent.
    let last = mean(&between[15..]) / 4000.0;
    assert!((0.8..1.3).contains(&last), "{last}: {between:?}");
}

#[test]
fn finalizers_that_run_late_do_not_let_the_heap_grow_without_end() {
    let between = steady(3);
    let most = between[5..].iter().max().copied().unwrap_or_default();
    assert!(most as f64 <= 2.5 * 4000.0, "{between:?}");
    let growth = mean(&between[12..]) / mean(&between[4..12]);
    assert!(growth <= 1.2, "{growth}: {between:?}");
}

/// Makes 10,000 objects that are said to own so many bytes each, of which so many are alive at a
/// time. Returns how many collections there were, and how many objects there were at most.
fn owners(bytes: usize, alive: usize) -> (u64, u64) {
    let World {
        runtime,
        ty,
        finalizer,
    } = world("struct { N uint64 }");
    let mut mutator = runtime.attach().unwrap();
    let mut live: VecDeque<Handle> = VecDeque::new();
    let mut most = 0;
    for _ in 0..10_000 {
        let object = mutator.alloc_collecting(ty).unwrap();
        let options = FinalizerOptions::new().external_bytes(bytes);
        mutator
            .set_finalizer_with(mutator.get(&object).unwrap(), &finalizer, options)
            .unwrap();
        live.push_back(object);
        if live.len() > alive {
            live.pop_front();
        }
        let external = runtime.stats().heap.external_bytes;
        most = most.max(external.checked_div(bytes).unwrap_or_default() as u64);
        mutator.native(|| runtime.run_finalizers()).unwrap();
    }
    (runtime.stats().heap.collections, most)
}

#[test]
fn objects_that_own_memory_are_noticed_and_a_wrong_hint_makes_no_storm() {
    const MIB: usize = 1 << 20;
    assert_eq!(owners(0, 100).0, 0, "the objects themselves are small");
    for alive in [50, 1000] {
        let (right, most) = owners(MIB, alive);
        assert!(right >= 5, "{alive} alive: {right} collections");
        let least = (HeapOptions::MIN_EXTERNAL_TRIGGER / MIB) as u64;
        let bound = 3 * alive as u64 + 2 * least;
        assert!(most <= bound, "{alive} alive: {most} objects at most");
        let (wrong, _) = owners(1000 * MIB, alive);
        assert!(wrong <= 2 * right, "{alive} alive: {right}, then {wrong}");
    }
}

/// A thread changes the pace while others allocate: the flag that they look at is that of the last
/// setting.
#[test]
fn the_pace_is_changed_while_threads_allocate() {
    let World { runtime, ty, .. } = world("[250]uint64");
    for round in 0..20 {
        let setting = [None, Some(100)][round % 2];
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mutator = runtime.attach().unwrap();
                    for _ in 0..1000 {
                        mutator.alloc(ty).unwrap();
                    }
                });
            }
            for percent in 0..50 {
                runtime.set_gc_percent(Some(percent));
                runtime.set_gc_percent(None);
            }
            runtime.set_gc_percent(setting);
        });
        let mut mutator = runtime.attach().unwrap();
        assert_eq!(runtime.set_gc_percent(setting), setting);
        assert_eq!(mutator.is_collection_due(), setting.is_some(), "{round}");
        assert_eq!(mutator.collect_at_safepoint(), setting.is_some());
        drop(mutator);
        runtime.gc().unwrap();
    }
}

#[test]
fn external_bytes_can_be_stated_anew() {
    let World { runtime, ty, .. } = world("struct { N uint64 }");
    let external = || runtime.stats().heap.external_bytes;
    let mut mutator = runtime.attach().unwrap();
    {
        let object = mutator.alloc(ty).unwrap();
        for bytes in [1000, 5000, 200, 0, 7] {
            mutator.set_external_bytes(object, bytes).unwrap();
            assert_eq!(external(), bytes);
        }
        let other = mutator.alloc(ty).unwrap();
        mutator.set_external_bytes(other, usize::MAX).unwrap();
        assert_eq!(external(), usize::MAX, "more than an address can say");
    }
    assert_eq!(mutator.gc().unwrap().live_objects, 0);
    assert_eq!(external(), 0);
}
