//! The types of a program. Equal types have equal numbers.

mod members;
mod show;

use std::collections::HashMap;

use crate::ast::{Dir, Name};
use crate::program::FuncId;
pub use members::{Found, Member};

/// The number of a type in [`Types`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ty(pub u32);

/// Makes of a table of the basic types the enum, what is known of each, and the numbers as types.
macro_rules! basics {
    ($($number:ident $basic:ident $name:literal $integer:expr;)*) => {
        /// A type that Go has by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Basic { $(#[doc = $name] $basic,)* }
        const BASICS: &[(Basic, &str, Option<(u32, bool)>)] =
            &[$((Basic::$basic, $name, $integer),)*];
        /// The basic types by their numbers.
        pub mod basic {
            use super::{Basic, Ty};
            $(#[doc = $name] pub const $number: Ty = Ty(Basic::$basic as u32);)*
        }
    };
}

// Number, type, name, and of integers the bits and whether they are signed. What has no value has
// the type void: statements, packages, builtins.
basics! {
    VOID Void "no value" None;
    BOOL Bool "bool" None;
    INT Int "int" Some((64, true));
    INT8 Int8 "int8" Some((8, true));
    INT16 Int16 "int16" Some((16, true));
    INT32 Int32 "int32" Some((32, true));
    INT64 Int64 "int64" Some((64, true));
    UINT Uint "uint" Some((64, false));
    UINT8 Uint8 "uint8" Some((8, false));
    UINT16 Uint16 "uint16" Some((16, false));
    UINT32 Uint32 "uint32" Some((32, false));
    UINT64 Uint64 "uint64" Some((64, false));
    UINTPTR Uintptr "uintptr" Some((64, false));
    FLOAT32 Float32 "float32" None;
    FLOAT64 Float64 "float64" None;
    STRING String "string" None;
    UNSAFE_POINTER UnsafePointer "unsafe.Pointer" None;
    UNTYPED_BOOL UntypedBool "untyped bool" None;
    UNTYPED_INT UntypedInt "untyped int" Some((64, true));
    UNTYPED_RUNE UntypedRune "untyped rune" Some((32, true));
    UNTYPED_FLOAT UntypedFloat "untyped float" None;
    UNTYPED_STRING UntypedString "untyped string" None;
    UNTYPED_NIL UntypedNil "untyped nil" None;
}

/// What a function takes and returns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sig {
    /// The types of the parameters, without a receiver.
    pub params: Vec<Ty>,
    /// Whether the last one, a slice, has `...`.
    pub variadic: bool,
    /// The types of the results.
    pub results: Vec<Ty>,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: Ty,
    pub(crate) embedded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
/// A method of an interface.
pub struct Method {
    /// Its name.
    pub name: Name,
    /// A function type.
    pub ty: Ty,
}

/// What a type is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `int`.
    Basic(Basic),
    /// `*T`.
    Pointer(Ty),
    /// `[]T`.
    Slice(Ty),
    /// `[n]T`.
    Array(u64, Ty),
    /// `map[K]V`.
    Map(Ty, Ty),
    /// `chan T`.
    Chan(Dir, Ty),
    /// `func(T) U`.
    Func(Sig),
    /// `struct { a T }`.
    Struct(Vec<Field>),
    /// `interface { m() }`, sorted by name.
    Interface(Vec<Method>),
    /// `weak.Pointer[T]`.
    Weak(Ty),
    /// The results of a call that has several.
    Tuple(Vec<Ty>),
    /// The position in `Types::named`.
    Named(u32),
}

/// A type that the program or a package declares.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// With its package, as `main.T`.
    pub(crate) name: String,
    /// The kind that it is declared as; void while it is being declared.
    pub(crate) underlying: Ty,
    pub(crate) methods: Vec<DeclaredMethod>,
}

/// A method of a type with a name.
#[derive(Clone, Debug)]
pub struct DeclaredMethod {
    pub(crate) name: Name,
    /// The function.
    pub func: FuncId,
    /// Whether its receiver is a pointer.
    pub by_pointer: bool,
    /// Without the receiver.
    pub ty: Ty,
}

/// All types of a program.
#[derive(Debug, Default)]
pub struct Types {
    kinds: Vec<Kind>,
    ids: HashMap<Kind, Ty>,
    named: Vec<Named>,
}

impl Types {
    /// `any`, which is made behind the basic types.
    pub const ANY: Ty = Ty(BASICS.len() as u32);

    pub(crate) fn new() -> Types {
        let mut types = Types::default();
        for (basic, ..) in BASICS {
            types.intern(Kind::Basic(*basic));
        }
        types.intern(Kind::Interface(Vec::new()));
        types
    }

    pub(crate) fn intern(&mut self, kind: Kind) -> Ty {
        let next = Ty(self.kinds.len() as u32);
        let ty = *self.ids.entry(kind.clone()).or_insert(next);
        if ty == next {
            self.kinds.push(kind);
        }
        ty
    }

    pub(crate) fn pointer(&mut self, to: Ty) -> Ty {
        self.intern(Kind::Pointer(to))
    }

    pub(crate) fn func_type(&mut self, params: Vec<Ty>, variadic: bool, results: Vec<Ty>) -> Ty {
        self.intern(Kind::Func(Sig {
            params,
            variadic,
            results,
        }))
    }

    pub(crate) fn new_named(&mut self, name: String, underlying: Ty) -> Ty {
        let index = self.named.len() as u32;
        self.named.push(Named {
            name,
            underlying,
            methods: Vec::new(),
        });
        self.intern(Kind::Named(index))
    }

    /// Whether the program or a package declares it.
    pub fn has_name(&self, ty: Ty) -> bool {
        self.named(ty).is_some()
    }

    pub(crate) fn named(&self, ty: Ty) -> Option<&Named> {
        match self.own_kind(ty) {
            Kind::Named(index) => self.named.get(*index as usize),
            _ => None,
        }
    }

    pub(crate) fn named_mut(&mut self, ty: Ty) -> &mut Named {
        match *self.own_kind(ty) {
            Kind::Named(index) => &mut self.named[index as usize],
            _ => unreachable!("a type with a name"),
        }
    }

    /// The type that has no name.
    pub fn underlying(&self, ty: Ty) -> Ty {
        self.named(ty).map_or(ty, |named| named.underlying)
    }

    /// What the type is, whatever it is called.
    pub fn kind(&self, ty: Ty) -> &Kind {
        self.own_kind(self.underlying(ty))
    }

    /// What the type is called, if it is.
    pub fn own_kind(&self, ty: Ty) -> &Kind {
        &self.kinds[ty.0 as usize]
    }

    /// Which basic type it is, if it is one.
    pub(crate) fn basic(&self, ty: Ty) -> Option<Basic> {
        match self.kind(ty) {
            Kind::Basic(basic) => Some(*basic),
            _ => None,
        }
    }

    /// Bits, and whether it is signed.
    pub fn integer(&self, ty: Ty) -> Option<(u32, bool)> {
        BASICS[self.basic(ty)? as usize].2
    }

    /// Whether it has negative values, as all types have but some of integers.
    pub fn is_signed(&self, ty: Ty) -> bool {
        self.integer(ty).is_none_or(|(_, signed)| signed)
    }

    pub(crate) fn is_integer(&self, ty: Ty) -> bool {
        self.integer(ty).is_some()
    }

    /// Whether it is a type of floating-point numbers.
    pub fn is_float(&self, ty: Ty) -> bool {
        use Basic::*;
        matches!(self.basic(ty), Some(Float32 | Float64 | UntypedFloat))
    }

    /// Whether it is a type of numbers.
    pub fn is_number(&self, ty: Ty) -> bool {
        self.is_integer(ty) || self.is_float(ty)
    }

    /// Whether it is a type of text.
    pub fn is_string(&self, ty: Ty) -> bool {
        matches!(self.basic(ty), Some(Basic::String | Basic::UntypedString))
    }

    pub(crate) fn is_bool(&self, ty: Ty) -> bool {
        matches!(self.basic(ty), Some(Basic::Bool | Basic::UntypedBool))
    }

    /// Whether it is the type of a constant that has none.
    pub fn is_untyped(&self, ty: Ty) -> bool {
        (basic::UNTYPED_BOOL..=basic::UNTYPED_NIL).contains(&ty)
    }

    /// The type that a variable gets from a value of this type.
    pub fn default_type(&self, ty: Ty) -> Ty {
        match ty {
            basic::UNTYPED_BOOL => basic::BOOL,
            basic::UNTYPED_INT => basic::INT,
            basic::UNTYPED_RUNE => basic::INT32,
            basic::UNTYPED_FLOAT => basic::FLOAT64,
            basic::UNTYPED_STRING => basic::STRING,
            _ => ty,
        }
    }

    /// The type as which values of two types are compared: that of the interface, of the typed one,
    /// of the wider constant.
    pub fn compared_as(&self, left: Ty, right: Ty) -> Ty {
        match (self.is_untyped(left), self.is_untyped(right)) {
            _ if left == basic::UNTYPED_NIL => right,
            _ if right == basic::UNTYPED_NIL => left,
            (true, true) => self.default_type(left.max(right)),
            (true, false) => right,
            (false, true) => left,
            _ if self.is_interface(right) && !self.is_interface(left) => right,
            _ => left,
        }
    }

    /// The function of the package `runtime` that converts text to or from a slice.
    pub(crate) fn conversion_of_text(&self, from: Ty, to: Ty) -> Option<&'static str> {
        let elem = |ty| self.basic(self.elem(ty));
        match (elem(from), elem(to)) {
            (Some(Basic::Uint8), _) if self.is_string(to) => Some("textOfBytes"),
            (Some(Basic::Int32), _) if self.is_string(to) => Some("textOfRunes"),
            (_, Some(Basic::Uint8)) if self.is_string(from) => Some("bytesOfText"),
            (_, Some(Basic::Int32)) if self.is_string(from) => Some("runesOfText"),
            _ => None,
        }
    }

    /// Whether it is an interface.
    pub fn is_interface(&self, ty: Ty) -> bool {
        matches!(self.kind(ty), Kind::Interface(_))
    }

    /// Whether nil is a value of it.
    pub(crate) fn has_nil(&self, ty: Ty) -> bool {
        match self.kind(ty) {
            Kind::Basic(basic) => *basic == Basic::UnsafePointer,
            Kind::Struct(_) | Kind::Array(..) | Kind::Weak(_) | Kind::Tuple(_) => false,
            _ => true,
        }
    }

    /// Whether `==` is defined on it.
    pub fn is_comparable(&self, ty: Ty) -> bool {
        match self.kind(ty) {
            Kind::Slice(_) | Kind::Map(..) | Kind::Func(_) | Kind::Tuple(_) => false,
            Kind::Array(_, elem) => self.is_comparable(*elem),
            Kind::Struct(fields) => fields.iter().all(|field| self.is_comparable(field.ty)),
            Kind::Basic(basic) => *basic != Basic::Void,
            _ => true,
        }
    }

    /// The element type behind a pointer.
    pub fn pointee(&self, ty: Ty) -> Option<Ty> {
        match self.kind(ty) {
            Kind::Pointer(to) => Some(*to),
            _ => None,
        }
    }

    pub(crate) fn sig(&self, ty: Ty) -> Option<&Sig> {
        match self.kind(ty) {
            Kind::Func(sig) => Some(sig),
            _ => None,
        }
    }

    /// What a function takes and returns; the type is one of functions.
    pub fn func(&self, ty: Ty) -> &Sig {
        match self.sig(ty) {
            Some(sig) => sig,
            None => unreachable!("checked to be a function"),
        }
    }

    /// The types of several results.
    pub fn tuple(&self, ty: Ty) -> Option<&[Ty]> {
        match self.own_kind(ty) {
            Kind::Tuple(types) => Some(types),
            _ => None,
        }
    }

    /// Whether it is a struct or an array.
    pub fn has_parts(&self, ty: Ty) -> bool {
        matches!(self.kind(ty), Kind::Struct(_) | Kind::Array(..))
    }

    /// Whether a value is one address, and so what an interface holds; of others it holds the
    /// address of a copy.
    pub fn is_pointer_shaped(&self, ty: Ty) -> bool {
        matches!(
            self.kind(ty),
            Kind::Pointer(_)
                | Kind::Map(..)
                | Kind::Chan(..)
                | Kind::Func(_)
                | Kind::Basic(Basic::UnsafePointer)
        )
    }

    /// All types, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = Ty> + use<> {
        (0..self.kinds.len() as u32).map(Ty)
    }

    /// The fields of a struct; others have none.
    fn fields(&self, ty: Ty) -> &[Field] {
        match self.kind(ty) {
            Kind::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// A field of a struct, or of that behind a pointer.
    pub fn field(&self, ty: Ty, index: usize) -> Option<&Field> {
        self.fields(self.pointee(ty).unwrap_or(ty)).get(index)
    }

    /// The array that a pointer points to, which is indexed by it, or the type itself.
    pub(crate) fn indexed(&self, ty: Ty) -> Ty {
        let to = self.pointee(ty);
        let array = to.filter(|to| matches!(self.kind(*to), Kind::Array(..)));
        array.unwrap_or(ty)
    }

    /// The length and element of an array, or of one that a pointer points to.
    pub fn array(&self, ty: Ty) -> Option<(u64, Ty)> {
        match *self.kind(self.indexed(ty)) {
            Kind::Array(length, elem) => Some((length, elem)),
            _ => None,
        }
    }

    /// The element of an array, of one that a pointer points to, of a slice or of a channel; others
    /// have none, so it is void.
    pub fn elem(&self, ty: Ty) -> Ty {
        match *self.kind(self.indexed(ty)) {
            Kind::Chan(_, elem) | Kind::Slice(elem) | Kind::Array(_, elem) => elem,
            _ => basic::VOID,
        }
    }

    /// The types of what a value has in it or leads to.
    pub fn made_from(&self, ty: Ty) -> Vec<Ty> {
        match self.kind(ty) {
            Kind::Pointer(of) | Kind::Slice(of) | Kind::Array(_, of) => vec![*of],
            Kind::Map(key, value) => vec![*key, *value],
            Kind::Struct(fields) => fields.iter().map(|field| field.ty).collect(),
            _ => Vec::new(),
        }
    }

    /// The types that arguments of a function are wanted as; with `packs`, all behind the other
    /// parameters become a slice.
    pub fn arguments(&self, sig: &Sig, packs: bool, count: usize) -> Vec<Ty> {
        let mut wanted = sig.params.clone();
        let rest = wanted.pop_if(|_| packs);
        if let Some(Kind::Slice(elem)) = rest.map(|ty| self.kind(ty)) {
            wanted.resize(wanted.len().max(count), *elem);
        }
        wanted
    }

    /// The key and the value of a map; the type is one of maps.
    pub fn entry(&self, ty: Ty) -> (Ty, Ty) {
        match *self.kind(ty) {
            Kind::Map(key, value) => (key, value),
            _ => unreachable!("checked to be a map"),
        }
    }
}
