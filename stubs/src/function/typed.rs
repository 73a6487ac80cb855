//! Functions of Rust types, whose checks are made once.
#![expect(
    clippy::too_many_arguments,
    reason = "calls have as many as their functions"
)]

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::check::check;
use super::{CResult, CValue, Function, FunctionError, enter, errno};
use crate::call::CallStub;
use crate::{Abi, Signature, StubCache, Type, TypeError};

/// A type of functions of up to 12 arguments: `fn(A, B) -> R`, whose calls are safe, or
/// `unsafe fn(A, B) -> R`. Arguments are [`CValue`]s, the result is a [`CResult`].
pub trait FunctionType: sealed::FunctionType + 'static {}

/// An `unsafe fn`: what any function may be called as.
pub trait UnsafeFunctionType: FunctionType {}

/// A closure `Fn(A, B) -> R + 'static` as what functions of type `fn(A, B) -> R` do: what a
/// [typed callback](crate::entry::Callback::typed) calls. `F` follows from the closure if its
/// parameters have types: `|a: i32, b: f64| ..`.
pub trait TypedClosure<F: FunctionType>: sealed::TypedClosure<F> + 'static {}

pub(crate) mod sealed {
    use crate::{BlockLayout, Type};

    pub trait TypedClosure<F> {
        /// Calls it with a block of arguments, and writes the block of its result.
        ///
        /// # Safety
        /// The blocks are those of a signature that `check` has compared with `F`, at multiples of
        /// their alignment; that of results is nobody else's.
        unsafe fn call_with(&self, arguments: *const u8, results: *mut u8);

        /// Address of a function of the platform's C convention, whose parameters are those of `F`
        /// and then an address and a number, by which `E` finds the closure. Where `E` has none, it
        /// returns zeroes.
        fn c_function<E: Enter<Self>>() -> *const ();
    }

    /// How a function that is called from outside comes to its closure.
    pub trait Enter<C: ?Sized> {
        /// Calls `call` with the closure of a call that came with `at` and `number`.
        ///
        /// # Safety
        /// They are what the type that implements this wants.
        unsafe fn enter<R>(at: *const (), number: u64, call: impl FnOnce(&C) -> R) -> Option<R>;
    }

    pub trait FunctionType {
        fn params() -> Vec<Type>;
        fn result() -> Option<Type>;
        /// Whether Rust has the arguments of a call where a block of this layout has them.
        fn lies_as(layout: &BlockLayout) -> bool;
        /// Size of the result.
        fn result_size() -> usize;
        /// Alignment of the result.
        fn result_align() -> usize;
    }
}

/// The signature of functions of Rust types.
///
/// ```
/// use fing_stubs::function::signature_of;
/// let signature = signature_of::<fn(i32, *const u8) -> f64>()?;
/// assert_eq!(signature.to_string(), "func(int32, unsafe.Pointer) (float64)");
/// # Ok::<(), fing_stubs::TypeError>(())
/// ```
///
/// # Errors
/// Too many or too large types.
pub fn signature_of<F: FunctionType>() -> Result<Signature, TypeError> {
    Signature::new(None, F::params(), F::result().into_iter().collect(), false)
}

/// A function of Rust types, made by [`Function::typed`], [`Typed::at`] or
/// [`SafeFunction::typed`](super::SafeFunction::typed). Its calls check nothing.
pub struct Typed<F> {
    stub: CallStub,
    code: usize,
    _function: PhantomData<F>,
}

impl<F> Clone for Typed<F> {
    fn clone(&self) -> Typed<F> {
        Typed {
            stub: self.stub.clone(),
            ..*self
        }
    }
}

impl<F> fmt::Debug for Typed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}: {}", self.code, self.stub.key())
    }
}

impl<F: FunctionType> Typed<F> {
    /// The function at an address, with the signature that its Rust types say.
    ///
    /// ```
    /// use fing_stubs::function::Typed;
    /// use fing_stubs::{Abi, StubCache};
    /// unsafe extern "C" {
    ///     safe fn toupper(c: i32) -> i32;
    /// }
    /// let cache = StubCache::new(Default::default())?;
    /// // SAFETY: the C library's `toupper` has this signature, and any number may be passed.
    /// let upper: Typed<fn(i32) -> i32> =
    ///     unsafe { Typed::at(&cache, toupper as usize, Abi::host_native()?)? };
    /// assert_eq!(upper.call(i32::from(b'a')), i32::from(b'A'));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Function::at`].
    ///
    /// # Safety
    /// As [`Function::at`]; if `F` is no `unsafe fn`, also as [`Function::into_safe`].
    pub unsafe fn at(cache: &StubCache, code: usize, abi: Abi) -> Result<Typed<F>, FunctionError> {
        let signature = signature_of::<F>().map_err(crate::StubError::from)?;
        // SAFETY: I5: the caller's promise.
        let function = unsafe { Function::at(cache, code, &signature, abi)? };
        Typed::of(&function)
    }

    pub(super) fn of(function: &Function) -> Result<Typed<F>, FunctionError> {
        let (stub, signature) = (&function.stub, &function.signature);
        check::<F>(signature, function.abi, stub.arguments(), stub.results())
            .map_err(|mismatch| function.mismatched(mismatch))?;
        Ok(Typed {
            stub: stub.clone(),
            code: function.code,
            _function: PhantomData,
        })
    }

    /// Calls it with a block of arguments, and then `then`.
    ///
    /// # Safety
    /// `Args` is the struct of the arguments, `R` the result, and the function may be called with
    /// them.
    #[inline]
    unsafe fn enter<Args, R: CResult, T>(&self, args: &Args, then: impl FnOnce() -> T) -> (R, T) {
        let mut result = MaybeUninit::<R>::uninit();
        let from = std::ptr::from_ref(args).cast();
        let to = result.as_mut_ptr().cast();
        // SAFETY: I5: `of` has compared both blocks with the signature's, which `CValue` gives the
        // alignment of the Rust types; the rest is the caller's promise. The stub has written the
        // result, of the type that `of` has compared, by the promise of `Function::at`; `()` has no
        // bytes.
        unsafe {
            let then = enter(&self.stub, self.code, from, to, then);
            (result.assume_init(), then)
        }
    }
}

/// Whether the fields of a `repr(C)` struct, by size and alignment, are at these offsets.
fn lies_as(fields: &[(usize, usize)], offsets: &[u64]) -> bool {
    let mut end = 0usize;
    let places = fields.iter().map(|(size, align)| {
        let at = end.next_multiple_of(*align);
        end = at + size;
        at as u64
    });
    places.eq(offsets.iter().copied())
}

macro_rules! function_types {
    ($($args:ident($($ty:ident $value:ident),*);)*) => {$(
        /// The block of the arguments.
        #[repr(C)]
        struct $args<$($ty),*>($($ty),*);

        function_types!(@type [fn($($ty),*) -> R] $args($($ty),*));
        function_types!(@type [unsafe fn($($ty),*) -> R] $args($($ty),*));

        impl<$($ty: CValue,)* R: CResult, Closure> TypedClosure<fn($($ty),*) -> R> for Closure
        where
            Closure: Fn($($ty),*) -> R + 'static,
        {
        }

        impl<$($ty: CValue,)* R: CResult, Closure> sealed::TypedClosure<fn($($ty),*) -> R>
            for Closure
        where
            Closure: Fn($($ty),*) -> R,
        {
            #[inline]
            unsafe fn call_with(&self, arguments: *const u8, results: *mut u8) {
                // SAFETY: I5: the caller's promise: a block of these types, as Rust has them.
                let block: $args<$($ty),*> = unsafe { std::ptr::read(arguments.cast()) };
                let $args($($value),*) = block;
                let result = self($($value),*);
                // SAFETY: I5: the caller's promise: a block of this size.
                unsafe { results.cast::<R>().write(result) };
            }

            fn c_function<By: sealed::Enter<Self>>() -> *const () {
                /// # Safety
                /// That of [`sealed::Enter::enter`].
                unsafe extern "C" fn function<$($ty: CValue,)* R: CResult, Closure, By>(
                    $($value: $ty,)*
                    at: *const (),
                    number: u64,
                ) -> R
                where
                    Closure: Fn($($ty),*) -> R,
                    By: sealed::Enter<Closure>,
                {
                    let call = |closure: &Closure| closure($($value),*);
                    // SAFETY: I5: the caller's promise.
                    let result = unsafe { By::enter(at, number, call) };
                    // SAFETY: I5: zeroes are a value that C can make of its type, so `CValue` says
                    // that they are one of Rust's; `()` has no bytes.
                    result.unwrap_or_else(|| unsafe { std::mem::zeroed() })
                }
                function::<$($ty,)* R, Closure, By> as *const ()
            }
        }

        impl<$($ty: CValue,)* R: CResult> UnsafeFunctionType for unsafe fn($($ty),*) -> R {}

        impl<$($ty: CValue,)* R: CResult> Typed<fn($($ty),*) -> R> {
            /// Calls it. If it unwinds, the panic passes through.
            ///
            /// # Panics
            /// In a forked child, on a host that has no interpreter for the signature.
            #[inline]
            pub fn call(&self, $($value: $ty),*) -> R {
                // SAFETY: I5: it may be called with any values, as whoever made it has promised.
                unsafe { self.enter(&$args($($value),*), || ()).0 }
            }

            /// Calls it, and returns the thread's `errno` as well, as the function left it.
            ///
            /// # Panics
            /// As [`Typed::call`].
            #[inline]
            pub fn call_errno(&self, $($value: $ty),*) -> (R, i32) {
                // SAFETY: I5: as above.
                unsafe { self.enter(&$args($($value),*), errno) }
            }
        }

        impl<$($ty: CValue,)* R: CResult> Typed<unsafe fn($($ty),*) -> R> {
            /// Calls it. If it unwinds, the panic passes through.
            ///
            /// # Panics
            /// In a forked child, on a host that has no interpreter for the signature.
            ///
            /// # Safety
            /// The function may be called with these values now, by this thread; the stack has room
            /// for it.
            #[inline]
            pub unsafe fn call(&self, $($value: $ty),*) -> R {
                // SAFETY: I5: the caller's promise.
                unsafe { self.enter(&$args($($value),*), || ()).0 }
            }

            /// Calls it, and returns the thread's `errno` as well, as the function left it.
            ///
            /// # Panics
            /// As [`Typed::call`].
            ///
            /// # Safety
            /// As [`Typed::call`].
            #[inline]
            pub unsafe fn call_errno(&self, $($value: $ty),*) -> (R, i32) {
                // SAFETY: I5: the caller's promise.
                unsafe { self.enter(&$args($($value),*), errno) }
            }
        }
    )*};
    (@type [$($function:tt)*] $args:ident($($ty:ident),*)) => {
        impl<$($ty: CValue,)* R: CResult> sealed::FunctionType for $($function)* {
            fn params() -> Vec<Type> {
                vec![$($ty::c_type()),*]
            }

            fn result() -> Option<Type> {
                R::c_type()
            }

            fn lies_as(layout: &crate::BlockLayout) -> bool {
                let values = [$((size_of::<$ty>(), align_of::<$ty>())),*];
                layout.size() == size_of::<$args<$($ty),*>>() as u64
                    && layout.align() == align_of::<$args<$($ty),*>>() as u64
                    && lies_as(&values, layout.offsets())
            }

            fn result_size() -> usize {
                size_of::<R>()
            }

            fn result_align() -> usize {
                align_of::<R>()
            }
        }

        impl<$($ty: CValue,)* R: CResult> FunctionType for $($function)* {}
    };
}

function_types! {
    Args0();
    Args1(A a);
    Args2(A a, B b);
    Args3(A a, B b, C c);
    Args4(A a, B b, C c, D d);
    Args5(A a, B b, C c, D d, E e);
    Args6(A a, B b, C c, D d, E e, F f);
    Args7(A a, B b, C c, D d, E e, F f, G g);
    Args8(A a, B b, C c, D d, E e, F f, G g, H h);
    Args9(A a, B b, C c, D d, E e, F f, G g, H h, I i);
    Args10(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j);
    Args11(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k);
    Args12(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l);
}
