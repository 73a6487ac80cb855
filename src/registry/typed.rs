//! Finalizers of one type's objects: checked once, then attached by two stores.
#![forbid(unsafe_code)]

use std::sync::Arc;

use fing_stubs::Type;

use super::{Registry, SetFinalizerError, prepared_id};
use crate::collect::Space;
use crate::collector::CyclePolicy;
use crate::finalizer::FinalizerFn;
use crate::heap::TypedId;
use crate::mutator::{Mutator, Obj};
use crate::shapes::Manner;
use crate::types::TypeId;

/// A finalizer that was checked for all objects of one type, for
/// [`Runtime::prepare_finalizer`](crate::Runtime::prepare_finalizer). Attaching it to an object looks nothing up and
/// takes no lock.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// # use fing::{Abi, FinalizerFn, Runtime};
/// extern "C" fn close(_file: *const u64) {}
///
/// let runtime = Runtime::new()?;
/// let file = runtime.types().define("main.File", "struct { FD int }")?;
/// let signature = runtime.types().parse_signature("func(*main.File)")?;
/// // SAFETY: `close` is a System V function of one pointer.
/// let close = unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(close as *const ()) };
/// let close = runtime.prepare_finalizer(file, &close)?;
///
/// let mutator = runtime.attach()?;
/// for _ in 0..1000 {
///     close.attach(&mutator, mutator.alloc(file)?)?;
/// }
/// assert_eq!(runtime.stats().finalizers, 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The function is kept as long as a clone of this exists, an object has the finalizer, or a call of it is queued; it is
/// given back by a collection.
#[derive(Clone)]
pub struct TypeFinalizer(Arc<Inner>);

struct Inner {
    registry: Arc<Registry>,
    space: Arc<Space>,
    function: FinalizerFn,
    ty: TypeId,
    shape: u32,
    id: TypedId,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.registry.shapes.release_uncounted(self.shape);
    }
}

/// Why a finalizer was not attached or detached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The mutator is of another runtime than the finalizer.
    #[error("attach: the mutator belongs to another runtime, wanted one of the finalizer's")]
    ForeignMutator,
    /// The object is of another runtime.
    #[error("attach: the object at {addr:#x} is in no heap of this runtime")]
    NotInHeap {
        /// Its address.
        addr: usize,
    },
    /// The finalizer was prepared for objects of another type.
    #[error("attach: the object at {addr:#x} is a {found}, wanted a {wanted}")]
    OtherType {
        /// Its address.
        addr: usize,
        /// Its type.
        found: Type,
        /// The finalizer's.
        wanted: Type,
    },
    /// The object has a finalizer already.
    #[error("attach: the {ty} at {addr:#x} has a finalizer, wanted one without")]
    AlreadySet {
        /// The object's type.
        ty: Type,
        /// Its address.
        addr: usize,
    },
    /// Objects of the type share blocks with others, as the heap was told to ([`HeapOptions::tiny`](crate::HeapOptions::tiny)).
    #[error("attach: values of type {ty} share blocks in this heap, wanted set_finalizer for them")]
    Tiny {
        /// The type.
        ty: Type,
    },
    /// There are objects of the type already, or it has another finalizer for all of them.
    #[error(
        "attach: the type {ty} has objects or a finalizer for all of them, wanted a type without either"
    )]
    HasObjects {
        /// The type.
        ty: Type,
    },
}

impl AttachError {
    /// What Go's runtime says in its place, word for word; `None` where Go has no such check.
    pub fn go_text(&self) -> Option<&'static str> {
        match self {
            Self::AlreadySet { .. } => Some("runtime.SetFinalizer: finalizer already set"),
            Self::NotInHeap { .. } => Some("runtime.SetFinalizer: pointer not in allocated block"),
            _ => None,
        }
    }
}

impl TypeFinalizer {
    /// The type of the objects it is for.
    pub fn ty(&self) -> TypeId {
        self.0.ty
    }

    /// The function.
    pub fn function(&self) -> &FinalizerFn {
        &self.0.function
    }

    /// Sets it as the finalizer of `object`. Objects without size never die, so nothing is done for them.
    ///
    /// Two threads that set finalizers of one object at the same time must agree on who is first: one of them sets it,
    /// and the other may not be told that it did not. ([`Runtime::set_finalizer`](crate::Runtime::set_finalizer) always
    /// tells.)
    ///
    /// # Errors
    /// The object has a finalizer, shares a block, or is of another type or runtime; the mutator is of another runtime.
    /// Nothing was changed then.
    #[inline]
    pub fn attach(&self, mutator: &Mutator, object: Obj<'_>) -> Result<(), AttachError> {
        let inner = &*self.0;
        if Arc::ptr_eq(mutator.space(), &inner.space)
            && inner.space.heap().attach_at_once(object.addr(), &inner.id)
        {
            return Ok(());
        }
        self.attach_slowly(mutator, object)
    }

    #[cold]
    fn attach_slowly(&self, mutator: &Mutator, object: Obj<'_>) -> Result<(), AttachError> {
        let inner = &*self.0;
        if Arc::ptr_eq(mutator.space(), &inner.space)
            && inner.space.heap().attach(object.addr(), &inner.id) == Some(true)
        {
            return Ok(());
        }
        self.explain(mutator, object)
    }

    /// Sets it as the finalizer of every object of the type, from the moment that it is made: at no cost, in time or
    /// memory, but a bit. For types whose objects are never without, as files are. It can be detached from an object, and
    /// an object that it has run for can have another one set.
    ///
    /// # Errors
    /// An object of the type was made before, or the type has such a finalizer already, or its objects share blocks.
    pub fn attach_to_all(&self) -> Result<(), AttachError> {
        let (inner, registry) = (&*self.0, &self.0.registry);
        let types = inner.space.types();
        let has_objects = |ty: Type| AttachError::HasObjects { ty };
        let desc = types
            .desc(inner.ty)
            .map_err(|_| has_objects(Type::unsafe_pointer()))?;
        if inner.space.heap().is_tiny(desc) {
            return Err(AttachError::Tiny {
                ty: desc.ty().clone(),
            });
        }
        if desc.size() > 0 && !inner.space.heap().imply(desc, prepared_id(inner.shape)) {
            return Err(has_objects(desc.ty().clone()));
        }
        // One use that is never given back: the type has the function as long as the runtime lives.
        registry.shapes.retain_uncounted(inner.shape);
        Ok(())
    }

    /// Takes it away from `object` again. `false`: the object has none, or another one.
    ///
    /// Of threads that do this to one object at the same time, several may be told that it was they.
    ///
    /// # Errors
    /// The object is of another type or runtime; the mutator is of another runtime.
    #[inline]
    pub fn detach(&self, mutator: &Mutator, object: Obj<'_>) -> Result<bool, AttachError> {
        let inner = &*self.0;
        if Arc::ptr_eq(mutator.space(), &inner.space)
            && inner.space.heap().detach_at_once(object.addr(), &inner.id)
        {
            return Ok(true);
        }
        self.detach_slowly(mutator, object)
    }

    #[cold]
    fn detach_slowly(&self, mutator: &Mutator, object: Obj<'_>) -> Result<bool, AttachError> {
        let inner = &*self.0;
        if Arc::ptr_eq(mutator.space(), &inner.space)
            && let Some(detached) = inner.space.heap().detach(object.addr(), &inner.id)
        {
            return Ok(detached);
        }
        self.explain(mutator, object).map(|()| false)
    }

    /// What was wrong. `Ok`: the object has no size.
    #[cold]
    fn explain(&self, mutator: &Mutator, object: Obj<'_>) -> Result<(), AttachError> {
        let addr = object.addr();
        if !Arc::ptr_eq(mutator.space(), &self.0.space) {
            return Err(AttachError::ForeignMutator);
        }
        let not_here = |_| AttachError::NotInHeap { addr };
        let found = mutator.type_of(object).map_err(not_here)?;
        let own = mutator.types().desc(self.0.ty).ok();
        match own {
            _ if addr == self.0.space.heap().zero() => Ok(()),
            Some(own) if self.0.space.heap().is_tiny(own) => Err(AttachError::Tiny {
                ty: own.ty().clone(),
            }),
            Some(own) if own.id() != found.id() => Err(AttachError::OtherType {
                addr,
                found: found.ty().clone(),
                wanted: own.ty().clone(),
            }),
            _ => Err(AttachError::AlreadySet {
                ty: found.ty().clone(),
                addr,
            }),
        }
    }
}

impl std::fmt::Debug for TypeFinalizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypeFinalizer")
            .field("ty", &self.0.ty)
            .field("function", &self.0.function)
            .finish_non_exhaustive()
    }
}

impl Registry {
    pub(crate) fn prepare(
        self: &Arc<Self>,
        space: &Arc<Space>,
        ty: TypeId,
        function: &FinalizerFn,
    ) -> Result<TypeFinalizer, SetFinalizerError> {
        let types = space.types();
        let foreign = SetFinalizerError::ObjectType;
        let desc = types.desc(ty).map_err(foreign)?;
        let pointer = types.pointer_to(ty).map_err(foreign)?;
        let argument = self.argument(space, pointer, function)?;
        let manner = Manner::of(function, CyclePolicy::default());
        let shape = self
            .shapes
            .acquire_uncounted(function, argument, manner, &self.stubs)?;
        Ok(TypeFinalizer(Arc::new(Inner {
            registry: self.clone(),
            space: space.clone(),
            function: function.clone(),
            ty,
            shape,
            id: TypedId::new(desc, prepared_id(shape)),
        })))
    }
}
