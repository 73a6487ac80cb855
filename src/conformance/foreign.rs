//! Runs the suite on a collector that is driven through `Finalizers`.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use fing_stubs::{CacheOptions, CodePolicy};

use super::{Call, Features, Setup, Subject};
use crate::calls::function::FinalizerFn;
use crate::calls::options::{FinalizerOptions, HeldValue};
use crate::calls::queue::CallStage;
use crate::conformance::probe::{self, cleanup, listen};
use crate::foreign::{
    Cleanup, Ephemeron, Finalizers, PreparedFinalizer, RegisterError, Watcher, Weak,
};
use crate::order::{CyclePolicy, Order, Reference, Scope};

/// A heap with a collector, as the suite needs it. References are valid until the next collection.
pub trait Collector: 'static {
    /// Its references to objects.
    type Ref: Reference;

    /// Makes an empty heap with this number of roots.
    fn new(roots: usize) -> Self;

    /// Returns what it can do. (Weak handles and ephemerons are always tested, as `Finalizers`
    /// has them.)
    fn features() -> Features {
        Features::default()
    }

    /// Returns its roots.
    fn roots(&mut self) -> &mut [Option<Self::Ref>];

    /// Allocates an object that holds the number `id` and this number of empty fields. Does not
    /// collect.
    fn alloc(&mut self, id: u64, fields: usize) -> Self::Ref;

    /// Returns the number an object was allocated with.
    fn id(&self, object: Self::Ref) -> u64;

    /// Loads a field.
    fn load(&self, object: Self::Ref, field: usize) -> Option<Self::Ref>;

    /// Stores a field.
    fn store(&mut self, object: Self::Ref, field: usize, value: Option<Self::Ref>);

    /// Collects, with all steps but [`finish`](Finalizers::finish). `early`: makes
    /// [early roots](crate::foreign::Collection::early_roots) first.
    fn collect(&mut self, finalizers: &Finalizers<Self::Ref>, scope: Scope, early: bool);

    /// Returns all objects that exist, in any order.
    fn objects(&self) -> Vec<Self::Ref>;

    /// Whether a minor collection may free it.
    fn is_young(&self, object: Self::Ref) -> bool {
        let _ = object;
        false
    }
}

/// The suite needs no generated code for its calls, and makes many runtimes.
pub(super) fn code() -> CacheOptions {
    CacheOptions::default().policy(CodePolicy::Interpret)
}

/// Where panics inside of finalizers are kept, until they are raised again.
#[derive(Clone, Default)]
pub(super) struct Panics(Arc<Mutex<Option<String>>>);

impl Panics {
    pub(super) fn keep(&self, message: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| message.to_owned());
    }

    /// # Panics
    /// If there was a panic inside of a finalizer.
    pub(super) fn raise(&self) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(message) = kept {
            panic!("inside of a finalizer: {message}");
        }
    }
}

/// A [`Subject`] made of a [`Collector`].
pub struct Foreign<C: Collector> {
    heap: Rc<RefCell<C>>,
    finalizers: Finalizers<C::Ref>,
    plain: FinalizerFn,
    with_context: FinalizerFn,
    /// Every other finalizer is a prepared one, without or with a context. They are made when first
    /// needed, and dropped at times.
    prepared: HashMap<(CyclePolicy, bool), PreparedFinalizer<C::Ref>>,
    set: u64,
    watcher: FinalizerFn,
    cleanups: HashMap<u64, Cleanup>,
    watchers: HashMap<u64, Watcher>,
    weak: HashMap<u64, Weak>,
    ephemerons: HashMap<u64, Ephemeron>,
    cycles: Rc<RefCell<Vec<Vec<u64>>>>,
    panics: Panics,
    /// Whether every collection is finished at once, for the cycles that it reports. In Go's order,
    /// which reports none, calls that are due stay in the table at times.
    always_finishes: bool,
    collections: u64,
}

impl<C: Collector> std::fmt::Debug for Foreign<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreign")
            .field("finalizers", &self.finalizers)
            .finish_non_exhaustive()
    }
}

impl<C: Collector> Foreign<C> {
    fn held(&self, root: usize) -> C::Ref {
        let held = self.heap.borrow_mut().roots()[root];
        held.unwrap_or_else(|| unreachable!("operations name roots that are not empty"))
    }
}

fn collect<C: Collector>(
    heap: &RefCell<C>,
    finalizers: &Finalizers<C::Ref>,
    cycles: &RefCell<Vec<Vec<u64>>>,
    scope: Scope,
) {
    heap.borrow_mut().collect(finalizers, scope, false);
    finish(heap, finalizers, cycles);
}

fn finish<C: Collector>(
    heap: &RefCell<C>,
    finalizers: &Finalizers<C::Ref>,
    cycles: &RefCell<Vec<Vec<u64>>>,
) {
    let heap = heap.borrow();
    let found = finalizers.finish().cycles;
    let named = found
        .iter()
        .map(|path| path.iter().map(|&object| heap.id(object)).collect());
    cycles.borrow_mut().extend(named);
}

impl<C: Collector> Subject for Foreign<C> {
    fn make(setup: &Setup) -> Self {
        let panics = Panics::default();
        let kept = panics.clone();
        let finalizers = Finalizers::builder()
            .order(setup.order)
            .code(code())
            .fault(setup.fault)
            .on_failure(move |failure| kept.keep(&failure.cause.to_string()))
            .build();
        Foreign {
            heap: Rc::new(RefCell::new(C::new(setup.roots))),
            finalizers: finalizers.unwrap_or_else(|error| panic!("{error}")),
            plain: probe::pointer_finalizer(false),
            with_context: probe::pointer_finalizer(true),
            prepared: HashMap::new(),
            set: 0,
            watcher: probe::pointer_watcher(),
            cleanups: HashMap::new(),
            watchers: HashMap::new(),
            weak: HashMap::new(),
            ephemerons: HashMap::new(),
            cycles: Rc::default(),
            panics,
            always_finishes: setup.order != Order::Go,
            collections: 0,
        }
    }

    fn features() -> Features {
        Features {
            weak: true,
            ephemerons: true,
            ..C::features()
        }
    }

    fn alloc(&mut self, root: usize, id: u64, fields: usize) {
        let mut heap = self.heap.borrow_mut();
        let object = heap.alloc(id, fields);
        heap.roots()[root] = Some(object);
    }

    fn copy(&mut self, to: usize, from: Option<usize>) {
        let mut heap = self.heap.borrow_mut();
        let roots = heap.roots();
        roots[to] = from.and_then(|from| roots[from]);
    }

    fn load(&mut self, to: usize, from: usize, field: usize) {
        let object = self.held(from);
        let mut heap = self.heap.borrow_mut();
        heap.roots()[to] = heap.load(object, field);
    }

    fn store(&mut self, object: usize, field: usize, value: Option<usize>) {
        let (object, value) = (self.held(object), value.map(|root| self.held(root)));
        self.heap.borrow_mut().store(object, field, value);
    }

    fn set_finalizer(&mut self, object: usize, context: Option<usize>, cycle: CyclePolicy) -> bool {
        let (object, context) = (self.held(object), context.map(|root| self.held(root)));
        self.set += 1;
        if self.set.is_multiple_of(16) {
            self.prepared.clear();
        }
        let function = match context {
            Some(_) => &self.with_context,
            None => &self.plain,
        };
        if self.set.is_multiple_of(2) {
            let key = (cycle, context.is_some());
            let prepared = self.prepared.entry(key).or_insert_with(|| {
                let prepared = self.finalizers.prepare_finalizer(function, cycle);
                prepared.unwrap_or_else(|error| panic!("{error}"))
            });
            return probe::set(prepared, object, context).is_ok();
        }
        let mut options = FinalizerOptions::new().cycle(cycle);
        if let Some(context) = context {
            options = options.context(HeldValue::Object(context));
        }
        probe::set_finalizer(&self.finalizers, object, function, options).is_ok()
    }

    fn clear_finalizer(&mut self, object: usize) -> CallStage {
        self.finalizers.clear_finalizer(self.held(object))
    }

    fn add_cleanup(&mut self, object: usize, number: u64, argument: Option<usize>) {
        let function = cleanup(number, argument.is_some());
        let argument = argument.map_or(HeldValue::Word(number), |root| {
            HeldValue::Object(self.held(root))
        });
        let added = probe::add_cleanup(&self.finalizers, self.held(object), &function, argument);
        self.cleanups
            .insert(number, added.unwrap_or_else(|error| panic!("{error}")));
    }

    fn stop_cleanup(&mut self, number: u64) -> CallStage {
        let cleanup = self.cleanups.get(&number);
        cleanup.map_or(CallStage::Done, |&cleanup| {
            self.finalizers.stop_cleanup(cleanup)
        })
    }

    fn add_watcher(&mut self, object: usize, number: u64, cycle: CyclePolicy) {
        let context = HeldValue::Word(number);
        let options = FinalizerOptions::new().cycle(cycle).context(context);
        let object = self.held(object);
        let added = probe::add_watcher(&self.finalizers, object, &self.watcher, options);
        self.watchers
            .insert(number, added.unwrap_or_else(|error| panic!("{error}")));
    }

    fn stop_watcher(&mut self, number: u64) -> CallStage {
        let watcher = self.watchers.get(&number);
        watcher.map_or(CallStage::Done, |&watcher| {
            self.finalizers.stop_watcher(watcher)
        })
    }

    fn finalize_after(&mut self, object: usize, parent: usize) -> bool {
        let (object, parent) = (self.held(object), self.held(parent));
        match probe::finalize_after(&self.finalizers, object, parent) {
            Ok(()) => true,
            Err(RegisterError::DeclaredCycle { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn make_weak(&mut self, object: usize, id: u64) {
        self.weak
            .insert(id, probe::downgrade(&self.finalizers, self.held(object)));
    }

    fn upgrade(&mut self, id: u64) -> Option<u64> {
        let object = self.finalizers.upgrade(*self.weak.get(&id)?)?;
        Some(self.heap.borrow().id(object))
    }

    fn add_ephemeron(&mut self, number: u64, map: usize, key: usize, value: usize) {
        let [map, key, value] = [map, key, value].map(|root| self.held(root));
        let added = probe::ephemeron(&self.finalizers, map, key, value);
        self.ephemerons.insert(number, added);
    }

    fn ephemeron(&mut self, number: u64) -> Option<(u64, u64)> {
        let ephemeron = self.ephemerons.get(&number)?;
        let (key, value) = self.finalizers.ephemeron_entry(*ephemeron)?;
        let heap = self.heap.borrow();
        Some((heap.id(key), heap.id(value)))
    }

    fn set_ephemeron_value(&mut self, number: u64, value: usize) -> bool {
        let value = self.held(value);
        let ephemeron = self.ephemerons.get(&number);
        ephemeron.is_some_and(|of| probe::set_ephemeron_value(&self.finalizers, *of, value))
    }

    fn remove_ephemeron(&mut self, number: u64) -> bool {
        let ephemeron = self.ephemerons.get(&number);
        ephemeron.is_some_and(|of| self.finalizers.remove_ephemeron(*of))
    }

    fn collect(&mut self, scope: Scope, early: bool) {
        self.heap
            .borrow_mut()
            .collect(&self.finalizers, scope, early);
        self.collections += 1;
        if self.always_finishes || !self.collections.is_multiple_of(3) {
            finish(&self.heap, &self.finalizers, &self.cycles);
        }
    }

    fn run(&mut self, revive: Option<usize>, scope: Option<Scope>) -> Vec<Call> {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let (heap, finalizers) = (self.heap.clone(), self.finalizers.clone());
        let (made, cycles) = (calls.clone(), self.cycles.clone());
        let listener = Rc::new(move |raw| {
            let id = |word: u64| heap.borrow().id(C::Ref::from_word(word));
            made.borrow_mut().push(Call::of(raw, id));
            if let (Some(root), Some(object)) = (revive, raw.object()) {
                heap.borrow_mut().roots()[root] = Some(C::Ref::from_word(object));
            }
            if let Some(scope) = scope {
                collect(&heap, &finalizers, &cycles, scope);
            }
        });
        finish(&self.heap, &self.finalizers, &self.cycles);
        let ran = listen(listener, || self.finalizers.run_finalizers());
        self.panics.raise();
        ran.unwrap_or_else(|error| panic!("{error}"));
        calls.take()
    }

    fn objects(&mut self) -> Vec<u64> {
        let heap = self.heap.borrow();
        heap.objects()
            .iter()
            .map(|&object| heap.id(object))
            .collect()
    }

    fn young(&mut self) -> Vec<u64> {
        let heap = self.heap.borrow();
        let objects = heap.objects();
        let young = objects.iter().filter(|object| heap.is_young(**object));
        young.map(|&object| heap.id(object)).collect()
    }

    fn take_cycles(&mut self) -> Vec<Vec<u64>> {
        self.cycles.take()
    }
}
