//! A finalizer that was checked once, for any number of a foreign collector's objects.
#![expect(
    unsafe_code,
    reason = "declares the unsafe function that trusts a reference; contains no unsafe block"
)]

use std::sync::Arc;

use super::entry::Kind;
use super::table::{Registration, Table};
use super::{Finalizers, RegisterError, error};
use crate::calls::function::FinalizerFn;
use crate::calls::options::{Handling, HeldValue};
use crate::calls::queue::CallStage;
use crate::order::{CyclePolicy, Reference};

/// How many objects are handled under one lock.
const AT_ONCE: usize = 64;

/// A finalizer that [`Finalizers::prepare_finalizer`] has checked. Setting it for an object takes
/// one lock and looks nothing up but the object.
///
/// ```
/// # use fing::{Abi, CyclePolicy, FinalizerFn, foreign::Finalizers};
/// extern "C" fn close(_file: usize) {}
///
/// let finalizers = Finalizers::<usize>::new()?;
/// let signature = "func(uintptr)".parse()?;
/// // SAFETY: `close` is a C function of one word.
/// let close = unsafe {
///     FinalizerFn::builder(signature, Abi::host_native()?).at(close as *const ())
/// };
/// let close = finalizers.prepare_finalizer(&close, CyclePolicy::default())?;
///
/// for object in (0x1000..0x9000).step_by(32) {
///     // SAFETY: `close` does not follow its argument.
///     unsafe { close.set(object)? };
/// }
/// assert!(close.clear(0x1000).is_cancelled());
/// assert!(!close.clear(0x1000).is_cancelled());
/// assert_eq!(finalizers.stats().finalizers, 1023);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The function is kept as long as a clone of this exists, an object has the finalizer, or a call
/// of it is queued; a later [`Finalizers::finish`] releases it. A clone is a handle to the table,
/// as [`Finalizers`] is.
pub struct PreparedFinalizer<R: Reference>(Arc<Inner<R>>);

struct Inner<R: Reference> {
    finalizers: Finalizers<R>,
    function: FinalizerFn,
    cycle: CyclePolicy,
    shape: u32,
}

impl<R: Reference> Inner<R> {
    #[inline]
    fn registration(&self, object: R, context: Option<HeldValue<R>>) -> Registration<R> {
        Registration {
            kind: Kind::Finalizer,
            watches: false,
            object,
            shape: self.shape,
            held: context,
            policy: self.cycle,
        }
    }

    fn check_context(
        &self,
        context: Option<HeldValue<R>>,
    ) -> Result<Option<HeldValue<R>>, RegisterError> {
        error::check_context(self.function.function(), context)
    }
}

#[cold]
fn already_set<R: Reference>(object: R) -> RegisterError {
    RegisterError::AlreadySet {
        word: object.to_word(),
    }
}

impl<R: Reference> Clone for PreparedFinalizer<R> {
    fn clone(&self) -> Self {
        PreparedFinalizer(self.0.clone())
    }
}

impl<R: Reference> PreparedFinalizer<R> {
    pub(super) fn new(
        finalizers: &Finalizers<R>,
        function: &FinalizerFn,
        handling: Handling,
    ) -> Result<PreparedFinalizer<R>, RegisterError> {
        let parts = function.function();
        let argument = error::check(parts)?;
        let shape = finalizers.shape(parts, argument, handling)?;
        Ok(PreparedFinalizer(Arc::new(Inner {
            finalizers: finalizers.clone(),
            function: function.clone(),
            cycle: handling.cycle,
            shape,
        })))
    }

    /// The finalizer that was prepared.
    pub fn function(&self) -> &FinalizerFn {
        &self.0.function
    }

    /// Sets it as the finalizer of `object`.
    ///
    /// # Safety
    /// Those of [`Finalizers::set_finalizer`], for the object.
    ///
    /// # Errors
    /// The object has a finalizer already, the function takes a context per registration, or
    /// nothing is finalized any more. Nothing is changed then.
    #[inline]
    pub unsafe fn set(&self, object: R) -> Result<(), RegisterError> {
        self.add(object, None)
    }

    /// Sets it as the finalizer of `object`, with a context of this registration.
    ///
    /// # Safety
    /// Those of [`Finalizers::set_finalizer`], for the object, and for a context that is an object.
    ///
    /// # Errors
    /// The object has a finalizer already, or the context is not what the function was declared to
    /// take. Nothing is changed then.
    #[inline]
    pub unsafe fn set_with(&self, object: R, context: HeldValue<R>) -> Result<(), RegisterError> {
        self.add(object, Some(context))
    }

    #[inline]
    fn add(&self, object: R, context: Option<HeldValue<R>>) -> Result<(), RegisterError> {
        let inner = &*self.0;
        inner.finalizers.admit()?;
        let context = inner.check_context(context)?;
        let mut table = inner.finalizers.shared.table.lock();
        match table.add(inner.registration(object, context)) {
            Some(_) => Ok(()),
            None => Err(already_set(object)),
        }
    }

    /// Sets it as the finalizer of each of the objects, in order. This is faster than setting one
    /// after the other, as many objects are handled under one lock.
    ///
    /// # Safety
    /// Those of [`Finalizers::set_finalizer`], for each object.
    ///
    /// # Errors
    /// An object has a finalizer already, or the function takes a context per registration. The
    /// objects before that one have this finalizer then, and those after it are unchanged.
    pub unsafe fn set_all(&self, objects: &[R]) -> Result<(), RegisterError> {
        let inner = &*self.0;
        inner.finalizers.admit()?;
        let context = inner.check_context(None)?;
        for some in objects.chunks(AT_ONCE) {
            let mut table = inner.finalizers.shared.table.lock();
            table.expect(Kind::Finalizer, some);
            for &object in some {
                let added = table.add(inner.registration(object, context));
                added.ok_or_else(|| already_set(object))?;
            }
        }
        Ok(())
    }

    /// Removes it from `object`, or cancels its call, as
    /// [`Finalizers::clear_finalizer`] does. A finalizer of another function is left.
    #[inline]
    pub fn clear(&self, object: R) -> CallStage {
        let inner = &*self.0;
        let registered = |table: &mut Table<R>| table.clear_if(object, inner.shape);
        let allowed = |shape| shape == inner.shape;
        inner
            .finalizers
            .shared
            .clear_finalizer(object, registered, allowed)
    }

    /// Removes it from each of the objects for which it is registered, and returns from how many.
    /// Other finalizers are left, and queued calls are made.
    pub fn clear_all(&self, objects: &[R]) -> usize {
        let inner = &*self.0;
        let mut count = 0;
        for some in objects.chunks(AT_ONCE) {
            let mut table = inner.finalizers.shared.table.lock();
            table.expect(Kind::Finalizer, some);
            for &object in some {
                count += usize::from(table.clear_if(object, inner.shape));
            }
        }
        count
    }
}

impl<R: Reference> std::fmt::Debug for PreparedFinalizer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedFinalizer")
            .field("function", &self.0.function)
            .finish_non_exhaustive()
    }
}
