//! A call as a Rust closure sees it: the bytes of its arguments, the bytes for its results, and
//! both by type.
#![forbid(unsafe_code)]

use crate::block::BlockLayout;
use crate::quote::short;
use crate::signature::Kind;
use crate::{Abi, Signature, Type};

/// A signature and the convention of its callers, with what is asked of it at each call.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) signature: Signature,
    pub(super) abi: Abi,
    arguments: Values,
    results: Values,
}

#[derive(Debug)]
struct Values {
    layout: BlockLayout,
    /// First byte and kind of each.
    each: Box<[(u32, Class)]>,
}

/// What a Rust value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float32,
    Float64,
    Pointer,
    Other,
}

impl Typed {
    /// Blocks are laid out as `layout` says, which is mostly the callers' ABI.
    pub(super) fn new(signature: &Signature, abi: Abi, layout: Abi) -> Typed {
        Typed {
            signature: signature.clone(),
            abi,
            arguments: Values::of(layout, &signature.arguments().collect::<Vec<_>>()),
            results: Values::of(layout, &signature.results().iter().collect::<Vec<_>>()),
        }
    }

    pub(super) fn argument_bytes(&self) -> usize {
        self.arguments.layout.size() as usize
    }

    pub(super) fn argument_layout(&self) -> &BlockLayout {
        &self.arguments.layout
    }

    pub(super) fn result_layout(&self) -> &BlockLayout {
        &self.results.layout
    }

    pub(super) fn result_bytes(&self) -> usize {
        self.results.layout.size() as usize
    }
}

impl Values {
    fn of(abi: Abi, types: &[&Type]) -> Values {
        let layout = BlockLayout::under(abi, types.iter().copied());
        let of = |(ty, &at): (&&Type, &u64)| (at as u32, class(ty));
        let each = types.iter().zip(layout.offsets()).map(of);
        Values {
            each: each.collect(),
            layout,
        }
    }
}

fn class(ty: &Type) -> Class {
    match ty.underlying() {
        Kind::Bool => Class::Bool,
        Kind::Int8 => Class::Int8,
        Kind::Int16 => Class::Int16,
        Kind::Int32 => Class::Int32,
        Kind::Int | Kind::Int64 => Class::Int64,
        Kind::Uint8 => Class::Uint8,
        Kind::Uint16 => Class::Uint16,
        Kind::Uint32 => Class::Uint32,
        Kind::Uint | Kind::Uint64 | Kind::Uintptr => Class::Uint64,
        Kind::Float32 => Class::Float32,
        Kind::Float64 => Class::Float64,
        Kind::Pointer(_) | Kind::UnsafePointer | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_) => {
            Class::Pointer
        }
        _ => Class::Other,
    }
}

/// A Rust type that one scalar of a signature may be read or written as: an integer of the same
/// size and sign, a float of the same size, a `bool`; a pointer as `usize`.
pub trait Scalar: sealed::Scalar {}

mod sealed {
    use super::Class;

    pub trait Scalar: Sized {
        const NAME: &'static str;
        #[expect(
            private_interfaces,
            reason = "callers of the sealed trait don't see it"
        )]
        fn fits(class: Class) -> bool;
        /// From the bytes at an offset, if there are as many as its size.
        fn read(bytes: &[u8], at: u32) -> Option<Self>;
        /// To the bytes at an offset, if there are as many as its size.
        fn write(self, bytes: &mut [u8], at: u32) -> Option<()>;
    }
}

macro_rules! scalars {
    ($($ty:ty: $class:pat,)*) => {$(
        impl Scalar for $ty {}

        impl sealed::Scalar for $ty {
            const NAME: &'static str = stringify!($ty);

            #[expect(private_interfaces, reason = "as in the trait")]
            #[inline]
            fn fits(class: Class) -> bool {
                matches!(class, $class)
            }

            #[inline]
            fn read(bytes: &[u8], at: u32) -> Option<$ty> {
                let at = at as usize;
                let bytes = bytes.get(at..at + size_of::<$ty>())?.as_array()?;
                Some(<$ty>::from_ne_bytes(*bytes))
            }

            #[inline]
            fn write(self, bytes: &mut [u8], at: u32) -> Option<()> {
                let at = at as usize;
                let bytes = bytes.get_mut(at..at + size_of::<$ty>())?.as_mut_array()?;
                *bytes = self.to_ne_bytes();
                Some(())
            }
        }
    )*};
}

scalars! {
    i8: Class::Int8,
    i16: Class::Int16,
    i32: Class::Int32,
    i64: Class::Int64,
    u8: Class::Uint8,
    u16: Class::Uint16,
    u32: Class::Uint32,
    u64: Class::Uint64,
    isize: Class::Int64,
    usize: Class::Uint64 | Class::Pointer,
    f32: Class::Float32,
    f64: Class::Float64,
}

impl Scalar for bool {}

impl sealed::Scalar for bool {
    const NAME: &'static str = "bool";

    #[expect(private_interfaces, reason = "as in the trait")]
    #[inline]
    fn fits(class: Class) -> bool {
        class == Class::Bool
    }

    /// Any bit set is true: a foreign caller's byte may be anything.
    #[inline]
    fn read(bytes: &[u8], at: u32) -> Option<bool> {
        Some(*bytes.get(at as usize)? != 0)
    }

    #[inline]
    fn write(self, bytes: &mut [u8], at: u32) -> Option<()> {
        *bytes.get_mut(at as usize)? = u8::from(self);
        Some(())
    }
}

/// Why an argument could not be read, a result not be written, or a call not be forwarded. Always
/// the closure's mistake.
///
/// One word, so that it costs nothing where there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct CallValueError(Box<WrongValue>);

impl CallValueError {
    /// What was wrong.
    pub fn what(&self) -> &WrongValue {
        &self.0
    }
}

/// What a [`CallValueError`] says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongValue {
    /// The signature has no such value.
    #[error("callback {}: {side} {index}, wanted one below {count}", short(.signature))]
    NoSuchValue {
        /// The callback's signature.
        signature: Signature,
        /// `argument` or `result`.
        side: &'static str,
        /// The index asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The value is of another type.
    #[error(
        "callback {}: {side} {index} is {}, found {found} asked for, wanted {wanted}",
        short(.signature),
        short(.ty)
    )]
    OtherType {
        /// The callback's signature.
        signature: Signature,
        /// `argument` or `result`.
        side: &'static str,
        /// Its index.
        index: usize,
        /// Its type.
        ty: Type,
        /// The Rust type that was asked for.
        found: &'static str,
        /// What may be asked for.
        wanted: &'static str,
    },
    /// A call was to be forwarded to a function that is for other callers.
    #[error(
        "callback {} by {wanted}: found a function for another point, {} by {abi}, wanted one for \
         its own",
        short(.signature),
        short(.found)
    )]
    OtherPoint {
        /// The callback's signature.
        signature: Signature,
        /// The convention of its callers.
        wanted: Abi,
        /// The function's signature.
        found: Signature,
        /// The convention of the callers that it is for.
        abi: Abi,
    },
}

/// A call of a callback, while it runs.
///
/// Arguments and results are [blocks](BlockLayout::under): the values one after another as the
/// fields of a struct of the caller's ABI, a method's receiver first. Results are zero until they
/// are written.
#[derive(Debug)]
pub struct Call<'a> {
    typed: &'a Typed,
    arguments: &'a [u8],
    results: &'a mut [u8],
    refused: Option<Box<str>>,
}

impl<'a> Call<'a> {
    /// The slices are of the sizes that `typed` says.
    pub(super) fn new(typed: &'a Typed, arguments: &'a [u8], results: &'a mut [u8]) -> Call<'a> {
        Call {
            typed,
            arguments,
            results,
            refused: None,
        }
    }

    /// Has the call fail: when the closure returns, this is reported as a
    /// [`Failure::Refused`](super::Failure) with these words, and the caller gets zeroes, or the
    /// process is aborted, as [`CallbackOptions::on_late`](super::CallbackOptions) says. For a
    /// closure that can't do its work now: its caller's convention has no errors.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.refused = Some(why.into().into());
    }

    /// Whether it is of the callers of a point.
    pub(super) fn is_of(&self, typed: &Typed) -> bool {
        std::ptr::eq(self.typed, typed)
    }

    /// Both blocks, which are at multiples of 16.
    pub(super) fn blocks(&mut self) -> (&[u8], &mut [u8]) {
        (self.arguments, self.results)
    }

    #[cold]
    pub(super) fn other_point(&self, found: &Signature, abi: Abi) -> CallValueError {
        CallValueError(Box::new(WrongValue::OtherPoint {
            signature: self.typed.signature.clone(),
            wanted: self.typed.abi,
            found: found.clone(),
            abi,
        }))
    }

    /// Why the closure refused the call, if it did.
    pub(super) fn refused(self) -> Option<Box<str>> {
        self.refused
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.typed.signature
    }

    /// The convention of the caller.
    pub fn abi(&self) -> Abi {
        self.typed.abi
    }

    /// Layout of the block of arguments.
    pub fn argument_layout(&self) -> &BlockLayout {
        &self.typed.arguments.layout
    }

    /// Layout of the block of results.
    pub fn result_layout(&self) -> &BlockLayout {
        &self.typed.results.layout
    }

    /// The whole block of arguments. Padding is zero.
    pub fn arguments(&self) -> &[u8] {
        self.arguments
    }

    /// The whole block of results.
    pub fn results(&mut self) -> &mut [u8] {
        self.results
    }

    /// Argument `index` as a value of a Rust type.
    ///
    /// # Errors
    /// No such argument, or not of that type.
    #[inline]
    pub fn argument<T: Scalar>(&self, index: usize) -> Result<T, CallValueError> {
        let at = offset::<T>(&self.typed.arguments, index);
        let value = at.and_then(|at| T::read(self.arguments, at));
        value.ok_or_else(|| self.mismatch("argument", T::NAME, index))
    }

    /// Writes result `index`.
    ///
    /// # Errors
    /// No such result, or not of that type. Nothing is written then.
    #[inline]
    pub fn set_result<T: Scalar>(&mut self, index: usize, value: T) -> Result<(), CallValueError> {
        let at = offset::<T>(&self.typed.results, index);
        let written = at.and_then(|at| value.write(self.results, at));
        written.ok_or_else(|| self.mismatch("result", T::NAME, index))
    }

    #[cold]
    #[inline(never)]
    fn mismatch(&self, side: &'static str, found: &'static str, index: usize) -> CallValueError {
        let signature = self.typed.signature.clone();
        let types: Vec<&Type> = match side {
            "argument" => signature.arguments().collect(),
            _ => signature.results().iter().collect(),
        };
        let count = types.len();
        CallValueError(Box::new(match types.get(index).map(|ty| (*ty).clone()) {
            Some(ty) => WrongValue::OtherType {
                side,
                index,
                found,
                wanted: wanted(class(&ty)),
                ty,
                signature,
            },
            None => WrongValue::NoSuchValue {
                side,
                index,
                count,
                signature,
            },
        }))
    }
}

/// The first byte of value `index`, if it is a `T`.
#[inline]
fn offset<T: Scalar>(values: &Values, index: usize) -> Option<u32> {
    let &(at, class) = values.each.get(index)?;
    T::fits(class).then_some(at)
}

fn wanted(class: Class) -> &'static str {
    match class {
        Class::Bool => "bool",
        Class::Float32 | Class::Float64 => "a float of its size",
        Class::Pointer => "usize",
        Class::Other => "its bytes (Call::arguments, Call::results)",
        _ => "an integer of its size and sign",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_types() {
        let signature: Signature = "func(int8, bool, float32, *int, string) (uint16, float64)"
            .parse()
            .unwrap();
        let typed = Typed::new(&signature, Abi::system_v(), Abi::go(crate::Arch::Amd64));
        let mut arguments = vec![0; typed.argument_bytes()];
        arguments[..2].copy_from_slice(&[0xfe, 2]);
        arguments[4..8].copy_from_slice(&1.5f32.to_ne_bytes());
        arguments[8..16].copy_from_slice(&77usize.to_ne_bytes());
        let mut results = vec![0; typed.result_bytes()];
        let mut call = Call::new(&typed, &arguments, &mut results);
        assert_eq!(call.argument(0), Ok(-2i8));
        assert_eq!(call.argument(1), Ok(true));
        assert_eq!(call.argument(2), Ok(1.5f32));
        assert_eq!(call.argument(3), Ok(77usize));
        let refused = [
            call.argument::<u8>(0).unwrap_err().to_string(),
            call.argument::<f64>(2).unwrap_err().to_string(),
            call.argument::<u64>(4).unwrap_err().to_string(),
            call.argument::<i32>(5).unwrap_err().to_string(),
            call.set_result(0, 7i16).unwrap_err().to_string(),
            call.set_result(2, 7i16).unwrap_err().to_string(),
        ];
        let name = "callback func(int8, bool, float32, *int, string) (uint16, float64)";
        assert_eq!(
            refused,
            [
                "argument 0 is int8, found u8 asked for, wanted an integer of its size and sign",
                "argument 2 is float32, found f64 asked for, wanted a float of its size",
                "argument 4 is string, found u64 asked for, wanted its bytes (Call::arguments, \
                 Call::results)",
                "argument 5, wanted one below 5",
                "result 0 is uint16, found i16 asked for, wanted an integer of its size and sign",
                "result 2, wanted one below 2",
            ]
            .map(|rest| format!("{name}: {rest}"))
        );
        call.set_result(0, 7u16).unwrap();
        call.set_result(1, 2.5f64).unwrap();
        assert_eq!(call.results()[..2], 7u16.to_ne_bytes());
        assert_eq!(call.result_layout().offsets(), [0, 8]);
        assert_eq!(results[8..], 2.5f64.to_ne_bytes());
    }
}
