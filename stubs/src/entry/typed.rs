//! Callbacks of closures of Rust types, whose checks are made once.
#![expect(
    unsafe_code,
    reason = "a closure's arguments are read as its Rust types"
)]

use std::marker::PhantomData;
use std::panic::Location;

use super::call::Typed;
use super::callback::{Callback, SharedCallback};
use super::entries::EntryPoint;
use super::error::CallbackTypeError;
use super::handler::Callee;
use super::options::CallbackOptions;
use crate::function::{FunctionType, Mismatch, TypedClosure, check};

/// A closure that was [checked](checked) against the signature of its callers.
struct Checked<F, C>(C, PhantomData<fn() -> F>);

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

/// A closure, if it is of the signature of the callers of `point`.
fn checked<F: FunctionType, C: TypedClosure<F>>(
    point: &EntryPoint,
    closure: C,
) -> Result<Checked<F, C>, CallbackTypeError> {
    let typed = &point.0.typed;
    let (signature, abi) = (&typed.signature, typed.abi);
    let (arguments, results) = (typed.argument_layout(), typed.result_layout());
    let found = check::<F>(signature, abi, arguments, results).and_then(|()| {
        // Blocks in an entry's frame are at multiples of 16.
        let fits = arguments.align() <= 16 && results.align() <= 16;
        fits.then_some(()).ok_or(Mismatch::Layout)
    });
    match found {
        Ok(()) => Ok(Checked(closure, PhantomData)),
        Err(mismatch) => Err(CallbackTypeError::of(mismatch, signature, abi)),
    }
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
        let callee = checked::<F, _>(point, closure)?;
        Ok(Callback::of(point, &options, callee, Location::caller())?)
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
        let callee = checked::<F, _>(point, closure)?;
        let at = Location::caller();
        Ok(SharedCallback::of(point, &options, callee, at)?)
    }
}
