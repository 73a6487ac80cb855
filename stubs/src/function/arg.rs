//! What a call passes, and where its result goes.
#![forbid(unsafe_code)]

use std::any::TypeId;
use std::marker::PhantomData;

use super::CValue;
use crate::Type;
use crate::quote::short;

/// A Rust type, as calls compare it. There is one at each address for ever, and each is of one
/// type; several may be of the same.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) id: TypeId,
    pub(super) ty: fn() -> Type,
    pub(super) size: usize,
}

trait HasSource: CValue {
    const SOURCE: &'static Source;
}

impl<T: CValue> HasSource for T {
    const SOURCE: &'static Source = &Source {
        id: TypeId::of::<T>(),
        ty: T::c_type,
        size: size_of::<T>(),
    };
}

/// An argument of a call: a value that is borrowed for it.
#[derive(Clone, Copy, Debug)]
pub struct Arg<'a> {
    pub(super) start: *const u8,
    pub(super) size: usize,
    /// `None`: bytes.
    pub(super) typed: Option<&'static Source>,
    _borrowed: PhantomData<&'a u8>,
}

impl<'a> Arg<'a> {
    /// A value of a Rust type, whose C type is compared with the parameter's.
    #[inline]
    pub fn of<T: CValue>(value: &'a T) -> Arg<'a> {
        Arg {
            start: std::ptr::from_ref(value).cast(),
            size: size_of::<T>(),
            typed: Some(T::SOURCE),
            _borrowed: PhantomData,
        }
    }

    /// The bytes of a value of any type, of which only the number is compared: for types that are
    /// known at run time only.
    #[inline]
    pub fn bytes(bytes: &'a [u8]) -> Arg<'a> {
        Arg {
            start: bytes.as_ptr(),
            size: bytes.len(),
            typed: None,
            _borrowed: PhantomData,
        }
    }
}

/// Where a call's result goes.
#[derive(Debug)]
pub struct Ret<'a> {
    /// `None`: it is dropped.
    pub(super) start: Option<*mut u8>,
    pub(super) size: usize,
    /// `None`: bytes.
    pub(super) typed: Option<&'static Source>,
    _borrowed: PhantomData<&'a mut u8>,
}

impl<'a> Ret<'a> {
    /// There is no result, or it is not wanted.
    #[inline]
    pub fn ignored() -> Ret<'a> {
        Ret {
            start: None,
            size: 0,
            typed: None,
            _borrowed: PhantomData,
        }
    }

    /// A value of a Rust type, whose C type is compared with the result's.
    #[inline]
    pub fn of<T: CValue>(value: &'a mut T) -> Ret<'a> {
        Ret {
            start: Some(std::ptr::from_mut(value).cast()),
            size: size_of::<T>(),
            typed: Some(T::SOURCE),
            _borrowed: PhantomData,
        }
    }

    /// The bytes of a result of any type; of several results those of their
    /// [block](crate::BlockLayout).
    #[inline]
    pub fn bytes(bytes: &'a mut [u8]) -> Ret<'a> {
        Ret {
            start: Some(bytes.as_mut_ptr()),
            size: bytes.len(),
            typed: None,
            _borrowed: PhantomData,
        }
    }
}

/// What was given, for an error.
pub(super) fn found(typed: Option<&Source>, size: usize) -> String {
    match typed {
        Some(source) => short(&(source.ty)()).to_string(),
        None => format!("{size} bytes"),
    }
}
