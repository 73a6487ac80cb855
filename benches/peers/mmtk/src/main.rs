//! MMTk: `add_finalizer` and `get_finalized_object`, plan MarkSweep or Immix, one mutator; or
//! fing's finalizers on MMTk's heap, by examples/mmtk. See ../../README.md.
//!
//! The binding is the smallest there can be: objects of 32 bytes, all without references or all
//! nodes of trees; roots in one array.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};
use std::sync::{Condvar, Mutex, OnceLock};

use fing::foreign::Finalizers;
use fing::{Abi, Executor, FinalizerFn, PreparedFinalizer};
use fing_mmtk::{MmtkFinalizers, Object};
use mmtk::memory_manager as mm;
use mmtk::scheduler::GCWorker;
use mmtk::util::copy::{CopySemantics, GCWorkerCopyContext};
use mmtk::util::opaque_pointer::{OpaquePointer, VMMutatorThread, VMThread, VMWorkerThread};
use mmtk::util::{Address, ObjectReference};
use mmtk::vm::slot::{SimpleSlot, UnimplementedMemorySlice};
use mmtk::vm::{
    ActivePlan, Collection, GCThreadContext, ObjectModel, ObjectTracerContext, ReferenceGlue,
    RootsWorkFactory, Scanning, SlotVisitor, VMBinding, VMGlobalLogBitSpec,
    VMLocalForwardingBitsSpec, VMLocalForwardingPointerSpec, VMLocalLOSMarkNurserySpec,
    VMLocalMarkBitSpec,
};
use mmtk::{AllocationSemantics, MMTK, MMTKBuilder, Mutator};
use peers::{Job, Phases, dropped, resident, serve, shuffle};

const SIZE: usize = 32;
/// Where a node has its references.
const CHILDREN: [usize; 2] = [0, 8];

#[derive(Default)]
struct Binding;

static HEAP: OnceLock<&'static MMTK<Binding>> = OnceLock::new();
static MUTATOR: AtomicPtr<Mutator<Binding>> = AtomicPtr::new(std::ptr::null_mut());
/// Where the array of roots begins and ends.
static ROOTS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Whether the collection that the mutator waits for is over.
static OVER: Mutex<bool> = Mutex::new(false);
static WAKE: Condvar = Condvar::new();
/// Whether an object's first two words are references.
static NODES: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// fing, if that is what is measured.
static FING: OnceLock<Fing> = OnceLock::new();
static COLLECTIONS: MmtkFinalizers<Binding> = MmtkFinalizers::new();

struct Fing {
    finalizers: Finalizers<Object>,
    close: PreparedFinalizer<Object>,
}

impl Fing {
    fn new() -> Fing {
        let builder = Finalizers::builder().executor(Executor::Inline);
        let finalizers = builder.build().expect("memory for code");
        let signature = "func(uintptr)".parse().expect("a signature");
        let builder = FinalizerFn::builder(signature, Abi::system_v());
        // SAFETY: a System V function of one word.
        let function = unsafe { builder.at(tick_word as *const ()) };
        let close = finalizers.prepare(&function, fing::CyclePolicy::default());
        Fing {
            close: close.expect("a stub"),
            finalizers,
        }
    }
}

/// `tick`, for fing.
extern "C" fn tick_word(_: usize) {
    CALLS.store(CALLS.load(Relaxed) + 1, Relaxed);
}

fn heap() -> &'static MMTK<Binding> {
    HEAP.get().expect("made by main")
}

fn thread() -> VMMutatorThread {
    // Any address but 0: there is one mutator.
    VMMutatorThread(VMThread(OpaquePointer::from_address(Address::from_ref(
        &CALLS,
    ))))
}

fn mutator() -> &'static mut Mutator<Binding> {
    // SAFETY: made by main, never freed; used by its thread, and by collectors while that waits.
    unsafe { &mut *MUTATOR.load(Relaxed) }
}

impl VMBinding for Binding {
    type VMObjectModel = Binding;
    type VMScanning = Binding;
    type VMCollection = Binding;
    type VMActivePlan = Binding;
    type VMReferenceGlue = Binding;
    type VMSlot = SimpleSlot;
    type VMMemorySlice = UnimplementedMemorySlice<SimpleSlot>;
}

impl ActivePlan<Binding> for Binding {
    fn is_mutator(tls: VMThread) -> bool {
        tls == thread().0
    }

    fn mutator(_: VMMutatorThread) -> &'static mut Mutator<Binding> {
        mutator()
    }

    fn mutators<'a>() -> Box<dyn Iterator<Item = &'a mut Mutator<Binding>> + 'a> {
        Box::new(std::iter::once(mutator()))
    }

    fn number_of_mutators() -> usize {
        1
    }
}

impl Collection<Binding> for Binding {
    fn stop_all_mutators<F: FnMut(&'static mut Mutator<Binding>)>(_: VMWorkerThread, mut visit: F) {
        // The only one asked for the collection, and touches nothing until it is over.
        visit(mutator());
    }

    fn resume_mutators(_: VMWorkerThread) {
        if let Some(fing) = FING.get() {
            fing.finalizers.finish();
        }
        *OVER.lock().expect("no panics") = true;
        WAKE.notify_all();
    }

    fn block_for_gc(_: VMMutatorThread) {
        let over = OVER.lock().expect("no panics");
        *WAKE.wait_while(over, |over| !*over).expect("no panics") = false;
    }

    fn spawn_gc_thread(_: VMThread, context: GCThreadContext<Binding>) {
        let GCThreadContext::Worker(worker) = context;
        std::thread::spawn(move || {
            let tls = OpaquePointer::from_address(Address::from_ref(&*worker));
            mm::start_worker(heap(), VMWorkerThread(VMThread(tls)), worker);
        });
    }
}

impl Scanning<Binding> for Binding {
    fn scan_object<V: SlotVisitor<SimpleSlot>>(
        _: VMWorkerThread,
        object: ObjectReference,
        visitor: &mut V,
    ) {
        if NODES.load(Relaxed) {
            for offset in CHILDREN {
                visitor.visit_slot(SimpleSlot::from_address(object.to_raw_address() + offset));
            }
        }
    }

    fn notify_initial_thread_scan_complete(_: bool, _: VMWorkerThread) {}

    fn scan_roots_in_mutator_thread(
        _: VMWorkerThread,
        _: &'static mut Mutator<Binding>,
        _: impl RootsWorkFactory<SimpleSlot>,
    ) {
    }

    fn scan_vm_specific_roots(_: VMWorkerThread, mut factory: impl RootsWorkFactory<SimpleSlot>) {
        let Range { start, end } = ROOTS[0].load(Relaxed)..ROOTS[1].load(Relaxed);
        let slots: Vec<usize> = (start..end).step_by(8).collect();
        for chunk in slots.chunks(4096) {
            // SAFETY: the roots of the round under way, which the mutator does not touch now.
            let slot = |at: &usize| SimpleSlot::from_address(unsafe { Address::from_usize(*at) });
            factory.create_process_roots_work(chunk.iter().map(slot).collect());
        }
    }

    fn supports_return_barrier() -> bool {
        false
    }

    fn prepare_for_roots_re_scanning() {}

    fn process_weak_refs(
        worker: &mut GCWorker<Binding>,
        context: impl ObjectTracerContext<Binding>,
    ) -> bool {
        FING.get().is_some_and(|fing| {
            COLLECTIONS.process_weak_refs(&fing.finalizers, heap(), worker, &context)
        })
    }
}

impl ReferenceGlue<Binding> for Binding {
    type FinalizableType = ObjectReference;

    fn clear_referent(_: ObjectReference) {}

    fn get_referent(_: ObjectReference) -> Option<ObjectReference> {
        None
    }

    fn set_referent(_: ObjectReference, _: ObjectReference) {}

    fn enqueue_references(_: &[ObjectReference], _: VMWorkerThread) {}
}

impl ObjectModel<Binding> for Binding {
    const GLOBAL_LOG_BIT_SPEC: VMGlobalLogBitSpec = VMGlobalLogBitSpec::side_first();
    const LOCAL_FORWARDING_POINTER_SPEC: VMLocalForwardingPointerSpec =
        VMLocalForwardingPointerSpec::in_header(0);
    const LOCAL_FORWARDING_BITS_SPEC: VMLocalForwardingBitsSpec =
        VMLocalForwardingBitsSpec::side_first();
    const LOCAL_MARK_BIT_SPEC: VMLocalMarkBitSpec =
        VMLocalMarkBitSpec::side_after(Self::LOCAL_FORWARDING_BITS_SPEC.as_spec());
    const LOCAL_LOS_MARK_NURSERY_SPEC: VMLocalLOSMarkNurserySpec =
        VMLocalLOSMarkNurserySpec::side_after(Self::LOCAL_MARK_BIT_SPEC.as_spec());
    const OBJECT_REF_OFFSET_LOWER_BOUND: isize = 0;

    fn copy(
        from: ObjectReference,
        semantics: CopySemantics,
        context: &mut GCWorkerCopyContext<Binding>,
    ) -> ObjectReference {
        let to = context.alloc_copy(from, SIZE, 8, 0, semantics);
        // SAFETY: two objects of that size; the new one is only this worker's.
        unsafe {
            std::ptr::copy_nonoverlapping::<u8>(
                from.to_raw_address().to_ptr(),
                to.to_mut_ptr(),
                SIZE,
            );
        }
        let object = ObjectReference::from_raw_address(to).expect("memory");
        context.post_copy(object, SIZE, semantics);
        object
    }

    fn copy_to(_: ObjectReference, _: ObjectReference, _: Address) -> Address {
        unreachable!("no plan here compacts")
    }

    fn get_reference_when_copied_to(_: ObjectReference, _: Address) -> ObjectReference {
        unreachable!("no plan here compacts")
    }

    fn get_current_size(_: ObjectReference) -> usize {
        SIZE
    }

    fn get_size_when_copied(_: ObjectReference) -> usize {
        SIZE
    }

    fn get_align_when_copied(_: ObjectReference) -> usize {
        8
    }

    fn get_align_offset_when_copied(_: ObjectReference) -> usize {
        0
    }

    fn get_type_descriptor(_: ObjectReference) -> &'static [i8] {
        &[]
    }

    fn ref_to_object_start(object: ObjectReference) -> Address {
        object.to_raw_address()
    }

    fn ref_to_header(object: ObjectReference) -> Address {
        object.to_raw_address()
    }

    fn dump_object(_: ObjectReference) {}
}

#[inline(never)]
fn tick(_: ObjectReference) {
    CALLS.store(CALLS.load(Relaxed) + 1, Relaxed);
}

fn collect() {
    mm::handle_user_collection_request(heap(), thread());
}

fn drain() {
    if let Some(fing) = FING.get() {
        fing.finalizers
            .run_finalizers()
            .expect("this thread runs them");
        return;
    }
    let finalizer = std::hint::black_box(tick as fn(ObjectReference));
    while let Some(object) = mm::get_finalized_object(heap()) {
        finalizer(object);
    }
}

/// An object of the mutator's.
fn alloc(mutator: &mut Mutator<Binding>) -> ObjectReference {
    let address = mm::alloc(mutator, SIZE, 8, 0, AllocationSemantics::Default);
    let object = ObjectReference::from_raw_address(address).expect("memory");
    mm::post_alloc(mutator, object, SIZE, AllocationSemantics::Default);
    object
}

/// References that are roots until [`unroot`].
fn rooted(n: usize) -> Vec<Option<ObjectReference>> {
    let mut keep = vec![None; n];
    let range = keep.as_mut_ptr_range();
    ROOTS[0].store(range.start as usize, Relaxed);
    ROOTS[1].store(range.end as usize, Relaxed);
    keep
}

fn unroot() {
    ROOTS[1].store(ROOTS[0].load(Relaxed), Relaxed);
}

fn allocate(keep: &mut [Option<ObjectReference>]) {
    let mutator = mutator();
    for slot in keep {
        *slot = Some(alloc(mutator));
    }
}

fn register(keep: &[Option<ObjectReference>]) {
    if let Some(fing) = FING.get() {
        for &object in keep.iter().flatten() {
            // SAFETY: an object of the heap that `COLLECTIONS` is for.
            unsafe { fing.close.attach(Object(object)) }.expect("it has none");
        }
        return;
    }
    for &object in keep.iter().flatten() {
        mm::add_finalizer(heap(), object);
    }
}

fn forget(mut keep: Vec<Option<ObjectReference>>) {
    keep.fill(None);
    collect();
    drain();
    collect();
    unroot();
}

fn cycle(job: &Job, phases: &mut Phases) {
    let mut keep = rooted(job.n);
    CALLS.store(0, Relaxed);
    phases.begin();
    allocate(&mut keep);
    phases.end("alloc");
    if job.registers() {
        register(&keep);
        phases.end("register");
    }
    collect();
    phases.begin();
    collect();
    phases.end("live");
    let mut dead = 0;
    for (slot, _) in keep
        .iter_mut()
        .zip(dropped(job.dead))
        .filter(|(_, dead)| *dead)
    {
        *slot = None;
        dead += 1;
    }
    phases.begin();
    collect();
    phases.end("discover");
    if job.registers() {
        drain();
        phases.end("drain");
        assert_eq!(CALLS.load(Relaxed), dead);
    }
    phases.begin();
    collect();
    phases.end("free");
    forget(keep);
}

/// There is no taking back that is not a search.
fn random(job: &Job, phases: &mut Phases) {
    let mut keep = rooted(job.n);
    allocate(&mut keep);
    shuffle(&mut keep);
    phases.begin();
    register(&keep);
    phases.end("register");
    forget(keep);
}

fn memory(job: &Job, phases: &mut Phases) {
    let mut keep = rooted(job.n);
    allocate(&mut keep);
    collect();
    let small = resident();
    register(&keep);
    phases.note("memory", resident() - small);
    keep.fill(None);
    collect();
    phases.note("queued", resident() - small);
    forget(keep);
}

/// A tree of so many nodes.
fn grow(mutator: &mut Mutator<Binding>, nodes: usize) -> Option<ObjectReference> {
    let below = nodes.checked_sub(1)?;
    let children = [grow(mutator, below / 2), grow(mutator, below - below / 2)];
    let node = alloc(mutator);
    for (offset, child) in CHILDREN.into_iter().zip(children) {
        // SAFETY: inside the object, which only this thread has.
        unsafe { (node.to_raw_address() + offset).store(child) };
    }
    Some(node)
}

/// Nodes of a tree; what the collector left of it.
fn count(tree: Option<ObjectReference>) -> usize {
    let Some(node) = tree else { return 0 };
    // SAFETY: a node has two references, and nothing is collected now.
    let child = |offset: usize| unsafe {
        (node.to_raw_address() + offset).load::<Option<ObjectReference>>()
    };
    1 + CHILDREN
        .map(|offset| count(child(offset)))
        .iter()
        .sum::<usize>()
}

fn tree(job: &Job, phases: &mut Phases) {
    let mut keep = rooted(1);
    phases.begin();
    keep[0] = grow(mutator(), job.n);
    phases.end("alloc");
    collect();
    phases.begin();
    collect();
    phases.end("live");
    assert_eq!(count(keep[0]), job.n);
    keep[0] = None;
    phases.begin();
    collect();
    phases.end("free");
    unroot();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = match arguments[0].as_str() {
        "immix" => "Immix",
        _ => "MarkSweep",
    };
    NODES.store(arguments[1] == "tree", Relaxed);
    if arguments[0] == "fing" {
        assert!(FING.set(Fing::new()).is_ok());
    }
    let mut builder = MMTKBuilder::new();
    for (name, value) in [("plan", plan), ("gc_trigger", "FixedHeapSize:8589934592")] {
        assert!(builder.set_option(name, value), "{name}");
    }
    let made: &'static MMTK<Binding> = Box::leak(mm::mmtk_init(&builder));
    assert!(HEAP.set(made).is_ok());
    mm::initialize_collection(made, thread().0);
    MUTATOR.store(Box::into_raw(mm::bind_mutator(made, thread())), Relaxed);
    serve("MMTk 0.33", |job, phases| match job.work.as_str() {
        "cycle" => cycle(job, phases),
        "random" => random(job, phases),
        "memory" => memory(job, phases),
        "tree" => tree(job, phases),
        other => panic!("no work {other}"),
    });
}
