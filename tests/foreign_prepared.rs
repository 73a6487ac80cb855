//! Prepared finalizers of a foreign collector: random programs against a model of sets, and what
//! they cost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fing::foreign::{Cleanup, Finalizers, PreparedFinalizer, RegisterError, Scope, Tracer, Weak};
use fing::stubs::Type;
use fing::stubs::fuzzing::Rng;
use fing::{
    Abi, CallStage, CleanupFn, CyclePolicy, FinalizerFn, FinalizerOptions, HeldValue, Order,
};

/// What was called with what, and the context.
type Call = (u64, u64, u64);

thread_local! {
    static IN_USE: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LOG: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
}

struct Counting;

// SAFETY: the system's allocator, which does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = IN_USE.try_with(|bytes| bytes.set(bytes.get().wrapping_add(layout.size())));
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = IN_USE.try_with(|bytes| bytes.set(bytes.get().wrapping_sub(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

extern "C" fn one(object: u64, context: u64) {
    LOG.with_borrow_mut(|log| log.push((1, object, context)));
}

extern "C" fn two(object: u64, context: u64) {
    LOG.with_borrow_mut(|log| log.push((2, object, context)));
}

extern "C" fn clean(number: u64, context: u64) {
    LOG.with_borrow_mut(|log| log.push((3, number, context)));
}

/// The context of functions that have one for all registrations: no object's address.
const NONE: u64 = 1;

fn function(code: extern "C" fn(u64, u64)) -> FinalizerFn {
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: System V functions of a word and a context, which follow neither.
    unsafe { builder.context(NONE as usize).at(code as *const ()) }
}

/// The same, with an object as the context of each registration.
fn function_with_context(code: extern "C" fn(u64, u64)) -> FinalizerFn {
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    let builder = builder.context_object(Type::unsafe_pointer());
    // SAFETY: as above.
    unsafe { builder.at(code as *const ()) }
}

fn cleanup() -> CleanupFn {
    let builder = CleanupFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: as above.
    unsafe { builder.context(NONE as usize).at(clean as *const ()) }
}

/// Objects without references. An address is the object's number and how often it has moved.
struct Heap {
    moves: bool,
    scope: Scope,
    moved: Vec<u64>,
    old: Vec<bool>,
    reached: Vec<bool>,
}

impl Heap {
    fn new(objects: usize, moves: bool) -> Heap {
        Heap {
            moves,
            scope: Scope::Full,
            moved: vec![0; objects],
            old: vec![false; objects],
            reached: vec![false; objects],
        }
    }

    fn address(&self, n: u64) -> u64 {
        (self.moved[n as usize] << 32) + 48 * n
    }

    /// The number of an object by its address before this collection.
    fn number(&self, address: u64) -> u64 {
        let n = (address & 0xffff_ffff) / 48;
        assert_eq!(address, self.address(n), "a stale address");
        n
    }

    /// A collection in which the program refers to these. Returns which were reached in the end.
    fn collect(
        &mut self,
        scope: Scope,
        referred: &BTreeSet<u64>,
        finalizers: &Finalizers<u64>,
    ) -> BTreeSet<u64> {
        self.begin(scope, referred);
        // SAFETY: the objects are this heap's, and no other thread uses them.
        unsafe { finalizers.collect(scope, self, |_| {}) }.unwrap();
        for n in 0..self.reached.len() {
            if self.moves && self.reached[n] && (scope == Scope::Full || !self.old[n]) {
                self.moved[n] += 1;
            }
        }
        self.old.fill(true);
        (0..)
            .zip(&self.reached)
            .filter(|(_, is)| **is)
            .map(|(n, _)| n)
            .collect()
    }

    fn begin(&mut self, scope: Scope, referred: &BTreeSet<u64>) {
        self.scope = scope;
        self.reached.fill(false);
        for &n in referred {
            self.reached[n as usize] = true;
        }
    }
}

// SAFETY: nobody follows the references.
unsafe impl Tracer for Heap {
    type Ref = u64;

    fn is_reached(&mut self, object: u64) -> bool {
        let n = self.number(object);
        self.reached[n as usize] || self.scope == Scope::Minor && self.old[n as usize]
    }

    fn trace(&mut self, object: u64) -> u64 {
        let n = self.number(object);
        let stays = self.scope == Scope::Minor && self.old[n as usize];
        self.reached[n as usize] = true;
        match self.moves && !stays {
            true => object + (1 << 32),
            false => object,
        }
    }

    fn children(&mut self, _: u64, _: &mut dyn FnMut(&mut Self, u64)) {}

    fn moves(&self) -> bool {
        self.moves
    }
}

/// What there should be, by objects' numbers.
#[derive(Default)]
struct Model {
    /// Which function, and the context.
    finalizers: BTreeMap<u64, (u64, Option<u64>)>,
    cleanups: BTreeMap<u64, u64>,
    weak: BTreeSet<u64>,
    /// Due: a function and an object, or a cleanup's number; and the context.
    due: Vec<(u64, u64, Option<u64>)>,
    /// How many of the due ones are queued.
    queued: usize,
}

impl Model {
    /// Cancels a call that was `registered`, or else is due.
    fn cancelled(
        &mut self,
        registered: bool,
        is_it: impl Fn(&(u64, u64, Option<u64>)) -> bool,
    ) -> CallStage {
        match self.due.iter().position(is_it) {
            _ if registered => CallStage::Registered,
            Some(at) => {
                self.due.remove(at);
                self.queued -= usize::from(at < self.queued);
                CallStage::Queued
            }
            None => CallStage::Done,
        }
    }

    /// In topological order, a full collection registers the queued finalizers again whose objects
    /// are reachable.
    fn take_back(&mut self, referred: &BTreeSet<u64>) {
        let contexts = self.finalizers.values().map(|(_, context)| *context);
        let contexts = contexts.chain(self.due.iter().map(|due| due.2));
        let reachable: BTreeSet<u64> = contexts.flatten().chain(referred.clone()).collect();
        let mut kept = Vec::new();
        for (at, (function, object, context)) in self.due.drain(..).enumerate() {
            let is_free = !self.finalizers.contains_key(&object);
            if at < self.queued && function != 3 && reachable.contains(&object) && is_free {
                self.finalizers.insert(object, (function, context));
            } else {
                kept.push((at < self.queued, (function, object, context)));
            }
        }
        self.queued = kept.iter().filter(|(is_queued, _)| *is_queued).count();
        self.due = kept.into_iter().map(|(_, due)| due).collect();
    }

    /// Which objects are alive after a collection in which the program refers to these.
    fn collect(&mut self, scope: Scope, referred: &BTreeSet<u64>, old: &[bool]) -> BTreeSet<u64> {
        let mut alive = referred.clone();
        for (function, object, context) in &self.due {
            alive.extend((*function != 3).then_some(*object));
            alive.extend(context);
        }
        let contexts = self.finalizers.values().filter_map(|(_, context)| *context);
        alive.extend(contexts);
        let spared = |n: &u64| scope == Scope::Minor && old[*n as usize];
        let dead = |n: &u64, alive: &BTreeSet<u64>| !alive.contains(n) && !spared(n);
        self.weak.retain(|n| !dead(n, &alive));
        let found: Vec<u64> = self.finalizers.keys().copied().collect();
        for n in found
            .into_iter()
            .filter(|n| dead(n, &alive))
            .collect::<Vec<_>>()
        {
            let (function, context) = self.finalizers.remove(&n).unwrap();
            self.due.push((function, n, context));
            alive.insert(n);
        }
        let gone = self.cleanups.iter().filter(|(_, n)| dead(n, &alive));
        let gone: Vec<u64> = gone.map(|(number, _)| *number).collect();
        for number in gone {
            self.cleanups.remove(&number);
            self.due.push((3, number, None));
        }
        alive
    }
}

const OBJECTS: usize = 1500;

/// One random program.
fn program(seed: u64, order: Order, moves: bool) {
    let mut random = Rng::new(seed);
    let finalizers = Finalizers::builder().order(order).build().unwrap();
    let functions = [function(one), function(two)];
    let with_context = [function_with_context(one), function_with_context(two)];
    let prepare = |function: &FinalizerFn| {
        let prepared = finalizers.prepare_finalizer(function, CyclePolicy::default());
        prepared.unwrap()
    };
    let prepare_all = || {
        let of = |functions: &[FinalizerFn; 2]| [prepare(&functions[0]), prepare(&functions[1])];
        (of(&functions), of(&with_context))
    };
    let (mut prepared, mut prepared_with) = prepare_all();
    let (mut heap, mut model) = (Heap::new(OBJECTS, moves), Model::default());
    let mut alive: BTreeSet<u64> = (0..OBJECTS as u64).collect();
    let mut weak: BTreeMap<u64, Weak> = BTreeMap::new();
    let mut cleanups: BTreeMap<u64, Cleanup> = BTreeMap::new();
    for step in 0..400_u64 {
        let first = random.below(OBJECTS) as u64;
        let count = 1 + random.below(40) as u64;
        let some: Vec<u64> = alive.range(first..).take(count as usize).copied().collect();
        let Some(&object) = some.first() else {
            continue;
        };
        let which = random.below(2);
        let addresses: Vec<u64> = some.iter().map(|n| heap.address(*n)).collect();
        let own = |model: &Model, n: &u64| {
            let found = model.finalizers.get(n);
            found.is_some_and(|(function, context)| {
                *function == which as u64 + 1 && context.is_none()
            })
        };
        match random.below(16) {
            0..3 => {
                for (&n, &address) in some.iter().zip(&addresses) {
                    // SAFETY: the functions follow nothing.
                    let set = unsafe { prepared[which].set(address) }.is_ok();
                    assert_eq!(set, !model.finalizers.contains_key(&n));
                    model
                        .finalizers
                        .entry(n)
                        .or_insert((which as u64 + 1, None));
                }
            }
            3..5 => {
                // SAFETY: the functions follow nothing.
                let set = unsafe { prepared[which].set_all(&addresses) };
                let free = some
                    .iter()
                    .take_while(|n| !model.finalizers.contains_key(n))
                    .count();
                assert_eq!(set.is_ok(), free == some.len());
                for &n in &some[..free] {
                    model.finalizers.insert(n, (which as u64 + 1, None));
                }
            }
            5 => {
                let cleared = prepared[which].clear(heap.address(object));
                let there = own(&model, &object);
                if there {
                    model.finalizers.remove(&object);
                }
                let call = (which as u64 + 1, object, None);
                let wanted = model.cancelled(there, |due| *due == call);
                assert_eq!(cleared, wanted, "step {step}");
            }
            6 => {
                let count = prepared[which].clear_all(&addresses);
                let before = model.finalizers.len();
                for n in some.iter().filter(|n| own(&model, n)).collect::<Vec<_>>() {
                    model.finalizers.remove(n);
                }
                assert_eq!(count, before - model.finalizers.len());
            }
            7..9 => {
                // A context of its own: another function, which those prepared above don't clear.
                let context = *some.last().unwrap();
                let held = HeldValue::Object(heap.address(context));
                let options = FinalizerOptions::new().context(held);
                let (address, function) = (heap.address(object), &with_context[which]);
                // SAFETY: the functions follow nothing.
                let set = unsafe {
                    match random.one_in(2) {
                        true => finalizers.set_finalizer_with(address, function, options),
                        false => prepared_with[which].set_with(address, held),
                    }
                };
                assert_eq!(set.is_ok(), !model.finalizers.contains_key(&object));
                let new = (which as u64 + 1, Some(context));
                model.finalizers.entry(object).or_insert(new);
            }
            9 => {
                let cleared = finalizers.clear_finalizer(heap.address(object));
                let there = model.finalizers.remove(&object).is_some();
                let wanted = model.cancelled(there, |due| due.0 != 3 && due.1 == object);
                assert_eq!(cleared, wanted, "step {step}");
            }
            10 => {
                let (address, word) = (heap.address(object), HeldValue::Word(step));
                // SAFETY: the functions follow nothing.
                let added = unsafe { finalizers.add_cleanup(address, &cleanup(), word) };
                cleanups.insert(step, added.unwrap());
                model.cleanups.insert(step, object);
            }
            11 => {
                if let Some((&number, &id)) = cleanups.range(first / 4..).next() {
                    let stopped = finalizers.stop_cleanup(id);
                    let there = model.cleanups.remove(&number).is_some();
                    let wanted = model.cancelled(there, |due| due.0 == 3 && due.1 == number);
                    assert_eq!(stopped, wanted, "step {step}");
                }
            }
            12 => {
                // SAFETY: it is an object of this heap.
                let handle = unsafe { finalizers.downgrade(heap.address(object)) };
                weak.insert(object, handle);
                model.weak.insert(object);
            }
            13 => {
                (prepared, prepared_with) = prepare_all();
            }
            _ => {
                let scope = [Scope::Minor, Scope::Full][random.below(2)];
                let most = 1 + random.below(6);
                let mut referred = alive.clone();
                referred.retain(|n| {
                    random.below(most) < 3 || scope == Scope::Minor && heap.old[*n as usize]
                });
                let old = heap.old.clone();
                if matches!((order, scope), (Order::Topological, Scope::Full)) {
                    model.take_back(&referred);
                }
                let mut expected = model.collect(scope, &referred, &old);
                let mut found = heap.collect(scope, &referred, &finalizers);
                if scope == Scope::Minor {
                    let spared = |n: &u64| old[*n as usize];
                    expected.retain(|n| !spared(n));
                    found.retain(|n| !spared(n));
                    alive.retain(|n| spared(n) || found.contains(n));
                } else {
                    alive = found.clone();
                }
                assert_eq!(found, expected, "who is alive, step {step}");
                for (n, id) in &weak {
                    let expected = model.weak.contains(n).then(|| heap.address(*n));
                    assert_eq!(finalizers.upgrade(*id), expected, "weak {n}, step {step}");
                }
                weak.retain(|n, _| model.weak.contains(n));
                if random.below(3) > 0 {
                    finalizers.finish();
                    model.queued = model.due.len();
                }
                if random.below(2) > 0 {
                    finalizers.finish();
                    model.queued = 0;
                    finalizers.run_finalizers().unwrap();
                    let ran = LOG.take().into_iter().map(|(function, word, context)| {
                        let word = match function {
                            3 => word,
                            _ => heap.number(word),
                        };
                        let context = (context != NONE).then(|| heap.number(context));
                        (function, word, context)
                    });
                    let mut ran: Vec<_> = ran.collect();
                    ran.sort_unstable();
                    let mut due = std::mem::take(&mut model.due);
                    due.sort_unstable();
                    assert_eq!(ran, due, "what ran, step {step}");
                }
            }
        }
        let stats = finalizers.stats();
        let counts = (stats.finalizers, stats.cleanups, stats.weak);
        let expected = (
            model.finalizers.len(),
            model.cleanups.len(),
            model.weak.len(),
        );
        assert_eq!(
            counts,
            (expected.0 as u64, expected.1 as u64, expected.2 as u64),
            "step {step}"
        );
    }
}

#[test]
fn random_programs_do_as_sets_do() {
    for seed in 0..fing_oracles::cases(25) {
        for order in [Order::Go, Order::Topological] {
            for moves in [false, true] {
                program(seed, order, moves);
            }
        }
    }
}

/// Finalizers of which one, prepared, is set for these objects.
fn registered(objects: impl Iterator<Item = u64>) -> (Finalizers<u64>, PreparedFinalizer<u64>) {
    let finalizers = Finalizers::new().unwrap();
    let close = finalizers.prepare_finalizer(&function(one), CyclePolicy::default());
    let close = close.unwrap();
    for object in objects {
        // SAFETY: `one` follows nothing.
        unsafe { close.set(object) }.unwrap();
    }
    (finalizers, close)
}

#[test]
fn a_registered_finalizer_takes_24_bytes_at_most() {
    let orders: [(&str, &dyn Fn(u64) -> u64); 3] = [
        ("in order", &|n| 0x7f00_0000_0010 + 32 * n),
        ("numbers", &|n| n),
        ("scattered", &|n| (n * 0x9e37_79b1 % 0xffff_fffb) << 4),
    ];
    for (name, object) in orders {
        let (_finalizers, close) = registered(0..0);
        let before = IN_USE.get();
        for n in 0..150_000_u64 {
            // SAFETY: `one` follows nothing.
            unsafe { close.set(object(n)) }.unwrap();
            let bytes = IN_USE.get() - before;
            assert!(
                n < 10_000 || bytes as u64 <= 24 * (n + 1),
                "{name}: {bytes} bytes for {n}"
            );
        }
    }
}

#[test]
fn collections_in_gos_order_allocate_nothing() {
    for moves in [false, true] {
        let mut heap = Heap::new(3000, moves);
        let (finalizers, _close) = registered((0..3000).map(|n| 48 * n));
        for scope in [Scope::Minor, Scope::Full] {
            // All live on in the first one.
            let referred = (0..3000).filter(|_| scope == Scope::Minor).collect();
            heap.begin(scope, &referred);
            let before = ALLOCATIONS.get();
            // SAFETY: the objects are the heap's, and no other thread uses them.
            unsafe { finalizers.collect(scope, &mut heap, |_| {}) }.unwrap();
            assert_eq!(ALLOCATIONS.get(), before);
            heap.moved.fill(u64::from(moves));
        }
        assert_eq!(finalizers.finish().queued, 3000);
    }
}

#[test]
fn functions_are_kept_as_long_as_they_are_named() {
    let owner = Arc::new(());
    let held = || Arc::strong_count(&owner) > 1;
    let finalizers = Finalizers::new().unwrap();
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: a System V function, which follows nothing.
    let function = unsafe {
        builder
            .context(NONE as usize)
            .keep_alive(owner.clone())
            .at(one as *const ())
    };
    let close = finalizers
        .prepare_finalizer(&function, CyclePolicy::default())
        .unwrap();
    assert!(
        format!("{close:?}").contains("PreparedFinalizer")
            && close.function().signature() == &"func(uintptr)".parse().unwrap()
    );
    drop(function);
    let mut heap = Heap::new(1, false);
    // SAFETY: as above.
    unsafe { close.set(0) }.unwrap();
    drop((close.clone(), close));
    heap.collect(Scope::Full, &BTreeSet::from([0]), &finalizers);
    finalizers.finish();
    assert!(held(), "an object has it");
    heap.collect(Scope::Full, &BTreeSet::new(), &finalizers);
    finalizers.finish();
    assert!(held(), "a call is queued");
    assert_eq!(finalizers.run_finalizers().unwrap(), 1);
    assert_eq!(LOG.take(), [(1, 0, NONE)]);
    finalizers.finish();
    assert!(!held());
}

#[test]
fn what_cannot_be_prepared_is_said() {
    let finalizers = Finalizers::<u64>::new().unwrap();
    let builder = FinalizerFn::builder(
        "func(float64)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: nothing is called.
    let wrong = unsafe { builder.at(one as *const ()) };
    let refused = finalizers.prepare_finalizer(&wrong, CyclePolicy::default());
    assert!(matches!(refused, Err(RegisterError::NotOneWord { .. })));
    let (_finalizers, close) = registered([7].into_iter());
    // SAFETY: `one` follows nothing.
    let twice = unsafe { close.set_all(&[8, 7, 9]) };
    assert_eq!(
        twice.unwrap_err().to_string(),
        "set_finalizer: object 0x7 has a finalizer, wanted one without"
    );
    assert!(
        close.clear(8).is_cancelled()
            && !close.clear(9).is_cancelled()
            && close.clear(7).is_cancelled()
            && !close.clear(7).is_cancelled()
    );
}

/// What was noted of an object is not taken for another one's that is registered in its place.
#[test]
fn a_reused_entry_during_a_collection_is_new() {
    let mut heap = Heap::new(2, false);
    let (finalizers, close) = registered([0].into_iter());
    let (object, other) = (heap.address(0), heap.address(1));
    heap.begin(Scope::Full, &BTreeSet::from([0]));
    // SAFETY: the objects are the heap's, and no other thread uses them.
    let mut collection = unsafe { finalizers.begin(Scope::Full) }.unwrap();
    collection.early_roots(&mut heap).unwrap();
    assert!(close.clear(object).is_cancelled());
    // SAFETY: `one` follows nothing.
    unsafe { close.set(other) }.unwrap();
    while collection.step(&mut heap) {}
    assert_eq!(collection.finish().queued, 1);
    finalizers.run_finalizers().unwrap();
    assert_eq!(LOG.take(), [(1, other, NONE)]);
}

#[test]
fn a_cleanup_gets_its_own_word() {
    let mut heap = Heap::new(1, false);
    let finalizers = Finalizers::new().unwrap();
    for word in [5, 0, 7] {
        // SAFETY: the function follows nothing.
        unsafe { finalizers.add_cleanup(0, &cleanup(), HeldValue::Word(word)) }.unwrap();
        heap.collect(Scope::Full, &BTreeSet::new(), &finalizers);
        finalizers.finish();
        finalizers.run_finalizers().unwrap();
        assert_eq!(LOG.take(), [(3, word, NONE)]);
    }
}
