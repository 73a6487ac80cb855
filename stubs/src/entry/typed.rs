//! Callbacks of closures of Rust types, whose checks are made once.
#![expect(
    unsafe_code,
    reason = "a closure's arguments are read as its Rust types"
)]

use std::any::TypeId;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Mutex;

use super::call::Typed;
use super::callback::{Callback, SharedCallback};
use super::entries::{EntryPoint, Landing};
use super::error::CallbackTypeError;
use super::handler::Callee;
use super::jump::{self, AllThreads, OneThread, closure_type};
use super::options::CallbackOptions;
use crate::StubError;
use crate::function::{Enter, FunctionType, Mismatch, TypedClosure, check};
use crate::lock::lock;

/// A closure that was [checked](Closures::landing) against the signature of its callers.
pub(super) struct Checked<F, C>(C, PhantomData<fn() -> F>);

impl<F, C> Checked<F, C> {
    #[inline]
    pub(super) fn closure(&self) -> &C {
        &self.0
    }
}

impl<F: FunctionType, C: TypedClosure<F>> Callee for Checked<F, C> {
    #[inline]
    unsafe fn call(
        &self,
        _typed: &Typed,
        arguments: *const u8,
        results: *mut u8,
    ) -> Option<Box<str>> {
        // SAFETY: I5: the blocks are of the signature that was checked, and lie at multiples of 16,
        // which is enough.
        unsafe { self.0.call_with(arguments, results) };
        None
    }
}

/// The types of closures that callers of one point may call, each with where its calls go: to a
/// function of theirs, or through blocks.
#[derive(Default)]
pub(super) struct Closures(Mutex<BTreeMap<TypeId, Landing>>);

impl Closures {
    /// Where calls of closures of a type go, if it is of the signature of the callers of `point`.
    fn landing<E, F, C>(point: &EntryPoint) -> Result<Landing, CallbackTypeError>
    where
        E: Enter<C> + 'static,
        F: FunctionType,
        C: TypedClosure<F>,
    {
        let point = &*point.0;
        let ty = closure_type::<E, F, C>();
        let known = lock(&point.closures.0).get(&ty).copied();
        if let Some(landing) = known {
            return Ok(landing);
        }
        check_closure::<F>(&point.typed)?;
        let jump = jump::code(point, ty, C::c_function::<E>())?;
        let landing = jump.as_ref().unwrap_or(&point.code).landing();
        lock(&point.closures.0).insert(ty, landing);
        Ok(landing)
    }
}

/// Whether `F` is of the signature of the callers.
fn check_closure<F: FunctionType>(typed: &Typed) -> Result<(), CallbackTypeError> {
    let (signature, abi) = (&typed.signature, typed.abi);
    let (arguments, results) = (typed.argument_layout(), typed.result_layout());
    let found = check::<F>(signature, abi, arguments, results).and_then(|()| {
        // Blocks in an entry's frame are at multiples of 16.
        let fits = arguments.align() <= 16 && results.align() <= 16;
        fits.then_some(()).ok_or(Mismatch::Layout)
    });
    found.map_err(|mismatch| CallbackTypeError::of(mismatch, signature, abi))
}

/// A closure and where its calls go, if it is of the signature of the callers of `point`.
fn checked<E, F, C>(
    point: &EntryPoint,
    closure: C,
) -> Result<(Landing, Checked<F, C>), CallbackTypeError>
where
    E: Enter<C> + 'static,
    F: FunctionType,
    C: TypedClosure<F>,
{
    StubError::check_fork(point.0.entries.stubs.gate())?;
    let landing = Closures::landing::<E, F, C>(point)?;
    Ok((landing, Checked(closure, PhantomData)))
}

impl Callback {
    /// A callback for these callers, which calls a closure of Rust types. They are compared with
    /// the signature once, so a call checks nothing of them; the closure returns its result.
    ///
    /// The foreign caller's promise is C's: each value is one of its type, a `bool` 0 or 1.
    ///
    /// ```
    /// use fing_stubs::Abi;
    /// use fing_stubs::c_struct;
    /// use fing_stubs::entry::{Callback, Entries};
    /// use fing_stubs::function::signature_of;
    ///
    /// #[repr(C)]
    /// #[derive(Clone, Copy, Debug, PartialEq)]
    /// struct Point {
    ///     x: f64,
    ///     y: f64,
    /// }
    /// c_struct!(Point { x: f64, y: f64 });
    ///
    /// let entries = Entries::new(Default::default())?;
    /// let signature = signature_of::<fn(i32, Point) -> Point>()?;
    /// let point = entries.point(&signature, Abi::host_native()?)?;
    /// let scale = Callback::typed(&point, Default::default(), |n: i32, p: Point| Point {
    ///     x: f64::from(n) * p.x,
    ///     y: f64::from(n) * p.y,
    /// })?;
    /// // SAFETY: an address of this signature and convention, called while the callback lives.
    /// let function: extern "C" fn(i32, Point) -> Point =
    ///     unsafe { std::mem::transmute(scale.address()) };
    /// assert_eq!(function(3, Point { x: 0.5, y: 2.0 }), Point { x: 1.5, y: 6.0 });
    ///
    /// let other = Callback::typed(&point, Default::default(), |_: i64, p: Point| p);
    /// assert!(other.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A type that is not the signature's, or that the callers' ABI lays out otherwise than Rust or
    /// aligns to more than 16; no memory for more addresses.
    #[track_caller]
    pub fn typed<F: FunctionType>(
        point: &EntryPoint,
        options: CallbackOptions,
        closure: impl TypedClosure<F>,
    ) -> Result<Callback, CallbackTypeError> {
        let (landing, callee) = checked::<OneThread<F>, F, _>(point, closure)?;
        let at = Location::caller();
        Ok(Callback::by(landing, point, &options, callee, at)?)
    }
}

impl SharedCallback {
    /// As [`Callback::typed`], for all threads.
    ///
    /// # Errors
    /// As [`Callback::typed`].
    #[track_caller]
    pub fn typed<F: FunctionType>(
        point: &EntryPoint,
        options: CallbackOptions,
        closure: impl TypedClosure<F> + Send + Sync,
    ) -> Result<SharedCallback, CallbackTypeError> {
        let (landing, callee) = checked::<AllThreads<F>, F, _>(point, closure)?;
        let at = Location::caller();
        Ok(SharedCallback::by(landing, point, &options, callee, at)?)
    }
}
