//! Objects of many types in one arena.

use std::fmt;
use std::ops::Deref;

use gc_arena::barrier::{Unlock, Write};
use gc_arena::collect::{DynCollect, Trace};
use gc_arena::{Collect, Gc, Mutation};

/// Traces an object whose type is known only where it was made.
type TraceFn<'gc> = unsafe fn(Gc<'gc, ()>, &mut dyn Trace<'gc>);

/// A value of any type behind a word that says how it is traced. If all objects of an arena are
/// such values, its [`Objects::trace`](crate::Objects::trace) is [`Typed::trace_any`].
///
/// A finalizer is called with the address of this, not of the value in it.
#[repr(C)]
pub struct Typed<'gc, T> {
    trace: TraceFn<'gc>,
    value: T,
}

impl<'gc, T: Collect<'gc> + 'gc> Typed<'gc, T> {
    /// Allocates a value.
    pub fn alloc(mc: &Mutation<'gc>, value: T) -> Gc<'gc, Typed<'gc, T>> {
        let trace: TraceFn<'gc> = |object, visitor| {
            // SAFETY: this is called with the object that it was stored in.
            let object = unsafe { Gc::cast::<Typed<'gc, T>>(object) };
            object.as_ref().value.dyn_trace(visitor);
        };
        Gc::new(mc, Typed { trace, value })
    }

    /// The value in an object, for [`Write::unlock`] and the like.
    pub fn value(object: &Write<Self>) -> &Write<T> {
        // SAFETY: the value is a part of the object, whose barrier was triggered.
        unsafe { Write::assume(&object.value) }
    }
}

impl<'gc> Typed<'gc, ()> {
    /// Traces what an object refers to.
    ///
    /// # Safety
    /// The object is alive, and a `Typed` value of whatever type.
    pub unsafe fn trace_any(object: Gc<'gc, ()>, visitor: &mut dyn Trace<'gc>) {
        // SAFETY: each `Typed` value has this word first.
        unsafe {
            let trace = *Gc::as_ptr(object).cast::<TraceFn<'gc>>();
            trace(object, visitor);
        }
    }
}

// SAFETY: the value has all the pointers that there are.
unsafe impl<'gc, T: Collect<'gc>> Collect<'gc> for Typed<'gc, T> {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;

    fn trace<C: Trace<'gc>>(&self, visitor: &mut C) {
        self.value.trace(visitor);
    }
}

impl<T> Deref for Typed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Unlock> Unlock for Typed<'_, T> {
    type Unlocked = T::Unlocked;

    unsafe fn unlock_unchecked(&self) -> &T::Unlocked {
        // SAFETY: the value is a part of the object, whose barrier the caller has triggered.
        unsafe { self.value.unlock_unchecked() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Typed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
