//! The types of a program. Equal types have equal numbers.
#![forbid(unsafe_code)]

mod members;
mod show;

use std::collections::HashMap;

use crate::ast::{Dir, Name};
use crate::check::entity::FuncId;

/// The number of a type in [`Types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ty(pub(crate) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Basic {
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
    String,
    UnsafePointer,
    UntypedBool,
    UntypedInt,
    UntypedRune,
    UntypedFloat,
    UntypedString,
    UntypedNil,
    /// The type of what has none: statements, packages, builtins.
    Void,
}

/// Each basic type with its name; the position is the type's number.
const BASICS: &[(Basic, &str)] = &[
    (Basic::Void, "no value"),
    (Basic::Bool, "bool"),
    (Basic::Int, "int"),
    (Basic::Int8, "int8"),
    (Basic::Int16, "int16"),
    (Basic::Int32, "int32"),
    (Basic::Int64, "int64"),
    (Basic::Uint, "uint"),
    (Basic::Uint8, "uint8"),
    (Basic::Uint16, "uint16"),
    (Basic::Uint32, "uint32"),
    (Basic::Uint64, "uint64"),
    (Basic::Uintptr, "uintptr"),
    (Basic::Float32, "float32"),
    (Basic::Float64, "float64"),
    (Basic::String, "string"),
    (Basic::UnsafePointer, "unsafe.Pointer"),
    (Basic::UntypedBool, "untyped bool"),
    (Basic::UntypedInt, "untyped int"),
    (Basic::UntypedRune, "untyped rune"),
    (Basic::UntypedFloat, "untyped float"),
    (Basic::UntypedString, "untyped string"),
    (Basic::UntypedNil, "untyped nil"),
];

/// Numbers of basic types.
pub(crate) mod basic {
    use super::Ty;
    pub(crate) const VOID: Ty = Ty(0);
    pub(crate) const BOOL: Ty = Ty(1);
    pub(crate) const INT: Ty = Ty(2);
    pub(crate) const INT32: Ty = Ty(5);
    pub(crate) const UINT8: Ty = Ty(8);
    pub(crate) const UINTPTR: Ty = Ty(12);
    pub(crate) const FLOAT64: Ty = Ty(14);
    pub(crate) const STRING: Ty = Ty(15);
    pub(crate) const UNSAFE_POINTER: Ty = Ty(16);
    pub(crate) const UNTYPED_BOOL: Ty = Ty(17);
    pub(crate) const UNTYPED_INT: Ty = Ty(18);
    pub(crate) const UNTYPED_RUNE: Ty = Ty(19);
    pub(crate) const UNTYPED_FLOAT: Ty = Ty(20);
    pub(crate) const UNTYPED_STRING: Ty = Ty(21);
    pub(crate) const UNTYPED_NIL: Ty = Ty(22);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sig {
    pub(crate) params: Vec<Ty>,
    pub(crate) variadic: bool,
    pub(crate) results: Vec<Ty>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) ty: Ty,
    pub(crate) embedded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Method {
    pub(crate) name: Name,
    /// A function type.
    pub(crate) ty: Ty,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Basic(Basic),
    Pointer(Ty),
    Slice(Ty),
    Array(u64, Ty),
    Map(Ty, Ty),
    Chan(Dir, Ty),
    Func(Sig),
    Struct(Vec<Field>),
    /// Sorted by name.
    Interface(Vec<Method>),
    /// `weak.Pointer[T]`.
    Weak(Ty),
    /// The results of a call that has several.
    Tuple(Vec<Ty>),
    /// The position in `Types::named`.
    Named(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// With its package, as `main.T`.
    pub(crate) name: String,
    /// The kind that it is declared as; void while it is being declared.
    pub(crate) underlying: Ty,
    pub(crate) methods: Vec<DeclaredMethod>,
}

#[derive(Clone, Debug)]
pub(crate) struct DeclaredMethod {
    pub(crate) name: Name,
    pub(crate) func: FuncId,
    pub(crate) by_pointer: bool,
    /// Without the receiver.
    pub(crate) ty: Ty,
}

#[derive(Debug)]
pub(crate) struct Types {
    kinds: Vec<Kind>,
    ids: HashMap<Kind, Ty>,
    pub(crate) named: Vec<Named>,
}

/// A field or method that a selector found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Fields that lead to it, the last one being the field itself unless it is a method.
    pub(crate) path: Vec<usize>,
    pub(crate) member: Member,
}

#[derive(Clone, Debug)]
pub(crate) enum Member {
    Field(Ty),
    /// The type that declares it.
    Method(Ty, DeclaredMethod),
    /// Of an interface; its function type.
    Abstract(Ty, Method),
}

impl Types {
    pub(crate) fn new() -> Types {
        let mut types = Types {
            kinds: Vec::new(),
            ids: HashMap::new(),
            named: Vec::new(),
        };
        for (basic, _) in BASICS {
            types.intern(Kind::Basic(*basic));
        }
        types
    }

    pub(crate) fn intern(&mut self, kind: Kind) -> Ty {
        if let Some(&ty) = self.ids.get(&kind) {
            return ty;
        }
        let ty = Ty(self.kinds.len() as u32);
        self.kinds.push(kind.clone());
        self.ids.insert(kind, ty);
        ty
    }

    pub(crate) fn pointer(&mut self, to: Ty) -> Ty {
        self.intern(Kind::Pointer(to))
    }

    pub(crate) fn any(&mut self) -> Ty {
        self.intern(Kind::Interface(Vec::new()))
    }

    pub(crate) fn new_named(&mut self, name: String) -> Ty {
        let index = self.named.len() as u32;
        self.named.push(Named {
            name,
            underlying: basic::VOID,
            methods: Vec::new(),
        });
        self.intern(Kind::Named(index))
    }

    pub(crate) fn named(&self, ty: Ty) -> Option<&Named> {
        match self.kinds[ty.0 as usize] {
            Kind::Named(index) => self.named.get(index as usize),
            _ => None,
        }
    }

    pub(crate) fn named_mut(&mut self, ty: Ty) -> Option<&mut Named> {
        match self.kinds[ty.0 as usize] {
            Kind::Named(index) => self.named.get_mut(index as usize),
            _ => None,
        }
    }

    /// The type that has no name.
    pub(crate) fn underlying(&self, ty: Ty) -> Ty {
        self.named(ty).map_or(ty, |named| named.underlying)
    }

    /// What the type is, whatever it is called.
    pub(crate) fn kind(&self, ty: Ty) -> &Kind {
        &self.kinds[self.underlying(ty).0 as usize]
    }

    /// What the type is called, if it is.
    pub(crate) fn own_kind(&self, ty: Ty) -> &Kind {
        &self.kinds[ty.0 as usize]
    }

    pub(crate) fn basic(&self, ty: Ty) -> Option<Basic> {
        match self.kind(ty) {
            Kind::Basic(basic) => Some(*basic),
            _ => None,
        }
    }

    /// Bits, and whether it is signed.
    pub(crate) fn integer(&self, ty: Ty) -> Option<(u32, bool)> {
        use Basic::*;
        match self.basic(ty)? {
            Int | Int64 | UntypedInt => Some((64, true)),
            Int32 | UntypedRune => Some((32, true)),
            Int16 => Some((16, true)),
            Int8 => Some((8, true)),
            Uint | Uint64 | Uintptr => Some((64, false)),
            Uint32 => Some((32, false)),
            Uint16 => Some((16, false)),
            Uint8 => Some((8, false)),
            _ => None,
        }
    }

    pub(crate) fn is_float(&self, ty: Ty) -> bool {
        use Basic::*;
        matches!(self.basic(ty), Some(Float32 | Float64 | UntypedFloat))
    }

    pub(crate) fn is_number(&self, ty: Ty) -> bool {
        self.integer(ty).is_some() || self.is_float(ty)
    }

    pub(crate) fn is_string(&self, ty: Ty) -> bool {
        matches!(self.basic(ty), Some(Basic::String | Basic::UntypedString))
    }

    pub(crate) fn is_bool(&self, ty: Ty) -> bool {
        matches!(self.basic(ty), Some(Basic::Bool | Basic::UntypedBool))
    }

    pub(crate) fn is_untyped(&self, ty: Ty) -> bool {
        use Basic::*;
        matches!(
            self.own_kind(ty),
            Kind::Basic(
                UntypedBool | UntypedInt | UntypedRune | UntypedFloat | UntypedString | UntypedNil
            )
        )
    }

    /// The type that a variable gets from a value of this type.
    pub(crate) fn default_type(&self, ty: Ty) -> Ty {
        use Basic::*;
        match self.own_kind(ty) {
            Kind::Basic(UntypedBool) => basic::BOOL,
            Kind::Basic(UntypedInt) => basic::INT,
            Kind::Basic(UntypedRune) => basic::INT32,
            Kind::Basic(UntypedFloat) => basic::FLOAT64,
            Kind::Basic(UntypedString) => basic::STRING,
            _ => ty,
        }
    }

    pub(crate) fn is_interface(&self, ty: Ty) -> bool {
        matches!(self.kind(ty), Kind::Interface(_))
    }

    /// Whether nil is a value of it.
    pub(crate) fn has_nil(&self, ty: Ty) -> bool {
        matches!(
            self.kind(ty),
            Kind::Pointer(_)
                | Kind::Slice(_)
                | Kind::Map(..)
                | Kind::Chan(..)
                | Kind::Func(_)
                | Kind::Interface(_)
                | Kind::Basic(Basic::UnsafePointer)
        )
    }

    /// Whether `==` is defined on it.
    pub(crate) fn is_comparable(&self, ty: Ty) -> bool {
        match self.kind(ty) {
            Kind::Slice(_) | Kind::Map(..) | Kind::Func(_) | Kind::Tuple(_) => false,
            Kind::Array(_, elem) => self.is_comparable(*elem),
            Kind::Struct(fields) => fields.iter().all(|field| self.is_comparable(field.ty)),
            Kind::Basic(basic) => *basic != Basic::Void,
            _ => true,
        }
    }

    /// The element type behind a pointer.
    pub(crate) fn pointee(&self, ty: Ty) -> Option<Ty> {
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

    /// All types, in the order of their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = Ty> + use<> {
        (0..self.kinds.len() as u32).map(Ty)
    }
}
