//! Functions at addresses, called with values that are checked.
//!
//! A [`Function`] is made of an address, a signature and an ABI. Each call checks the number of its
//! arguments, and the size and type of each, and of what takes the result. [`Typed`] makes these
//! checks once, and is called as a Rust function; [`VariadicFunction`] has a call for each list of
//! types in place of `...`.
//!
//! ```
//! use fing_stubs::c::Declarations;
//! use fing_stubs::function::{Arg, Function, Ret};
//! use fing_stubs::{Abi, StubCache, c_struct};
//!
//! #[repr(C)]
//! #[derive(Clone, Copy, Debug, Default, PartialEq)]
//! struct Quotient {
//!     quot: i32,
//!     rem: i32,
//! }
//! c_struct!(Quotient { quot: i32, rem: i32 });
//! unsafe extern "C" {
//!     fn div(numerator: i32, denominator: i32) -> Quotient;
//! }
//!
//! let cache = StubCache::new(Default::default())?;
//! let prototype = "struct { int quot; int rem; } div(int, int)";
//! let signature = Declarations::host()?.prototype(prototype)?.signature()?;
//! // SAFETY: the C library's `div` has this signature.
//! let function = unsafe { Function::at(&cache, div as usize, &signature, Abi::host_native()?)? };
//! let mut found = Quotient::default();
//! // SAFETY: `div` may be called with these numbers.
//! unsafe { function.call(&[Arg::of(&-17), Arg::of(&5)], Ret::of(&mut found))? };
//! assert_eq!(found, Quotient { quot: -3, rem: -2 });
//!
//! // SAFETY: as above, but nothing is called.
//! let error = unsafe { function.call(&[Arg::of(&-17i64), Arg::of(&5)], Ret::of(&mut found)) };
//! assert_eq!(
//!     error.unwrap_err().to_string(),
//!     "call of func(int32, int32) (struct { quot int32; rem int32 }): argument 0 is int32, found \
//!      int64, wanted a value of the same kind, size and sign",
//! );
//!
//! // The same with all checks made once.
//! let div = function.typed::<unsafe fn(i32, i32) -> Quotient>()?;
//! // SAFETY: as above.
//! assert_eq!(unsafe { div.call(17, 5) }, Quotient { quot: 3, rem: 2 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who promises what
//!
//! | promise | made by |
//! |---|---|
//! | at the address is a function of this signature and ABI | `at` of each of the three |
//! | it may be called with these values, now, by this thread | each `unsafe` call |
//! | it may be called with any values of its types, by any thread | [`Function::into_safe`] |
//!
//! A function that follows a pointer keeps the last promise with nothing, so its calls are unsafe.
//! One that only computes keeps it, and its calls are safe: [`SafeFunction::call`],
//! `Typed<fn(i32) -> i32>`.
#![expect(unsafe_code, reason = "calls functions by their addresses")]

mod arg;
mod block;
mod check;
mod each;
mod enter;
mod error;
mod fits;
mod slot;
mod typed;
mod value;
mod variadic;

use std::convert::Infallible;

use crate::call::CallStub;
use crate::{Abi, Signature, StubCache, StubError, Type};

pub(crate) use check::{Mismatch, check};
pub(crate) use typed::sealed::Enter;

pub use arg::{Arg, Ret};
pub use error::{FunctionError, Side};
pub use typed::{FunctionType, Typed, TypedClosure, UnsafeFunctionType, signature_of};
pub use value::{CResult, CValue, Complex, structure};
pub use variadic::VariadicFunction;

use arg::Source;
use each::each;
use enter::{copy, enter, errno};
use slot::Slot;

/// A function at an address, with its signature and ABI.
#[derive(Debug)]
pub struct Function {
    stub: CallStub,
    code: usize,
    signature: Signature,
    abi: Abi,
    params: Box<[Slot]>,
    results: Box<[Slot]>,
    /// Whether the block of arguments is too large for the frame of a caller.
    is_large: bool,
}

impl Function {
    /// The function at an address.
    ///
    /// Under Go's ABIs its closure context is 0, as a function has it that is no closure.
    ///
    /// # Errors
    /// As [`StubCache::call_stub`].
    ///
    /// # Safety
    /// At `code` is a function of this signature and ABI as long as this exists. It returns values
    /// of its result's type, and no exception but a Rust panic leaves it, and none if its ABI can't
    /// unwind.
    pub unsafe fn at(
        cache: &StubCache,
        code: usize,
        signature: &Signature,
        abi: Abi,
    ) -> Result<Function, StubError> {
        let stub = cache.call_stub(signature, abi)?;
        Ok(Function {
            code,
            params: Slot::all(abi, stub.arguments(), signature.arguments()),
            results: Slot::all(abi, stub.results(), signature.results().iter()),
            is_large: block::is_large(stub.arguments()),
            stub,
            signature: signature.clone(),
            abi,
        })
    }

    /// Its signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Its ABI.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// Its address.
    pub fn address(&self) -> usize {
        self.code
    }

    /// Calls it. A method's receiver is the first argument.
    ///
    /// If it unwinds, the panic passes through, and the result's place is unchanged.
    ///
    /// # Errors
    /// Another number of arguments, an argument or result of another type or size. Nothing has been
    /// called then.
    ///
    /// # Panics
    /// In a forked child, on a host that has no interpreter for the signature.
    ///
    /// # Safety
    /// The function may be called with these values now, by this thread; the stack has room for it.
    #[inline(always)]
    pub unsafe fn call(&self, args: &[Arg<'_>], result: Ret<'_>) -> Result<(), FunctionError> {
        // SAFETY: I5: the caller's promise.
        unsafe { self.call_then(args, result, || ()) }
    }

    /// Calls it, and returns the thread's `errno` as the function left it. `errno` is not changed
    /// before the call, so it means something only if the function says that it failed.
    ///
    /// # Errors
    /// As [`Function::call`].
    ///
    /// # Panics
    /// As [`Function::call`].
    ///
    /// # Safety
    /// As [`Function::call`].
    pub unsafe fn call_errno(
        &self,
        args: &[Arg<'_>],
        result: Ret<'_>,
    ) -> Result<i32, FunctionError> {
        // SAFETY: I5: the caller's promise.
        unsafe { self.call_then(args, result, errno) }
    }

    /// Calls it, and then `then` before anything else.
    ///
    /// Where the arguments are listed in the call, it is compiled for them: their sizes and sources
    /// are constants there, and the list is no memory.
    ///
    /// # Safety
    /// As [`Function::call`].
    #[inline(always)]
    unsafe fn call_then<T>(
        &self,
        args: &[Arg<'_>],
        result: Ret<'_>,
        then: impl FnOnce() -> T,
    ) -> Result<T, FunctionError> {
        let params = &*self.params;
        self.check(params, args)?;
        // SAFETY: I5: the caller's promise, and the arguments are checked.
        unsafe { self.call_checked(params, args, result, then) }
    }

    /// Whether there are as many arguments as parameters, each of which fits.
    #[inline(always)]
    fn check(&self, params: &[Slot], args: &[Arg<'_>]) -> Result<(), FunctionError> {
        if args.len() != params.len() {
            return Err(self.other_count(args.len()));
        }
        let checked = each(args.len(), |n| {
            let (Arg { typed, size, .. }, slot) = (args[n], &params[n]);
            match slot.takes(typed, size) {
                true => Ok(()),
                false => Err((n, typed, size)),
            }
        });
        checked.map_err(|(n, typed, size)| self.misfit(Side::Argument(n), &params[n], typed, size))
    }

    /// [`Function::call_then`] with as many arguments as it has parameters, each of which its slot
    /// takes.
    ///
    /// # Safety
    /// As [`Function::call`].
    #[inline(always)]
    unsafe fn call_checked<T>(
        &self,
        params: &[Slot],
        args: &[Arg<'_>],
        result: Ret<'_>,
        then: impl FnOnce() -> T,
    ) -> Result<T, FunctionError> {
        let Ret {
            start, size, typed, ..
        } = result;
        let is_right = match (typed, &*self.results, start) {
            (Some(_), [slot], _) => slot.takes(typed, size),
            (Some(_), _, _) => false,
            (None, _, Some(_)) => size as u64 == self.stub.results().size(),
            (None, _, None) => true,
        };
        if !is_right {
            return Err(self.other_result(typed, size));
        }
        let mut own = block::own();
        let large = self.is_large.then(|| block::large(self.stub.arguments()));
        let from = match &large {
            Some((_, start)) => *start,
            None => own.as_mut_ptr().cast(),
        };
        let params = &params[..args.len()];
        let Ok(()) = each::<Infallible>(args.len(), |n| {
            let (Arg { start, size, .. }, slot) = (args[n], &params[n]);
            // SAFETY: I5: the slot's bytes lie in the block, as many as are borrowed as `arg`.
            unsafe { copy(start, from.add(slot.at), size) };
            Ok(())
        });
        let results = self.stub.results();
        let to = match start {
            Some(start) if results.may_lie_at(start.addr()) => start,
            None if results.size() == 0 => std::ptr::null_mut(),
            // SAFETY: I5: as below.
            _ => return Ok(unsafe { self.call_aside(from, start, size, then) }),
        };
        // SAFETY: I5: the function is what `at` was promised, the block has the arguments of its
        // signature, the result's place has the size that was checked and is borrowed mutably, and
        // the values are the caller's to vouch for.
        unsafe { Ok(enter(&self.stub, self.code, from, to, then)) }
    }

    /// Calls it with a block of arguments, for a result that is not wanted or whose place is not
    /// aligned.
    ///
    /// # Safety
    /// The function may be called with these arguments; `result` is the place of its results, of
    /// `size` bytes.
    #[inline(never)]
    unsafe fn call_aside<T>(
        &self,
        from: *const u8,
        result: Option<*mut u8>,
        size: usize,
        then: impl FnOnce() -> T,
    ) -> T {
        let layout = self.stub.results();
        let mut own = block::own();
        let large = block::is_large(layout).then(|| block::large(layout));
        let aside = match &large {
            Some((_, start)) => *start,
            None => own.as_mut_ptr().cast(),
        };
        // What lies between the values of a result may be read as bytes: it stays what it was.
        if let Some(start) = result {
            // SAFETY: I5: the result is borrowed, and the block is no smaller.
            unsafe { std::ptr::copy_nonoverlapping(start, aside, size) };
        }
        // SAFETY: I5: the caller's promise, and a block of results.
        let then = unsafe { enter(&self.stub, self.code, from, aside, then) };
        if let Some(start) = result {
            // SAFETY: I5: the result is borrowed mutably, and the block is no smaller.
            unsafe { std::ptr::copy_nonoverlapping(aside, start, size) };
        }
        then
    }

    #[cold]
    fn other_count(&self, found: usize) -> FunctionError {
        FunctionError::Count {
            signature: Box::new(self.signature.clone()),
            found,
            wanted: self.params.len(),
        }
    }

    #[cold]
    fn other_result(&self, typed: Option<&Source>, size: usize) -> FunctionError {
        match &*self.results {
            [slot] => self.misfit(Side::Result, slot, typed, size),
            slots => FunctionError::Results {
                signature: Box::new(self.signature.clone()),
                found: arg::found(typed, size),
                wanted: slots.len(),
                bytes: self.stub.results().size(),
            },
        }
    }

    #[cold]
    fn mismatched(&self, mismatch: Mismatch) -> FunctionError {
        let signature = Box::new(self.signature.clone());
        match mismatch {
            Mismatch::Count { found, .. } => self.other_count(found),
            Mismatch::Value { side, ty, found } => self.mismatch(side, &ty, found),
            Mismatch::Results { found, wanted } => FunctionError::Results {
                signature,
                found,
                wanted,
                bytes: self.stub.results().size(),
            },
            Mismatch::Layout => FunctionError::OtherLayout {
                signature,
                abi: self.abi,
            },
        }
    }

    #[cold]
    fn misfit(
        &self,
        side: Side,
        slot: &Slot,
        typed: Option<&Source>,
        size: usize,
    ) -> FunctionError {
        self.mismatch(side, &slot.ty, arg::found(typed, size))
    }

    #[cold]
    fn mismatch(&self, side: Side, ty: &Type, found: String) -> FunctionError {
        FunctionError::OtherType {
            signature: Box::new(self.signature.clone()),
            side,
            ty: ty.clone(),
            found,
        }
    }

    /// The same as a function of Rust types, whose calls check nothing.
    ///
    /// ```
    /// use fing_stubs::function::{Function, Typed};
    /// use fing_stubs::{Abi, StubCache};
    /// extern "C" fn scale(n: i32, by: f64) -> f64 {
    ///     f64::from(n) * by
    /// }
    /// let cache = StubCache::new(Default::default())?;
    /// let signature = "func(int32, float64) float64".parse()?;
    /// // SAFETY: `scale` has this signature, and may be called with any numbers.
    /// let scale = unsafe {
    ///     Function::at(&cache, scale as usize, &signature, Abi::host_native()?)?.into_safe()
    /// };
    /// assert_eq!(scale.typed::<fn(i32, f64) -> f64>()?.call(3, 0.5), 1.5);
    /// assert!(scale.typed::<fn(i32, f32) -> f64>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A type that is not the signature's.
    pub fn typed<F: UnsafeFunctionType>(&self) -> Result<Typed<F>, FunctionError> {
        Typed::of(self)
    }

    /// The same as a function that may be called by safe code.
    ///
    /// # Safety
    /// The function may be called with any values of its parameters' types, at any time, by any
    /// thread, and by several at once.
    pub unsafe fn into_safe(self) -> SafeFunction {
        SafeFunction(self)
    }
}

/// A function that may be called with any values of its types ([`Function::into_safe`]).
#[derive(Debug)]
pub struct SafeFunction(Function);

impl SafeFunction {
    /// The function.
    pub fn function(&self) -> &Function {
        &self.0
    }

    /// Calls it: [`Function::call`]. Whole bytes ([`Arg::bytes`]) are refused, since they may be
    /// none of the type's values.
    ///
    /// # Errors
    /// As [`Function::call`], and an argument of bytes.
    ///
    /// # Panics
    /// As [`Function::call`].
    pub fn call(&self, args: &[Arg<'_>], result: Ret<'_>) -> Result<(), FunctionError> {
        if let Some(index) = args.iter().position(|arg| arg.typed.is_none()) {
            return Err(FunctionError::Untyped {
                signature: Box::new(self.0.signature.clone()),
                index,
            });
        }
        // SAFETY: I5: any values of the types may be passed, which `call` checks.
        unsafe { self.0.call(args, result) }
    }

    /// The same as a function of Rust types, whose calls are safe and check nothing.
    ///
    /// # Errors
    /// A type that is not the signature's.
    pub fn typed<F: FunctionType>(&self) -> Result<Typed<F>, FunctionError> {
        Typed::of(&self.0)
    }
}
