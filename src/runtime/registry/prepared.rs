//! Finalizers that are checked once, for all objects of a type.
#![forbid(unsafe_code)]

use std::sync::Arc;

use fing_stubs::Type;

use super::{Registry, SetFinalizerError, shape_id};
use crate::calls::executor::Closed;
use crate::calls::function::FinalizerFn;
use crate::calls::options::{Handling, HeldValue};
use crate::calls::queue::CallStage;
use crate::heap::{Heap, SetId, TypedId};
use crate::runtime::collect::Space;
use crate::runtime::known::ContextCheck;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::types::{TypeDesc, TypeId};

/// A finalizer that was checked for all objects of one type, by
/// [`Runtime::prepare_finalizer`](crate::Runtime::prepare_finalizer). Setting it for an object
/// looks nothing up and takes no lock.
///
/// ```
/// # use fing::{Abi, FinalizerFn, Runtime};
/// extern "C" fn close(_file: *const u64) {}
///
/// let runtime = Runtime::new()?;
/// let file = runtime.types().define("main.File", "struct { FD int }")?;
/// let signature = runtime.types().parse_signature("func(*main.File)")?;
/// // SAFETY: `close` is a C function of one pointer.
/// let close = unsafe {
///     FinalizerFn::builder(signature, Abi::host_native()?).at(close as *const ())
/// };
/// let close = runtime.prepare_finalizer(file, &close)?;
///
/// let mutator = runtime.attach()?;
/// for _ in 0..1000 {
///     close.set(mutator.alloc(file)?)?;
/// }
/// assert_eq!(runtime.stats().finalizers, 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An [`Obj`] can only exist while its thread runs with a mutator of the object's runtime, so these
/// functions take no mutator.
///
/// The function is kept as long as a clone of this exists, an object has the finalizer, or a call
/// of it is queued; a later collection releases it.
#[derive(Clone)]
pub struct PreparedFinalizer(Arc<Inner>);

struct Inner {
    registry: Arc<Registry>,
    space: Arc<Space>,
    function: FinalizerFn,
    /// Of the objects. It names their type.
    desc: Arc<TypeDesc>,
    shape: u32,
    id: TypedId,
    context: ContextCheck,
    /// Of the contexts, if these are of one type: the check is for its address.
    _context_desc: Option<Arc<TypeDesc>>,
}

impl PreparedFinalizer {
    /// Returns the type of the objects it can be set for.
    pub fn ty(&self) -> TypeId {
        self.0.desc.id()
    }

    /// Returns the function it was prepared from.
    pub fn function(&self) -> &FinalizerFn {
        &self.0.function
    }

    #[inline]
    fn heap(&self) -> &Heap {
        self.0.space.heap()
    }

    /// Whether this thread may touch objects. It does as it has an [`Obj`], unless that is one of a
    /// mutator that was revoked.
    #[inline]
    fn may_touch(&self) -> bool {
        !self.heap().must_look_up() || self.0.space.world().is_running_here()
    }

    /// Sets it as the finalizer of `object`, as
    /// [`Mutator::set_finalizer`](crate::Mutator::set_finalizer) would. Of threads that set
    /// finalizers of one object at the same time, one succeeds, and the others get
    /// [`SetFinalizerError::AlreadySet`]. Objects without size never die, so nothing is done for
    /// them.
    ///
    /// # Errors
    /// The object has a finalizer, shares a block, or is of another type or runtime; the function
    /// takes a context per registration; or the backlog exceeds a bound that
    /// [refuses](crate::executor::BacklogAction::Refuse). Nothing is changed then.
    #[inline]
    pub fn set(&self, object: Obj<'_>) -> Result<(), SetFinalizerError> {
        if self.0.context == ContextCheck::None
            && self.may_touch()
            && self.0.registry.gate.is_open()
            && self.0.registry.is_unpressed()
            && self.heap().set_id(object.addr(), &self.0.id, None) == SetId::Set
        {
            return Ok(());
        }
        self.check_and_set(object, None)
    }

    /// As [`set`](Self::set), with a context of this registration.
    ///
    /// # Errors
    /// Those of [`set`](Self::set), except that the context must be what the function was declared
    /// to take.
    #[inline]
    pub fn set_with(
        &self,
        object: Obj<'_>,
        context: HeldValue<Obj<'_>>,
    ) -> Result<(), SetFinalizerError> {
        if self.may_touch()
            && self.0.registry.gate.is_open()
            && self.0.registry.is_unpressed()
            && let Ok(word) = self.0.context.word(self.heap(), Some(context))
            && self.heap().set_id(object.addr(), &self.0.id, word) == SetId::Set
        {
            return Ok(());
        }
        self.check_and_set(object, Some(context))
    }

    /// As [`set_with`](Self::set_with), for the object that starts at an address, which is looked
    /// up: for VMs whose programs have addresses.
    ///
    /// ```
    /// # use fing::{Abi, FinalizerFn, HeldValue, Runtime};
    /// extern "C" fn close(file: *const u64, descriptor: u64) {
    ///     println!("{descriptor} of the file at {file:p}");
    /// }
    ///
    /// let runtime = Runtime::new()?;
    /// let file = runtime.types().define("main.File", "struct { FD int }")?;
    /// let signature = runtime.types().parse_signature("func(*main.File)")?;
    /// let builder = FinalizerFn::builder(signature, Abi::host_native()?).context_word();
    /// // SAFETY: `close` is a C function of a pointer and the word of a context.
    /// let close = unsafe { builder.at(close as *const ()) };
    /// let close = runtime.prepare_finalizer(file, &close)?;
    ///
    /// let mutator = runtime.attach()?;
    /// let at = mutator.alloc(file)?.addr();
    /// close.set_at(&mutator, at, HeldValue::Word(3))?;
    /// assert!(close.set_at(&mutator, at + 1, HeldValue::Word(3)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`set_with`](Self::set_with), and
    /// [`NotInHeap`](SetFinalizerError::NotInHeap) if no object of the mutator's runtime starts
    /// there.
    #[inline]
    pub fn set_at(
        &self,
        mutator: &Mutator,
        addr: usize,
        context: HeldValue<Obj<'_>>,
    ) -> Result<(), SetFinalizerError> {
        if Arc::ptr_eq(mutator.space(), &self.0.space)
            && self.0.registry.gate.is_open()
            && self.0.registry.is_unpressed()
            && let Ok(word) = self.0.context.word(self.heap(), Some(context))
            && self.heap().set_id_at(addr, &self.0.id, word) == SetId::Set
        {
            return Ok(());
        }
        let object = mutator.adopt(addr);
        let not_in_heap = |_| SetFinalizerError::NotInHeap {
            object: Type::unsafe_pointer(),
            addr,
        };
        self.check_and_set(object.map_err(not_in_heap)?, Some(context))
    }

    /// Sets it as the finalizer of every object of the type, from its allocation on. This costs no
    /// time, and a bit of memory, for each object. It is meant for types all of whose objects have
    /// a finalizer, such as files. It can be cleared for an object, and an object that it has run
    /// for can have another one set. The function is kept as long as the runtime lives.
    ///
    /// # Errors
    /// An object of the type was made before, or the type has such a finalizer already, or its
    /// objects share blocks or are of several sizes, or the function takes a context per
    /// registration.
    pub fn set_for_all(&self) -> Result<(), SetFinalizerError> {
        let inner = &*self.0;
        Closed::check(&inner.registry.gate).map_err(SetFinalizerError::Closed)?;
        if inner.context != ContextCheck::None {
            let function = inner.function.function();
            return Err(SetFinalizerError::no_context(function));
        }
        let desc = &*inner.desc;
        let ty = || desc.ty().clone();
        if self.heap().is_tiny(desc) {
            return Err(SetFinalizerError::Tiny { ty: ty() });
        }
        if desc.tail().is_some() {
            return Err(SetFinalizerError::Sizes { ty: ty() });
        }
        if desc.size() > 0 && !self.heap().imply(desc, shape_id(inner.shape)) {
            return Err(SetFinalizerError::HasObjects { ty: ty() });
        }
        // From now on the type stays, and keeps the function. Until here `self` does both.
        desc.keep();
        inner.registry.keep_for_ever(inner.function.function());
        Ok(())
    }

    /// Removes it from `object`, or cancels its call, as
    /// [`Mutator::clear_finalizer`](crate::Mutator::clear_finalizer) does. A finalizer of another
    /// function is left. Of threads that remove it from one object at the same time, one is told
    /// that it was registered.
    ///
    /// # Errors
    /// The object is of another type or runtime.
    #[inline]
    pub fn clear(&self, object: Obj<'_>) -> Result<CallStage, SetFinalizerError> {
        if !self.may_touch() {
            return Err(not_here(object));
        }
        match self.heap().take_this_id(object.addr(), &self.0.id) {
            Some(true) => {
                self.0.registry.forget_cycle(object.addr());
                Ok(CallStage::Registered)
            }
            Some(false) => {
                let own = |shape| shape == self.0.shape;
                Ok(self.0.registry.cancel_finalizer(object.addr(), own))
            }
            None => self.explain_type(object).map(|()| CallStage::Done),
        }
    }

    /// Makes all checks that the fast path makes, tries again, and says what is wrong. `Ok` if it
    /// is set, or the object has no size.
    #[cold]
    fn check_and_set(
        &self,
        object: Obj<'_>,
        context: Option<HeldValue<Obj<'_>>>,
    ) -> Result<(), SetFinalizerError> {
        if !self.may_touch() {
            return Err(not_here(object));
        }
        Closed::check(&self.0.registry.gate).map_err(SetFinalizerError::Closed)?;
        let registry = &self.0.registry;
        registry.pressure.admit(&registry.queue)?;
        let function = self.0.function.function();
        let word = registry.check_context(&self.0.space, function, self.0.context, context)?;
        if self.heap().set_id(object.addr(), &self.0.id, word) == SetId::Set {
            return Ok(());
        }
        self.explain_type(object)?;
        if object.addr() == self.heap().zero() {
            return Ok(());
        }
        let types = self.0.space.types();
        let pointer = types.pointer_to(self.0.desc.id());
        let pointer = pointer.and_then(|pointer| types.desc(pointer));
        Err(SetFinalizerError::AlreadySet {
            object: pointer.map_or_else(|_| Type::unsafe_pointer(), |desc| desc.ty().clone()),
            addr: object.addr(),
        })
    }

    /// Finds out what is wrong with the object's type. `Ok` if nothing is, or if the object has no
    /// size.
    #[cold]
    fn explain_type(&self, object: Obj<'_>) -> Result<(), SetFinalizerError> {
        let (addr, heap) = (object.addr(), self.heap());
        let own = &*self.0.desc;
        let found = heap.type_at(addr).map_err(|_| not_here(object))?;
        if addr == heap.zero() {
            return Ok(());
        }
        if heap.is_tiny(own) {
            return Err(SetFinalizerError::Tiny {
                ty: own.ty().clone(),
            });
        }
        if own.id() != found.id() {
            return Err(SetFinalizerError::OtherType {
                addr,
                found: found.ty().clone(),
                wanted: own.ty().clone(),
            });
        }
        Ok(())
    }
}

fn not_here(object: Obj<'_>) -> SetFinalizerError {
    SetFinalizerError::NotInHeap {
        object: Type::unsafe_pointer(),
        addr: object.addr(),
    }
}

impl std::fmt::Debug for PreparedFinalizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedFinalizer")
            .field("ty", &self.0.desc.id())
            .field("function", &self.0.function)
            .finish_non_exhaustive()
    }
}

impl Registry {
    pub(crate) fn prepare(
        self: &Arc<Self>,
        space: &Arc<Space>,
        ty: TypeId,
        finalizer: &FinalizerFn,
        handling: Handling,
    ) -> Result<PreparedFinalizer, SetFinalizerError> {
        let types = space.types();
        let unknown = SetFinalizerError::ObjectType;
        let desc = types.desc(ty).map_err(unknown)?;
        let pointer = types.pointer_to(ty).map_err(unknown)?;
        let function = finalizer.function();
        let (context, context_desc) = self.context_check(space, function)?;
        let shape = self.shape_for(space, pointer, function, handling)?;
        Ok(PreparedFinalizer(Arc::new(Inner {
            registry: self.clone(),
            space: space.clone(),
            function: finalizer.clone(),
            shape,
            id: TypedId::new(&desc, shape_id(shape), super::is_traced(function)),
            context,
            desc,
            _context_desc: context_desc,
        })))
    }
}
