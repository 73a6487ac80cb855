//! Functions of C with `...`: a call for each list of types.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock};

use super::arg::Source;
use super::each::{each, with_copy};
use super::{Arg, Function, FunctionError, Ret, errno};
use crate::lock::{read, write};
use crate::{Abi, Signature, StubCache, StubError, Type};

/// A variadic function of C at an address.
///
/// What is passed in place of `...` decides which stub calls it: each list of types is looked up
/// once, and kept. A type that C promotes is refused, since a caller in C would pass another one:
/// an `i8`, `i16` or `bool` has to be given as `i32`, an `f32` as `f64`.
///
/// ```
/// use fing_stubs::c::Declarations;
/// use fing_stubs::function::{Arg, Ret, VariadicFunction};
/// use fing_stubs::{Abi, StubCache};
/// unsafe extern "C" {
///     fn snprintf(buffer: *mut u8, size: usize, format: *const u8, ...) -> i32;
/// }
/// let cache = StubCache::new(Default::default())?;
/// let prototype = "int snprintf(char *buffer, size_t size, const char *format, ...)";
/// let prototype = Declarations::host()?.prototype(prototype)?.signature()?;
/// let abi = Abi::host_native()?;
/// // SAFETY: the C library's `snprintf` has this prototype.
/// let print = unsafe { VariadicFunction::at(&cache, snprintf as usize, &prototype, abi)? };
///
/// let (mut buffer, mut length) = ([0u8; 32], 0);
/// let (start, size) = (buffer.as_mut_ptr(), buffer.len());
/// let format = c"%d is %.2f".as_ptr().cast::<u8>();
/// let args = [Arg::of(&start), Arg::of(&size), Arg::of(&format)];
/// let [start, size, format] = args;
/// let args = [start, size, format, Arg::of(&7), Arg::of(&0.5)];
/// // SAFETY: a buffer, its size, and what the format asks for.
/// unsafe { print.call(&args, Ret::of(&mut length))? };
/// assert_eq!(&buffer[..length as usize], b"7 is 0.50");
///
/// // SAFETY: as above, but nothing is called.
/// let error = unsafe { print.call(&[start, size, format, Arg::of(&0.5f32)], Ret::ignored()) };
/// assert_eq!(
///     error.unwrap_err().to_string(),
///     "parameter 3 is float32, wanted float64: C promotes what is passed in place of ...",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct VariadicFunction<'c> {
    cache: &'c StubCache,
    code: usize,
    prototype: Signature,
    fixed: usize,
    abi: Abi,
    /// The first lists of types, from the first place on: found without a lock.
    first: [OnceLock<Known>; FIRST],
    /// All lists of types in place of `...`.
    known: RwLock<HashMap<Box<[TypeId]>, Arc<Function>>>,
}

/// Lists of types that are found by comparing them one after another.
const FIRST: usize = 8;

/// The function for one list of types.
#[derive(Debug)]
struct Known {
    /// Of all arguments, each of which fits.
    sources: Box<[&'static Source]>,
    function: Arc<Function>,
}

impl Known {
    /// Whether these are the arguments' sources. Types may have several; others of the same types
    /// are not found to be them.
    #[inline(always)]
    fn is_for(&self, args: &[Arg<'_>]) -> bool {
        self.sources.len() == args.len()
            && each(args.len(), |n| match args[n].typed {
                Some(source) if std::ptr::eq(source, self.sources[n]) => Ok(()),
                _ => Err(()),
            })
            .is_ok()
    }
}

impl<'c> VariadicFunction<'c> {
    /// The function at an address. `prototype` is the signature of a call of it, of which only what
    /// stands before `...` counts ([`Signature::c_variadic`]).
    ///
    /// # Errors
    /// The signature is of no call of a variadic function.
    ///
    /// # Safety
    /// As [`Function::at`], for a variadic function with these parameters before `...`.
    pub unsafe fn at(
        cache: &'c StubCache,
        code: usize,
        prototype: &Signature,
        abi: Abi,
    ) -> Result<VariadicFunction<'c>, FunctionError> {
        let Some(fixed) = prototype.fixed() else {
            return Err(FunctionError::NotVariadic {
                signature: Box::new(prototype.clone()),
            });
        };
        Ok(VariadicFunction {
            cache,
            code,
            prototype: prototype.clone(),
            fixed,
            abi,
            first: Default::default(),
            known: RwLock::default(),
        })
    }

    /// The function as one that takes values of these types in place of `...`.
    ///
    /// # Errors
    /// A type that C promotes, or that the ABI does not pass there.
    pub fn with(&self, others: &[Type]) -> Result<Function, FunctionError> {
        let fixed = &self.prototype.params()[..self.fixed];
        let params = fixed.iter().chain(others).cloned().collect();
        let results = self.prototype.results().to_vec();
        let signature = Signature::new(None, params, results, false)
            .and_then(|signature| signature.c_variadic(self.fixed))
            .map_err(StubError::from)?;
        // SAFETY: I5: the promise of `at`: any values of any types may stand in place of `...`.
        unsafe { Ok(Function::at(self.cache, self.code, &signature, self.abi)?) }
    }

    /// Calls it: [`Function::call`]. All arguments are typed, those before `...` first.
    ///
    /// # Errors
    /// As [`Function::call`] and [`VariadicFunction::with`], and an argument of bytes.
    ///
    /// # Panics
    /// As [`Function::call`].
    ///
    /// # Safety
    /// As [`Function::call`].
    #[inline(always)]
    pub unsafe fn call(&self, args: &[Arg<'_>], result: Ret<'_>) -> Result<(), FunctionError> {
        // SAFETY: I5: the caller's promise.
        unsafe { self.call_then(args, result, || ()) }
    }

    /// Calls it, and returns the thread's `errno`: [`Function::call_errno`].
    ///
    /// # Errors
    /// As [`VariadicFunction::call`].
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

    /// # Safety
    /// As [`Function::call`].
    #[inline(always)]
    unsafe fn call_then<T>(
        &self,
        args: &[Arg<'_>],
        result: Ret<'_>,
        then: impl FnOnce() -> T,
    ) -> Result<T, FunctionError> {
        let mut first = self.first.iter().map_while(OnceLock::get);
        let looked_up;
        let function = match first.find(|known| known.is_for(args)) {
            Some(known) => &known.function,
            None => {
                looked_up = with_copy(args, |args| self.look_up(args))?;
                &looked_up
            }
        };
        // SAFETY: I5: the caller's promise, and each argument fits.
        unsafe { function.call_checked(&function.params, args, result, then) }
    }

    /// The function for these arguments, which are not among the first, if each fits.
    #[cold]
    fn look_up(&self, args: &[Arg<'_>]) -> Result<Arc<Function>, FunctionError> {
        let function = self.function(args)?;
        function.check(&function.params, args)?;
        self.remember(args, &function);
        Ok(function)
    }

    /// The function for arguments of these types, looked up or made.
    fn function(&self, args: &[Arg<'_>]) -> Result<Arc<Function>, FunctionError> {
        let Some(others) = args.get(self.fixed..) else {
            return Err(FunctionError::Count {
                signature: Box::new(self.prototype.clone()),
                found: args.len(),
                wanted: self.fixed,
            });
        };
        let sources = others.iter().enumerate().map(|(n, arg)| {
            arg.typed.ok_or_else(|| FunctionError::Untyped {
                signature: Box::new(self.prototype.clone()),
                index: self.fixed + n,
            })
        });
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let ids: Box<[TypeId]> = sources.iter().map(|source| source.id).collect();
        if let Some(known) = read(&self.known).get(&ids) {
            return Ok(known.clone());
        }
        // The types' code and the cache are the user's to see: no lock is held.
        let types: Vec<Type> = sources.iter().map(|source| (source.ty)()).collect();
        let made = Arc::new(self.with(&types)?);
        Ok(write(&self.known).entry(ids).or_insert(made).clone())
    }

    /// Makes these arguments' sources one of the first lists, if they all have one, and there is a
    /// place.
    fn remember(&self, args: &[Arg<'_>], function: &Arc<Function>) {
        if self.first[FIRST - 1].get().is_some() {
            return;
        }
        let sources: Option<Box<[_]>> = args.iter().map(|arg| arg.typed).collect();
        let Some(sources) = sources else { return };
        let mut known = Known {
            sources,
            function: function.clone(),
        };
        for place in &self.first {
            match place.set(known) {
                Ok(()) => return,
                Err(refused) => known = refused,
            }
        }
    }
}
