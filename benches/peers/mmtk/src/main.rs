//! MMTk: `add_finalizer` and `get_finalized_object`, plan MarkSweep, one mutator. See ../../README.md.
//!
//! The binding is the smallest there can be: objects of 32 bytes without references, roots in one array.

use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};
use std::sync::{Condvar, Mutex, OnceLock};

use mmtk::memory_manager as mm;
use mmtk::util::copy::{CopySemantics, GCWorkerCopyContext};
use mmtk::util::opaque_pointer::{OpaquePointer, VMMutatorThread, VMThread, VMWorkerThread};
use mmtk::util::{Address, ObjectReference};
use mmtk::vm::slot::{SimpleSlot, UnimplementedMemorySlice};
use mmtk::vm::{
    ActivePlan, Collection, GCThreadContext, ObjectModel, ReferenceGlue, RootsWorkFactory,
    Scanning, SlotVisitor, VMBinding, VMGlobalLogBitSpec, VMLocalForwardingBitsSpec,
    VMLocalForwardingPointerSpec, VMLocalLOSMarkNurserySpec, VMLocalMarkBitSpec,
};
use mmtk::{AllocationSemantics, MMTK, MMTKBuilder, Mutator};
use peers::{Job, Phases, dropped, serve};

const SIZE: usize = 32;

#[derive(Default)]
struct Binding;

static HEAP: OnceLock<&'static MMTK<Binding>> = OnceLock::new();
static MUTATOR: AtomicPtr<Mutator<Binding>> = AtomicPtr::new(std::ptr::null_mut());
/// Where the array of roots begins and ends.
static ROOTS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Whether the collection that the mutator waits for is over.
static OVER: Mutex<bool> = Mutex::new(false);
static WAKE: Condvar = Condvar::new();
static CALLS: AtomicUsize = AtomicUsize::new(0);

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
    fn scan_object<V: SlotVisitor<SimpleSlot>>(_: VMWorkerThread, _: ObjectReference, _: &mut V) {}

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
        _: ObjectReference,
        _: CopySemantics,
        _: &mut GCWorkerCopyContext<Binding>,
    ) -> ObjectReference {
        unreachable!("MarkSweep moves nothing")
    }

    fn copy_to(_: ObjectReference, _: ObjectReference, _: Address) -> Address {
        unreachable!("MarkSweep moves nothing")
    }

    fn get_reference_when_copied_to(_: ObjectReference, _: Address) -> ObjectReference {
        unreachable!("MarkSweep moves nothing")
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
    let finalizer = std::hint::black_box(tick as fn(ObjectReference));
    while let Some(object) = mm::get_finalized_object(heap()) {
        finalizer(object);
    }
}

fn round(job: &Job, phases: &mut Phases) {
    let mut keep: Vec<Option<ObjectReference>> = vec![None; job.n];
    let range = keep.as_ptr_range();
    ROOTS[0].store(range.start as usize, Relaxed);
    ROOTS[1].store(range.end as usize, Relaxed);
    CALLS.store(0, Relaxed);
    phases.begin();
    let mutator = mutator();
    for slot in &mut keep {
        let address = mm::alloc(mutator, SIZE, 8, 0, AllocationSemantics::Default);
        let object = ObjectReference::from_raw_address(address).expect("memory");
        mm::post_alloc(mutator, object, SIZE, AllocationSemantics::Default);
        *slot = Some(object);
    }
    phases.end("alloc");
    if job.registers {
        for &object in keep.iter().flatten() {
            mm::add_finalizer(heap(), object);
        }
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
    if job.registers {
        drain();
        phases.end("drain");
        assert_eq!(CALLS.load(Relaxed), dead);
    }
    phases.begin();
    collect();
    phases.end("free");
    keep.fill(None);
    collect();
    drain();
    collect();
    ROOTS[1].store(range.start as usize, Relaxed);
}

fn main() {
    let mut builder = MMTKBuilder::new();
    for (name, value) in [
        ("plan", "MarkSweep"),
        ("gc_trigger", "FixedHeapSize:8589934592"),
    ] {
        assert!(builder.set_option(name, value), "{name}");
    }
    let made: &'static MMTK<Binding> = Box::leak(mm::mmtk_init(&builder));
    assert!(HEAP.set(made).is_ok());
    mm::initialize_collection(made, thread().0);
    MUTATOR.store(Box::into_raw(mm::bind_mutator(made, thread())), Relaxed);
    serve("MMTk 0.33", round);
}
