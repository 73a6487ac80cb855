//! Finalizers for a collector of an embedder's own: order, cycles, threads, allocations, errors.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use fing::foreign::{CollectionError, Finalizers, RegisterError, Scope, Tracer};
use fing::stubs::faults::{HostFault, plant};
use fing::stubs::signature::Type;
use fing::{
    Abi, CleanupFn, CyclePolicy, Executor, FinalizerFn, FinalizerOptions, HeldValue, Order, Runtime,
};

#[path = "support/child.rs"]
mod child;
#[path = "collectors/ephemerons.rs"]
mod ephemerons;
#[path = "collectors/giving_up.rs"]
mod giving_up;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LOG: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Objects are numbers; nothing is ever freed, so a test sees what became of each.
struct Heap {
    fields: Vec<Vec<u32>>,
    marks: Vec<AtomicBool>,
}

/// One thread's part of a collection.
struct Marker<'h> {
    heap: &'h Heap,
    line: Vec<u32>,
}

impl Heap {
    fn new(objects: u32) -> Heap {
        Heap {
            fields: vec![Vec::new(); objects as usize],
            marks: (0..objects).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// A chain: each object refers to the next one.
    fn chain(objects: u32) -> Heap {
        let mut heap = Heap::new(objects);
        for n in 1..objects {
            heap.fields[n as usize - 1].push(n);
        }
        heap
    }

    fn marker(&self) -> Marker<'_> {
        Marker {
            heap: self,
            line: Vec::with_capacity(self.fields.len()),
        }
    }

    /// The beginning of a collection: what these roots lead to is marked, and nothing else.
    fn mark(&self, roots: &[u32]) -> Marker<'_> {
        for mark in &self.marks {
            mark.store(false, Ordering::Relaxed);
        }
        let mut marker = self.marker();
        for &root in roots {
            marker.trace(root);
        }
        marker.follow();
        marker
    }

    /// A collection without a root. Returns what it reported.
    fn collect(&self, finalizers: &Finalizers<u32>) -> Vec<Vec<u32>> {
        self.collect_roots(&[], finalizers)
    }

    /// A collection from these roots. Returns what it reported.
    fn collect_roots(&self, roots: &[u32], finalizers: &Finalizers<u32>) -> Vec<Vec<u32>> {
        self.collect_from(roots, finalizers);
        finalizers.finish().cycles
    }

    /// A collection that is not finished.
    fn collect_from(&self, roots: &[u32], finalizers: &Finalizers<u32>) {
        let mut marker = self.mark(roots);
        // SAFETY: I16: objects are numbers, and the heap's own.
        let collected = unsafe { finalizers.collect(Scope::Full, &mut marker, Marker::follow) };
        collected.unwrap();
    }

    fn marked(&self) -> BTreeSet<u32> {
        let marked = |object: &u32| self.marks[*object as usize].load(Ordering::Relaxed);
        (0..self.marks.len() as u32).filter(marked).collect()
    }
}

impl Marker<'_> {
    fn follow(&mut self) {
        let heap = self.heap;
        while let Some(object) = self.line.pop() {
            for &field in &heap.fields[object as usize] {
                self.trace(field);
            }
        }
    }
}

// SAFETY: I16: objects are numbers, which nobody follows.
unsafe impl Tracer for Marker<'_> {
    type Ref = u32;

    fn is_reached(&mut self, object: u32) -> bool {
        self.heap.marks[object as usize].load(Ordering::Relaxed)
    }

    fn trace(&mut self, object: u32) -> u32 {
        if !self.heap.marks[object as usize].swap(true, Ordering::Relaxed) {
            self.line.push(object);
        }
        object
    }

    fn children(&mut self, object: u32, visit: &mut dyn FnMut(&mut Self, u32)) {
        let heap = self.heap;
        for &field in &heap.fields[object as usize] {
            visit(self, field);
        }
    }
}

extern "C" fn note(object: u64) {
    LOG.with_borrow_mut(|log| log.push(object));
}

/// Notes its object and its context as one number.
extern "C" fn note_both(object: u64, context: u64) {
    note(100 * object + context);
}

fn function(signature: &str, code: *const ()) -> FinalizerFn {
    // SAFETY: I8: a System V function of the signature.
    unsafe {
        FinalizerFn::builder(signature.parse().unwrap(), Abi::host_native().unwrap()).at(code)
    }
}

fn noting() -> FinalizerFn {
    function("func(uint32)", note as *const ())
}

fn noting_cleanup() -> CleanupFn {
    let signature = "func(uint32)".parse().unwrap();
    // SAFETY: I8: a System V function of a number.
    unsafe { CleanupFn::builder(signature, Abi::host_native().unwrap()).at(note as *const ()) }
}

/// Functions that note both of their arguments: contexts are words, or objects.
fn noting_contexts() -> [FinalizerFn; 2] {
    let builder =
        || FinalizerFn::builder("func(uint32)".parse().unwrap(), Abi::host_native().unwrap());
    let objects = builder().context_object(Type::unsafe_pointer());
    // SAFETY: I8: a System V function of two words, which follows neither.
    [builder().context_word(), objects].map(|of| unsafe { of.at(note_both as *const ()) })
}

fn set(finalizers: &Finalizers<u32>, object: u32, cycle: CyclePolicy) {
    let options = FinalizerOptions::new().cycle(cycle);
    // SAFETY: I16: `note` follows nothing.
    unsafe { finalizers.set_finalizer_with(object, &noting(), options) }.unwrap();
}

/// With the same finalizer on all objects.
fn all(order: Order, objects: u32) -> Finalizers<u32> {
    let finalizers = Finalizers::builder().order(order).build().unwrap();
    let function = noting();
    for object in 0..objects {
        // SAFETY: I16: `note` follows nothing.
        unsafe { finalizers.set_finalizer(object, &function) }.unwrap();
    }
    finalizers
}

fn run(finalizers: &Finalizers<u32>) -> Vec<u64> {
    finalizers.run_finalizers().unwrap();
    LOG.take()
}

const CHAIN: u32 = 10_000;

/// In Go's order the whole rest of a chain is marked for each of its links. Such chains are shorter
/// unless more is asked for.
fn go_chain(short: u32) -> u32 {
    u32::try_from(fing_oracles::cases(short.into())).map_or(CHAIN, |asked| asked.min(CHAIN))
}

#[test]
fn a_chain_takes_a_collection_for_each_link_in_go_order() {
    let chain = go_chain(2000);
    let (heap, finalizers) = (Heap::chain(chain), all(Order::Go, chain));
    for n in 0..u64::from(chain) {
        heap.collect(&finalizers);
        assert_eq!(run(&finalizers), [n]);
    }
    assert_eq!(finalizers.stats().finalizers, 0);
}

#[test]
fn a_chain_takes_one_collection_in_topological_order() {
    let (heap, finalizers) = (Heap::chain(CHAIN), all(Order::Topological, CHAIN));
    heap.collect(&finalizers);
    assert_eq!(run(&finalizers), (0..u64::from(CHAIN)).collect::<Vec<_>>());
    assert_eq!(finalizers.stats().finalizers, 0);
}

/// A small integer that is read from the wrong end of its word is seen, planted in a process of its
/// own, on a big-endian machine.
#[test]
fn a_wrong_byte_order_is_seen() {
    if child::is_child("bytes") {
        plant(HostFault::ByteOrder);
        return a_chain_takes_one_collection_in_topological_order();
    }
    let output = child::run("a_wrong_byte_order_is_seen", "bytes");
    let is_little = cfg!(target_endian = "little");
    assert_eq!(output.status.success(), is_little, "{output:?}");
}

#[test]
fn a_long_cycle_needs_no_stack() {
    const LONG: u32 = 300_000;
    let finalizers = Finalizers::builder()
        .order(Order::Topological)
        .build()
        .unwrap();
    let mut heap = Heap::chain(LONG);
    heap.fields[LONG as usize - 1].push(0);
    set(&finalizers, 7, CyclePolicy::Report);
    let cycles = heap.collect(&finalizers);
    assert_eq!(cycles, [(7..LONG).chain(0..7).collect::<Vec<_>>()]);
    assert_eq!(heap.marked().len(), LONG as usize, "it is kept");
    assert!(heap.collect(&finalizers).is_empty(), "it is reported once");
}

#[test]
fn cycles_go_by_their_policies() {
    use CyclePolicy::{Break, Leave, Report, Unordered};
    // 0 -> 1 -> 2 -> 0 is the cycle, 3 refers to it, and it refers to 4.
    let heap = || {
        let mut heap = Heap::new(5);
        heap.fields = vec![vec![0, 1], vec![2], vec![0, 4], vec![0], vec![4]];
        heap
    };
    let outcome = |policies: [CyclePolicy; 3]| {
        let finalizers = Finalizers::builder()
            .order(Order::Topological)
            .build()
            .unwrap();
        for (object, policy) in (0..).zip(policies.into_iter().chain([Leave, Leave])) {
            set(&finalizers, object, policy);
        }
        let cycles = heap().collect(&finalizers);
        (run(&finalizers), cycles)
    };
    let none = Vec::<Vec<u32>>::new;
    assert_eq!(outcome([Leave; 3]), (vec![3], none()));
    assert_eq!(outcome([Unordered; 3]), (vec![3, 0, 1, 2, 4], none()));
    assert_eq!(outcome([Unordered, Leave, Unordered]), (vec![3], none()));
    assert_eq!(
        outcome([Leave, Break, Leave]),
        (vec![3, 1, 2, 4, 0], none())
    );
    assert_eq!(
        outcome([Leave, Report, Unordered]),
        (vec![3], vec![vec![1, 2, 0]])
    );
    assert_eq!(
        outcome([Break, Report, Unordered]),
        (vec![3, 0, 1, 2, 4], none())
    );
}

#[test]
fn a_collection_in_gos_order_allocates_nothing() {
    const MANY: u32 = 2000;
    let (heap, finalizers) = (Heap::new(MANY), all(Order::Go, MANY));
    let cleanup = noting_cleanup();
    for object in 0..MANY {
        let argument = HeldValue::Word(0);
        // SAFETY: I16: `note` follows nothing, and objects are numbers.
        unsafe {
            finalizers.add_cleanup(object, &cleanup, argument).unwrap();
            finalizers.downgrade(object);
        }
    }
    for _ in 0..3 {
        let mut marker = heap.mark(&[]);
        let before = ALLOCATIONS.get();
        // SAFETY: I16: objects are numbers, and the heap's own.
        let collected = unsafe { finalizers.collect(Scope::Full, &mut marker, Marker::follow) };
        assert_eq!(ALLOCATIONS.get(), before);
        collected.unwrap();
        finalizers.finish();
        run(&finalizers);
    }
    let stats = finalizers.stats();
    assert_eq!((stats.finalizers, stats.cleanups, stats.weak), (0, 0, 0));
    assert_eq!(
        (stats.queued, stats.executed),
        (2 * u64::from(MANY), 2 * u64::from(MANY))
    );
}

#[test]
fn a_step_can_be_cut_in_parts() {
    const MANY: u32 = 4000;
    // Object n refers to n + 1 unless that is a multiple of 8.
    let mut heap = Heap::chain(MANY);
    for n in (7..MANY as usize).step_by(8) {
        heap.fields[n].clear();
    }
    for order in [Order::Go, Order::Topological] {
        let (one, many) = (all(order, MANY), all(order, MANY));
        heap.collect(&one);
        let mut marker = heap.mark(&[]);
        // SAFETY: I16: objects are numbers, and the heap's own.
        let mut collection = unsafe { many.begin(Scope::Full) }.unwrap();
        loop {
            let lines = std::sync::Mutex::new(Vec::new());
            let again = collection.step_in_parts(&mut marker, 4, |parts| {
                assert_eq!(parts.len(), 4);
                std::thread::scope(|scope| {
                    for part in parts {
                        scope.spawn(|| {
                            let mut marker = heap.marker();
                            part.run(&mut marker);
                            lines.lock().unwrap().append(&mut marker.line);
                        });
                    }
                });
            });
            marker.line.append(&mut lines.into_inner().unwrap());
            marker.follow();
            if !again {
                break;
            }
        }
        assert_eq!(collection.finish().queued, one.stats().queued as usize);
        assert_eq!(run(&many), run(&one));
    }
}

#[test]
fn a_thread_of_its_own_runs_them() {
    static SEEN: AtomicBool = AtomicBool::new(false);
    extern "C" fn seen(_: u64) {
        SEEN.store(true, Ordering::Release);
    }
    let finalizers = Finalizers::builder()
        .executor(Executor::Thread)
        .build()
        .unwrap();
    let function = function("func(uint32)", seen as *const ());
    // SAFETY: I16: `seen` follows nothing.
    unsafe { finalizers.set_finalizer(0, &function) }.unwrap();
    Heap::new(1).collect(&finalizers);
    let timeout = std::time::Duration::from_secs(120);
    finalizers
        .block_until_finalizer_queue_empty(timeout)
        .unwrap();
    assert!(SEEN.load(Ordering::Acquire));
}

#[test]
fn what_cannot_be_registered_is_said() {
    let finalizers = Finalizers::<u32>::new().unwrap();
    let try_set = |signature: &str, code: *const ()| {
        // SAFETY: I16: nothing is called.
        unsafe { finalizers.set_finalizer(1, &function(signature, code)) }
    };
    let code = note as *const ();
    let text = |result: Result<(), RegisterError>| result.unwrap_err().to_string();
    assert_eq!(
        text(try_set("func(uint32, uint32)", code)),
        "registering func(uint32, uint32): found 2 parameters, wanted exactly one, not variadic"
    );
    assert_eq!(
        text(try_set("func(float64)", code)),
        "registering func(float64): wanted a parameter that is a pointer, an integer \
         or an interface"
    );
    assert_eq!(
        text(try_set("func(interface {})", code)),
        "registering func(interface{}): the parameter is an interface, wanted a function \
         with an interface_word"
    );
    assert_eq!(
        text(try_set("func(uint32)", std::ptr::null())),
        "registering func(uint32): found address 0, wanted a function"
    );
    try_set("func(uint32)", code).unwrap();
    assert_eq!(
        text(try_set("func(uint32)", code)),
        "set_finalizer: object 0x1 has a finalizer, wanted one without"
    );
    // SAFETY: I16: nothing is called.
    let same = unsafe { finalizers.add_cleanup(1, &noting_cleanup(), HeldValue::Object(1)) };
    assert_eq!(
        same.unwrap_err().to_string(),
        "add_cleanup: the argument is the object 0x1, so the cleanup would never run"
    );
    assert!(
        finalizers.clear_finalizer(1).is_cancelled()
            && !finalizers.clear_finalizer(1).is_cancelled()
    );
}

/// What the context of a registration may be is declared with its function.
#[test]
fn contexts_are_checked() {
    let finalizers = Finalizers::<u32>::new().unwrap();
    let [word, object] = noting_contexts();
    let builder =
        FinalizerFn::builder("func(uint32)".parse().unwrap(), Abi::host_native().unwrap());
    // SAFETY: I8: a System V function of a number and its context, and follows neither.
    let fixed = unsafe { builder.context(7).at(note_both as *const ()) };
    let contexts = [
        None,
        Some(HeldValue::Word(7)),
        Some(HeldValue::Object(7u32)),
    ];
    let names = ["none", "a word", "an object"];
    let common = "none, as all registrations have one in common";
    let rows = [
        (noting(), 0, "none"),
        (fixed, 0, common),
        (word, 1, "a word"),
        (object, 2, "an object"),
    ];
    for (function, good, wanted) in rows {
        let prepared = finalizers
            .prepare_finalizer(&function, CyclePolicy::Leave)
            .unwrap();
        for (n, context) in contexts.into_iter().enumerate() {
            let mut options = FinalizerOptions::new();
            if let Some(context) = context {
                options = options.context(context);
            }
            let tried = || {
                // SAFETY: I16: no function here follows anything.
                let set = unsafe { finalizers.set_finalizer_with(1, &function, options) };
                let was_set = finalizers.clear_finalizer(1).is_cancelled();
                // SAFETY: as above.
                let prepared_set = unsafe {
                    match context {
                        None => prepared.set(1),
                        Some(context) => prepared.set_with(1, context),
                    }
                };
                assert_eq!([was_set, prepared.clear(1).is_cancelled()], [n == good; 2]);
                [set, prepared_set]
            };
            let text = format!(
                "registering func(uint32): the context of this registration is {}, wanted {wanted}",
                names[n]
            );
            for result in tried() {
                match n == good {
                    true => result.unwrap(),
                    false => assert_eq!(result.unwrap_err().to_string(), text),
                }
            }
        }
        // SAFETY: I16: as above.
        let without = unsafe {
            [
                finalizers.set_finalizer(1, &function),
                prepared.set_all(&[2]),
            ]
        };
        assert_eq!(without.map(|set| set.is_ok()), [good == 0; 2]);
        finalizers.clear_finalizer(1).is_cancelled();
        assert_eq!(prepared.clear_all(&[2]), usize::from(good == 0));
    }
    assert_eq!(finalizers.stats().finalizers, 0);
}

/// The context of a registration is a root as long as the object is registered, due or queued, and
/// no longer; and only if it is an object.
#[test]
fn contexts_are_roots_while_they_are_needed() {
    for order in [Order::Go, Order::Topological] {
        let finalizers = Finalizers::builder().order(order).build().unwrap();
        let mut heap = Heap::new(20);
        heap.fields[12] = vec![16];
        let [words, objects] = noting_contexts();
        let prepared = [&words, &objects].map(|function| {
            let prepared = finalizers.prepare_finalizer(function, CyclePolicy::Leave);
            prepared.unwrap()
        });
        let with = |context| FinalizerOptions::new().context(context);
        let set_last = || {
            // SAFETY: I16: objects are numbers, and nothing follows them.
            unsafe { prepared[1].set_with(3, HeldValue::Object(13)) }.unwrap();
        };
        // SAFETY: I16: as above.
        unsafe {
            let (word, object) = (HeldValue::Word, HeldValue::Object);
            finalizers
                .set_finalizer_with(0, &words, with(word(10)))
                .unwrap();
            prepared[0].set_with(1, word(11)).unwrap();
            finalizers
                .set_finalizer_with(2, &objects, with(object(12)))
                .unwrap();
        }
        set_last();
        let set = |objects: &[u32]| objects.iter().copied().collect::<BTreeSet<_>>();
        let all = set(&[0, 1, 2, 3, 12, 13, 16]);
        let collect = |roots: &[u32]| {
            heap.collect_from(roots, &finalizers);
            heap.marked()
        };
        assert_eq!(collect(&[0, 1, 2, 3]), all, "registered");
        assert!(prepared[1].clear(3).is_cancelled());
        assert_eq!(
            collect(&[0, 1, 2, 3]),
            set(&[0, 1, 2, 3, 12, 16]),
            "cleared"
        );
        set_last();
        assert_eq!(collect(&[]), all, "found dead");
        assert_eq!(collect(&[]), all, "due");
        assert_eq!(finalizers.finish().queued, 4);
        assert_eq!(collect(&[]), all, "queued");
        let mut calls = run(&finalizers);
        calls.sort_unstable();
        assert_eq!(calls, [10, 111, 212, 313]);
        assert_eq!(collect(&[]), set(&[]), "done");
        assert_eq!(finalizers.finish().queued, 0);
    }
}

/// There is one collection at a time. What is left of an earlier one does nothing to it.
#[test]
fn one_collection_is_under_way_at_a_time() {
    // SAFETY: I16: objects are numbers, and the heap's own.
    let begin = |finalizers: &Finalizers<u32>| unsafe { finalizers.begin(Scope::Full) };
    for order in [Order::Go, Order::Topological] {
        // Object 1 refers to object 0.
        let mut heap = Heap::new(2);
        heap.fields[1] = vec![0];
        let finalizers = all(order, 2);
        let mut marker = heap.mark(&[]);
        let mut first = begin(&finalizers).unwrap();
        assert_eq!(begin(&finalizers).unwrap_err(), CollectionError::UnderWay);
        // SAFETY: I16: as above.
        let collected = unsafe { finalizers.collect(Scope::Full, &mut marker, Marker::follow) };
        assert_eq!(collected, Err(CollectionError::UnderWay));
        assert!(heap.marked().is_empty(), "nothing was traced");
        first.early_roots(&mut marker).unwrap();
        marker.follow();
        assert!(first.step(&mut marker));
        let early = first.early_roots(&mut marker);
        assert_eq!(early, Err(CollectionError::Stepped));
        assert_eq!(begin(&finalizers).unwrap_err(), CollectionError::UnderWay);
        marker.follow();
        while first.step(&mut marker) {
            marker.follow();
        }
        marker.follow();
        let early = first.early_roots(&mut marker);
        assert_eq!(early, Err(CollectionError::Stepped));
        assert!(!first.step(&mut marker), "it is decided");

        // What is due is a root from now on; in Go's order, object 0 is no candidate before that.
        let mut marker = heap.mark(&[]);
        let mut second = begin(&finalizers).unwrap();
        assert!(!first.step(&mut marker));
        assert!(!first.step_in_parts(&mut marker, 2, |_| panic!("there is no part to run")));
        let early = first.early_roots(&mut marker);
        assert_eq!(early, Err(CollectionError::Stepped));
        assert!(heap.marked().is_empty(), "nothing was traced");
        drop(first);
        assert_eq!(begin(&finalizers).unwrap_err(), CollectionError::UnderWay);
        while second.step(&mut marker) {
            marker.follow();
        }
        let due = match order {
            Order::Go => 1,
            Order::Topological => 2,
        };
        assert_eq!(second.finish().queued, due);
        assert_eq!(run(&finalizers).len(), due);
        // One that is dropped before its end did not happen.
        drop(begin(&finalizers).unwrap());
        let mut third = begin(&finalizers).unwrap();
        assert!(third.step(&mut heap.mark(&[])));
        drop(third);
        let mut seen = Vec::new();
        for _ in 0..2 {
            heap.collect(&finalizers);
            seen.extend(run(&finalizers));
        }
        assert_eq!(seen.len(), 2 - due);
        assert_eq!(finalizers.stats().executed, 2);
    }
}

/// The embedded heap, with the same two chains and a cycle.
#[test]
fn the_embedded_heap_has_both_orders() {
    extern "C" fn note_node(node: *const [u64; 2]) {
        // SAFETY: a finalizer's object is whole until it returns.
        note(unsafe { (*node)[1] });
    }
    for (order, chain) in [(Order::Go, go_chain(500)), (Order::Topological, CHAIN)] {
        let cycles = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = cycles.clone();
        let runtime = Runtime::builder()
            .order(order)
            .executor(Executor::Inline)
            .on_cycle(move |cycle| told.lock().unwrap().push(cycle.to_string()))
            .build()
            .unwrap();
        let node = runtime
            .types()
            .define("main.Node", "struct { Next *main.Node; N uint64 }")
            .unwrap();
        let signature = runtime.types().parse_signature("func(*main.Node)").unwrap();
        // SAFETY: I8: a System V function of one pointer to a node.
        let note = unsafe {
            FinalizerFn::builder(signature, Abi::host_native().unwrap()).at(note_node as *const ())
        };
        let mutator = runtime.attach().unwrap();
        let mut next = None;
        for n in (0..u64::from(chain)).rev() {
            let object = mutator.alloc(node).unwrap();
            mutator.store_word(object, 8, n).unwrap();
            mutator.store_ref(object, 0, next).unwrap();
            mutator.set_finalizer(object, &note).unwrap();
            next = Some(object);
        }
        let (a, b) = (mutator.alloc(node).unwrap(), mutator.alloc(node).unwrap());
        mutator.store_ref(a, 0, Some(b)).unwrap();
        mutator.store_ref(b, 0, Some(a)).unwrap();
        mutator
            .set_finalizer_with(a, &note, FinalizerOptions::new().cycle(CyclePolicy::Report))
            .unwrap();
        let path = format!(
            "main.Node {0:#x} -> main.Node {1:#x} -> main.Node {0:#x}",
            a.addr(),
            b.addr()
        );
        drop(mutator);
        let mut collections = 0;
        let mut log: Vec<u64> = Vec::new();
        while log.len() < chain as usize {
            runtime.gc().unwrap();
            collections += 1;
            runtime.run_finalizers().unwrap();
            log.append(&mut LOG.take());
        }
        assert_eq!(log, (0..u64::from(chain)).collect::<Vec<_>>());
        let reported = std::mem::take(&mut *cycles.lock().unwrap());
        match order {
            Order::Go => assert_eq!((collections, reported), (chain, vec![])),
            Order::Topological => assert_eq!((collections, reported), (1, vec![path])),
        }
    }
}
