//! C's rules of size and alignment, as far as ABIs agree on them, driven by what they don't agree
//! on: a [`DataModel`].
#![forbid(unsafe_code)]

use super::{CType, Record};
use crate::signature::{Kind, Type, round_up};

/// What ABIs of 64-bit machines make of C's types in memory, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataModel {
    /// No scalar or vector is aligned to more bytes than this: 16, on s390x 8.
    pub max_align: u64,
    /// What `long double` is.
    pub long_double: LongDouble,
    /// How bit-fields share memory.
    pub bit_fields: BitFields,
    /// Bytes of `long`: 8, on Windows 4.
    pub long: u64,
    /// Whether `char` is signed.
    pub char_is_signed: bool,
    /// What `wchar_t` is.
    pub wchar: WideChar,
    /// Which integer an enumeration is.
    pub enumeration: Enumeration,
}

/// Which integer an enumeration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enumeration {
    /// `unsigned int`, `int` if an enumerator is negative, and 64 bits where these don't have all
    /// enumerators: to gcc and clang.
    AsNeeded,
    /// `int`, to Microsoft's compiler whatever the enumerators are, which gcc for Windows only
    /// shares as long as they have 32 bits.
    Int,
}

/// What `wchar_t` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WideChar {
    /// `int`
    Int,
    /// `unsigned int`
    UnsignedInt,
    /// `unsigned short`
    UnsignedShort,
}

/// What `long double` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LongDouble {
    /// The x87 unit's 80 bits in 16 bytes.
    X87,
    /// IEEE 754's binary128.
    Binary128,
    /// The same as `double`.
    Double,
}

/// How bit-fields share memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BitFields {
    /// One after another, unless one would lie across a multiple of its declared type's size.
    Packed,
    /// Only those of declared types of one size share a unit of that size.
    Units,
}

/// Size and alignment of a type by C's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CLayout {
    /// Bytes a value takes.
    pub size: u64,
    /// Its address is a multiple of this many bytes.
    pub align: u64,
    /// Of a struct or union: the largest alignment of a member, without what was asked for the
    /// whole type. AAPCS64 goes by this one.
    pub natural_align: u64,
}

/// A member in its struct or union.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Placed<'a> {
    /// Its type; of a bit-field the declared one.
    pub ty: &'a Type,
    /// First byte; of a bit-field the first byte that it has bits in.
    pub offset: u64,
    /// Of a bit-field: its first bit, counted from the first byte of the whole, and how many. Bits
    /// of a byte count from the least significant one, on big-endian machines from the most
    /// significant one.
    pub bits: Option<(u64, u64)>,
}

impl DataModel {
    /// System V's on x86-64.
    pub const SYSTEM_V: DataModel = DataModel {
        max_align: 16,
        long_double: LongDouble::X87,
        bit_fields: BitFields::Packed,
        long: 8,
        char_is_signed: true,
        wchar: WideChar::Int,
        enumeration: Enumeration::AsNeeded,
    };

    /// Size and alignment; `None` for an opaque type.
    pub fn layout(&self, ty: &Type) -> Option<CLayout> {
        match ty.underlying() {
            kind @ (Kind::Array(..) | Kind::Struct(_) | Kind::C(_)) => self.composite(kind),
            // Of all other types of Go's the layout is C's.
            _ => {
                let layout = ty.layout()?;
                let align = layout.align;
                Some(CLayout {
                    size: layout.size,
                    align,
                    natural_align: align,
                })
            }
        }
    }

    /// Layout of a type of this kind, an array, a struct or one of C's; `None` for all others.
    pub(in crate::signature) fn composite(&self, kind: &Kind) -> Option<CLayout> {
        let scalar = |size: u64, align: u64| CLayout {
            size,
            align: align.min(self.max_align),
            natural_align: align.min(self.max_align),
        };
        let long_double = match self.long_double {
            LongDouble::Double => 8,
            LongDouble::X87 | LongDouble::Binary128 => 16,
        };
        Some(match kind {
            Kind::Array(len, elem) => {
                let elem = self.layout(elem)?;
                CLayout {
                    size: elem.size.saturating_mul(*len),
                    natural_align: elem.align,
                    ..elem
                }
            }
            Kind::Struct(_) | Kind::C(CType::Record(_)) => self.place(kind, &mut |_| {})?,
            Kind::C(CType::Int128 | CType::Uint128) => scalar(16, 16),
            Kind::C(CType::LongDouble) => scalar(long_double, long_double),
            Kind::C(CType::ComplexLongDouble) => scalar(2 * long_double, long_double),
            Kind::C(CType::Float16) => scalar(2, 2),
            Kind::C(CType::Vector(len, elem)) => {
                let size = len * self.layout(elem)?.size;
                scalar(size, size)
            }
            _ => return None,
        })
    }

    /// The members of a struct or union; none of another type, or of one with an opaque member.
    ///
    /// ```
    /// use fing_stubs::signature::{DataModel, Type};
    /// let ty: Type = "C.struct { A int8; B int32 : 7; C int64 }".parse()?;
    /// let members = DataModel::SYSTEM_V.members(&ty);
    /// let places: Vec<_> = members.iter().map(|m| (m.offset, m.bits)).collect();
    /// assert_eq!(places, [(0, None), (1, Some((8, 7))), (8, None)]);
    /// # Ok::<(), fing_stubs::ParseError>(())
    /// ```
    pub fn members<'a>(&self, ty: &'a Type) -> Vec<Placed<'a>> {
        let mut members = Vec::new();
        self.place(ty.underlying(), &mut |placed| members.push(placed));
        members
    }

    /// Calls `f` with each member and returns the layout of the whole.
    fn place<'a>(&self, kind: &'a Kind, f: &mut dyn FnMut(Placed<'a>)) -> Option<CLayout> {
        let mut place = Place {
            model: self,
            whole: CLayout {
                size: 0,
                align: 1,
                natural_align: 1,
            },
            bit: 0,
            unit: (0, 0),
        };
        match kind {
            Kind::Struct(fields) => {
                for field in fields {
                    let layout = self.layout(&field.ty)?;
                    let offset = place.member(layout.size, layout.align);
                    f(Placed {
                        ty: &field.ty,
                        offset,
                        bits: None,
                    });
                }
            }
            Kind::C(CType::Record(record)) => place.record(record, f)?,
            _ => return None,
        }
        let size = round_up(place.whole.size, place.whole.align);
        Some(CLayout {
            size,
            ..place.whole
        })
    }
}

/// A struct or union that is being laid out.
struct Place<'m> {
    model: &'m DataModel,
    whole: CLayout,
    /// The first free bit.
    bit: u64,
    /// [`BitFields::Units`]: bytes of the unit that is open, and its first bit behind the end.
    unit: (u64, u64),
}

impl Place<'_> {
    fn record<'a>(&mut self, record: &'a Record, f: &mut dyn FnMut(Placed<'a>)) -> Option<()> {
        for member in &record.members {
            if record.is_union {
                (self.bit, self.unit) = (0, (0, 0));
            }
            let layout = self.model.layout(&member.ty)?;
            let align = layout.align.min(record.pack.unwrap_or(u64::MAX));
            let align = align.max(member.align.unwrap_or(1));
            let placed = match member.bits {
                None => Placed {
                    ty: &member.ty,
                    offset: self.member(layout.size, align),
                    bits: None,
                },
                Some(bits) => {
                    let packed = record.pack.is_some();
                    let first = self.bit_field(layout.size, align, packed, bits.into());
                    Placed {
                        ty: &member.ty,
                        offset: first / 8,
                        bits: Some((first, bits.into())),
                    }
                }
            };
            f(placed);
        }
        self.whole.align = self.whole.align.max(record.align.unwrap_or(1));
        Some(())
    }

    fn aligned(&mut self, align: u64) {
        self.whole.align = self.whole.align.max(align);
        self.whole.natural_align = self.whole.natural_align.max(align);
    }

    fn ends(&mut self, bit: u64) {
        self.bit = bit;
        self.whole.size = self.whole.size.max(bit.div_ceil(8));
    }

    fn member(&mut self, size: u64, align: u64) -> u64 {
        self.aligned(align);
        let end = self.bit.max(self.unit.1).div_ceil(8);
        self.unit = (0, 0);
        let offset = round_up(end, align);
        self.ends(offset.saturating_add(size).saturating_mul(8));
        offset
    }

    /// Places a bit-field of a type of `size` bytes and returns its first bit.
    fn bit_field(&mut self, size: u64, align: u64, packed: bool, bits: u64) -> u64 {
        self.aligned(align);
        let first = match self.model.bit_fields {
            // A packed one may lie across anything.
            BitFields::Packed if packed => self.bit,
            BitFields::Packed => {
                let unit = 8 * size;
                let crosses = self.bit / unit != (self.bit + bits - 1) / unit;
                if crosses {
                    round_up(self.bit, unit)
                } else {
                    self.bit
                }
            }
            BitFields::Units => {
                let (open, end) = self.unit;
                if open == size && self.bit + bits <= end {
                    self.bit
                } else {
                    let start = 8 * round_up(self.bit.max(end).div_ceil(8), align);
                    self.unit = (size, start + 8 * size);
                    self.whole.size = self.whole.size.max(start / 8 + size);
                    start
                }
            }
        };
        self.ends(first + bits);
        first
    }
}
