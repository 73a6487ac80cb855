//! Sources of roots, and the flag of safepoints.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use fing::check::Keeper;
use fing::error::{ExecutorError, WorldError};
use fing::vm::RootSource;
use fing::{Executor, FinalizerFn, HeapOptions, Mutator, Runtime, TypeId};

fn runtime() -> (Runtime, TypeId) {
    let heap = HeapOptions::default().poison(true);
    let builder = Runtime::builder().executor(Executor::Inline).heap(heap);
    let runtime = builder.build().unwrap();
    let ty = "struct { Next *main.T; Value uint64 }";
    let ty = runtime.types().define("main.T", ty).unwrap();
    (runtime, ty)
}

fn object(runtime: &Runtime, ty: TypeId) -> usize {
    let object = runtime.enter(|m| m.alloc(ty).map(|object| object.addr()));
    object.unwrap().unwrap()
}

#[test]
fn any_address_is_allowed_and_an_interior_one_keeps_its_object() {
    let (runtime, ty) = runtime();
    let at = object(&runtime, ty);
    let other = Runtime::new().unwrap();
    let foreign = object(&other, other.types().id("uint64").unwrap());
    let outside = [0, 1, 8, foreign, usize::MAX, &raw const other as usize];
    for offset in [0, 1, 8, 15] {
        let _source = runtime.add_roots(move |visit| {
            outside.iter().for_each(|&address| visit(address));
            visit(at + offset);
            visit(at);
        });
        assert_eq!(runtime.gc().unwrap().live_objects, 1, "offset {offset}");
        let kept = runtime.why_alive(at).unwrap().unwrap();
        assert_eq!(kept.keeper, Keeper::Root);
        runtime.verify_heap().unwrap();
    }
    // One behind the object's end, and in its header.
    for offset in [16, -8] {
        let address = object(&runtime, ty).wrapping_add_signed(offset);
        let _source = runtime.add_roots(move |visit| visit(address));
        assert_eq!(runtime.gc().unwrap().live_objects, 0);
    }
}

#[test]
fn what_roots_refer_to_is_kept() {
    let (runtime, ty) = runtime();
    let first = runtime.enter(|m| {
        let (first, second) = (m.alloc(ty).unwrap(), m.alloc(ty).unwrap());
        m.store_ref(first, 0, Some(second)).unwrap();
        first.addr()
    });
    let first = first.unwrap();
    let _source = runtime.add_roots(move |visit| visit(first));
    assert_eq!(runtime.gc().unwrap().live_objects, 2);
}

#[test]
fn a_source_that_panics_frees_nothing_and_is_told() {
    let (runtime, ty) = runtime();
    object(&runtime, ty);
    let fails = Arc::new(AtomicBool::new(true));
    let now = fails.clone();
    let _source = runtime.add_roots(move |_| assert!(!now.load(SeqCst), "no frames today"));
    let before = runtime.stats().heap;
    let error = runtime.gc().unwrap_err();
    assert!(matches!(&error, WorldError::Roots { found } if found.contains("no frames today")));
    let text = "collect: a source of roots failed with a panic: no frames today, wanted all roots; \
                nothing was freed";
    assert_eq!(error.to_string(), text);
    let mut mutator = runtime.attach().unwrap();
    assert_eq!(mutator.gc().unwrap_err(), error);
    drop(mutator);
    assert!(runtime.why_alive(0).is_err());
    assert_eq!(runtime.stats().heap.objects, before.objects);
    assert_eq!(runtime.stats().heap.collections, before.collections);
    fails.store(false, SeqCst);
    assert_eq!(runtime.gc().unwrap().freed_objects, 1);
}

#[test]
fn a_source_gets_errors_where_it_would_wait_for_itself() {
    let (runtime, _) = runtime();
    let found = Arc::new(Mutex::new(Vec::new()));
    let (weak, errors) = (runtime.downgrade(), found.clone());
    let _source = runtime.add_roots(move |_| {
        let runtime = weak.upgrade().unwrap();
        let mut errors = errors.lock().unwrap();
        errors.push(runtime.gc().map(drop).unwrap_err());
        errors.push(runtime.enter(|_| ()).unwrap_err());
        errors.push(runtime.attach().map(drop).unwrap_err());
        // What takes other locks works.
        assert_eq!(runtime.stats().heap.objects, 0);
    });
    runtime.gc().unwrap();
    let collecting = |operation| WorldError::Collecting { operation };
    let wanted = ["collect", "enter", "attach"].map(collecting);
    assert_eq!(*found.lock().unwrap(), wanted);
}

#[test]
fn a_source_is_not_called_once_it_is_dropped() {
    let (runtime, _) = runtime();
    let (calls, owner) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
    let (count, owned) = (calls.clone(), owner.clone());
    let (asked, at) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let source = runtime.add_roots(move |_| {
        let _owned = &owned;
        asked.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        count.fetch_add(1, SeqCst);
    });
    let collecting = runtime.clone();
    let collector = std::thread::spawn(move || collecting.gc().map(drop));
    at.recv().unwrap();
    let dropper = std::thread::spawn(move || {
        drop(source);
        calls.load(SeqCst)
    });
    go_on.send(()).unwrap();
    // The drop has waited for the call, and then has dropped what the closure owns.
    assert_eq!(dropper.join().unwrap(), 1);
    assert_eq!(Arc::strong_count(&owner), 1);
    collector.join().unwrap().unwrap();
    runtime.gc().unwrap();
}

#[test]
fn sources_may_add_and_drop_sources() {
    let (runtime, ty) = runtime();
    let at = object(&runtime, ty);
    let kept: Arc<Mutex<Option<RootSource>>> = Arc::default();
    let (own, weak) = (kept.clone(), runtime.downgrade());
    let source = runtime.add_roots(move |visit| {
        visit(at);
        // Removes itself, and has another one in its place from the next collection on.
        let another = weak.upgrade().unwrap().add_roots(move |visit| visit(at));
        let before = own.lock().unwrap().replace(another);
        drop(before);
    });
    *kept.lock().unwrap() = Some(source);
    for _ in 0..3 {
        assert_eq!(runtime.gc().unwrap().live_objects, 1);
    }
    drop(kept.lock().unwrap().take());
    assert_eq!(runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn many_sources_come_and_go_in_any_order() {
    let (runtime, _) = runtime();
    let add = || (0..30_000).map(|_| runtime.add_roots(|_| ())).collect();
    let (first, last): (Vec<RootSource>, Vec<RootSource>) = (add(), add());
    runtime.gc().unwrap();
    first.into_iter().for_each(drop);
    last.into_iter().rev().for_each(drop);
    runtime.gc().unwrap();
}

#[test]
fn the_flag_says_that_a_collection_is_due() {
    let (runtime, _) = runtime();
    let flag = runtime.safepoint_flag();
    let bytes = runtime.types().id("[1024]uint64").unwrap();
    let mut mutator = runtime.attach().unwrap();
    assert!(!flag.is_set() && !mutator.is_collection_due());
    assert!(!mutator.collect_at_safepoint());
    while !mutator.is_collection_due() {
        assert!(!flag.is_set());
        mutator.alloc(bytes).unwrap();
    }
    assert!(flag.is_set());
    assert!(mutator.collect_at_safepoint());
    assert!(!flag.is_set() && !mutator.is_collection_due());
    // Memory outside of the heap makes one due, too.
    for _ in 0..64 {
        let object = mutator.alloc(bytes).unwrap();
        mutator.set_external_bytes(object, 64 << 20).unwrap();
    }
    assert!(flag.is_set() && mutator.collect_at_safepoint() && !flag.is_set());
    drop(mutator);
    let address = flag.address();
    drop(runtime);
    // The word outlives the runtime.
    assert_eq!((flag.address(), flag.is_set()), (address, false));
}

#[test]
fn the_flag_says_that_a_thread_waits() {
    let (runtime, _) = runtime();
    let flag = runtime.safepoint_flag();
    let mut mutator = runtime.attach().unwrap();
    let collecting = runtime.clone();
    let collector = std::thread::spawn(move || collecting.gc().unwrap().number);
    while !flag.is_set() {
        std::thread::yield_now();
    }
    assert!(!mutator.is_collection_due());
    assert!(!mutator.collect_at_safepoint(), "none is due");
    assert_eq!(collector.join().unwrap(), 1);
    assert!(!flag.is_set());
}

#[test]
fn under_stress_the_flag_is_always_set() {
    let heap = HeapOptions::default().stress(true);
    let runtime = Runtime::builder().heap(heap).build().unwrap();
    let flag = runtime.safepoint_flag();
    let mut mutator = runtime.attach().unwrap();
    for n in 1..=3 {
        assert!(flag.is_set() && mutator.is_collection_due());
        assert!(mutator.collect_at_safepoint());
        assert_eq!(runtime.stats().heap.collections, n);
    }
}

/// A source can't make calls, which would want a mutator: they stay until the collection is over.
#[test]
fn a_source_that_drains_is_refused() {
    let builder = Runtime::builder().executor(Executor::Manual);
    let runtime = builder.build().unwrap();
    let word = runtime.types().id("uint64").unwrap();
    let (calls, count) = mpsc::channel();
    let finalizer = FinalizerFn::from_rust_of_any_object(move |_, _| calls.send(()).unwrap());
    let set = |m: &mut Mutator| {
        for _ in 0..3 {
            m.set_finalizer(m.alloc(word).unwrap(), &finalizer).unwrap();
        }
    };
    runtime.enter(set).unwrap();
    runtime.gc().unwrap();
    let (weak, kept) = (runtime.downgrade(), Arc::new(Mutex::new(None)));
    let keep = kept.clone();
    let source = runtime.add_roots(move |_| {
        let collecting = |operation| ExecutorError::Collecting { operation };
        let runtime = weak.upgrade().unwrap();
        let refused = [
            runtime.run_finalizers().map(drop),
            runtime.block_until_finalizer_queue_empty(Duration::ZERO),
            runtime.shutdown(true, Duration::ZERO).map(drop),
        ];
        let waiting = collecting("waiting for finalizers");
        let wanted = [collecting("run_finalizers"), waiting.clone(), waiting];
        assert_eq!(refused, wanted.map(Err));
        let due = runtime.next_due().unwrap().unwrap();
        let (due, refused) = due.call().unwrap_err();
        assert_eq!(refused, collecting("Due::call"));
        assert_eq!(
            refused.to_string(),
            "Due::call: this thread is in the middle of a collection, wanted one that is not"
        );
        keep.lock().unwrap().replace(due);
    });
    runtime.gc().unwrap();
    drop(source);
    assert_eq!(count.try_iter().count(), 0);
    let due = kept.lock().unwrap().take().unwrap();
    due.call().map_err(|(_, refusal)| refusal).unwrap();
    assert_eq!(runtime.run_finalizers(), Ok(2));
    assert_eq!(count.try_iter().count(), 3);
    assert_eq!(runtime.stats().discarded, 0);
}

/// A source that drops itself is dropped by the collection that asks it. Its destructor is the
/// embedder's.
#[test]
fn a_destructor_that_panics_ends_nothing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }
    let (runtime, ty) = runtime();
    let own: Arc<Mutex<Option<RootSource>>> = Arc::default();
    let (inner, bomb) = (own.clone(), Bomb);
    let source = runtime.add_roots(move |_| {
        let _bomb = &bomb;
        drop(inner.lock().unwrap().take());
    });
    *own.lock().unwrap() = Some(source);
    let other = runtime.add_roots(|_| ());
    object(&runtime, ty);
    assert_eq!(runtime.gc().unwrap().freed_objects, 1);
    // And if it is dropped outside of collections.
    let bomb = Bomb;
    drop(runtime.add_roots(move |_| _ = &bomb));
    let (sender, dropped) = mpsc::channel();
    std::thread::spawn(move || {
        drop(other);
        sender.send(()).unwrap();
    });
    assert_eq!(dropped.recv_timeout(Duration::from_secs(30)), Ok(()));
    assert_eq!(runtime.gc().unwrap().live_objects, 0);
}
