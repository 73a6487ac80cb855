//! Finalizers of fing for heaps of [MMTk](https://www.mmtk.io): what a binding calls, and where.
//!
//! | the binding's | calls |
//! |---|---|
//! | [`Scanning::process_weak_refs`] | [`MmtkFinalizers::process_weak_refs`] |
//! | [`Collection::resume_mutators`] | [`Finalizers::finish`] |
//!
//! Everything else - registering, running what is due - is done with the same [`Finalizers`].
//! Objects may move while they are traced, and collections may be minor ones; MarkCompact, which
//! moves them afterwards, is not served. The binding's objects must be scanned slot by slot
//! ([`Scanning::support_slot_enqueuing`]).
//!
//! `tests/conformance.rs` is the smallest binding with all of this, and runs fing's conformance
//! suite on it.
//!
//! [`Collection::resume_mutators`]: mmtk::vm::Collection::resume_mutators

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use fing::foreign::{Collection, CollectionError, Finalizers, Reference, Scope, Tracer};
use mmtk::MMTK;
use mmtk::scheduler::GCWorker;
use mmtk::util::{Address, ObjectReference, VMWorkerThread};
use mmtk::vm::slot::Slot;
use mmtk::vm::{ObjectTracer, ObjectTracerContext, Scanning, VMBinding};

/// An object of MMTk's. The word of a call is its raw address.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object(pub ObjectReference);

impl Reference for Object {
    fn to_word(self) -> u64 {
        self.0.to_raw_address().as_usize() as u64
    }

    fn from_word(word: u64) -> Self {
        // SAFETY: I16: `to_word` gave the word, so it is the address of an object, and not 0.
        Object(unsafe {
            ObjectReference::from_raw_address_unchecked(Address::from_usize(word as usize))
        })
    }
}

/// The collections of one MMTk instance, as its finalizers see them.
#[derive(Debug, Default)]
pub struct MmtkFinalizers<VM> {
    /// The one that has asked for weak references and is to ask again.
    under_way: Mutex<Option<Collection<Object>>>,
    vm: PhantomData<fn() -> VM>,
}

impl<VM: VMBinding> MmtkFinalizers<VM> {
    /// Nothing is being collected.
    pub const fn new() -> Self {
        MmtkFinalizers {
            under_way: Mutex::new(None),
            vm: PhantomData,
        }
    }

    /// For [`Scanning::process_weak_refs`], which returns what this does: true if MMTk has to
    /// follow what was retained, and ask again. A binding with weak references of its own looks at
    /// them after the last time.
    ///
    /// # Errors
    /// A collection of these finalizers was begun elsewhere. Nothing was retained then.
    pub fn process_weak_refs(
        &self,
        finalizers: &Finalizers<Object>,
        heap: &MMTK<VM>,
        worker: &mut GCWorker<VM>,
        context: &impl ObjectTracerContext<VM>,
    ) -> Result<bool, CollectionError> {
        let under_way = self.under_way.lock();
        let mut under_way = under_way.unwrap_or_else(PoisonError::into_inner);
        let mut collection = match under_way.take() {
            Some(collection) => collection,
            None => {
                let plan = heap.get_plan().generational();
                let minor = plan.is_some_and(|plan| plan.is_current_gc_nursery());
                let scope = if minor { Scope::Minor } else { Scope::Full };
                // SAFETY: I16: objects are those of the only MMTk of the process, whose worker this
                // is. It asks with the world stopped, and moves nothing after the last time.
                unsafe { finalizers.begin(scope)? }
            }
        };
        let thread = worker.tls;
        let again = context.with_tracer(worker, |tracer| {
            collection.step(&mut Reaching::<VM, _> {
                tracer,
                thread,
                vm: PhantomData,
            })
        });
        *under_way = again.then_some(collection);
        Ok(again)
    }
}

/// What MMTk answers while it collects.
struct Reaching<'t, VM, T> {
    tracer: &'t mut T,
    thread: VMWorkerThread,
    vm: PhantomData<fn() -> VM>,
}

// SAFETY: I16: MMTk says what it has reached and where that is now; children are read from the
// slots of the object, which is whole and where it was, as it has not been reached.
unsafe impl<VM: VMBinding, T: ObjectTracer> Tracer for Reaching<'_, VM, T> {
    type Ref = Object;

    fn is_reached(&mut self, Object(object): Object) -> bool {
        object.is_reachable()
    }

    fn trace(&mut self, Object(object): Object) -> Object {
        Object(self.tracer.trace_object(object))
    }

    fn children(&mut self, Object(object): Object, visit: &mut dyn FnMut(&mut Self, Object)) {
        let thread = self.thread;
        let mut slots = |slot: VM::VMSlot| {
            if let Some(child) = slot.load() {
                visit(self, Object(child));
            }
        };
        VM::VMScanning::scan_object(thread, object, &mut slots);
    }
}
