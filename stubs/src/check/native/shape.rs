//! What a value is in memory, worked out anew: a cursor of bits runs over the members, and each
//! scalar is an extent of bytes.
#![forbid(unsafe_code)]

use crate::abi::NativeConvention;
use crate::signature::{BitFields, CType, Kind, LongDouble, Record, Type};

/// What is in an extent of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Whole,
    Address,
    Real,
    Extended,
    Short,
}

/// A scalar's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) nature: Nature,
    /// It is a bit-field.
    pub(super) bits: bool,
    /// Its type; of a bit-field the declared one.
    pub(super) ty: Type,
}

impl Extent {
    pub(super) fn len(&self) -> u64 {
        self.to - self.from
    }

    /// Whether a float register would take it.
    pub(super) fn is_real(&self) -> bool {
        matches!(self.nature, Nature::Real | Nature::Short)
    }
}

/// A type's measures.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) size: u64,
    pub(super) align: u64,
    /// Alignment that members ask for.
    pub(super) inner_align: u64,
    /// The first scalars; all of them where nobody counts more than [`MOST`].
    pub(super) extents: Vec<Extent>,
    pub(super) has_union: bool,
    /// Elements of arrays without any, as extents without a place.
    pub(super) absent: Vec<Extent>,
    pub(super) has_empty_array: bool,
}

/// More scalars than are looked at: a record of 16 bytes has fewer, but for bit-fields.
const MOST: usize = 300;

impl Shape {
    fn empty() -> Shape {
        Shape {
            size: 0,
            align: 1,
            inner_align: 1,
            extents: Vec::new(),
            has_union: false,
            absent: Vec::new(),
            has_empty_array: false,
        }
    }

    /// `count` scalars in a row.
    fn row(native: &NativeConvention, size: u64, count: u64, nature: Nature, ty: &Type) -> Shape {
        let extent = |n| Extent {
            ty: ty.clone(),
            from: n * size,
            to: (n + 1) * size,
            nature,
            bits: false,
        };
        let align = size.min(native.data.max_align);
        Shape {
            size: count * size,
            align,
            inner_align: align,
            extents: (0..count).map(extent).collect(),
            ..Shape::empty()
        }
    }

    /// Takes over what a part that begins at byte `at` is made of.
    fn absorb(&mut self, at: u64, part: Shape) {
        self.has_union |= part.has_union;
        self.has_empty_array |= part.has_empty_array;
        self.absent.extend(part.absent);
        let room = MOST.saturating_sub(self.extents.len());
        self.extents
            .extend(part.extents.into_iter().take(room).map(|extent| Extent {
                from: extent.from.saturating_add(at),
                to: extent.to.saturating_add(at),
                ..extent
            }));
    }

    /// The shape of a type; an opaque one, of which no signature is made, is empty.
    pub(super) fn of(native: &NativeConvention, ty: &Type) -> Shape {
        use Nature::{Address, Extended, Real, Short, Whole};
        let row = |size, nature| Shape::row(native, size, 1, nature, ty);
        let two = |size, nature, of: Type| Shape::row(native, size, 2, nature, &of);
        let (long, is) = match native.data.long_double {
            LongDouble::X87 => (16, Extended),
            LongDouble::Binary128 => (16, Real),
            LongDouble::Double => (8, Real),
        };
        match ty.underlying() {
            Kind::Bool | Kind::Int8 | Kind::Uint8 => row(1, Whole),
            Kind::Int16 | Kind::Uint16 => row(2, Whole),
            Kind::Int32 | Kind::Uint32 => row(4, Whole),
            Kind::Int | Kind::Int64 | Kind::Uint | Kind::Uint64 | Kind::Uintptr => row(8, Whole),
            Kind::UnsafePointer
            | Kind::Pointer(_)
            | Kind::Map(..)
            | Kind::Chan(..)
            | Kind::Func(_) => row(8, Address),
            Kind::Interface(_) => two(8, Address, Type::unsafe_pointer()),
            Kind::String | Kind::Slice(_) => {
                let words = if matches!(ty.underlying(), Kind::String) {
                    1
                } else {
                    2
                };
                let bytes = Type::pointer_to(Type::uint8()).unwrap_or_else(|_| Type::int());
                let mut shape = Shape::row(native, 8, 1, Address, &bytes);
                shape.absorb(8, Shape::row(native, 8, words, Whole, &Type::int()));
                shape.size = 8 + 8 * words;
                shape
            }
            Kind::Float32 => row(4, Real),
            Kind::Float64 => row(8, Real),
            Kind::Complex64 => two(4, Real, Type::float32()),
            Kind::Complex128 => two(8, Real, Type::float64()),
            Kind::C(CType::Int128 | CType::Uint128) => row(16, Whole),
            Kind::C(CType::LongDouble) => row(long, is),
            Kind::C(CType::ComplexLongDouble) => {
                two(long, is, Type::leaf(Kind::C(CType::LongDouble)))
            }
            Kind::C(CType::Float16) => row(2, Real),
            Kind::C(CType::Vector(len, elem)) => row(len * Shape::of(native, elem).size, Short),
            Kind::Array(len, elem) => Shape::array(Shape::of(native, elem), *len),
            Kind::Struct(fields) => {
                let mut record = Cursor::new(native);
                for field in fields {
                    let shape = Shape::of(native, &field.ty);
                    let align = shape.align;
                    record.member(shape, align);
                }
                record.finish(1)
            }
            Kind::C(CType::Record(record)) => Cursor::new(native).record(record),
            Kind::Named(_) => Shape::empty(),
        }
    }

    fn array(elem: Shape, len: u64) -> Shape {
        let mut all = Shape {
            size: elem.size.saturating_mul(len),
            align: elem.align,
            inner_align: elem.align,
            has_union: elem.has_union,
            absent: elem.absent.clone(),
            has_empty_array: elem.has_empty_array || len == 0,
            extents: Vec::new(),
        };
        if len == 0 {
            all.absent.extend(elem.extents);
            return all;
        }
        if elem.extents.is_empty() {
            return all;
        }
        for n in 0..len {
            if all.extents.len() >= MOST {
                break;
            }
            let one = Shape {
                absent: Vec::new(),
                ..elem.clone()
            };
            all.absorb(n * elem.size, one);
        }
        all
    }
}

/// Runs over the members of a struct.
struct Cursor<'a> {
    native: &'a NativeConvention,
    shape: Shape,
    /// In bits.
    at: u64,
    /// Microsoft's bit-fields: where the unit ends that is open, in bits, and its bytes.
    unit: Option<(u64, u64)>,
}

impl Cursor<'_> {
    fn new(native: &NativeConvention) -> Cursor<'_> {
        Cursor {
            native,
            shape: Shape::empty(),
            at: 0,
            unit: None,
        }
    }

    fn wants(&mut self, align: u64) {
        self.shape.align = self.shape.align.max(align);
        self.shape.inner_align = self.shape.inner_align.max(align);
    }

    fn member(&mut self, part: Shape, align: u64) {
        self.wants(align);
        if let Some((end, _)) = self.unit.take() {
            self.at = self.at.max(end);
        }
        let start = self.at.div_ceil(8).next_multiple_of(align);
        self.at = start.saturating_add(part.size).saturating_mul(8);
        self.shape.size = self.shape.size.max(self.at / 8);
        self.shape.absorb(start, part);
    }

    fn bits(&mut self, ty: &Type, size: u64, align: u64, packed: bool, count: u64) {
        self.wants(align);
        let first = match (self.native.data.bit_fields, self.unit) {
            (BitFields::Packed, _) if packed || self.at % (8 * size) + count <= 8 * size => self.at,
            (BitFields::Packed, _) => self.at.next_multiple_of(8 * size),
            (BitFields::Units, Some((end, bytes))) if bytes == size && self.at + count <= end => {
                self.at
            }
            (BitFields::Units, unit) => {
                let free = self.at.max(unit.map_or(0, |(end, _)| end)).div_ceil(8);
                let start = free.next_multiple_of(align);
                self.unit = Some((8 * (start + size), size));
                self.shape.size = self.shape.size.max(start + size);
                8 * start
            }
        };
        self.at = first + count;
        self.shape.size = self.shape.size.max(self.at.div_ceil(8));
        self.shape.extents.push(Extent {
            from: first / 8,
            to: self.at.div_ceil(8),
            nature: Nature::Whole,
            bits: true,
            ty: ty.clone(),
        });
    }

    fn record(mut self, record: &Record) -> Shape {
        for member in &record.members {
            if record.is_union {
                self.at = 0;
                self.unit = None;
            }
            let part = Shape::of(self.native, &member.ty);
            let packed = record.pack.map_or(part.align, |pack| part.align.min(pack));
            let align = member.align.map_or(packed, |align| align.max(packed));
            match member.bits {
                Some(bits) => {
                    let packed = record.pack.is_some();
                    self.bits(&member.ty, part.size, align, packed, bits.into());
                }
                None => self.member(part, align),
            }
        }
        self.shape.has_union |= record.is_union;
        self.finish(record.align.unwrap_or(1))
    }

    fn finish(mut self, align: u64) -> Shape {
        self.shape.align = self.shape.align.max(align);
        self.shape.size = self.shape.size.next_multiple_of(self.shape.align);
        self.shape
    }
}
