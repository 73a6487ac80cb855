//! How objects of an arena are named, and traced.

use fing::foreign::Reference;
use gc_arena::collect::Trace;
use gc_arena::{Gc, Mutation};

/// An object of an arena: the address that `Gc::as_ptr` returns, which is what finalizers are
/// called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object(usize);

impl Object {
    /// The object of a pointer.
    pub fn of<T: ?Sized>(pointer: Gc<'_, T>) -> Object {
        Object(Gc::as_ptr(pointer).expose_provenance())
    }

    /// A pointer to the object.
    ///
    /// # Safety
    /// The object is one of the arena that is being mutated, has not been freed, and is a `T`.
    pub unsafe fn pointer<'gc, T: 'gc>(self, _: &Mutation<'gc>) -> Gc<'gc, T> {
        // SAFETY: the caller's promise; the address is one of `Gc::as_ptr`.
        unsafe { Gc::from_ptr(std::ptr::with_exposed_provenance(self.0)) }
    }
}

impl Reference for Object {
    fn to_word(self) -> u64 {
        self.0 as u64
    }

    fn from_word(word: u64) -> Self {
        Object(word as usize)
    }
}

/// How to trace any object of an arena, of which only the address is known.
///
/// For an arena whose objects are all of one type:
///
/// ```
/// use fing_gc_arena::Objects;
/// use gc_arena::collect::{DynCollect, Trace};
/// use gc_arena::{Collect, Gc};
///
/// #[derive(Collect)]
/// #[collect(no_drop)]
/// struct Node<'gc> {
///     next: Option<Gc<'gc, Node<'gc>>>,
/// }
///
/// struct Nodes;
///
/// // SAFETY: a `Node` refers to other ones only.
/// unsafe impl Objects for Nodes {
///     unsafe fn trace<'gc>(object: Gc<'gc, ()>, visitor: &mut dyn Trace<'gc>) {
///         // SAFETY: the object is a `Node`.
///         let node = unsafe { Gc::cast::<Node<'gc>>(object) };
///         node.as_ref().dyn_trace(visitor);
///     }
/// }
/// ```
///
/// # Safety
/// `trace` must be able to trace each object that can be reached from an object with a finalizer,
/// and these objects themselves. It visits what the object's `Collect::trace` visits.
pub unsafe trait Objects: 'static {
    /// Traces what the object refers to. (`gc.trace(..)` on a pointer visits the object itself:
    /// that is the pointer's own `Collect`.)
    ///
    /// # Safety
    /// The object is alive, has a finalizer, or was visited by this function.
    unsafe fn trace<'gc>(object: Gc<'gc, ()>, visitor: &mut dyn Trace<'gc>);
}
