//! Functions behind callbacks: of the signature of the callers, under any ABI of this machine.
#![expect(
    unsafe_code,
    reason = "calls a function at an address, which is taken on trust"
)]

use std::fmt;

use super::call::{Call, CallValueError, Typed};
use super::callback::Function;
use super::entries::EntryPoint;
use super::handler::Callee;
use crate::{BlockLayout, CallStub, Family, GBlock, StubError};

/// A function with its stub, for callers of one point.
pub(super) struct Forward {
    pub(super) stub: CallStub,
    pub(super) code: usize,
    pub(super) context: usize,
}

thread_local! {
    /// What stands in for Go's goroutine in calls of Go functions.
    static G: GBlock = const { GBlock::zeroed() };
}

impl Forward {
    /// A function's stub, if its ABI is of this machine and lays out the values as the callers do.
    pub(super) fn to(point: &EntryPoint, function: Function) -> Result<Forward, StubError> {
        let stubs = &point.0.entries.stubs;
        let stub = stubs.call_stub(point.signature(), function.abi)?;
        let (typed, abi) = (&point.0.typed, function.abi);
        let signature = point.signature();
        let blocks = [
            (stub.arguments(), typed.argument_layout()),
            (stub.results(), typed.result_layout()),
        ];
        // Blocks in an entry's frame are at multiples of 16.
        let same =
            |(found, wanted): &(&BlockLayout, &BlockLayout)| found == wanted && found.align() <= 16;
        let mut types = signature.arguments().chain(signature.results());
        let go = abi.family() == Family::Go || point.abi().family() == Family::Go;
        let as_go = !go || types.all(|ty| abi.lays_out_as_go(ty) && point.abi().lays_out_as_go(ty));
        if !blocks.iter().all(same) || !as_go {
            return Err(StubError::OtherLayout {
                signature: signature.clone(),
                found: abi,
                wanted: point.abi(),
            });
        }
        Ok(Forward {
            stub,
            code: function.code,
            context: function.context,
        })
    }

    /// Calls it with blocks.
    ///
    /// # Safety
    /// The promise of who made the callback; both blocks are of the function's signature, and at
    /// multiples of 16.
    unsafe fn call_with(&self, arguments: *const u8, results: *mut u8) {
        G.with(|g| {
            // SAFETY: I5: the caller's promise.
            let called = unsafe {
                self.stub
                    .call(self.code, self.context, arguments, results, g)
            };
            debug_assert_eq!(called, Ok(()));
        });
    }
}

impl Callee for Forward {
    unsafe fn call(
        &self,
        _typed: &Typed,
        arguments: *const u8,
        results: *mut u8,
    ) -> Option<Box<str>> {
        // SAFETY: I5, I10: the caller's promise, and that of who made the callback.
        unsafe { self.call_with(arguments, results) };
        None
    }
}

/// A function that closures of callbacks may call with what they were called with
/// ([`Call::forward`]): for a VM that does something before and after its function.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use fing_stubs::Abi;
/// use fing_stubs::entry::{Callback, Entries, Function, PointFunction};
///
/// extern "C" fn twice(n: u64) -> u64 {
///     2 * n
/// }
/// let entries = Entries::new(Default::default())?;
/// let point = entries.point(&"func(uint64) uint64".parse()?, Abi::system_v())?;
/// let function = Function { abi: Abi::system_v(), code: twice as *const () as usize, context: 0 };
/// // SAFETY: `twice` is a function of this signature and convention.
/// let twice = unsafe { PointFunction::new(&point, function)? };
/// let callback = Callback::at(&point, Default::default(), move |call| {
///     call.forward(&twice).unwrap();
/// })?;
/// // SAFETY: an address of this signature and convention, called while the callback lives.
/// let function: extern "C" fn(u64) -> u64 = unsafe { std::mem::transmute(callback.address()) };
/// assert_eq!(function(21), 42);
/// # Ok::<(), fing_stubs::StubError>(())
/// ```
pub struct PointFunction {
    point: EntryPoint,
    forward: Forward,
}

impl fmt::Debug for PointFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, key) = (self.forward.code, self.forward.stub.key());
        write!(f, "PointFunction({code:#x}: {key}, for {:?})", self.point)
    }
}

impl PointFunction {
    /// A function for callers of `point`.
    ///
    /// # Errors
    /// As [`Callback::function`](super::Callback::function).
    ///
    /// # Safety
    /// As [`SharedCallback::function`](super::SharedCallback::function), as long as this exists.
    pub unsafe fn new(point: &EntryPoint, function: Function) -> Result<PointFunction, StubError> {
        Ok(PointFunction {
            point: point.clone(),
            forward: Forward::to(point, function)?,
        })
    }

    /// The callers it is for.
    pub fn point(&self) -> &EntryPoint {
        &self.point
    }
}

impl Call<'_> {
    /// Calls a function with the arguments of this call, which writes the results of this call. A
    /// panic of it passes through.
    ///
    /// # Errors
    /// The function is for callers of another [`EntryPoint`]. Nothing is called then.
    pub fn forward(&mut self, to: &PointFunction) -> Result<(), CallValueError> {
        if !self.is_of(&to.point.0.typed) {
            return Err(self.other_point(to.point.signature(), to.point.abi()));
        }
        let (arguments, results) = self.blocks();
        // SAFETY: I5: the promise of `PointFunction::new`; the blocks are of the point for which
        // the function was compared, in an entry's frame.
        unsafe {
            to.forward
                .call_with(arguments.as_ptr(), results.as_mut_ptr())
        };
        Ok(())
    }
}
