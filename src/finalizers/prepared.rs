//! A finalizer that was checked once, for any number of a foreign collector's objects.
#![expect(
    unsafe_code,
    reason = "declares the unsafe function that trusts a reference; contains no unsafe block"
)]

use std::sync::Arc;

use super::{Finalizers, RegisterError, error};
use crate::collector::{CyclePolicy, Kind, Reference, Registration};
use crate::finalizer::FinalizerFn;
use crate::shapes::Manner;

/// For how many objects the lock is taken once.
const AT_ONCE: usize = 64;

/// A finalizer that [`Finalizers::prepare`] has checked. Attaching it to an object takes one lock and looks nothing up but
/// the object.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// # use fing::{Abi, CyclePolicy, FinalizerFn, Finalizers};
/// extern "C" fn close(_file: usize) {}
///
/// let finalizers = Finalizers::<usize>::new()?;
/// let signature = "func(uintptr)".parse()?;
/// // SAFETY: `close` is a System V function of one word.
/// let close = unsafe { FinalizerFn::builder(signature, Abi::system_v()).at(close as *const ()) };
/// let close = finalizers.prepare(&close, CyclePolicy::default())?;
///
/// for object in (0x1000..0x9000).step_by(32) {
///     // SAFETY: `close` does not follow its argument.
///     unsafe { close.attach(object)? };
/// }
/// assert!(close.detach(0x1000) && !close.detach(0x1000));
/// assert_eq!(finalizers.stats().finalizers, 1023);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The objects have no context of their own; one that all have in common is the function's
/// ([`context`](crate::FinalizerFnBuilder::context)), which is a word and no reference here. [`Finalizers::set_finalizer`]
/// is for the others.
///
/// The function is kept as long as a clone of this exists, an object has the finalizer, or a call of it is queued; it is
/// given back by [`Finalizers::finish`]. A clone is a handle to the table, as [`Finalizers`] is.
pub struct PreparedFinalizer<R: Reference>(Arc<Inner<R>>);

struct Inner<R: Reference> {
    finalizers: Finalizers<R>,
    function: FinalizerFn,
    cycle: CyclePolicy,
    shape: u32,
}

impl<R: Reference> Inner<R> {
    #[inline]
    fn registration(&self, object: R) -> Registration<R> {
        Registration {
            kind: Kind::Finalizer,
            object,
            shape: self.shape,
            word: 0,
            reference: false,
            policy: self.cycle,
        }
    }
}

#[cold]
fn already_set<R: Reference>(object: R) -> RegisterError {
    RegisterError::AlreadySet {
        word: object.to_word(),
    }
}

impl<R: Reference> Drop for Inner<R> {
    fn drop(&mut self) {
        let shapes = &self.finalizers.shared.calls.shapes;
        shapes.release_uncounted(self.shape);
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
        cycle: CyclePolicy,
    ) -> Result<PreparedFinalizer<R>, RegisterError> {
        let argument = error::check(function)?;
        let calls = &finalizers.shared.calls;
        let start = finalizers.goroutine.start();
        start.map_err(RegisterError::NoThread)?;
        let shape =
            calls
                .shapes
                .acquire_uncounted(function, argument, Manner::default(), &calls.stubs)?;
        Ok(PreparedFinalizer(Arc::new(Inner {
            finalizers: finalizers.clone(),
            function: function.clone(),
            cycle,
            shape,
        })))
    }

    /// The function.
    pub fn function(&self) -> &FinalizerFn {
        &self.0.function
    }

    /// Sets it as the finalizer of `object`.
    ///
    /// # Safety
    /// As [`Finalizers::set_finalizer`], of the object.
    ///
    /// # Errors
    /// The object has a finalizer.
    #[inline]
    pub unsafe fn attach(&self, object: R) -> Result<(), RegisterError> {
        let inner = &*self.0;
        let mut table = inner.finalizers.shared.table.lock();
        match table.add(inner.registration(object)) {
            Some(_) => Ok(()),
            None => Err(already_set(object)),
        }
    }

    /// Sets it as the finalizer of each of the objects, in turn. Most of what it takes to attach one is the lock, which is
    /// taken for many at a time here.
    ///
    /// # Safety
    /// As [`Finalizers::set_finalizer`], of the objects.
    ///
    /// # Errors
    /// An object has a finalizer. Those before it have this one, and those behind it are left as they were.
    pub unsafe fn attach_all(&self, objects: &[R]) -> Result<(), RegisterError> {
        let inner = &*self.0;
        for some in objects.chunks(AT_ONCE) {
            let mut table = inner.finalizers.shared.table.lock();
            table.expect(Kind::Finalizer, some);
            for &object in some {
                let added = table.add(inner.registration(object));
                added.ok_or_else(|| already_set(object))?;
            }
        }
        Ok(())
    }

    /// Takes it away from `object` again. False: the object has none, or another one.
    #[inline]
    pub fn detach(&self, object: R) -> bool {
        let inner = &*self.0;
        let mut table = inner.finalizers.shared.table.lock();
        table.detach(object, inner.shape)
    }

    /// Takes it away from each of the objects. Answers from how many: the others have none, or another one.
    pub fn detach_all(&self, objects: &[R]) -> usize {
        let inner = &*self.0;
        let mut count = 0;
        for some in objects.chunks(AT_ONCE) {
            let mut table = inner.finalizers.shared.table.lock();
            table.expect(Kind::Finalizer, some);
            for &object in some {
                count += usize::from(table.detach(object, inner.shape));
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
