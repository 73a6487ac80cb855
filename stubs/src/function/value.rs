//! Rust types with a C type.

use std::sync::OnceLock;

use crate::Type;
use crate::signature::{CType, Field, Kind, is_identifier};

/// A Rust type whose values are those of a C type. Structs get it by
/// [`c_struct!`](crate::c_struct).
///
/// `usize` is any pointer too.
///
/// # Safety
/// On this machine a value lies in memory as one of [`CValue::c_type`] does: it has the same size
/// and alignment, and each part is at the same place. Every value that C code makes of that type is
/// one of this type; with any bytes if there is no such code.
pub unsafe trait CValue: Copy + 'static {
    /// The C type.
    fn c_type() -> Type;
}

/// What a function returns: nothing, or a [`CValue`].
///
/// It is sealed, since a result is taken from memory as a value of its type: what a type's bytes
/// may be is the promise of [`CValue`].
///
/// ```compile_fail,E0277
/// use fing_stubs::{Type, function::CResult};
/// struct Text(&'static str);
/// impl CResult for Text {
///     fn c_type() -> Option<Type> {
///         Some(Type::int64())
///     }
/// }
/// ```
pub trait CResult: sealed::CResult + 'static {
    /// The C type; `None` for `()`.
    fn c_type() -> Option<Type>;
}

mod sealed {
    use super::CValue;

    pub trait CResult {}

    impl CResult for () {}

    impl<T: CValue> CResult for T {}
}

impl CResult for () {
    fn c_type() -> Option<Type> {
        None
    }
}

impl<T: CValue> CResult for T {
    fn c_type() -> Option<Type> {
        Some(T::c_type())
    }
}

macro_rules! scalars {
    ($($ty:ty: $kind:expr,)*) => {$(
        // SAFETY: I36: C's type of this size, alignment and format on every machine that stubs run
        // on.
        unsafe impl CValue for $ty {
            fn c_type() -> Type {
                static TYPE: OnceLock<Type> = OnceLock::new();
                TYPE.get_or_init(|| Type::leaf($kind)).clone()
            }
        }
    )*};
}

scalars! {
    bool: Kind::Bool,
    i8: Kind::Int8,
    i16: Kind::Int16,
    i32: Kind::Int32,
    i64: Kind::Int64,
    isize: Kind::Int64,
    u8: Kind::Uint8,
    u16: Kind::Uint16,
    u32: Kind::Uint32,
    u64: Kind::Uint64,
    usize: Kind::Uintptr,
    f32: Kind::Float32,
    f64: Kind::Float64,
    i128: Kind::C(CType::Int128),
    u128: Kind::C(CType::Uint128),
}

// SAFETY: I36: an address.
unsafe impl<T: 'static> CValue for *const T {
    fn c_type() -> Type {
        Type::unsafe_pointer()
    }
}

// SAFETY: I36: an address.
unsafe impl<T: 'static> CValue for *mut T {
    fn c_type() -> Type {
        Type::unsafe_pointer()
    }
}

// SAFETY: I36: both are elements one after another. As a parameter no ABI passes it; it is a
// member.
unsafe impl<T: CValue, const N: usize> CValue for [T; N] {
    fn c_type() -> Type {
        match Type::array(N as u64, T::c_type()) {
            Ok(ty) => ty,
            Err(error) => panic!("C type of {}: {error}", std::any::type_name::<[T; N]>()),
        }
    }
}

/// C's `float _Complex` and `double _Complex`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex<T> {
    /// The real part.
    pub re: T,
    /// The imaginary part.
    pub im: T,
}

// SAFETY: I36: C has a complex number as the real and then the imaginary part.
unsafe impl CValue for Complex<f32> {
    fn c_type() -> Type {
        Type::complex64()
    }
}

// SAFETY: I36: as above.
unsafe impl CValue for Complex<f64> {
    fn c_type() -> Type {
        Type::complex128()
    }
}

/// The C struct of these members. For [`c_struct!`](crate::c_struct).
///
/// # Panics
/// The type nests deeper than a signature's may, or is larger.
#[doc(hidden)]
pub fn structure(name: &str, members: &[(&str, Type)]) -> Type {
    let field = |(n, (name, ty)): (usize, &(&str, Type))| match is_identifier(name) {
        true => Field::new(name, ty.clone()),
        // One of Go's keywords, or raw.
        false => Field::new(&format!("_{n}"), ty.clone()),
    };
    let fields = members.iter().enumerate().map(field).collect();
    match Type::structure(fields) {
        Ok(ty) => ty,
        Err(error) => panic!("C type of {name}: {error}"),
    }
}

/// Makes a [`CValue`](crate::function::CValue) of a `#[repr(C)]` struct: its members in order, with
/// their types.
///
/// When it is compiled, each member's type is compared, each member's place with C's, and the whole
/// size and alignment, so that a struct that is not laid out as C does it is refused, and one with
/// other members.
///
/// ```
/// use fing_stubs::{c_struct, function::CValue};
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// struct Point {
///     x: f64,
///     y: [i32; 2],
/// }
/// c_struct!(Point { x: f64, y: [i32; 2] });
/// assert_eq!(Point::c_type().to_string(), "struct { x float64; y [2]int32 }");
/// ```
///
/// Not as C has it:
///
/// ```compile_fail,E0080
/// #[repr(C, packed)]
/// #[derive(Clone, Copy)]
/// struct Packed {
///     a: i8,
///     b: i32,
/// }
/// fing_stubs::c_struct!(Packed { a: i8, b: i32 });
/// ```
///
/// A member is missing:
///
/// ```compile_fail,E0027
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// struct Pair {
///     a: i64,
///     b: i64,
/// }
/// fing_stubs::c_struct!(Pair { a: i64 });
/// ```
///
/// Also one that lies where C has padding:
///
/// ```compile_fail,E0027
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// struct Small {
///     a: u32,
///     b: u8,
///     hidden: bool,
/// }
/// fing_stubs::c_struct!(Small { a: u32, b: u8 });
/// ```
///
/// Whatever the macros of the program are called:
///
/// ```compile_fail,E0080
/// macro_rules! assert {
///     ($($anything:tt)*) => {};
/// }
/// #[derive(Clone, Copy)]
/// #[repr(C, packed)]
/// struct Packed {
///     a: i8,
///     b: i32,
/// }
/// fing_stubs::c_struct!(Packed { a: i8, b: i32 });
/// ```
///
/// A union, of which a value may not be all of any member:
///
/// ```compile_fail,E0133
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// union Word {
///     a: u64,
///     nothing: (),
/// }
/// fing_stubs::c_struct!(Word { a: u64 });
/// ```
///
/// A member is of another type:
///
/// ```compile_fail,E0308
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// struct Word {
///     a: u64,
/// }
/// fing_stubs::c_struct!(Word { a: i64 });
/// ```
#[macro_export]
macro_rules! c_struct {
    ($name:ident { $($member:ident: $ty:ty),* $(,)? }) => {
        const _: () = {
            // No member is left out, not even one that lies in the padding between others.
            let _: fn($name) = |$name { $($member: _),* }| ();
            let (mut end, mut align) = (0usize, 1usize);
            $(
                let own = ::core::mem::align_of::<$ty>();
                let at = end.next_multiple_of(own);
                ::core::assert!(
                    ::core::mem::offset_of!($name, $member) == at,
                    ::core::concat!(
                        ::core::stringify!($name),
                        ".",
                        ::core::stringify!($member),
                        " is not where C has it",
                    ),
                );
                end = at + ::core::mem::size_of::<$ty>();
                if own > align {
                    align = own;
                }
                let _: fn(&$name) -> *const $ty = |value| &raw const value.$member;
                // Of a union this is unsafe, so it is refused: it may have fewer bytes.
                let _: fn(&$name) -> $ty = |value| value.$member;
            )*
            ::core::assert!(
                ::core::mem::size_of::<$name>() == end.next_multiple_of(align)
                    && ::core::mem::align_of::<$name>() == align,
                ::core::concat!(
                    ::core::stringify!($name),
                    " has not the size or alignment that C gives it",
                ),
            );
        };
        // SAFETY: I36: each member is a `CValue`, at the place that C has it at, and there is
        // nothing else; checked above.
        unsafe impl $crate::function::CValue for $name {
            fn c_type() -> $crate::Type {
                static TYPE: ::std::sync::OnceLock<$crate::Type> = ::std::sync::OnceLock::new();
                let make = || {
                    let members = [$(
                        (::core::stringify!($member), <$ty as $crate::function::CValue>::c_type()),
                    )*];
                    $crate::function::structure(::core::stringify!($name), &members)
                };
                TYPE.get_or_init(make).clone()
            }
        }
    };
}
