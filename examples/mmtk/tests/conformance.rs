//! The smallest binding that has finalizers, under fing's conformance suite, with each plan in a
//! process of its own: there is one MMTk in a process.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use fing::conformance::{Collector, Features, Foreign, Suite};
use fing::foreign::{Finalizers, Scope};
use fing::{Abi, FinalizerFn, Order};
use fing_mmtk::{MmtkFinalizers, Object};
use mmtk::memory_manager as mm;
use mmtk::scheduler::GCWorker;
use mmtk::util::copy::{CopySemantics, GCWorkerCopyContext};
use mmtk::util::opaque_pointer::{OpaquePointer, VMMutatorThread, VMThread, VMWorkerThread};
use mmtk::util::{Address, ObjectReference};
use mmtk::vm::slot::{SimpleSlot, Slot, UnimplementedMemorySlice};
use mmtk::vm::{
    ActivePlan, Collection, GCThreadContext, ObjectModel, ObjectTracerContext, ReferenceGlue,
    RootsWorkFactory, Scanning, SlotVisitor, VMBinding, VMGlobalLogBitSpec,
    VMLocalForwardingBitsSpec, VMLocalForwardingPointerSpec, VMLocalLOSMarkNurserySpec,
    VMLocalMarkBitSpec,
};
use mmtk::{AllocationSemantics, MMTK, MMTKBuilder, Mutator};

/// Names the plan to the test's own process.
const PLAN: &str = "FING_MMTK_PLAN";
/// Those that mark, that copy, that do both, and two with generations.
const PLANS: &[&str] = &["MarkSweep", "SemiSpace", "Immix", "GenCopy", "GenImmix"];
const WORD: usize = 8;
/// An object: a word for MMTk's forwarding pointer, its number, how many fields it has, its fields.
const NUMBER: usize = WORD;
const FIELDS: usize = 2 * WORD;
const FIRST: usize = 3 * WORD;

#[derive(Default)]
struct Binding;

static MMTK_MADE: OnceLock<&'static MMTK<Binding>> = OnceLock::new();
static MUTATOR: AtomicPtr<Mutator<Binding>> = AtomicPtr::new(std::ptr::null_mut());
static COLLECTIONS: MmtkFinalizers<Binding> = MmtkFinalizers::new();
/// Whether the collection that the mutator waits for is over.
static OVER: Mutex<bool> = Mutex::new(false);
static WAKE: Condvar = Condvar::new();
/// Whose registrations the collection under way looks at; it happens while `collect` waits.
static FINALIZERS: AtomicPtr<Finalizers<Object>> = AtomicPtr::new(std::ptr::null_mut());
/// Where the roots are, while a collection is under way.
static ROOTS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
/// All objects that exist.
static OBJECTS: Mutex<Vec<ObjectReference>> = Mutex::new(Vec::new());
/// Nothing is left to be retained: which objects exist is decided.
static DECIDED: AtomicBool = AtomicBool::new(false);

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mmtk() -> &'static MMTK<Binding> {
    MMTK_MADE.get_or_init(|| {
        let plan = std::env::var(PLAN).expect("set by the test");
        let mut builder = MMTKBuilder::new();
        for (name, value) in [
            ("plan", &*plan),
            ("gc_trigger", "FixedHeapSize:67108864"),
            ("threads", "1"),
        ] {
            assert!(builder.set_option(name, value), "{name}");
        }
        Box::leak(mm::mmtk_init(&builder))
    })
}

fn thread() -> VMMutatorThread {
    // Any address but 0: there is one mutator.
    VMMutatorThread(VMThread(OpaquePointer::from_address(Address::from_ref(
        &OVER,
    ))))
}

fn mutator() -> &'static mut Mutator<Binding> {
    // SAFETY: made once, never freed; used by its thread, and by the collector while that waits.
    unsafe { &mut *MUTATOR.load(Relaxed) }
}

fn finalizers() -> &'static Finalizers<Object> {
    // SAFETY: `collect` waits until the collection is over.
    unsafe { &*FINALIZERS.load(Relaxed) }
}

fn word(object: ObjectReference, offset: usize) -> usize {
    // SAFETY: inside the object, which is whole.
    unsafe { (object.to_raw_address() + offset).load() }
}

fn size(object: ObjectReference) -> usize {
    FIRST + word(object, FIELDS) * WORD
}

fn slot(object: ObjectReference, field: usize) -> SimpleSlot {
    SimpleSlot::from_address(object.to_raw_address() + FIRST + field * WORD)
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
        *held(&OVER) = true;
        WAKE.notify_all();
    }

    fn block_for_gc(_: VMMutatorThread) {
        let over = WAKE.wait_while(held(&OVER), |over| !*over);
        *over.unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn spawn_gc_thread(_: VMThread, context: GCThreadContext<Binding>) {
        let GCThreadContext::Worker(worker) = context;
        std::thread::spawn(move || {
            let tls = OpaquePointer::from_address(Address::from_ref(&*worker));
            let work = || mm::start_worker(mmtk(), VMWorkerThread(VMThread(tls)), worker);
            // The mutator would wait for ever.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                std::process::abort();
            }
        });
    }
}

impl Scanning<Binding> for Binding {
    fn scan_object<V: SlotVisitor<SimpleSlot>>(
        _: VMWorkerThread,
        object: ObjectReference,
        visitor: &mut V,
    ) {
        (0..word(object, FIELDS)).for_each(|field| visitor.visit_slot(slot(object, field)));
    }

    fn notify_initial_thread_scan_complete(_: bool, _: VMWorkerThread) {}

    fn scan_roots_in_mutator_thread(
        _: VMWorkerThread,
        _: &'static mut Mutator<Binding>,
        _: impl RootsWorkFactory<SimpleSlot>,
    ) {
    }

    fn scan_vm_specific_roots(_: VMWorkerThread, mut factory: impl RootsWorkFactory<SimpleSlot>) {
        // SAFETY: the roots of the heap whose `collect` waits.
        let slot = |&at: &usize| SimpleSlot::from_address(unsafe { Address::from_usize(at) });
        factory.create_process_roots_work(held(&ROOTS).iter().map(slot).collect());
    }

    fn supports_return_barrier() -> bool {
        false
    }

    fn prepare_for_roots_re_scanning() {}

    fn process_weak_refs(
        worker: &mut GCWorker<Binding>,
        context: impl ObjectTracerContext<Binding>,
    ) -> bool {
        if !DECIDED.load(Relaxed) {
            let again = COLLECTIONS
                .process_weak_refs(finalizers(), mmtk(), worker, &context)
                .expect("no other collection");
            DECIDED.store(!again, Relaxed);
            return true;
        }
        // Asked once more, now that everything retained has been followed.
        DECIDED.store(false, Relaxed);
        let mut objects = held(&OBJECTS);
        objects.retain(|object| object.is_reachable());
        for object in objects.iter_mut() {
            *object = object.get_forwarded_object().unwrap_or(*object);
        }
        false
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
        let to = context.alloc_copy(from, size(from), WORD, 0, semantics);
        let object = Self::get_reference_when_copied_to(from, to);
        Self::copy_to(from, object, Address::ZERO);
        context.post_copy(object, size(object), semantics);
        object
    }

    fn copy_to(from: ObjectReference, to: ObjectReference, _: Address) -> Address {
        let bytes = size(from);
        // SAFETY: room for the object, which may overlap it.
        unsafe {
            let to = to.to_raw_address().to_mut_ptr::<u8>();
            std::ptr::copy(from.to_raw_address().to_ptr::<u8>(), to, bytes);
        }
        to.to_raw_address() + bytes
    }

    fn get_reference_when_copied_to(_: ObjectReference, to: Address) -> ObjectReference {
        ObjectReference::from_raw_address(to).expect("memory")
    }

    fn get_current_size(object: ObjectReference) -> usize {
        size(object)
    }

    fn get_size_when_copied(object: ObjectReference) -> usize {
        size(object)
    }

    fn get_align_when_copied(_: ObjectReference) -> usize {
        WORD
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

fn alloc(id: u64, fields: usize) -> ObjectReference {
    let bytes = FIRST + fields * WORD;
    let at = mm::alloc(mutator(), bytes, WORD, 0, AllocationSemantics::Default);
    let object = ObjectReference::from_raw_address(at).expect("memory");
    // SAFETY: memory of that size, which only this thread has.
    unsafe {
        std::ptr::write_bytes(at.to_mut_ptr::<u8>(), 0, bytes);
        (at + NUMBER).store(id);
        (at + FIELDS).store(fields);
    }
    mm::post_alloc(mutator(), object, bytes, AllocationSemantics::Default);
    object
}

/// The heap, as the suite sees it: what is in it is MMTk's.
struct Heap {
    roots: Box<[Option<Object>]>,
}

impl Collector for Heap {
    type Ref = Object;

    fn new(roots: usize) -> Self {
        held(&OBJECTS).clear();
        Heap {
            roots: vec![None; roots].into_boxed_slice(),
        }
    }

    fn features() -> Features {
        Features {
            minor: mmtk().get_plan().generational().is_some(),
            ..Features::default()
        }
    }

    fn roots(&mut self) -> &mut [Option<Object>] {
        &mut self.roots
    }

    fn alloc(&mut self, id: u64, fields: usize) -> Object {
        let object = alloc(id, fields);
        held(&OBJECTS).push(object);
        Object(object)
    }

    fn id(&self, Object(object): Object) -> u64 {
        word(object, NUMBER) as u64
    }

    fn load(&self, Object(object): Object, field: usize) -> Option<Object> {
        slot(object, field).load().map(Object)
    }

    fn store(&mut self, Object(object): Object, field: usize, value: Option<Object>) {
        let (slot, value) = (slot(object, field), value.map(|Object(value)| value));
        mm::object_reference_write_pre(mutator(), object, slot, value);
        // SAFETY: inside the object.
        unsafe { slot.as_address().store(value) };
        mm::object_reference_write_post(mutator(), object, slot, value);
    }

    fn collect(&mut self, finalizers: &Finalizers<Object>, scope: Scope, _: bool) {
        let roots = self
            .roots
            .iter()
            .map(|root| Address::from_ref(root).as_usize());
        *held(&ROOTS) = roots.collect();
        FINALIZERS.store(std::ptr::from_ref(finalizers).cast_mut(), Relaxed);
        assert!(mmtk().handle_user_collection_request(thread(), true, scope == Scope::Full));
    }

    fn objects(&self) -> Vec<Object> {
        held(&OBJECTS).iter().copied().map(Object).collect()
    }

    fn is_young(&self, Object(object): Object) -> bool {
        let plan = mmtk().get_plan().generational();
        plan.is_some_and(|plan| plan.is_object_in_nursery(object))
    }
}

fn conforms() {
    mm::initialize_collection(mmtk(), thread().0);
    MUTATOR.store(Box::into_raw(mm::bind_mutator(mmtk(), thread())), Relaxed);
    for order in [Order::Go, Order::Topological] {
        match Suite::new(order).run::<Foreign<Heap>>() {
            Ok(summary) => println!("{order:?} order: {summary}"),
            Err(failure) => panic!("{order:?} order: {failure}"),
        }
    }
}

#[test]
fn every_plan_conforms() {
    if std::env::var(PLAN).is_ok() {
        return conforms();
    }
    for plan in PLANS {
        let said = run_with(plan, "every_plan_conforms");
        let summaries = said.lines().filter(|line| line.contains("as the model"));
        summaries.for_each(|summary| println!("{plan}, {summary}"));
    }
}

/// Runs a test of this file in a process of its own, with a plan, and returns what it prints.
fn run_with(plan: &str, test: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PLAN, plan)
        .env("RUST_LOG", "warn")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{plan}: {said}{errors}");
    said
}

/// Addresses that finalizers were called with.
static CLOSED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn close(object: usize) {
    held(&CLOSED).push(object);
}

extern "C" fn close_object(object: usize) {
    close(object);
}

/// Finalizes one object of a heap by MMTk's own finalizers, another one by fing's. What is between
/// the lines `page` and `end` is what docs/migrating.md shows.
fn migrate() -> Result<(), Box<dyn std::error::Error>> {
    mm::initialize_collection(mmtk(), thread().0);
    MUTATOR.store(Box::into_raw(mm::bind_mutator(mmtk(), thread())), Relaxed);
    let finalizers = Finalizers::<Object>::new()?;
    let mut heap = Heap::new(1);
    let mut collect = || heap.collect(&finalizers, Scope::Full, false);

    let object = alloc(1, 0);
    let mut wanted = vec![object.to_raw_address().as_usize()];
    // page
    mm::add_finalizer(mmtk(), object);
    // end
    collect();
    // page
    // After each collection:
    while let Some(object) = mm::get_finalized_object(mmtk()) {
        close(object.to_raw_address().as_usize());
    }
    // end
    assert_eq!(*held(&CLOSED), wanted);

    let object = alloc(2, 0);
    wanted.push(object.to_raw_address().as_usize());
    // page
    let close = FinalizerFn::builder("func(uintptr)".parse()?, Abi::host_native()?);
    // SAFETY: a C function of a word.
    let close = unsafe { close.at(close_object as *const ()) };
    // SAFETY: an object of this MMTk's.
    unsafe { finalizers.set_finalizer(Object(object), &close)? };
    // end
    collect();
    // page
    // After each collection:
    finalizers.finish();
    finalizers.run_finalizers()?;
    // end
    assert_eq!(*held(&CLOSED), wanted);
    Ok(())
}

/// The lines that the page shows of this file.
fn shown() -> Vec<&'static str> {
    let (mut lines, mut inside) = (Vec::new(), false);
    for line in include_str!("conformance.rs").lines().map(str::trim) {
        match line {
            "// page" => inside = true,
            "// end" => inside = false,
            _ if inside => lines.push(line),
            _ => {}
        }
    }
    lines
}

#[test]
fn the_page_on_migrating_is_what_runs() {
    if std::env::var(PLAN).is_ok() {
        return migrate().unwrap();
    }
    let page = include_str!("../../../docs/migrating.md");
    let blocks = page.split("```rust,ignore\n").skip(1);
    let blocks = blocks.flat_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines).map(str::trim);
    assert_eq!(lines.collect::<Vec<_>>(), shown());
    run_with("MarkSweep", "the_page_on_migrating_is_what_runs");
}
