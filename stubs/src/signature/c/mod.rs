//! Types that only C has, and the constructors that check them.
//!
//! Go's types serve for the rest: `int32` is C's `int`, `*T` any pointer, `complex64` is `float
//! _Complex`, and a Go struct is the C struct of the same members: under a native ABI it is laid
//! out by C's rules ([`DataModel`]).
#![forbid(unsafe_code)]

mod layout;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::build::check_name;
use super::{Kind, Type, TypeError};
use crate::quote::short;

pub use layout::{BitFields, CLayout, DataModel, Enumeration, LongDouble, Placed, WideChar};

/// Largest alignment that can be asked for.
pub const MAX_ALIGN: u64 = 4096;

/// A type that C has and Go has not. [`Type::c`] makes a [`Type`] of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CType {
    /// `__int128`
    Int128,
    /// `unsigned __int128`
    Uint128,
    /// `long double`, whatever that is under the ABI
    LongDouble,
    /// `long double _Complex`
    ComplexLongDouble,
    /// `_Float16`
    Float16,
    /// GNU's `vector_size`: so many elements of an integer or floating-point type, 8 or 16 bytes
    Vector(u64, Type),
    /// A struct with bit-fields or with another layout than the plain one, or a union
    Record(Record),
}

/// A C struct or union.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Record {
    /// All members begin at its first byte.
    pub is_union: bool,
    /// The members in order.
    pub members: Vec<Member>,
    /// Members are aligned to at most this many bytes: `#pragma pack(n)`; 1 is
    /// `__attribute__((packed))`.
    pub pack: Option<u64>,
    /// It is aligned to at least this many bytes: `__attribute__((aligned(n)))`.
    pub align: Option<u64>,
}

/// A member of a [`Record`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Member {
    /// Its name; `_` may occur more than once.
    pub name: Arc<str>,
    /// Its type; of a bit-field the declared one.
    pub ty: Type,
    /// A bit-field of so many bits.
    pub bits: Option<u32>,
    /// It is aligned to at least this many bytes: `__attribute__((aligned(n)))`, also if packed.
    pub align: Option<u64>,
}

impl Member {
    /// A member, to be checked by [`Type::c`].
    pub fn new(name: &str, ty: Type) -> Member {
        Member {
            name: name.into(),
            ty,
            bits: None,
            align: None,
        }
    }

    /// The same as a bit-field of so many bits.
    #[must_use]
    pub fn bits(self, bits: u32) -> Member {
        Member {
            bits: Some(bits),
            ..self
        }
    }

    /// The same with a larger alignment.
    #[must_use]
    pub fn align(self, align: u64) -> Member {
        Member {
            align: Some(align),
            ..self
        }
    }
}

impl Record {
    /// A struct of these members, to be checked by [`Type::c`].
    pub fn structure(members: Vec<Member>) -> Record {
        Record {
            is_union: false,
            members,
            pack: None,
            align: None,
        }
    }

    /// A union of these members, to be checked by [`Type::c`].
    pub fn union(members: Vec<Member>) -> Record {
        Record {
            is_union: true,
            ..Record::structure(members)
        }
    }

    /// The same with members aligned to at most `pack` bytes.
    #[must_use]
    pub fn pack(self, pack: u64) -> Record {
        Record {
            pack: Some(pack),
            ..self
        }
    }

    /// The same with a larger alignment.
    #[must_use]
    pub fn align(self, align: u64) -> Record {
        Record {
            align: Some(align),
            ..self
        }
    }

    fn check(&self) -> Result<(), TypeError> {
        let power = |what, found: Option<u64>| match found {
            Some(found) if !found.is_power_of_two() || found > MAX_ALIGN => {
                Err(TypeError::Alignment { what, found })
            }
            _ => Ok(()),
        };
        power("pack", self.pack)?;
        power("align", self.align)?;
        let mut seen = HashSet::new();
        for member in &self.members {
            check_name("member", &member.name)?;
            if &*member.name != "_" && !seen.insert(&*member.name) {
                return Err(TypeError::DuplicateField {
                    name: member.name.to_string(),
                });
            }
            power("align", member.align)?;
            if let (Some(found), Some(2..)) = (member.align, self.pack) {
                // Compilers differ on which of the two counts.
                let what = "align, beside a pack of more than 1,";
                return Err(TypeError::Alignment { what, found });
            }
            if let Some(found) = member.bits {
                self.check_bits(member, found)?;
            }
        }
        Ok(())
    }

    fn check_bits(&self, member: &Member, found: u32) -> Result<(), TypeError> {
        let wanted = match member.ty.underlying() {
            Kind::Bool => 1,
            kind => 8 * kind.integer_bytes().unwrap_or(0),
        };
        let refuse = |wanted: String| {
            Err(TypeError::BitField {
                name: member.name.to_string(),
                found: format!("{found} bits of {}", short(&member.ty)),
                wanted,
            })
        };
        if wanted == 0 {
            return refuse("an integer or bool of at most 8 bytes".into());
        }
        if found == 0 || u64::from(found) > wanted {
            return refuse(format!("1 to {wanted} bits"));
        }
        if &*member.name == "_" {
            return refuse("a name (compilers differ on bit-fields without one)".into());
        }
        if member.align.is_some() || self.pack.is_some_and(|pack| pack > 1) {
            return refuse("no alignment of its own, and no pack but 1".into());
        }
        Ok(())
    }
}

/// Names of the types that are a name only, with what they are.
static NAMES: [(&str, CType); 5] = [
    ("C.int128", CType::Int128),
    ("C.uint128", CType::Uint128),
    ("C.longdouble", CType::LongDouble),
    ("C.complexlongdouble", CType::ComplexLongDouble),
    ("C.float16", CType::Float16),
];

impl CType {
    /// The type that has this name in a signature's text.
    pub(super) fn of_name(name: &str) -> Option<CType> {
        let (_, ty) = NAMES.iter().find(|(own, _)| *own == name)?;
        Some(ty.clone())
    }

    fn name(&self) -> &'static str {
        let found = NAMES.iter().find(|(_, ty)| ty == self);
        found.map_or("", |(name, _)| name)
    }

    pub(super) fn check(&self) -> Result<(), TypeError> {
        match self {
            CType::Record(record) => record.check(),
            CType::Vector(len, elem) => {
                let bytes = elem.underlying().vector_element().map(|size| (size, *len));
                match bytes.and_then(|(size, len)| len.checked_mul(size)) {
                    Some(8 | 16) if *len > 1 => Ok(()),
                    _ => Err(TypeError::Vector {
                        found: format!("{len} of {}", short(elem)),
                    }),
                }
            }
            _ => Ok(()),
        }
    }

    /// Calls `f` with each type directly inside.
    pub(super) fn for_each_child(&self, f: &mut dyn FnMut(&Type)) {
        match self {
            CType::Vector(_, elem) => f(elem),
            CType::Record(record) => record.members.iter().for_each(|member| f(&member.ty)),
            _ => {}
        }
    }
}

impl Kind {
    /// Bytes of an integer type of Go's.
    pub(crate) fn integer_bytes(&self) -> Option<u64> {
        Some(match self {
            Kind::Int8 | Kind::Uint8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 | Kind::Uint32 => 4,
            Kind::Int | Kind::Int64 | Kind::Uint | Kind::Uint64 | Kind::Uintptr => 8,
            _ => return None,
        })
    }

    /// Bytes of what a vector may be made of.
    fn vector_element(&self) -> Option<u64> {
        match self {
            Kind::Float32 => Some(4),
            Kind::Float64 => Some(8),
            _ => self.integer_bytes(),
        }
    }
}

impl Type {
    /// A type that only C has.
    ///
    /// Its text is a name (`C.int128`), `C.vector[4]float32`, or `C.struct` and `C.union` with
    /// members as in Go, each perhaps with `: BITS` or `align BYTES`, and `pack` and `align` before
    /// them.
    ///
    /// # Errors
    /// A bit-field that is no integer or has more bits than its type, an alignment that is no power
    /// of two or over [`MAX_ALIGN`], a vector of other than 8 or 16 bytes, names and limits as for
    /// Go's structs.
    ///
    /// ```
    /// use fing_stubs::abi::Abi;
    /// use fing_stubs::signature::{CType, Member, Record, Type};
    /// let bits = Member::new("Flags", Type::uint32()).bits(5);
    /// let record = Record::structure(vec![Member::new("A", Type::int8()), bits]).align(16);
    /// let ty = Type::c(CType::Record(record))?;
    /// assert_eq!(ty.to_string(), "C.struct align 16 { A int8; Flags uint32 : 5 }");
    /// assert_eq!(ty.to_string().parse(), Ok(ty.clone()));
    /// let layout = Abi::system_v().layout_of(&ty).unwrap();
    /// assert_eq!((layout.size, layout.align), (16, 16));
    /// # Ok::<(), fing_stubs::signature::TypeError>(())
    /// ```
    pub fn c(ty: CType) -> Result<Type, TypeError> {
        ty.check()?;
        Type::make(Kind::C(ty))
    }
}

impl fmt::Display for CType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CType::Vector(len, elem) => {
                write!(f, "C.vector[{len}]")?;
                fmt::Display::fmt(elem, f)
            }
            CType::Record(record) => fmt::Display::fmt(record, f),
            name => f.write_str(name.name()),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_union { "C.union" } else { "C.struct" })?;
        if let Some(pack) = self.pack {
            write!(f, " pack {pack}")?;
        }
        if let Some(align) = self.align {
            write!(f, " align {align}")?;
        }
        f.write_str(" {")?;
        for (i, member) in self.members.iter().enumerate() {
            f.write_str(if i > 0 { "; " } else { " " })?;
            write!(f, "{} ", member.name)?;
            fmt::Display::fmt(&member.ty, f)?;
            if let Some(bits) = member.bits {
                write!(f, " : {bits}")?;
            }
            if let Some(align) = member.align {
                write!(f, " align {align}")?;
            }
        }
        f.write_str(if self.members.is_empty() { "}" } else { " }" })
    }
}
