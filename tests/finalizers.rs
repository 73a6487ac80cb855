//! Finalizers and cleanups as an embedder sees them: order, revival, clearing, panics, errors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fing::{
    Abi, CallStage, CleanupArgument, CleanupFn, Executor, FinalizerFn, FinalizerState, HeapOptions,
    Mutator, Obj, Pointer, Runtime, RuntimeBuilder, TypeId,
};

/// A runtime whose finalizers run when a test says so, with one type of node, and a log of the
/// nodes finalized.
struct Fixture {
    runtime: Runtime,
    node: TypeId,
    log: Box<Log>,
}

#[derive(Default)]
struct Log(Mutex<Vec<u64>>);

/// An empty log.
const NOTHING: [u64; 0] = [];

impl Log {
    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The finalizer: logs the node's number. Its context is the log.
extern "C" fn note(node: *const [u64; 2], log: &Log) {
    // SAFETY: I6: the object is whole until this returns.
    log.0.lock().unwrap().push(unsafe { (*node)[1] });
}

/// A cleanup: logs its argument.
extern "C" fn note_word(word: u64, log: &Log) {
    log.0.lock().unwrap().push(word);
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|builder| builder)
    }

    fn with(options: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Fixture {
        let heap = HeapOptions::default().poison(true);
        let builder = Runtime::builder().executor(Executor::Inline).heap(heap);
        let runtime = options(builder).build().unwrap();
        let node = runtime
            .types()
            .define("main.Node", "struct { Next *main.Node; N uint64 }")
            .unwrap();
        Fixture {
            runtime,
            node,
            log: Box::default(),
        }
    }

    fn function(&self, signature: &str, code: *const ()) -> FinalizerFn {
        let signature = self.runtime.types().parse_signature(signature).unwrap();
        let context = &raw const *self.log as usize;
        // SAFETY: I8: every function of this file is System V, of the signature it is given here,
        // and takes the log.
        unsafe {
            FinalizerFn::builder(signature, Abi::host_native().unwrap())
                .context(context)
                .at(code)
        }
    }

    fn note(&self) -> FinalizerFn {
        self.function("func(*main.Node)", note as *const ())
    }

    fn cleanup(&self, signature: &str, code: *const ()) -> CleanupFn {
        let signature = self.runtime.types().parse_signature(signature).unwrap();
        let context = &raw const *self.log as usize;
        // SAFETY: I8: as above; it takes any value of its parameter's type.
        unsafe {
            CleanupFn::builder(signature, Abi::host_native().unwrap())
                .context(context)
                .at(code)
        }
    }

    fn note_word(&self) -> CleanupFn {
        self.cleanup("func(uint64)", note_word as *const ())
    }

    /// A node with this number that refers to `next`.
    fn alloc<'m>(&self, mutator: &'m Mutator, number: u64, next: Option<Obj<'m>>) -> Obj<'m> {
        let node = mutator.alloc(self.node).unwrap();
        mutator.store_word(node, 8, number).unwrap();
        mutator.store_ref(node, 0, next).unwrap();
        node
    }

    fn set(&self, mutator: &Mutator, object: Obj<'_>, function: &FinalizerFn) {
        let state = mutator.set_finalizer(object, function);
        assert_eq!(state.unwrap(), FinalizerState::Set);
    }

    /// Collects, runs what is due, and returns what was logged.
    fn collect(&self) -> Vec<u64> {
        self.runtime.gc().unwrap();
        self.runtime.run_finalizers().unwrap();
        self.runtime.verify_heap().unwrap();
        self.log.take()
    }
}

#[test]
fn last_in_first_out_across_blocks() {
    let f = Fixture::new();
    let note = f.note();
    for count in [3, 101, 102, 1500] {
        let mutator = f.runtime.attach().unwrap();
        for number in 0..count {
            f.set(&mutator, f.alloc(&mutator, number, None), &note);
        }
        drop(mutator);
        assert_eq!(f.collect(), (0..count).rev().collect::<Vec<_>>());
    }
    assert_eq!(f.runtime.stats().executed, 3 + 101 + 102 + 1500);
    assert_eq!(f.collect(), NOTHING, "each ran once");
}

#[test]
fn a_chain_is_finalized_link_by_link() {
    let f = Fixture::new();
    let note = f.note();
    let mutator = f.runtime.attach().unwrap();
    let mut next = None;
    for number in 0..4 {
        let node = f.alloc(&mutator, number, next);
        f.set(&mutator, node, &note);
        next = Some(node);
    }
    drop(mutator);
    for number in (0..4).rev() {
        assert_eq!(f.collect(), [number]);
    }
    assert_eq!(f.collect(), NOTHING);
    assert_eq!(f.runtime.stats().heap.objects, 0);
}

#[test]
fn a_cycle_is_never_finalized_and_a_self_reference_is() {
    let f = Fixture::new();
    let note = f.note();
    let mutator = f.runtime.attach().unwrap();
    let a = f.alloc(&mutator, 1, None);
    let b = f.alloc(&mutator, 2, Some(a));
    mutator.store_ref(a, 0, Some(b)).unwrap();
    f.set(&mutator, a, &note);
    let own = f.alloc(&mutator, 3, None);
    mutator.store_ref(own, 0, Some(own)).unwrap();
    f.set(&mutator, own, &note);
    drop(mutator);
    assert_eq!(f.collect(), [3]);
    assert_eq!(f.collect(), NOTHING);
    assert_eq!(f.runtime.stats().heap.objects, 2, "the cycle stays");
}

#[test]
fn what_a_dying_object_refers_to_is_whole_when_its_finalizer_runs() {
    extern "C" fn next_number(node: *const [u64; 2], log: &Log) {
        // SAFETY: I6: the object is whole until this returns, and so is what it refers to.
        let next = unsafe { *((*node)[0] as *const [u64; 2]) };
        log.0.lock().unwrap().push(next[1]);
    }
    let f = Fixture::new();
    let function = f.function("func(*main.Node)", next_number as *const ());
    let mutator = f.runtime.attach().unwrap();
    let leaf = f.alloc(&mutator, 77, None);
    f.set(&mutator, f.alloc(&mutator, 1, Some(leaf)), &function);
    drop(mutator);
    assert_eq!(f.collect(), [77]);
    f.collect();
    assert_eq!(f.runtime.stats().heap.objects, 0);
}

#[test]
fn revived_registered_again_and_dead_at_last() {
    struct Again {
        runtime: Runtime,
        function: std::sync::OnceLock<FinalizerFn>,
        runs: AtomicU64,
    }
    /// Registers itself for its object twice more.
    extern "C" fn again(node: usize, context: &Again) {
        if context.runs.fetch_add(1, Ordering::Relaxed) < 2 {
            let set = context.runtime.enter(|mutator| {
                let node = mutator.adopt(node).unwrap();
                mutator.set_finalizer(node, context.function.get().unwrap())
            });
            assert_eq!(set.unwrap().unwrap(), FinalizerState::Set);
        }
    }
    let f = Fixture::new();
    let context = Box::new(Again {
        runtime: f.runtime.clone(),
        function: Default::default(),
        runs: AtomicU64::new(0),
    });
    let signature = f
        .runtime
        .types()
        .parse_signature("func(*main.Node)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(&raw const *context as usize);
    // SAFETY: I8: a System V function of a pointer and its context, which outlives the runtime's
    // use of it.
    context
        .function
        .set(unsafe { builder.at(again as *const ()) })
        .unwrap();
    let mutator = f.runtime.attach().unwrap();
    f.set(
        &mutator,
        f.alloc(&mutator, 1, None),
        context.function.get().unwrap(),
    );
    drop(mutator);
    for (round, left) in [1, 1, 1, 0].into_iter().enumerate() {
        f.collect();
        assert_eq!(
            f.runtime.stats().heap.objects,
            left,
            "after collection {round}"
        );
    }
    assert_eq!(context.runs.load(Ordering::Relaxed), 3);
}

#[test]
fn a_revived_object_can_be_kept() {
    #[derive(Default)]
    struct Kept(Mutex<Option<(Runtime, Option<fing::Handle>)>>);
    extern "C" fn keep(node: usize, kept: &Kept) {
        let mut kept = kept.0.lock().unwrap();
        let (runtime, handle) = kept.as_mut().unwrap();
        *handle = Some(
            runtime
                .enter(|mutator| mutator.root(mutator.adopt(node).unwrap()).unwrap())
                .unwrap(),
        );
    }
    let f = Fixture::new();
    let kept = Box::new(Kept(Mutex::new(Some((f.runtime.clone(), None)))));
    let signature = f
        .runtime
        .types()
        .parse_signature("func(*main.Node)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(&raw const *kept as usize);
    // SAFETY: I8: a System V function of a pointer and its context.
    let function = unsafe { builder.at(keep as *const ()) };
    let mutator = f.runtime.attach().unwrap();
    f.set(&mutator, f.alloc(&mutator, 5, None), &function);
    drop(mutator);
    f.collect();
    f.collect();
    let (runtime, handle) = kept.0.lock().unwrap().take().unwrap();
    let handle = handle.unwrap();
    let number = runtime
        .enter(|mutator| mutator.load_word(mutator.get(&handle).unwrap(), 8).unwrap())
        .unwrap();
    assert_eq!(number, 5);
    drop(handle);
    assert_eq!(f.collect(), NOTHING);
    assert_eq!(f.runtime.stats().heap.objects, 0);
}

#[test]
fn cleared_set_again_and_once_only() {
    let f = Fixture::new();
    let note = f.note();
    let mutator = f.runtime.attach().unwrap();
    let node = f.alloc(&mutator, 1, None);
    let set = || mutator.set_finalizer(node, &note);
    let clear = || mutator.clear_finalizer(node);
    assert_eq!(clear().unwrap(), FinalizerState::Cleared(CallStage::Done));
    assert_eq!(set().unwrap(), FinalizerState::Set);
    let error = set().unwrap_err();
    assert_eq!(
        error.go_text().unwrap(),
        "runtime.SetFinalizer: finalizer already set"
    );
    assert_eq!(
        clear().unwrap(),
        FinalizerState::Cleared(CallStage::Registered)
    );
    assert_eq!(set().unwrap(), FinalizerState::Set);
    assert_eq!(
        clear().unwrap(),
        FinalizerState::Cleared(CallStage::Registered)
    );
    drop(mutator);
    assert_eq!(f.collect(), NOTHING);
    let left = || (f.runtime.stats().heap.objects, f.runtime.stats().shapes);
    assert_eq!(left(), (0, 1), "the function can still be registered");
    drop(note);
    f.collect();
    assert_eq!(left(), (0, 0));
}

#[test]
fn cleanups_run_when_the_object_is_gone() {
    let f = Fixture::new();
    let (note, note_word) = (f.note(), f.note_word());
    let mutator = f.runtime.attach().unwrap();
    let next = f.alloc(&mutator, 1, None);
    let node = f.alloc(&mutator, 2, Some(next));
    f.set(&mutator, node, &note);
    let add = |word: u64| {
        mutator
            .add_cleanup(node.addr() + 8, &note_word, word)
            .unwrap()
    };
    let (_first, second, _third) = (add(10), add(20), add(30));
    assert!(second.stop().is_cancelled());
    assert!(!second.stop().is_cancelled(), "it was stopped before");
    drop(mutator);
    assert_eq!(f.runtime.stats().cleanups, 2);
    assert_eq!(
        f.collect(),
        [2],
        "the finalizer first; it revives the object"
    );
    assert_eq!(f.collect(), [30, 10], "then the cleanups");
    assert_eq!(f.collect(), NOTHING);
    assert_eq!(f.runtime.stats().heap.objects, 0);
    assert!(!second.stop().is_cancelled());
}

#[test]
fn a_cycle_with_cleanups_is_collected() {
    let f = Fixture::new();
    let note_word = f.note_word();
    let mutator = f.runtime.attach().unwrap();
    let a = f.alloc(&mutator, 1, None);
    let b = f.alloc(&mutator, 2, Some(a));
    mutator.store_ref(a, 0, Some(b)).unwrap();
    mutator.add_cleanup(a, &note_word, 1u64).unwrap();
    mutator.add_cleanup(b, &note_word, 2u64).unwrap();
    drop(mutator);
    let mut logged = f.collect();
    logged.sort_unstable();
    assert_eq!(logged, [1, 2]);
    assert_eq!(f.runtime.stats().heap.objects, 0);
}

/// The argument of a cleanup is a root until the cleanup has run; the object is not.
#[test]
fn the_argument_of_a_cleanup_is_kept() {
    let f = Fixture::new();
    let note = f.cleanup("func(*main.Node)", note as *const ());
    let mutator = f.runtime.attach().unwrap();
    let argument = f.alloc(&mutator, 99, None);
    let node = f.alloc(&mutator, 1, None);
    mutator
        .add_cleanup(node, &note, CleanupArgument::Object(argument))
        .unwrap();
    drop(mutator);
    f.runtime.gc().unwrap();
    f.runtime.gc().unwrap();
    assert_eq!(
        f.runtime.stats().heap.objects,
        1,
        "queued, and its argument with it"
    );
    assert_eq!(f.collect(), [99]);
    f.collect();
    assert_eq!(f.runtime.stats().heap.objects, 0);
}

#[test]
fn a_collection_inside_a_finalizer_sees_earlier_records_unrooted() {
    struct Collecting {
        runtime: Runtime,
        live: Mutex<Vec<usize>>,
    }
    extern "C" fn gc(_node: usize, context: &Collecting) {
        context
            .live
            .lock()
            .unwrap()
            .push(context.runtime.gc().unwrap().live_objects);
    }
    let f = Fixture::new();
    let context = Box::new(Collecting {
        runtime: f.runtime.clone(),
        live: Mutex::default(),
    });
    let signature = f
        .runtime
        .types()
        .parse_signature("func(*main.Node)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(&raw const *context as usize);
    // SAFETY: I8: a System V function of a pointer and its context.
    let function = unsafe { builder.at(gc as *const ()) };
    let mutator = f.runtime.attach().unwrap();
    for number in 0..4 {
        f.set(&mutator, f.alloc(&mutator, number, None), &function);
    }
    drop(mutator);
    f.runtime.gc().unwrap();
    assert_eq!(f.runtime.run_finalizers().unwrap(), 4);
    assert_eq!(*context.live.lock().unwrap(), [4, 3, 2, 1]);
}

#[test]
fn a_panic_is_reported_and_the_rest_run_once() {
    extern "C-unwind" fn third_panics(node: *const [u64; 2], log: &Log) {
        // SAFETY: I6: the object is whole until this returns.
        let number = unsafe { (*node)[1] };
        log.0.lock().unwrap().push(number);
        if number % 3 == 0 {
            std::panic::resume_unwind(Box::new(format!("node {number}")));
        }
    }
    let reports: &'static Mutex<Vec<String>> = Box::leak(Box::default());
    let f = Fixture::with(|builder| {
        builder.on_failure(|failure| {
            let cause = failure.cause.to_string();
            reports.lock().unwrap().push(cause.clone());
            assert_ne!(cause, "panic: node 3", "a hook that panics is reported too");
        })
    });
    let function = f.function("func(*main.Node)", third_panics as *const ());
    let mutator = f.runtime.attach().unwrap();
    for number in 0..8 {
        f.set(&mutator, f.alloc(&mutator, number, None), &function);
    }
    drop(mutator);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let logged = f.collect();
    std::panic::set_hook(hook);
    assert_eq!(logged, [7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(
        *reports.lock().unwrap(),
        ["panic: node 6", "panic: node 3", "panic: node 0"]
    );
    assert_eq!(
        (f.runtime.stats().executed, f.runtime.stats().failed),
        (8, 3)
    );
    assert_eq!(f.collect(), NOTHING);
}

/// What keeps the code alive is dropped by the first collection that finds neither a registration
/// nor a record that names the function.
#[test]
fn code_is_kept_until_no_record_names_it() {
    let f = Fixture::new();
    let owner = std::sync::Arc::new(());
    let signature = f
        .runtime
        .types()
        .parse_signature("func(*main.Node)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(&raw const *f.log as usize)
        .keep_alive(owner.clone());
    // SAFETY: I8: a System V function of a pointer and the log.
    let function = unsafe { builder.at(note as *const ()) };
    let mutator = f.runtime.attach().unwrap();
    for number in 0..2 {
        f.set(&mutator, f.alloc(&mutator, number, None), &function);
    }
    drop(mutator);
    drop(function);
    assert_eq!(std::sync::Arc::strong_count(&owner), 2);
    f.runtime.gc().unwrap();
    assert_eq!(std::sync::Arc::strong_count(&owner), 2, "queued");
    f.runtime.run_finalizers().unwrap();
    assert_eq!(f.log.take(), [1, 0]);
    f.runtime.gc().unwrap();
    assert_eq!(std::sync::Arc::strong_count(&owner), 1);
    assert_eq!(f.runtime.stats().shapes, 0);
}

#[test]
fn interior_pointers_of_small_fields_have_finalizers_of_their_own() {
    extern "C" fn note_address(address: u64, log: &Log) {
        log.0.lock().unwrap().push(address);
    }
    let f = Fixture::new();
    let function = f.function("func(*uint64)", note_address as *const ());
    let number = f.runtime.types().id("*uint64").unwrap();
    let mutator = f.runtime.attach().unwrap();
    let next = f.alloc(&mutator, 1, None);
    let node = f.alloc(&mutator, 2, Some(next));
    let addr = node.addr() + 8;
    let field = Pointer::typed(number, addr);
    let set = || mutator.set_finalizer(field, &function);
    let clear = || mutator.clear_finalizer(field);
    assert_eq!(clear().unwrap(), FinalizerState::Cleared(CallStage::Done));
    assert_eq!(set().unwrap(), FinalizerState::Set);
    assert_eq!(
        set().unwrap_err().go_text().unwrap(),
        "runtime.SetFinalizer: finalizer already set"
    );
    assert_eq!(
        clear().unwrap(),
        FinalizerState::Cleared(CallStage::Registered)
    );
    assert_eq!(set().unwrap(), FinalizerState::Set);
    drop(mutator);
    assert_eq!(f.collect(), [addr as u64]);
    assert_eq!(
        f.runtime.stats().heap.objects,
        2,
        "it kept its object and what that refers to"
    );
    assert_eq!(f.collect(), NOTHING);
    assert_eq!(f.runtime.stats().heap.objects, 0);
}
