//! The mutator that a runtime lends to calls, and finalizers that are Rust closures.
#![expect(
    unsafe_code,
    reason = "declares an unsafe function that trusts an address; contains no unsafe block"
)]

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fing_stubs::{Signature, Type};

use crate::calls::function::{ContextKind, FinalizerFn};
use crate::calls::lent::{Lender, Lent, NotLent, Records, RustBody, StubCalls};
use crate::calls::queue::Turn;
use crate::heap::{AccessError, AccessErrorKind};
use crate::runtime::collect::Space;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::runtime::shared::Shared;
use crate::world::safepoint::{Interruptible, Slot};
use crate::world::threads::{self, Join, Members};

/// An object that a [Rust finalizer](FinalizerFn::from_rust) is called with: the one that is
/// finalized, or its context. It is whole until the call returns, whatever is collected meanwhile.
#[derive(Clone, Copy)]
pub struct Finalized<'c> {
    addr: usize,
    /// Whether the address leads into the object, not to its start.
    inside: bool,
    space: *const Space,
    /// Lasts as long as the call, and stays on its thread.
    _call: PhantomData<&'c Space>,
}

impl Finalized<'_> {
    /// Returns the object: the one that the finalizer was set for a pointer to, or into.
    ///
    /// # Errors
    /// [`ForeignHandle`](crate::error::AccessErrorKind::ForeignHandle) if the mutator is of
    /// another runtime.
    #[inline]
    pub fn get<'m>(&self, mutator: &'m Mutator) -> Result<Obj<'m>, AccessError> {
        if !std::ptr::eq(self.space, Arc::as_ptr(mutator.space())) {
            return Err(AccessErrorKind::ForeignHandle.into());
        }
        match self.inside {
            true => mutator.adopt_around(self.addr),
            false => Ok(Obj::at(self.addr)),
        }
    }

    /// Returns the address that the finalizer was set for, and is called with.
    pub fn addr(&self) -> usize {
        self.addr
    }
}

impl fmt::Debug for Finalized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finalized({:#x})", self.addr)
    }
}

/// A closure that is called with the object and the word of the context.
struct Closure<F>(F);

impl<F> RustBody for Closure<F>
where
    F: Fn(&mut Mutator, Finalized<'_>, u64) + Send + Sync,
{
    fn call_each(&self, lent: &mut dyn Lent, records: &mut Records<'_>) {
        let lent: &mut dyn Any = lent;
        let Some(lent) = lent.downcast_mut::<LentMutator>() else {
            unreachable!("a runtime lends its own mutator");
        };
        let interruptible = lent.interrupts(records.interruptible());
        let looks = interruptible.is_none();
        let inside = records.are_inside();
        while looks || records.begin() && lent.may_go_on() {
            records.each_object(|addr, record| {
                let object = Finalized {
                    addr,
                    inside,
                    space: Arc::as_ptr(&lent.space),
                    _call: PhantomData,
                };
                (self.0)(&mut lent.mutator, object, record.context());
                !looks || lent.may_go_on()
            });
            if looks {
                return;
            }
        }
    }
}

impl FinalizerFn {
    /// Makes a finalizer of a Rust closure, which is lent the runtime's mutator: it may read and
    /// write its object, allocate, and collect. What
    /// [`takes_mutator`](crate::function::FunctionBuilder::takes_mutator) says of such calls holds
    /// here too. A panic is caught and reported as that of any other finalizer.
    ///
    /// `signature` says of which objects it is the finalizer: its one parameter is a pointer to
    /// their type, or an interface. Which objects are accepted is checked when it is set, as for
    /// every function. Nothing about it is `unsafe`, as nothing is stated about an address.
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use fing::{Executor, FinalizerFn, Runtime};
    ///
    /// let runtime = Runtime::builder().executor(Executor::Inline).build()?;
    /// let counter = runtime.types().define("main.Counter", "struct { N uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(*main.Counter)")?;
    /// let sum = Arc::new(AtomicU64::new(0));
    /// let total = sum.clone();
    /// let add = FinalizerFn::from_rust(signature, move |mutator, object| {
    ///     let object = object.get(mutator).unwrap();
    ///     total.fetch_add(mutator.load_word(object, 0).unwrap(), Ordering::Relaxed);
    /// });
    /// runtime.enter(|mutator| {
    ///     for n in 1..=10 {
    ///         let object = mutator.alloc(counter)?;
    ///         mutator.store_word(object, 0, n)?;
    ///         mutator.set_finalizer(object, &add)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// runtime.gc()?;
    /// runtime.run_finalizers()?;
    /// assert_eq!(sum.load(Ordering::Relaxed), 55);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_rust(
        signature: Signature,
        finalizer: impl Fn(&mut Mutator, Finalized<'_>) + Send + Sync + 'static,
    ) -> FinalizerFn {
        let body = Closure(move |mutator: &mut Mutator, object: Finalized<'_>, _| {
            finalizer(mutator, object);
        });
        FinalizerFn::of_rust(Some(signature), ContextKind::Mutator, Arc::new(body))
    }

    /// As [`from_rust`](Self::from_rust), with a word of each registration's own as context, which
    /// [`FinalizerOptions::context`](crate::FinalizerOptions::context) gives it.
    pub fn from_rust_with_word(
        signature: Signature,
        finalizer: impl Fn(&mut Mutator, Finalized<'_>, u64) + Send + Sync + 'static,
    ) -> FinalizerFn {
        let body = Arc::new(Closure(finalizer));
        FinalizerFn::of_rust(Some(signature), ContextKind::Word, body)
    }

    /// As [`from_rust`](Self::from_rust), with an object of each registration's own as context: a
    /// closure of the VM's, which the one Rust closure calls. It is the second object that the
    /// finalizer is called with. `pointer` and the rest are as for
    /// [`context_object`](crate::function::FunctionBuilder::context_object).
    ///
    /// ```
    /// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use fing::stubs::signature::Type;
    /// use fing::{Executor, FinalizerFn, FinalizerOptions, HeldValue, Runtime};
    ///
    /// let runtime = Runtime::builder().executor(Executor::Inline).build()?;
    /// let value = runtime.types().define("main.Value", "struct { N uint64 }")?;
    /// let signature = runtime.types().parse_signature("func(*main.Value)")?;
    /// let sum = Arc::new(AtomicU64::new(0));
    /// let total = sum.clone();
    /// let call = FinalizerFn::from_rust_with_object(
    ///     signature,
    ///     Type::unsafe_pointer(),
    ///     move |mutator, object, closure| {
    ///         let [object, closure] = [object, closure].map(|of| of.get(mutator).unwrap());
    ///         let load = |of| mutator.load_word(of, 0).unwrap();
    ///         total.fetch_add(load(object) * load(closure), Ordering::Relaxed);
    ///     },
    /// );
    /// runtime.enter(|mutator| {
    ///     for n in 1..=10 {
    ///         let (object, closure) = (mutator.alloc(value)?, mutator.alloc(value)?);
    ///         mutator.store_word(object, 0, n)?;
    ///         mutator.store_word(closure, 0, 100)?;
    ///         let options = FinalizerOptions::new().context(HeldValue::Object(closure));
    ///         mutator.set_finalizer_with(object, &call, options)?;
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// runtime.gc()?;
    /// runtime.run_finalizers()?;
    /// assert_eq!(sum.load(Ordering::Relaxed), 5500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_rust_with_object(
        signature: Signature,
        pointer: Type,
        finalizer: impl Fn(&mut Mutator, Finalized<'_>, Finalized<'_>) + Send + Sync + 'static,
    ) -> FinalizerFn {
        let body = Closure(
            move |mutator: &mut Mutator, object: Finalized<'_>, context| {
                let context = Finalized {
                    addr: context as usize,
                    inside: false,
                    ..object
                };
                finalizer(mutator, object, context);
            },
        );
        FinalizerFn::of_rust(
            Some(signature),
            ContextKind::Object(pointer),
            Arc::new(body),
        )
    }

    /// As [`from_rust`](Self::from_rust), for objects of every type.
    pub fn from_rust_of_any_object(
        finalizer: impl Fn(&mut Mutator, Finalized<'_>) + Send + Sync + 'static,
    ) -> FinalizerFn {
        let body = Closure(move |mutator: &mut Mutator, object: Finalized<'_>, _| {
            finalizer(mutator, object);
        });
        FinalizerFn::of_rust(None, ContextKind::Mutator, Arc::new(body))
    }
}

impl Mutator {
    /// As [`adopt`](Self::adopt), without looking the address up: for functions that are lent the
    /// mutator and were called with their object.
    ///
    /// # Safety
    /// An object of this mutator's runtime starts at `addr`, and is not freed while the result
    /// exists. That holds for the object that a finalizer is called with until it returns, unless
    /// it was set for a pointer into the object.
    #[inline]
    pub unsafe fn adopt_unchecked(&self, addr: usize) -> Obj<'_> {
        debug_assert!(self.adopt(addr).is_ok());
        Obj::at(addr)
    }
}

/// A mutator on its way from call to call.
struct LentMutator {
    mutator: Mutator,
    space: Arc<Space>,
    slot: Arc<Slot>,
    /// What the thread has beside it.
    members: Members,
    changes: u64,
    /// Whether every safepoint collects.
    stressed: bool,
}

impl LentMutator {
    fn new(mutator: Mutator) -> LentMutator {
        LentMutator {
            space: mutator.space().clone(),
            slot: mutator.member().slot().clone(),
            members: Members::here(),
            changes: threads::changes(),
            stressed: mutator.space().heap().is_stressed(),
            mutator,
        }
    }

    /// Called between two calls: lets a collection happen that waits for this thread. Returns false
    /// if the last call did not leave the mutators of this thread as it found them.
    #[inline]
    fn may_go_on(&mut self) -> bool {
        let usual = self.is_own() && threads::changes() == self.changes && self.slot.runs_on();
        usual && !self.stressed || self.may_go_on_slowly()
    }

    /// If nothing but an interruption needs to be looked at between two calls, has these be
    /// interrupted until the result is dropped. That holds if the thread runs with no other
    /// mutator: then none can take the place of this one before one was made or resumed, which
    /// interrupts them.
    fn interrupts(&self, calls: Option<Arc<Turn>>) -> Option<Interruptible> {
        let calls = calls.filter(|_| !self.stressed && self.members.run_alone(&self.slot))?;
        Some(self.space.world().interrupts(&self.slot, calls))
    }

    #[cold]
    fn may_go_on_slowly(&mut self) -> bool {
        // Mutators may have come and gone.
        self.changes = threads::changes();
        if !self.is_own() || self.members.has_later() {
            return false;
        }
        self.mutator.safepoint();
        true
    }
}

impl Lent for LentMutator {
    fn call_each(&mut self, calls: &mut StubCalls<'_, '_>) {
        // The address is taken anew each time, as using the mutator makes it invalid.
        if let Some(_interruptible) = self.interrupts(calls.interruptible()) {
            while calls.begin() && self.may_go_on() {
                calls.run((&raw mut self.mutator).expose_provenance());
            }
            return;
        }
        while calls.call_next((&raw mut self.mutator).expose_provenance()) && self.may_go_on() {}
    }

    #[inline]
    fn is_own(&self) -> bool {
        Arc::ptr_eq(self.mutator.member().slot(), &self.slot)
    }
}

impl Lender for Shared {
    fn lend(&self, body: &mut dyn FnMut(&mut dyn Lent)) -> Result<(), NotLent> {
        let gone = || NotLent("the last handle of the runtime was dropped".to_owned());
        let runtime = self.runtime().ok_or_else(gone)?;
        let mutator = {
            // It is the goroutine's, not of a call.
            let _no_call = threads::calling(None);
            Mutator::nested(&runtime, Join::EnterForCalls)
        };
        let mutator = mutator.map_err(|refusal| NotLent(refusal.to_string()))?;
        body(&mut LentMutator::new(mutator));
        Ok(())
    }
}
