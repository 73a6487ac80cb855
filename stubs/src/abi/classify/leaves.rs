//! A type's scalars, where each lies, in the order of its members.
#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use crate::signature::{CType, DataModel, Kind, LongDouble, Type};

/// What a scalar is to a calling convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// An integer, a `bool` or a bit-field.
    Integer,
    /// A pointer, map, channel or function.
    Pointer,
    /// IEEE 754 floating point of 2, 4, 8 or 16 bytes.
    Float,
    /// `long double` of the x87 unit.
    X87,
    /// A vector.
    Vector,
}

/// A scalar of a value.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// First byte in the value.
    pub(crate) off: u64,
    /// Bytes; of a bit-field those in which it has bits.
    pub(crate) size: u64,
    pub(crate) scalar: Scalar,
    /// Its type; of a bit-field the declared one.
    pub(crate) ty: Type,
    /// It lies at a multiple of its own alignment. True of bit-fields.
    pub(crate) aligned: bool,
    /// It is a bit-field.
    pub(crate) is_bits: bool,
}

impl Leaf {
    /// Whether it belongs into a float register.
    pub(crate) fn is_float(&self) -> bool {
        matches!(self.scalar, Scalar::Float | Scalar::Vector)
    }
}

/// At most `most` leaves of a type. Members without bytes have none.
pub(crate) fn leaves(model: &DataModel, ty: &Type, most: usize) -> Vec<Leaf> {
    let mut found = Vec::new();
    let _ = walk(model, ty, 0, &mut |leaf| {
        found.push(leaf);
        if found.len() < most {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    found
}

fn walk(
    model: &DataModel,
    ty: &Type,
    at: u64,
    f: &mut dyn FnMut(Leaf) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(layout) = model.layout(ty).filter(|layout| layout.size > 0) else {
        return ControlFlow::Continue(());
    };
    let mut leaf = |off: u64, size: u64, scalar, ty: Type| {
        let align = size.min(model.max_align);
        f(Leaf {
            off: at + off,
            size,
            scalar,
            ty,
            aligned: (at + off).is_multiple_of(align),
            is_bits: false,
        })
    };
    match ty.underlying() {
        Kind::Array(len, elem) => {
            let size = layout.size / len;
            (0..*len).try_for_each(|i| walk(model, elem, at + i * size, f))
        }
        Kind::Struct(_) | Kind::C(CType::Record(_)) => {
            model
                .members(ty)
                .into_iter()
                .try_for_each(|member| match member.bits {
                    None => walk(model, member.ty, at + member.offset, f),
                    Some((first, bits)) => f(Leaf {
                        off: at + member.offset,
                        size: (first + bits).div_ceil(8) - member.offset,
                        scalar: Scalar::Integer,
                        ty: member.ty.clone(),
                        aligned: true,
                        is_bits: true,
                    }),
                })
        }
        Kind::Complex64 => {
            leaf(0, 4, Scalar::Float, Type::float32())?;
            leaf(4, 4, Scalar::Float, Type::float32())
        }
        Kind::Complex128 => {
            leaf(0, 8, Scalar::Float, Type::float64())?;
            leaf(8, 8, Scalar::Float, Type::float64())
        }
        Kind::C(CType::ComplexLongDouble) => {
            let (part, half) = (Type::leaf(Kind::C(CType::LongDouble)), layout.size / 2);
            leaf(0, half, long_double(model), part.clone())?;
            leaf(half, half, long_double(model), part)
        }
        Kind::String | Kind::Slice(_) => {
            let bytes = Type::pointer_to(Type::uint8());
            leaf(
                0,
                8,
                Scalar::Pointer,
                bytes.unwrap_or_else(|_| Type::unsafe_pointer()),
            )?;
            (8..layout.size)
                .step_by(8)
                .try_for_each(|off| leaf(off, 8, Scalar::Integer, Type::int()))
        }
        Kind::Interface(_) => {
            leaf(0, 8, Scalar::Pointer, Type::unsafe_pointer())?;
            leaf(8, 8, Scalar::Pointer, Type::unsafe_pointer())
        }
        kind => leaf(0, layout.size, scalar_of(model, kind), ty.clone()),
    }
}

fn long_double(model: &DataModel) -> Scalar {
    match model.long_double {
        LongDouble::X87 => Scalar::X87,
        LongDouble::Binary128 | LongDouble::Double => Scalar::Float,
    }
}

fn scalar_of(model: &DataModel, kind: &Kind) -> Scalar {
    match kind {
        Kind::Float32 | Kind::Float64 | Kind::C(CType::Float16) => Scalar::Float,
        Kind::C(CType::LongDouble) => long_double(model),
        Kind::C(CType::Vector(..)) => Scalar::Vector,
        Kind::Pointer(_) | Kind::UnsafePointer | Kind::Map(..) | Kind::Chan(..) | Kind::Func(_) => {
            Scalar::Pointer
        }
        _ => Scalar::Integer,
    }
}
