//! Go types and signatures: what they are made of, how many bytes they take, how they are written.
//!
//! A [`Type`] is an immutable tree (or shared graph) whose layout, register need, nesting depth and
//! hash are settled when it is built, so asking later costs nothing. A [`Signature`] is what a call
//! stub is made for. Both are read from and printed as Go text:
//!
//! ```
//! use fing_stubs::signature::{Signature, Type};
//!
//! let node: Type = "struct { Next *int; Weight float32 }".parse()?;
//! let layout = node.layout().expect("a struct of known types has a size");
//! assert_eq!((layout.size, layout.align), (16, 8));
//!
//! let sig: Signature = "func(any, ...byte) (int, error)".parse()?;
//! assert_eq!(sig.to_string(), "func(interface{}, ...uint8) (int, error)");
//! # Ok::<(), fing_stubs::signature::ParseError>(())
//! ```
//!
//! Sizes are those of 64-bit machines. Hostile input ends in an error: nesting is bounded by
//! [`MAX_DEPTH`], the number of types written out by [`MAX_WEIGHT`], sizes by [`MAX_SIZE`] and
//! names by [`MAX_NAME`], whether a type is parsed or built.
#![forbid(unsafe_code)]

mod build;
mod c;
mod error;
mod layout;
mod parse;
mod print;
mod sig;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use c::{
    BitFields, CLayout, CType, DataModel, Enumeration, LongDouble, MAX_ALIGN, Member, Placed,
    Record, WideChar,
};
pub use error::{ParseError, ParseReason, Role, TypeError};
pub use layout::{Layout, Need, WORD, round_up};
pub use parse::{parse_signature_with, parse_type_with};
pub use sig::Signature;

pub(crate) use build::is_identifier;
use layout::Facts;

/// Deepest nesting of types: `int` is 1 deep, `*int` is 2.
pub const MAX_DEPTH: u32 = 200;
/// Most types one type or signature may hold when written out in full (shared parts count each
/// time).
pub const MAX_WEIGHT: u64 = 1 << 20;
/// Largest size in bytes of a type, and of all values of a signature together: the user half of a
/// 48-bit address space.
pub const MAX_SIZE: u64 = 1 << 47;
/// Longest name of a field, a method or a defined type, in bytes.
pub const MAX_NAME: usize = 255;

/// A Go type. Cheap to clone (one reference count) and to compare.
///
/// `Display` prints `struct{}` and `interface{}`; the alternate form `{:#}` prints the text Go
/// itself would print (`struct {}`, `interface {}`, no parameter names in methods, names as
/// [displayed](Type::displayed_as)).
#[derive(Clone)]
pub struct Type(Arc<Node>);

struct Node {
    kind: Kind,
    facts: Facts,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the basic kinds carry Go's own names")]
#[non_exhaustive]
pub enum Kind {
    Bool,
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Uintptr,
    Float32,
    Float64,
    Complex64,
    Complex128,
    String,
    UnsafePointer,
    /// `*T`
    Pointer(Type),
    /// `[N]T`
    Array(u64, Type),
    /// `[]T`
    Slice(Type),
    /// `map[K]V`
    Map(Type, Type),
    /// `chan T`, `<-chan T`, `chan<- T`
    Chan(ChanDir, Type),
    /// `func(T) T`
    Func(FuncType),
    /// `struct { A T; B T }`
    Struct(Vec<Field>),
    /// `interface{ M(); N() int }`, methods sorted by name
    Interface(Vec<Method>),
    /// A defined type: `main.Node`, `error`
    Named(Named),
    /// A type that only C has
    C(CType),
}

/// Which way values go through a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChanDir {
    /// `chan T`
    Both,
    /// `<-chan T`
    Receive,
    /// `chan<- T`
    Send,
}

/// Parameters and results of a function type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FuncType {
    /// Parameters in order; the last one of a variadic function is a slice.
    pub params: Vec<Type>,
    /// Results in order.
    pub results: Vec<Type>,
    /// The last parameter is written `...T`.
    pub variadic: bool,
}

/// One field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Name; `_` may occur more than once.
    pub name: Arc<str>,
    /// Type of the field.
    pub ty: Type,
    /// Bytes from the start of the struct. Set by [`Type::structure`], whatever was in it.
    pub offset: u64,
    /// It is written without a name, `main.Node` or `*main.Node`, and has its type's.
    pub is_embedded: bool,
    /// The text behind its type, which is part of the struct's identity. No empty one.
    pub tag: Option<Arc<str>>,
}

impl Field {
    /// A field for [`Type::structure`], which checks it and settles its offset.
    pub fn new(name: &str, ty: Type) -> Field {
        Field {
            name: name.into(),
            ty,
            offset: 0,
            is_embedded: false,
            tag: None,
        }
    }
}

impl Hash for Field {
    /// Offsets follow from the types, and most fields are neither embedded nor have a tag.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.ty.hash(state);
        if self.is_embedded {
            state.write_u8(1);
        }
        if let Some(tag) = &self.tag {
            tag.hash(state);
        }
    }
}

/// One method of an interface type. Equality ignores the names of parameters, as Go does.
#[derive(Clone, Debug)]
pub struct Method {
    /// Name of the method.
    pub name: Arc<str>,
    /// Parameters and results, without a receiver.
    pub ty: FuncType,
    /// Names of the parameters, then of the results, where they are written; only printing looks at
    /// them.
    pub(crate) labels: Vec<Option<Arc<str>>>,
}

impl Method {
    /// A method for [`Type::interface`], which checks it.
    pub fn new(name: &str, ty: FuncType) -> Method {
        Method {
            name: name.into(),
            ty,
            labels: Vec::new(),
        }
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Method) -> bool {
        self.name == other.name && self.ty == other.ty
    }
}

impl Eq for Method {}

impl Hash for Method {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.ty.hash(state);
    }
}

/// A defined type. Two are equal when their names are, so that a type may mention itself:
/// `main.Node` is the name over `struct { Next *main.Node }`, whose inner `main.Node` is opaque.
#[derive(Clone, Debug)]
pub struct Named {
    name: Arc<str>,
    underlying: Option<Type>,
    scope: u64,
    /// What `{:#}` prints, if that is not the name.
    display: Option<Arc<str>>,
}

impl Named {
    /// Who has defined it; 0 if nobody said ([`Type::in_scope`]). It does not count for equality.
    pub fn scope(&self) -> u64 {
        self.scope
    }

    /// The name, `main.Node`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that is shown to people ([`Type::displayed_as`]). It does not count for equality.
    pub fn display(&self) -> &str {
        self.display.as_ref().unwrap_or(&self.name)
    }

    /// The type it is defined as (never itself a defined type); `None` for an opaque type.
    pub fn underlying(&self) -> Option<&Type> {
        self.underlying.as_ref()
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Named) -> bool {
        self.name == other.name
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Type {
    /// What the type is made of. A defined type is [`Kind::Named`].
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// What the type is made of, seen through its name. An opaque type stays [`Kind::Named`].
    pub fn underlying(&self) -> &Kind {
        match &self.0.kind {
            Kind::Named(Named {
                underlying: Some(ty),
                ..
            }) => ty.underlying(),
            kind => kind,
        }
    }

    /// The name of a defined type, without which it would be written out.
    pub fn name(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Named(named) => Some(&named.name),
            _ => None,
        }
    }

    /// Size, alignment and register need by Go's rules; `None` for an opaque type. For a type that
    /// only C has, what it is under System V on x86-64; [`Abi::layout_of`](crate::Abi::layout_of)
    /// has all types by the rules of an ABI.
    pub fn layout(&self) -> Option<Layout> {
        self.0.facts.layout
    }

    /// Whether Go has such values: no part of them, seen through names, is of a type that only C
    /// has.
    pub fn is_go(&self) -> bool {
        self.0.facts.is_go
    }

    /// Whether a value holds anything the garbage collector must look at. `false` for an opaque
    /// type.
    pub fn has_pointers(&self) -> bool {
        self.0.facts.pointers
    }

    /// Whether Go's `==` is defined on it, which a map key needs. Opaque types are taken at their
    /// word.
    pub fn is_comparable(&self) -> bool {
        self.0.facts.comparable
    }

    /// How deep types nest in it; at most [`MAX_DEPTH`].
    pub fn depth(&self) -> u32 {
        self.0.facts.depth
    }

    /// How many types it holds, itself included, when written out; at most [`MAX_WEIGHT`].
    pub fn weight(&self) -> u64 {
        self.0.facts.weight
    }
}

impl Type {
    /// Whether it is a copy of the other one, which tells that they are equal without a look.
    pub(crate) fn is_shared_with(&self, other: &Type) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Type) -> bool {
        self.is_shared_with(other)
            || (self.0.facts.hash == other.0.facts.hash && self.0.kind == other.0.kind)
    }
}

impl Eq for Type {}

impl Hash for Type {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.facts.hash);
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
